"""Batches of a command's output: Output reports of a sensible size.

Rules

1. A batch is sent as soon as it has BATCH_BYTES_MAX; else BATCH_MILLIS_MAX after the last batch,
   but not within GATHER_MILLIS of its first byte. So a single line is sent almost at once, and a
   command that writes without a pause costs 40 batches a second. At the end of the output, the
   rest is sent at once.
2. While a batch waits to be sent, the next one gathers. Once that is full too, the batcher stops
   reading, and the command blocks in its write.
3. Successive reads of one stream within MERGE_MILLIS become one chunk, with the time of the first
   read: a million short lines must not cost a million chunks. Reads of different streams are never
   merged, so the order of reading is kept.
4. A million short lines must not cost a million wake-ups either: after READS_EAGER reads, the short
   reads of a batch are PAUSE_MILLIS apart. 100,000 lines a second took half a processor without
   this rule, and take a tenth of one with it.
5. All batchers of an attempt together keep at most the bytes of its OutputRoom. A batcher reads and
   counts further bytes, so that the command does not block for ever, and drops them.

Rejected: cuts at the ends of lines or of characters. A chunk is bytes; its reader joins the pieces
of a character.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from airunner.model.jobs import Instant
from airunner.model.limits import BATCH_BYTES_MAX, BATCH_MILLIS_MAX
from airunner.model.reports import Chunk, Output, OutputCut, Report, Stream
from airunner.system.clock import Clock
from airunner.worker.process import READ_BYTES_MAX, Process

GATHER_MILLIS: Final = 2  # minimum time from a batch's first byte to its sending
MERGE_MILLIS: Final = 5  # within which reads of one stream become one chunk
READS_EAGER: Final = 8  # first reads of a batch, which follow each other without a pause
PAUSE_MILLIS: Final = 1  # between the later reads
SHORT_BYTES: Final = READ_BYTES_MAX // 4

Send = Callable[[Report], Awaitable[None]]


class _OpenChunk:
    """A chunk to which further reads may be added."""

    __slots__ = ("at", "blocks", "stream")

    def __init__(self, stream: Stream, at: Instant, block: bytes) -> None:
        self.stream, self.at, self.blocks = stream, at, [block]


class OutputRoom:
    """The bytes of output that an attempt may still report, of all of its commands."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class Batcher:
    """Reads the output of one process and sends it as reports."""

    def __init__(
        self,
        report: Send,
        clock: Clock,
        room: OutputRoom,
        *,
        step: int | None = None,
        tap: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        """`step` is the index of the step that writes; `tap` gets the kept bytes of each read."""
        self._report = report
        self._clock = clock
        self._step = step
        self._tap = tap
        self._room = room
        self.cut = 0  # bytes that were dropped
        self._chunks: list[_OpenChunk] = []  # the batch that gathers
        self._size = 0
        self._reads = 0  # of the batch
        self._started_at = 0.0  # time of the batch's first byte, in the loop's time
        self._sent_at = -1.0  # time of the last batch
        self._at_end = False
        self._pending = asyncio.Event()  # the batch has a byte, or the output has ended
        self._due = asyncio.Event()  # the batch is full, or the output has ended
        self._taken = asyncio.Event()  # the batch was taken, so there is room for the next

    async def pump(self, process: Process) -> None:
        """Sends the output until its end, and then the number of dropped bytes, if any."""
        if not (read := await process.read()):
            return  # most commands write nothing
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            while read:
                kept = self._add(*read)
                if self._tap and kept:
                    await self._tap(kept)
                while self._size >= BATCH_BYTES_MAX:
                    self._taken.clear()
                    await self._taken.wait()
                if self._reads >= READS_EAGER and len(read[1]) < SHORT_BYTES:
                    await asyncio.sleep(PAUSE_MILLIS / 1000)
                read = await process.read()
            self._at_end = True
            self._pending.set()
            self._due.set()
        if self.cut:
            await self._report(OutputCut(1, self.cut))

    def _add(self, stream: Stream, data: bytes) -> bytes:
        """Adds the bytes of a read to the batch; returns the bytes that are kept."""
        kept = data[: self._room.left]
        self.cut += len(data) - len(kept)
        self._room.left -= len(kept)
        if not kept:
            return kept
        now = self._clock.now()
        last = self._chunks[-1] if self._chunks else None
        if last and last.stream is stream and now - last.at <= MERGE_MILLIS:
            last.blocks.append(kept)
        else:
            self._chunks.append(_OpenChunk(stream, now, kept))
        if not self._size:
            self._started_at = asyncio.get_running_loop().time()
            self._pending.set()
        self._size += len(kept)
        self._reads += 1
        if self._size >= BATCH_BYTES_MAX:
            self._due.set()
        return kept

    async def _send(self) -> None:
        while True:
            await self._pending.wait()
            soonest = self._started_at + GATHER_MILLIS / 1000
            with suppress(TimeoutError):
                async with asyncio.timeout_at(
                    max(soonest, self._sent_at + BATCH_MILLIS_MAX / 1000)
                ):
                    await self._due.wait()
            if self._chunks:
                await self._report(self._take())
            if self._at_end and not self._chunks:
                return

    def _take(self) -> Output:
        taken, self._chunks, self._size, self._reads = self._chunks, [], 0, 0
        self._sent_at = asyncio.get_running_loop().time()
        if not self._at_end:
            self._pending.clear()
            self._due.clear()
        self._taken.set()
        chunks = tuple(Chunk(each.stream, b"".join(each.blocks), each.at) for each in taken)
        return Output(chunks, self._step)
