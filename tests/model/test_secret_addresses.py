"""Tokens in the addresses of repositories: told, and hidden in texts."""

import time

import pytest

from airunner.model.errors import InvalidRequest
from airunner.model.repositories import check_no_secret, check_repository, has_secret, redacted

HEX = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ghp_NOTAREALTOKEN@host/x.git", "https://***@host/x.git"),
        ("HTTPS://github_pat_11ABCDEFG@host/x.git", "HTTPS://***@host/x.git"),
        ("https://glpat-abcdef123456@host/x.git", "https://***@host/x.git"),
        (f"https://{HEX}@host/x.git", "https://***@host/x.git"),
        ("https://ghp%5FNOTAREALTOKEN@host/x.git", "https://***@host/x.git"),
        ("https://ada:secret@host/x.git", "https://ada:***@host/x.git"),
        (f"https://{HEX}:x-oauth-basic@host/x", "https://***:***@host/x"),
        ("ssh://ghp_NOTAREALTOKEN@host/x.git", "ssh://***@host/x.git"),
        ("ghp_NOTAREALTOKEN@host:x.git", "***@host:x.git"),
        ("https://host/x.git?private_token=abc&b=c", "https://host/x.git?private_token=***&b=c"),
        ("https://host/x.git?Access-Token=abc", "https://host/x.git?Access-Token=***"),
        (f"https://host/ghp_{HEX}/x.git", "https://host/***/x.git"),
    ],
)
def test_a_token_in_an_address_is_told_and_hidden(address: str, shown: str) -> None:
    assert has_secret(address)
    assert redacted(address) == shown
    words = "fatal: unable to access '{}': 403\n"
    assert redacted(words.format(address)) == words.format(shown)
    with pytest.raises(InvalidRequest, match="repository: has a token in it, which all who see"):
        check_no_secret(address)
    if ":" not in address.partition("://")[2].partition("@")[0]:
        check_repository(address)  # a log may have it


@pytest.mark.parametrize(
    "address",
    [
        *("https://host/x.git", "https://ada@host/x.git", "https://ada%40example.org@host/x"),
        *("https://oauth2@host/x", "https://x-access-token@host/x", "git@host:ada/x.git"),
        *("https://ada-at-111122223333@git-codecommit.us-east-1.amazonaws.com/v1/repos/x",),
        *(
            "https://ada.lovelace.of.london.1815@host/x",
            "https://adalovelaceoflondonengland@host/x",
        ),
        *("ssh://git@host:22/x.git", "https://host/hf_transformers_fork.git", "file:///home/ada/x"),
        *("https://host/x.git?depth=1", f"https://host/{HEX}/x.git", "/srv/ghp_x.git", "host:x"),
        *("https://host/tokens/x.git", "https://host/a@b/x.git", f"ssh://{HEX}@host/x"),
    ],
)
def test_an_address_without_a_token_stays_as_it_is(address: str) -> None:
    assert redacted(address) == address
    check_no_secret(address)


@pytest.mark.parametrize("text", ["a", "a:", "://", "?token", "http://a:", "ghp_", "a@b", ";x"])
def test_hiding_takes_linear_time(text: str) -> None:
    began = time.process_time()
    redacted(text * (400_000 // len(text)))
    assert time.process_time() - began < 2
