"""The intake of a worker's words: the texts of a job that reports much are shorter."""

from airunner.model.jobs import Instant
from airunner.model.limits import INTAKE_TEXT_BYTES_MAX, LATER_TEXT_BYTES_MAX, LONG_REPORTS_MAX
from airunner.model.reports import Chunk, Output, OutputCut, Remark, Report, Stream, text_size
from airunner.server.intake import bounded_reports
from tests.promises import holds

LONG = "x" * 100_000


@holds("logs/log-of-a-job-is-bounded")
def test_long_texts_beyond_a_number_of_reports_are_cut_to_a_smaller_size() -> None:
    output = Output((Chunk(Stream.STDOUT, b"out", Instant(0)),))
    reports: list[tuple[int, Report]] = [
        (1, Remark(LONG)),
        (2, output),
        (3, OutputCut(1, 9)),
        (4, Remark(LONG)),
        (5, Remark("short")),
    ]
    bounded = list(bounded_reports(reports, LONG_REPORTS_MAX - 1))
    assert [number for number, _ in bounded] == [1, 2, 3, 4, 5]
    sizes = [text_size(report) for _, report in bounded if isinstance(report, Remark)]
    assert LATER_TEXT_BYTES_MAX < sizes[0] <= INTAKE_TEXT_BYTES_MAX
    assert sizes[1] <= LATER_TEXT_BYTES_MAX
    assert [bounded[1][1], bounded[2][1], bounded[4][1]] == [
        output,
        OutputCut(1, 9),
        Remark("short"),
    ]
