"""The batcher: a command's bytes become reports."""

import asyncio
from itertools import pairwise

from airunner.model.jobs import Instant
from airunner.model.limits import BATCH_BYTES_MAX, BATCH_MILLIS_MAX
from airunner.model.reports import Output, OutputCut, Report, Stream
from airunner.model.spec import ProcessType, TerminalSize
from airunner.system.clock import LoopClock
from airunner.worker.attempt.batcher import (
    GATHER_MILLIS,
    MERGE_MILLIS,
    Batcher,
    OutputRoom,
)
from airunner.worker.process import Command
from tests.promises import holds, promise
from tests.support.fake_commands import Actor, Script, Stage
from tests.support.loop import virtually

PLENTY = 1 << 40
COMMAND = Command(
    argv=("x",),
    environment={},
    directory="/",
    process_type=ProcessType.PIPE,
    terminal=TerminalSize(),
)


class Desk:
    """Records reports and their times."""

    def __init__(self, seconds: float = 0) -> None:
        self.reports: list[Report] = []
        self.times: list[float] = []
        self._seconds = seconds

    async def take(self, report: Report) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self.reports.append(report)
        await asyncio.sleep(self._seconds)

    @property
    def outputs(self) -> list[Output]:
        return [each for each in self.reports if isinstance(each, Output)]

    def bytes_of(self, stream: Stream) -> bytes:
        chunks = [chunk for each in self.outputs for chunk in each.chunks]
        return b"".join(chunk.data for chunk in chunks if chunk.stream is stream)


async def pumped(script: Script, *, limit: int = PLENTY, seconds: float = 0) -> tuple[Desk, Actor]:
    desk = Desk(seconds)
    async with asyncio.TaskGroup() as tasks:
        stage = Stage(tasks)
        stage.scripts["x"] = script
        actor = await stage.launch(COMMAND)
        await Batcher(desk.take, LoopClock(epoch=Instant(0)), OutputRoom(limit)).pump(actor)
    return desk, actor


@promise(
    "logs/line-arrives-at-once",
    "A line arrives at once. The worker sends it within 2 ms of reading it, unless another line "
    "came less than 25 ms before. A million lines do not cause a million wake-ups.",
)
@virtually
async def test_a_line_that_comes_alone_goes_almost_at_once() -> None:
    async def script(actor: Actor) -> int:
        for line in (b"a", b"b"):
            await asyncio.sleep(1)
            await actor.write(line)
        await asyncio.sleep(10)
        return 0

    desk, _ = await pumped(script)
    assert [round(time * 1000) for time in desk.times] == [
        1000 + GATHER_MILLIS,
        2000 + GATHER_MILLIS,
    ]


@holds("logs/line-arrives-at-once")
@virtually
async def test_lines_that_follow_each_other_go_together() -> None:
    async def script(actor: Actor) -> int:
        await asyncio.sleep(1)
        for number in range(11):
            await actor.write(b"%d\n" % number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        return 0

    desk, _ = await pumped(script)
    gaps = [later - earlier for earlier, later in pairwise(desk.times)]
    assert {round(gap * 1000) for gap in gaps} == {BATCH_MILLIS_MAX}
    assert [len(each.chunks) for each in desk.outputs] == [1, 2, 3, 2, 3]


@holds("logs/line-arrives-at-once")
@virtually
async def test_one_who_writes_without_a_pause_is_not_read_line_by_line() -> None:
    lines, micros = 10_000, 10

    async def script(actor: Actor) -> int:
        for _ in range(lines):
            await actor.write(b"another line\n")
            await asyncio.sleep(micros / 1e6)
        return 0

    desk, actor = await pumped(script)
    assert len(desk.bytes_of(Stream.STDOUT)) == lines * 13
    assert actor.reads < lines / 50
    assert len(desk.reports) <= lines * micros / 1000 / BATCH_MILLIS_MAX + 1


@virtually
async def test_the_last_bytes_do_not_wait() -> None:
    async def script(actor: Actor) -> int:
        await actor.write(b"bye")
        return 0

    desk, _ = await pumped(script)
    assert desk.times == [0]


@virtually
async def test_a_command_without_output_reports_none() -> None:
    async def script(actor: Actor) -> int:
        await asyncio.sleep(1)
        return 0

    desk, _ = await pumped(script)
    assert desk.reports == []


@virtually
async def test_a_full_batch_goes_at_once() -> None:
    async def script(actor: Actor) -> int:
        for _ in range(8):
            await actor.write(b"x" * (BATCH_BYTES_MAX // 4))
        await asyncio.sleep(10)
        return 0

    desk, _ = await pumped(script)
    assert desk.times[0] == 0
    assert sum(each.size for each in desk.outputs) == 2 * BATCH_BYTES_MAX
    assert max(each.size for each in desk.outputs) < 2 * BATCH_BYTES_MAX


@virtually
async def test_reads_of_one_stream_merge_for_a_moment_only() -> None:
    async def script(actor: Actor) -> int:
        await actor.write(b"the first goes alone")
        await asyncio.sleep(0.004)
        for _ in range(10):
            await actor.write(b"x")
            await asyncio.sleep(0.002)
        return 0

    desk, _ = await pumped(script)
    _, output = desk.outputs
    times = [chunk.at for chunk in output.chunks]
    assert all(later - earlier > MERGE_MILLIS for earlier, later in pairwise(times))
    assert 3 <= len(times) <= 5


@virtually
async def test_reads_of_two_streams_stay_in_their_order() -> None:
    async def script(actor: Actor) -> int:
        for number in range(5):
            await actor.write(b"o%d" % number)
            await actor.write(b"e%d" % number, Stream.STDERR)
        return 0

    desk, _ = await pumped(script)
    chunks = [chunk for each in desk.outputs for chunk in each.chunks]
    assert b"".join(chunk.data for chunk in chunks) == b"o0e0o1e1o2e2o3e3o4e4"
    assert desk.bytes_of(Stream.STDERR) == b"e0e1e2e3e4"


@virtually
async def test_nothing_is_read_while_what_was_read_is_not_taken() -> None:
    total = 1_000_000

    async def script(actor: Actor) -> int:
        for _ in range(total // 1000):
            await actor.write(b"x" * 1000)
        return 0

    desk = Desk(seconds=60)
    async with asyncio.TaskGroup() as tasks:
        stage = Stage(tasks)
        stage.scripts["x"] = script
        actor = await stage.launch(COMMAND)
        pump = tasks.create_task(
            Batcher(desk.take, LoopClock(epoch=Instant(0)), OutputRoom(PLENTY)).pump(actor)
        )
        await asyncio.sleep(59)
        assert len(desk.reports) == 1
        assert actor.written < 5 * BATCH_BYTES_MAX
        await pump
    assert len(desk.bytes_of(Stream.STDOUT)) == total


@virtually
async def test_what_is_past_the_limit_is_read_and_counted_but_not_kept() -> None:
    async def script(actor: Actor) -> int:
        for _ in range(100):
            await actor.write(b"0123456789")
        return 0

    desk, actor = await pumped(script, limit=25)
    assert desk.bytes_of(Stream.STDOUT) == b"0123456789012345678901234"
    assert desk.reports[-1] == OutputCut(1, 975)
    assert actor.written == 1000


@virtually
async def test_a_limit_of_nothing_keeps_nothing() -> None:
    async def script(actor: Actor) -> int:
        await actor.write(b"x")
        return 0

    desk, _ = await pumped(script, limit=0)
    assert desk.reports == [OutputCut(1, 1)]


@virtually
async def test_output_that_fits_exactly_is_not_cut() -> None:
    async def script(actor: Actor) -> int:
        await actor.write(b"xyz")
        return 0

    desk, _ = await pumped(script, limit=3)
    assert [type(each) for each in desk.reports] == [Output]
