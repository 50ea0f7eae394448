"""The artifact patterns: the matches of pathspec, in linear time."""

import re
from itertools import product
from random import Random
from time import thread_time

import pytest
from pathspec.pattern import RegexPattern
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from airunner.worker.workspace.results.patterns import Patterns
from tests.hostile.dose import DOSE
from tests.promises import promise

PARTS = ["a", "b", "?", "*", "**", "[ab]", "[!a]", "[^b]", "[]a]", r"\*", r"\a", "ab", ".c"]
NAMES = ["a", "b", "ab", "ba", "aab", ".c", "a.c", "*", "]"]


def oracle(texts: list[str], path: str) -> bool | None:
    """Whether pathspec's expressions match; None if it takes one of them for no pattern.

    A set in brackets never matches a slash, which is git's rule and not pathspec's.
    """
    included, strongest = False, 0
    for text in reversed(texts):
        expression, including = GitIgnoreSpecPattern.pattern_to_regex(text)
        if expression is None:
            return None
        pattern = RegexPattern(re.compile(expression.replace("[^", "[^/")), including)
        if match := pattern.match_file(path):
            strength = 1 if match.match.groupdict().get("ps_d") else 2
            if strength > strongest:
                included, strongest = bool(including), strength
    return included


def some_pattern(dice: Random) -> str:
    names = [
        "".join(dice.choices(PARTS, k=dice.choice([1, 1, 2, 3]))) for _ in range(dice.randint(1, 4))
    ]
    return dice.choice(["", "", "/"]) + "/".join(names) + dice.choice(["", "", "/"])


def some_path(dice: Random) -> str:
    return "/".join(dice.choices(NAMES, k=dice.randint(1, 5))) + dice.choice(["", "", "/"])


def test_random_patterns_match_the_paths_that_pathspec_matches() -> None:
    dice = Random(7)
    matched = 0
    for _ in range(4_000 * DOSE):
        texts = [some_pattern(dice)]
        texts += [dice.choice(["", "!"]) + some_pattern(dice) for _ in range(dice.randint(0, 2))]
        ours = Patterns(texts)
        for path in (some_path(dice) for _ in range(10)):
            theirs = oracle(texts, path)
            assert theirs is not None, texts
            assert ours.match(path) is theirs, (texts, path)
            matched += theirs
    assert matched > 1_000


def test_short_patterns_match_the_paths_that_pathspec_matches() -> None:
    paths = [
        "/".join(names) + end
        for n in (1, 2, 3)
        for names in product("ab", repeat=n)
        for end in ("", "/")
    ]
    for length in range(1, 6):
        for letters in product("a*/", repeat=length):
            text = "".join(letters)
            if text == "/" or "//" in text:
                continue
            ours = Patterns([text])
            for path in paths:
                assert ours.match(path) is oracle([text], path), (text, path)


@promise(
    "results/patterns-take-linear-time",
    "No artifact pattern takes more than linear time on any path, on the worker and in "
    "`airunner artifacts`.",
)
@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 8 + "b",
        "*a" * 400 + "b",
        "*" * 900 + "b",
        "*?" * 400 + "b",
        "*[ab]" * 150 + "c",
        "**/a/" * 150 + "b",
        "**/*a*a/" * 100 + "b",
        "a/**/" * 150 + "*a*ab",
        "*/" * 400 + "b",
    ],
)
@pytest.mark.parametrize(
    "path", ["a" * 255, "/".join(["a" * 255] * 15), "a/" * 2_000 + "a", "a/" * 2_000]
)
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    patterns = Patterns([pattern[:1_000]])
    began = thread_time()
    patterns.match(path)
    assert thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.xml", "a\nb/c.xml"),
        ("a\nb", "x/a\nb"),
        ("a?b", "a\nb"),
        ("*", "\udcff"),
        ("a*", "a\udcff"),
    ],
)
def test_a_name_may_have_any_character(pattern: str, path: str) -> None:
    assert Patterns([pattern]).match(path)


@pytest.mark.parametrize(("pattern", "path"), [("a[!b]c", "a/c"), ("a[+-9]c", "a/c")])
def test_a_set_of_characters_has_no_slash(pattern: str, path: str) -> None:
    assert not Patterns([pattern]).match(path)


@pytest.mark.parametrize(
    "text", ["[a", "[b-a]", "a\\", "[[:alpha:]]", "#x", "/", " ", "./a", "!./a", "!a"]
)
def test_what_matches_no_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        Patterns([text])
