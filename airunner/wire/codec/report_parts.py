"""The codec of a large message of reports, decoded in parts.

A worker of the published contract sends all that it has after an outage in one message. The server
decodes and stores one part after the other, so that no message holds it for long.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from airunner.model.jobs import Instant
from airunner.model.limits import MIB
from airunner.model.reports import Output, OutputCut, Report, count_sequences
from airunner.wire.codec.reports import batch_begin, decode_chunks, decoder_of, report_number
from airunner.wire.codec.steps import decode_output_step
from airunner.wire.codec.times import encode_instant
from airunner.wire.job.v1 import job_pb2 as pb

PART_ITEMS_MAX: Final = 1_000  # items after which a part of a message takes no more
PART_BYTES_MAX: Final = 1 * MIB  # output after which a part of a message takes no more


def decode_reports_in_parts(
    events: Iterable[pb.JobEvent], now: Instant
) -> Iterator[list[tuple[int, Report]]]:
    """Decode any number of reports, each with its number or 0; `now` is the time of those without."""
    part: list[tuple[int, Report]] = []
    numbers = size = 0
    stamp = encode_instant(now) or Timestamp()
    for event in events:
        otherwise = event.timestamp if event.timestamp.seconds > 0 else stamp
        for number, report in _pieces(event, otherwise):
            part.append((number, report))
            numbers += 1 if isinstance(report, OutputCut) else count_sequences(report)
            size += report.size if isinstance(report, Output) else 0
            if numbers >= PART_ITEMS_MAX or size >= PART_BYTES_MAX:
                yield part
                part, numbers, size = [], 0, 0
    if part:
        yield part


def _pieces(event: pb.JobEvent, otherwise: Timestamp) -> Iterator[tuple[int, Report]]:
    """The report of an event with its number; a large batch in pieces of PART_ITEMS_MAX items."""
    number, count = report_number(event), len(event.output_batch.outputs)
    if count <= PART_ITEMS_MAX:
        if report := decoder_of(event)(event, otherwise):
            yield number, report
        return
    begin = batch_begin(event, otherwise)
    for start in range(0, count, PART_ITEMS_MAX):
        items = event.output_batch.outputs[start : start + PART_ITEMS_MAX]
        piece = Output(decode_chunks(items, begin), decode_output_step(event.output_batch))
        yield (number + start if number else 0), piece
