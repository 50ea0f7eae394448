"""From bytes as a command writes them to Output reports of a sensible size.

Rules

1. A batch goes as soon as it has BATCH_BYTES_MAX; else BATCH_MILLIS_MAX after the one before it, but
   not within GATHER_MILLIS of its first byte. So a line that comes alone is told almost at once,
   and whoever writes without a pause costs 40 batches a second. At the end of the output the rest goes
   at once.
2. While a batch waits to be taken, the next gathers; once that is full too, nobody reads,
   and the command blocks in its write.
3. Reads of one stream that follow each other within MERGE_MILLIS become one chunk, with the
   time of the first: a program that writes a million short lines must not cost a million
   chunks. Reads of different streams are never merged, so their order stays as it was read.
4. Nor must it cost a million wake-ups: from READS_EAGER on, the short reads of a batch are
   PAUSE_MILLIS apart. 100,000 lines a second took half a processor without that, and take a tenth.
5. At most `limit` bytes are kept of an attempt. What follows is read, so that the command
   does not block for ever, and counted, but not kept.

Rejected: cutting at ends of lines or of characters. A chunk is bytes; whoever shows them
puts the pieces of a character together.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from airunner.model.jobs import Instant
from airunner.model.limits import BATCH_BYTES_MAX, BATCH_MILLIS_MAX
from airunner.model.reports import Chunk, Output, OutputCut, Report, Stream
from airunner.worker.clock import Clock
from airunner.worker.process import READ_BYTES_MAX, Process

GATHER_MILLIS: Final = 2  # for which a batch gathers at least
MERGE_MILLIS: Final = 5  # within which reads of one stream become one chunk
READS_EAGER: Final = 8  # of a batch, each as soon as there is something
PAUSE_MILLIS: Final = 1
SHORT_BYTES: Final = READ_BYTES_MAX // 4

Say = Callable[[Report], Awaitable[None]]


class _Piece:
    """A chunk that still grows."""

    __slots__ = ("at", "blocks", "stream")

    def __init__(self, stream: Stream, at: Instant, block: bytes) -> None:
        self.stream, self.at, self.blocks = stream, at, [block]


class Batcher:
    """Reads one process and reports what it writes."""

    def __init__(
        self,
        report: Say,
        clock: Clock,
        limit: int,
        *,
        step: int | None = None,
        tap: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        """`step` is the one that writes; `tap` is given what is kept, as it is read."""
        self._report = report
        self._clock = clock
        self._step = step
        self._tap = tap
        self.room = limit  # bytes that may still be kept
        self.cut = 0  # bytes that were not
        self._pieces: list[_Piece] = []
        self._size = 0
        self._reads = 0  # that made the batch
        self._since = 0.0  # when the first byte of the batch came, in the loop's time
        self._before = -1.0  # when the batch before it went
        self._over = False
        self._some = asyncio.Event()  # there is something to send, or nothing any more
        self._due = asyncio.Event()  # it cannot wait
        self._taken = asyncio.Event()  # there is room

    async def pump(self, process: Process) -> None:
        """Report all output until its end, and then how much of it was cut, if any was."""
        if not (read := await process.read()):
            return  # which is what most commands say
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
            self._over = True
            self._some.set()
            self._due.set()
        if self.cut:
            await self._report(OutputCut(1, self.cut))

    def _add(self, stream: Stream, data: bytes) -> bytes:
        """Take in what was read; what of it is kept."""
        kept = data[: self.room]
        self.cut += len(data) - len(kept)
        self.room -= len(kept)
        if not kept:
            return kept
        now = self._clock.now()
        last = self._pieces[-1] if self._pieces else None
        if last and last.stream is stream and now - last.at <= MERGE_MILLIS:
            last.blocks.append(kept)
        else:
            self._pieces.append(_Piece(stream, now, kept))
        if not self._size:
            self._since = asyncio.get_running_loop().time()
            self._some.set()
        self._size += len(kept)
        self._reads += 1
        if self._size >= BATCH_BYTES_MAX:
            self._due.set()
        return kept

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            soonest = self._since + GATHER_MILLIS / 1000
            with suppress(TimeoutError):
                async with asyncio.timeout_at(max(soonest, self._before + BATCH_MILLIS_MAX / 1000)):
                    await self._due.wait()
            if self._pieces:
                await self._report(self._take())
            if self._over and not self._pieces:
                return

    def _take(self) -> Output:
        pieces, self._pieces, self._size, self._reads = self._pieces, [], 0, 0
        self._before = asyncio.get_running_loop().time()
        if not self._over:
            self._some.clear()
            self._due.clear()
        self._taken.set()
        chunks = tuple(Chunk(piece.stream, b"".join(piece.blocks), piece.at) for piece in pieces)
        return Output(chunks, self._step)
