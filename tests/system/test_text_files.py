"""Text from files of other systems."""

from pathlib import Path

import pytest

from airunner.jobfile.reader import parse_job_file, read_job_file
from airunner.jobfile.steps import read_steps
from airunner.system.text_files import decode_text, read_file, shell_text

MARK = b"\xef\xbb\xbf"
LINES = ("name: x", "script: |", "  set -e", "  false", "metadata: {a: b}")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a", "a"),
        (MARK, ""),
        (MARK + b"a\r\n", "a\r\n"),
        ("ä\0b".encode(), "ä\0b"),
        (b"\0\0\0", "\0\0\0"),
    ],
)
def test_a_mark_is_no_part_of_a_text(data: bytes, text: str) -> None:
    assert decode_text(data) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["set -e\r\necho deployed\r\n", "ab"])
def test_utf_16_is_named_with_a_mark_and_without(encoding: str, text: str) -> None:
    with pytest.raises(ValueError, match="is UTF-16 text: save it as UTF-8"):
        decode_text(text.encode(encoding))
    with pytest.raises(ValueError, match="is UTF-16 text"):
        decode_text(("\ufeff" + text).encode(encoding))


def test_other_bytes_are_told_with_their_place() -> None:
    with pytest.raises(ValueError, match="is UTF-32 text"):
        decode_text("ab".encode("utf-32"))
    with pytest.raises(ValueError, match="is not UTF-8 text at byte 3"):
        decode_text(b"ab\xff")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("set -e\r\nfalse\r\n", "set -e\nfalse\n"),
        ("\ufeffset -e\n", "set -e\n"),
        ("a\rb\n", "a\rb\n"),  # a carriage return within a line is the script's own
        ("a\r\r\n", "a\r\n"),
        ("\ufeff\ufeffa", "\ufeffa"),
    ],
)
def test_a_shell_reads_lines_that_end_with_a_newline(text: str, read: str) -> None:
    assert shell_text(text) == read


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_job_file_means_the_same_on_every_system(mark: bytes, end: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(mark + end.join(LINES).encode())
    spec = read_job_file(path).spec()
    assert (spec.name, spec.script, spec.metadata) == ("x", "set -e\nfalse\n", {"a": "b"})


def test_a_job_file_in_utf_16_is_named(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes("\r\n".join(LINES).encode("utf-16"))
    with pytest.raises(Exception, match=r"job.yaml is not a job file: it is UTF-16 text: save it"):
        read_job_file(tmp_path / "job.yaml")


def test_json_with_a_mark_is_json_also_with_tabs(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_bytes(MARK + b'{\r\n\t"script":\t"false\\r\\n"}')
    assert read_job_file(tmp_path / "job.json").spec().script == "false\n"


def test_steps_in_quotes_lose_their_carriage_returns_too() -> None:
    text = 'steps: ["a\\r\\nb", {run: "\\uFEFFc\\r\\n"}]\nscript: null\n'
    draft = parse_job_file(text, "job.yaml", Path("x"))
    assert draft.steps
    assert [step.run for step in draft.steps] == ["a\nb", "c\n"]
    assert read_steps(["a\r\n"])[0].run == "a\n"


def test_no_more_of_a_file_is_read_than_its_limit() -> None:
    with pytest.raises(ValueError, match="is larger than 1000 bytes"):
        read_file(Path("/dev/zero"), 1000)
