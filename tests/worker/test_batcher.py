"""What becomes of a command's bytes on their way into reports."""

import asyncio
from itertools import pairwise

from airunner.jobs import Instant
from airunner.limits import BATCH_BYTES_MAX, BATCH_MILLIS_MAX
from airunner.reports import Output, OutputCut, Report, Stream
from airunner.spec import ProcessType, TerminalSize
from airunner.worker.batcher import MERGE_MILLIS, Batcher
from airunner.worker.clock import LoopClock
from airunner.worker.process import Command
from tests.support.loop import virtually
from tests.support.stage import Actor, Script, Stage

PLENTY = 1 << 40
COMMAND = Command(
    argv=("x",),
    environment={},
    directory="/",
    process_type=ProcessType.PIPE,
    terminal=TerminalSize(),
)


class Desk:
    """Takes reports, and the time at which each came."""

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
        await Batcher(desk.take, LoopClock(Instant(0)), limit).pump(actor)
    return desk, actor


@virtually
async def test_a_few_bytes_go_soon_and_together() -> None:
    async def script(actor: Actor) -> int:
        await asyncio.sleep(1)
        await actor.write(b"a")
        await asyncio.sleep(0.02)
        await actor.write(b"b")
        await asyncio.sleep(10)
        return 0

    desk, _ = await pumped(script)
    assert [chunk.data for chunk in desk.outputs[0].chunks] == [b"a", b"b"]
    assert round(desk.times[0] * 1000) == 1000 + BATCH_MILLIS_MAX


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
        for _ in range(10):
            await actor.write(b"x")
            await asyncio.sleep(0.002)
        return 0

    desk, _ = await pumped(script)
    (output,) = desk.outputs
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
    (output,) = desk.outputs
    assert b"".join(chunk.data for chunk in output.chunks) == b"o0e0o1e1o2e2o3e3o4e4"
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
        pump = tasks.create_task(Batcher(desk.take, LoopClock(Instant(0)), PLENTY).pump(actor))
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
