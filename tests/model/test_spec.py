"""Validation of job specs: a value at a limit is accepted, and one above it is refused by name."""

import tracemalloc
from collections.abc import Callable
from typing import Literal

import pytest
from msgspec.structs import replace

from airunner.model import limits
from airunner.model.errors import InvalidRequest
from airunner.model.job_query import JobQuery
from airunner.model.spec import (
    Checkout,
    Container,
    JobSpec,
    Mount,
    ProcessType,
    TerminalSize,
    check_queue,
    first_difference,
)
from airunner.model.validation import check_count, check_range, check_text_size, check_total_size
from tests.promises import holds


def named(count: int, size: int = 0) -> dict[str, str]:
    """`count` variables, of `size` bytes including their names."""
    names = [f"V{n:04}" for n in range(count)]
    values = dict.fromkeys(names, "")
    values[names[0]] = "x" * (size - 5 * count)
    return values


# field, maker of a spec for a value of the field, value of the limit
BOUNDS: list[tuple[str, Callable[[int], object], int]] = [
    ("queue", lambda more: JobSpec(command="x", queue="q" * (128 + more)), 128),
    ("command", lambda more: JobSpec(command="c" * (4096 + more)), 4096),
    ("args", lambda more: JobSpec(command="x", args=("",) * (1024 + more)), 1024),
    ("args", lambda more: JobSpec(command="x", args=("a" * 65536, "b" * (65536 + more))), 131072),
    ("environment", lambda more: JobSpec(command="x", environment=named(1024 + more)), 1024),
    ("environment", lambda more: JobSpec(command="x", environment=named(2, 262144 + more)), 262144),
    ("metadata", lambda more: JobSpec(command="x", metadata=named(64 + more)), 64),
    ("metadata", lambda more: JobSpec(command="x", metadata=named(2, 16384 + more)), 16384),
    ("repository", lambda more: JobSpec(command="x", repository="/" + "r" * (2047 + more)), 2048),
    ("branch", lambda more: JobSpec(command="x", branch="b" * (256 + more)), 256),
    ("working_directory", lambda m: JobSpec(command="x", working_directory="d" * (1024 + m)), 1024),
    ("owner", lambda more: JobSpec(command="x", owner="o" * (256 + more)), 256),
    ("timeout_seconds", lambda m: JobSpec(command="x", timeout_seconds=2592000 + m), 2592000),
    (
        "queue_timeout_seconds",
        lambda m: JobSpec(command="x", queue_timeout_seconds=2592000 + m),
        2592000,
    ),
    ("grace_seconds", lambda more: JobSpec(command="x", grace_seconds=3600 + more), 3600),
    ("attempts_max", lambda more: JobSpec(command="x", attempts_max=100 + more), 100),
    ("output_bytes_max", lambda m: JobSpec(command="x", output_bytes_max=2**40 + m), 2**40),
    ("terminal.columns", lambda more: TerminalSize(columns=1000 + more), 1000),
    ("terminal.rows", lambda more: TerminalSize(rows=1000 + more), 1000),
    ("git_clone.depth", lambda more: Checkout(depth=2**31 - 1 + more), 2**31 - 1),
    ("page", lambda more: JobQuery(page=2**31 - 1 + more), 2**31 - 1),
    ("page_size", lambda more: JobQuery(page_size=1000 + more), 1000),
    ("queue", lambda more: JobQuery(queue="q" * (128 + more)), 128),
]


@pytest.mark.parametrize(("field", "make", "limit"), BOUNDS)
def test_what_is_at_its_limit_passes_and_one_past_it_is_refused_by_name_and_value(
    field: str, make: Callable[[int], object], limit: int
) -> None:
    make(0)
    with pytest.raises(InvalidRequest, match=str(limit)) as refusal:
        make(1)
    assert refusal.value.field == field


LEAST: list[tuple[str, Callable[[], object]]] = [
    ("timeout_seconds", lambda: JobSpec(command="x", timeout_seconds=-1)),
    ("queue_timeout_seconds", lambda: JobSpec(command="x", queue_timeout_seconds=-1)),
    ("grace_seconds", lambda: JobSpec(command="x", grace_seconds=-1)),
    ("attempts_max", lambda: JobSpec(command="x", attempts_max=0)),
    ("output_bytes_max", lambda: JobSpec(command="x", output_bytes_max=0)),
    ("terminal.columns", lambda: TerminalSize(columns=0)),
    ("terminal.rows", lambda: TerminalSize(rows=0)),
    ("git_clone.depth", lambda: Checkout(depth=-1)),
    ("page", lambda: JobQuery(page=0)),
    ("page_size", lambda: JobQuery(page_size=0)),
]


@pytest.mark.parametrize(("field", "make"), LEAST)
def test_less_than_the_least_is_refused(field: str, make: Callable[[], object]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        make()
    assert refusal.value.field == field


def test_the_limits_that_these_tests_spell_out_are_the_ones_in_the_code() -> None:
    assert (
        limits.QUEUE_NAME_CHARS_MAX,
        limits.COMMAND_BYTES_MAX,
        limits.ARGS_MAX,
        limits.ARGS_BYTES_MAX,
        limits.ENVIRONMENT_MAX,
        limits.ENVIRONMENT_BYTES_MAX,
        limits.METADATA_MAX,
        limits.METADATA_BYTES_MAX,
        limits.PAGE_SIZE_MAX,
    ) == (128, 4096, 1024, 131072, 1024, 262144, 64, 16384, 1000)


def test_a_limit_is_in_bytes_not_in_characters() -> None:
    JobSpec(command="x", owner="é" * 128)
    with pytest.raises(InvalidRequest, match="OWNER_BYTES_MAX"):
        JobSpec(command="x", owner="é" * 129)


def test_a_job_needs_a_command() -> None:
    with pytest.raises(InvalidRequest, match="name the program to run"):
        JobSpec(command="")


TEXTS: dict[str, Callable[[str], JobSpec]] = {
    "command": lambda text: JobSpec(command=text),
    "owner": lambda text: JobSpec(command="x", owner=text),
    "working_directory": lambda text: JobSpec(command="x", working_directory=text),
    "repository": lambda text: JobSpec(command="x", repository=text),
    "branch": lambda text: JobSpec(command="x", branch=text),
}


@pytest.mark.parametrize("bad", ["a\0b", "caf\udce9"], ids=["NUL", "not UTF-8"])
@pytest.mark.parametrize("field", TEXTS)
def test_a_text_that_is_no_text_is_refused(field: str, bad: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        TEXTS[field](bad)
    assert refusal.value.field == field


@pytest.mark.parametrize("bad", ["a\0b", "caf\udce9"], ids=["NUL", "not UTF-8"])
def test_no_entry_of_a_list_or_a_map_may_be_no_text_either(bad: str) -> None:
    with pytest.raises(InvalidRequest, match="args"):
        JobSpec(command="x", args=("fine", bad))
    with pytest.raises(InvalidRequest, match="environment"):
        JobSpec(command="x", environment={"V": bad})
    with pytest.raises(InvalidRequest, match="metadata"):
        JobSpec(command="x", metadata={bad: ""})


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "É"])
def test_what_is_no_variable_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a variable name"):
        JobSpec(command="x", environment={name: "value"})


@pytest.mark.parametrize("path", ["/etc", "..", "a/../../b", "a/.."])
def test_a_working_directory_is_below_the_workspace(path: str) -> None:
    with pytest.raises(InvalidRequest, match="not a path below the workspace"):
        JobSpec(command="x", working_directory=path)


def test_a_commit_is_an_id_not_a_name() -> None:
    JobSpec(command="x", commit="0123abcd")
    with pytest.raises(InvalidRequest, match="is not the name of a commit"):
        JobSpec(command="x", commit="-main")


def test_two_dots_in_a_name_lead_nowhere() -> None:
    JobSpec(command="x", working_directory="a..b/..c")


@pytest.mark.parametrize("name", ["a", "default", "gpu/a100", "x.y_z-1:2", "9"])
def test_what_may_be_the_name_of_a_queue(name: str) -> None:
    check_queue(name)


@pytest.mark.parametrize("name", ["", "-x", "/x", "a b", "a\n", "ü", "a,b"])
def test_what_may_not(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a queue name"):
        check_queue(name, "hello.queues")


def test_the_first_difference_is_named_in_the_order_of_the_fields() -> None:
    one = JobSpec(command="x")
    assert first_difference(one, JobSpec(command="x")) is None
    other = JobSpec(command="x", process_type=ProcessType.PTY, environment={"A": "1"})
    assert first_difference(one, other) == "environment"
    assert first_difference(one, JobSpec(command="x", checkout=None)) == "git_clone"


Check = Literal["within", "text", "count", "total"]
SENTENCES: dict[Check, tuple[Callable[[], None], str]] = {
    "within": (lambda: check_range("f", 9, 1, 8, "jobs"), "f: 9 is not within 1 to 8 jobs"),
    "text": (lambda: check_text_size("f", "abc", 2, "F_MAX"), "f: is longer than F_MAX (2 bytes)"),
    "count": (
        lambda: check_count("f", ["a", "b"], 1, "F_MAX"),
        "f: has 2 entries, more than F_MAX (1)",
    ),
    "total": (
        lambda: check_total_size("f", ["ab", "c"], 2, "F_MAX"),
        "f: takes 3 bytes, more than F_MAX (2 bytes)",
    ),
}


@pytest.mark.parametrize("which", SENTENCES)
def test_a_refusal_is_one_sentence_with_the_limit_and_what_came(which: Check) -> None:
    check, sentence = SENTENCES[which]
    with pytest.raises(InvalidRequest) as refusal:
        check()
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("image", "runtime", "mounts", "limit"),
    [
        ("i" * (limits.PATH_BYTES_MAX + 1), "", (), "container.image: .*PATH_BYTES_MAX"),
        ("i", "r" * (limits.PATH_BYTES_MAX + 1), (), "container.runtime: .*PATH_BYTES_MAX"),
        ("i", "", (("/", "/"),) * (limits.MOUNTS_MAX + 1), "container.mounts: .*MOUNTS_MAX"),
        ("i", "", (("/", "x" * 1025),), "container.mounts: .*PATH_BYTES_MAX"),
    ],
)
def test_a_container_keeps_to_its_limits(
    image: str, runtime: str, mounts: tuple[tuple[str, str], ...], limit: str
) -> None:
    chosen = tuple(Mount(source=source, target=target) for source, target in mounts)
    with pytest.raises(InvalidRequest, match=limit):
        Container(image=image, runtime=runtime, mounts=chosen)


def test_a_container_at_its_limits_is_fine() -> None:
    path = "p" * limits.PATH_BYTES_MAX
    mounts = (Mount(source=path, target=path),) * limits.MOUNTS_MAX
    assert Container(image=path, runtime=path, mounts=mounts).mounts == mounts


@holds("server/memory-is-bounded")
@pytest.mark.parametrize("letter", ["x", "☃"])
def test_the_texts_of_a_large_job_count_as_no_less_than_they_take(letter: str) -> None:
    size = 127 // len(letter.encode())
    tracemalloc.start()
    try:
        spec = JobSpec(
            command="true",
            args=tuple(f"{number} {letter * (size - 5)}" for number in range(limits.ARGS_MAX)),
            environment={f"NAME_{number}": letter * (size - 5) for number in range(1_000)},
            metadata={f"key {number}": f"{letter * 20} {number}" for number in range(64)},
            artifacts=tuple(f"{letter * 300}/{number}" for number in range(64)),
            container=Container(
                image="image",
                mounts=tuple(
                    Mount(source=f"{letter * 300}{number}", target=f"{letter * 300}")
                    for number in range(64)
                ),
            ),
        )
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < spec.spec_bytes + 64 * limits.KIB


def test_the_texts_of_a_small_job_count_as_nothing() -> None:
    small = JobSpec(command="make", args=("all",) * 8, environment={"CI": "true"})
    assert small.spec_bytes == 0
    assert replace(small, args=("x" * limits.SPEC_BYTES_SMALL,)).spec_bytes > 2_000
    assert replace(small, checkout=None).spec_bytes == 0
    sparse = Checkout(sparse=("x" * 1_000,) * 3)
    assert replace(small, checkout=sparse).spec_bytes > 3_000
