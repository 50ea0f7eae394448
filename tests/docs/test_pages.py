"""The pages of docs/: generated pages match their sources, and no page outgrows its reader."""

import re
from collections import Counter
from pathlib import Path
from types import FunctionType

import pytest

from airunner.model import limits
from tests.docs.limit_page import UNITS, Limit, bounds, sections, shown
from tests.docs.markers import ROOT, Markers, read_markers
from tests.docs.pages import PAGES
from tests.docs.promise_page import SECTIONS
from tests.mutations.mutation import Mutation
from tests.mutations.mutations import MUTATIONS
from tests.rounds import checker as rounds
from tests.simulation import checker as simulation
from tests.store.invariants import INVARIANTS

SIZES = {"README.md": 12_000, "ARCHITECTURE.md": 20_000}  # bytes
LIMITS = [limit for section in sections() for limit in section.limits]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_generated_page_is_fresh(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page](), "run make docs"


@pytest.mark.parametrize("page", SIZES)
def test_a_page_is_short_enough_to_be_read(page: str) -> None:
    assert (ROOT / page).stat().st_size <= SIZES[page]


def test_every_promise_is_stated_once() -> None:
    ids = Counter(id for id, _, _ in read_markers().stated)
    assert len(ids) > 80
    assert not [id for id, times in ids.items() if times > 1]


def test_every_promise_has_a_section_and_whole_sentences() -> None:
    for id, text, check in read_markers().stated:
        section, _, name = id.partition("/")
        assert section in SECTIONS, f"{check}: {id}"
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name), f"{check}: {id}"
        assert re.fullmatch(r"[A-Z`].*\.", text), f"{check}: {text}"


def test_every_marker_names_a_promise_that_is_stated() -> None:
    markers = read_markers()
    known = {id for id, _, _ in markers.stated}
    assert not [(id, check) for id, check in markers.held if id not in known]


def test_every_marked_function_is_run_as_a_check() -> None:
    assert not read_markers().idle


@pytest.mark.parametrize(
    "check", [*INVARIANTS, *simulation.CHECKS, *rounds.CHECKS], ids=lambda each: each.__name__
)
def test_every_check_of_the_random_tests_holds_a_promise(check: FunctionType) -> None:
    file = check.__module__.replace(".", "/")
    checks = {each for promise in read_markers().promises() for each in promise.checks}
    assert f"{file}.py::{check.__name__}" in checks


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name.replace(" ", "_"))
def test_every_mutation_names_a_promise_that_is_stated(mutation: Mutation) -> None:
    assert mutation.promise in {id for id, _, _ in read_markers().stated}


def test_markers_are_read_off_tests_checkers_and_stories(tmp_path: Path) -> None:
    suite = tmp_path / "tests"
    (suite / "stories").mkdir(parents=True)
    (suite / "stories" / "one.txt").write_text("# A story.\n# holds: jobs/a-b jobs/c-d\n\nlease\n")
    (suite / "test_one.py").write_text(
        '@promise("jobs/a-b", "One. " "Two.")\nasync def test_a() -> None: ...\n\n'
        '@holds("jobs/a-b")\ndef forgotten() -> None: ...\n'
    )
    (suite / "checker.py").write_text(
        '@holds("jobs/a-b", "jobs/c-d")\ndef a(case: Case) -> None: ...\n\n'
        "CHECKS: Final[tuple[Check, ...]] = (a,)\n"
    )
    markers = read_markers(suite)
    assert markers == Markers(
        stated=[("jobs/a-b", "One. Two.", "tests/test_one.py::test_a")],
        held=[
            ("jobs/a-b", "tests/checker.py::a"),
            ("jobs/c-d", "tests/checker.py::a"),
            ("jobs/a-b", "tests/test_one.py::forgotten"),
            ("jobs/a-b", "tests/stories/one.txt"),
            ("jobs/c-d", "tests/stories/one.txt"),
        ],
        idle=["tests/test_one.py::forgotten"],
    )
    (promise,) = markers.promises()
    assert promise.checks == (
        "tests/test_one.py::test_a",
        "tests/checker.py::a",
        "tests/stories/one.txt",
        "tests/test_one.py::forgotten",
    )


def test_every_limit_is_on_the_page_with_its_meaning_and_effect() -> None:
    names = [name for name in vars(limits) if name.isupper() and name not in UNITS]
    assert [limit.name for limit in LIMITS] == names
    for limit in LIMITS:
        assert re.match(r"[A-Z]", limit.meaning), limit
        assert limit.beyond, limit
    for bound in bounds():
        assert bound.meaning, f"{bound.module}: {bound.name} has no comment"


@pytest.mark.parametrize(
    "limit", [limit for limit in LIMITS if limit.flag], ids=lambda each: each.name
)
def test_the_flag_that_sets_a_limit_exists(limit: Limit) -> None:
    match = re.fullmatch(r"`(\w+) (--[a-z-]+)`", limit.flag)
    assert match, limit.flag
    command, flag = match.groups()
    modules = (ROOT / "airunner" / "cli").rglob(f"{command}.py")
    assert any(f'"{flag}"' in path.read_text(encoding="utf-8") for path in modules)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("A_BYTES_MAX", 16 * limits.MIB, "16 MiB"),
        ("A_BYTES_MAX", 128, "128 B"),
        ("A_BYTES_PER_JOB", 1024 * limits.GIB, "1 TiB"),
        ("TIMEOUT_SECONDS_MAX", 2_592_000, "2,592,000 s (30 days)"),
        ("A_SECONDS_MAX", 900.0, "900 s"),
        ("BATCH_MILLIS_MAX", 25, "25 ms"),
        ("QUEUE_NAME_CHARS_MAX", 128, "128 characters"),
        ("JOBS_MAX", 1_000_000, "1,000,000"),
    ],
)
def test_a_value_has_the_unit_of_its_name(name: str, value: float, text: str) -> None:
    assert shown(name, value) == text
