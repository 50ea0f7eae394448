"""Checks of repositories and refs: accepted forms, and refused tricks."""

import pytest

from airunner.model.errors import InvalidRequest
from airunner.model.limits import PATH_BYTES_MAX, SPARSE_BYTES_MAX, SPARSE_MAX
from airunner.model.repositories import (
    are_folders,
    check_branch,
    check_clone_filter,
    check_commit,
    check_repository,
    check_sparse,
    is_commit_id,
    is_local,
    local_address,
)

TAKEN = [
    "https://example.com/a/b.git",
    "https://example.com:8443/a/b",
    "HTTPS://example.com/a",
    "http://user@example.com/a",
    "https://[::1]/a",
    "https://[::1]:8443/a",
    "ssh://git@example.com:22/a/b.git",
    "ssh://example.com/~user/a",
    "git://example.com/a",
    "git@example.com:a/b.git",
    "example.com:a",
    "host_1.example.com:/srv/a.git",
    "[::1]:a/b",
    "git@[2001:db8::1]:a",
    "file:///srv/a",
    "file://localhost/srv/a",
    "/srv/a b".replace(" ", "-"),
    "https://example.com/ümlaut",
]

REFUSED = [
    # a remote helper that runs a command
    ("ext::sh", "remote helper"),
    ("ext::https://example.com/a", "remote helper"),
    ("fd::17", "remote helper"),
    ("ext::[://x", "scheme"),
    ("ext::[x]", "not an address"),
    ("user@ext::x", "remote helper"),
    # an option
    ("-uhttps://example.com/a", "option"),
    ("--upload-pack=touch", "option"),
    ("-oProxyCommand=x:a", "option"),
    ("ssh://-oProxyCommand=x/a", "host name"),
    ("ssh://-user@example.com/a", "user name"),
    ("git@-host:a", "not an address"),
    ("example.com:-a", "not an address"),
    # a secret
    ("https://user:secret@example.com/a", "password"),
    ("https://:@example.com/a", "password"),
    ("ssh://git:secret@example.com/a", "password"),
    # control characters and spaces
    ("https://example.com/a b", "space or a control"),
    ("https://example.com/a\nb", "space or a control"),
    ("https://example.com/a\tb", "space or a control"),
    ("https://example.com/\x1b[31m", "space or a control"),
    ("https://example.com/\x7f", "space or a control"),
    # schemes
    ("ftp://example.com/a", "scheme 'ftp'"),
    ("javascript://example.com/a", "scheme"),
    ("git+ssh://example.com/a", "scheme"),
    ("://example.com/a", "scheme ''"),
    # not an address
    ("", "not an address"),
    ("a", "not an address"),
    ("a/b", "not an address"),
    ("./a", "not an address"),
    ("../a", "not an address"),
    ("~/a", "not an address"),
    ("host:", "not an address"),
    (":a", "not an address"),
    ("https:///a", "host name"),
    ("https://example.com", "no repository"),
    ("https://example.com/", "no repository"),
    ("https://example.com:99999/a", "is not a URL"),
    ("https://example.com:x/a", "is not a URL"),
    ("https://[::1/a", "is not a URL"),
    ("https://a%00b/a", "host name"),
    ("file://server/share", "not a local file URL"),
    ("file://relative", "not a local file URL"),
]


@pytest.mark.parametrize("repository", TAKEN)
def test_what_is_taken(repository: str) -> None:
    check_repository(repository)


@pytest.mark.parametrize(("repository", "why"), REFUSED)
def test_what_is_refused_says_why(repository: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_repository(repository, "repo")
    assert refusal.value.field == "repo"
    assert why in refusal.value.why


def test_a_password_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_repository("https://user:hunter2@example.com/a")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("repository", ["/srv/a", "file:///srv/a", "FILE:///srv/a"])
def test_a_repository_on_the_workers_own_disks_is_local(repository: str) -> None:
    assert is_local(repository)


@pytest.mark.parametrize("repository", ["https://example.com/a", "git@example.com:a", "files:a"])
def test_any_other_is_not(repository: str) -> None:
    assert not is_local(repository)


@pytest.mark.parametrize("branch", ["main", "feature/x", "v1.2", "a-b_c", "ümlaut", "a@b", "HEAD"])
def test_what_may_be_a_branch(branch: str) -> None:
    check_branch(branch)


@pytest.mark.parametrize(
    "branch",
    [
        *("-b", "--upload-pack=x", "/a", "a/", "a.", "a..b", "a//b", "@", "a@{1}", "a b", "a~1"),
        *("a^", "a:b", "a?", "a*", "a[", "a\\b", ".a", "a/.b", "a.lock", "a.lock/b", "a\x7f"),
        *("a\nb", "a\x1b"),
    ],
)
def test_what_may_not(branch: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a branch or tag name that git allows"):
        check_branch(branch)


@pytest.mark.parametrize(
    "commit",
    [
        *("abcd", "0123456789abcdefABCD", "f" * 64, "f" * 65, "main", "v1.0", "refs/pull/7/head"),
        *("main~2", "v1^{}", "HEAD@{yesterday}", "HEAD^{/mend it}", "ä"),
    ],
)
def test_what_may_be_a_commit(commit: str) -> None:
    check_commit(commit)


@pytest.mark.parametrize(
    "commit", ["", "-abcd", "--upload-pack=x", "+main", "a..b", "main:README", " main", "main "]
)
def test_what_may_not_be_one(commit: str) -> None:
    with pytest.raises(InvalidRequest, match="is not the name of a commit"):
        check_commit(commit)


@pytest.mark.parametrize("commit", ["abcd\n", "a\0b", "a\x1b[2J", "x" * 257])
def test_what_no_line_can_show_is_no_commit(commit: str) -> None:
    with pytest.raises(InvalidRequest, match="commit: "):
        check_commit(commit)


@pytest.mark.parametrize(
    ("commit", "is_one"),
    [("abcd", True), ("F" * 40, True), ("main", False), ("v1.0", False), ("abc\n", False)],
)
def test_the_id_of_a_commit_has_hexadecimal_digits_alone(commit: str, is_one: bool) -> None:
    assert is_commit_id(commit) is is_one


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/srv/git/x.git", "/srv/git/x.git"),
        ("/srv/my project", "file:///srv/my%20project"),
        ("/srv/50% \u202e", "file:///srv/50%25%20%E2%80%AE"),
        ("/srv/\udcff", "file:///srv/%FF"),
    ],
)
def test_the_address_of_a_path_is_valid_for_every_name(path: str, address: str) -> None:
    assert local_address(path) == address
    check_repository(address)
    assert is_local(address)


@pytest.mark.parametrize(
    "text", ["blob:none", "blob:limit=0", "blob:limit=10k", "blob:limit=1g", "tree:0", "tree:12"]
)
def test_filters_of_partial_clones(text: str) -> None:
    check_clone_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "blob", "blob:none ", "blob:none\n", "BLOB:NONE", "blob:limit=", "blob:limit=-1"),
        *("blob:limit=1t", "tree:", "tree:-1", "tree:\u0661", "object:type=commit", "--filter=x"),
        *("sparse:oid=main:x", "combine:blob:none+tree:0", "blob:limit=" + "9" * 5_000),
    ],
)
def test_any_other_filter_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(InvalidRequest, match="use blob:none, blob:limit=1m or tree:0") as refused:
        check_clone_filter(text)
    assert refused.value.field == "git_clone.filter"
    assert len(refused.value.why) < 200


@pytest.mark.parametrize(
    ("entries", "folders"),
    [
        (("src", "docs/api", "#x", "a b"), True),
        (("src", "/docs"), False),
        (("src", "*.md"), False),
        (("src", "!src/x"), False),
        (("a[b]",), False),
        (("a\\ b",), False),
    ],
)
def test_plain_paths_are_folders_and_one_pattern_makes_all_of_them_patterns(
    entries: tuple[str, ...], folders: bool
) -> None:
    check_sparse(entries)
    assert are_folders(entries) is folders


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (("a", "--stdin"), "looks like an option: write '/--stdin'"),
        (("-",), "looks like an option"),
        (("a", ""), "is not a folder or a pattern"),
        (("!/",), "is not a folder or a pattern"),
        (("a/../b",), "is not a folder or a pattern"),
        (("a\n*",), "cannot be shown"),
        (("a\0",), "NUL"),
        (("x" * (PATH_BYTES_MAX + 1),), "PATH_BYTES_MAX"),
        (("a",) * (SPARSE_MAX + 1), "SPARSE_MAX"),
        (("x" * PATH_BYTES_MAX,) * (SPARSE_BYTES_MAX // PATH_BYTES_MAX + 1), "SPARSE_BYTES_MAX"),
    ],
)
def test_entries_of_a_sparse_checkout_are_no_options_and_have_limits(
    entries: tuple[str, ...], why: str
) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        check_sparse(entries)
    assert refused.value.field == "git_clone.sparse"
