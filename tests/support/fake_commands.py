"""Fake commands and workspaces for tests, in memory, with the contracts of the real ones.

A command is an async function, the script, that writes, waits and returns its exit code. Its writes
fill a pipe of PIPE_BYTES; a full pipe makes the script wait, and a read returns the whole content.
SIGTERM ends the command unless the script traps SIGTERM; SIGKILL always ends it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

from airunner.model.jobs import Job, JobId
from airunner.model.reports import CloneStarted, Report, Stream
from airunner.model.spec import TerminalSize
from airunner.model.steps import Step
from airunner.worker.process import (
    Command,
    CommandNotFound,
    Deadline,
    Exit,
    LaunchLost,
    NotExecutable,
    ProcessLost,
    SupervisorLost,
    SupervisorStatistics,
)
from airunner.worker.workspace.workspace import (
    ArtifactSink,
    Collected,
    NoRoom,
    Results,
    Revision,
    SetupFailed,
    Workspace,
)

PIPE_BYTES = 64 * 1024
SCRIPTS = "/room/scripts/"  # the folder of the shells' scripts

Script = Callable[["Actor"], Awaitable[int]]


class Actor:
    """A fake process: the operations of its script, and the interface of a Process."""

    def __init__(self, pid: int, command: Command) -> None:
        self.pid = pid
        self.command = command
        self.terminated = asyncio.Event()  # SIGTERM has arrived
        self.traps = False  # SIGTERM does not end the command
        self.written = 0
        self.reads = 0
        self.task: asyncio.Task[None] | None = None
        self._exit: Exit | None = None
        self._lost = False
        self._pipe: deque[tuple[Stream, bytes]] = deque()
        self._fill = 0
        self._news = asyncio.Condition()

    # For the script

    async def write(self, data: bytes, stream: Stream = Stream.STDOUT) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self._fill + len(data) <= PIPE_BYTES)
            self._pipe.append((stream, data))
            self._fill += len(data)
            self.written += len(data)
            self._news.notify_all()

    # For the test

    @property
    def alive(self) -> bool:
        return self._exit is None and not self._lost

    async def lose(self) -> None:
        """Kills the supervisor, and the command with it."""
        self._lost = True
        await self._die(None)

    # For the worker

    async def read(self) -> tuple[Stream, bytes] | None:
        async with self._news:
            await self._news.wait_for(lambda: self._pipe or not self.alive)
            if not self._pipe:
                return None
            self.reads += 1
            stream, data = self._pipe.popleft()
            while self._pipe and self._pipe[0][0] is stream:
                data += self._pipe.popleft()[1]
            self._fill -= len(data)
            self._news.notify_all()
            return stream, data

    async def wait(self) -> Exit:
        async with self._news:
            await self._news.wait_for(lambda: not self.alive)
        if self._exit is None:
            raise ProcessLost("the supervisor of this worker's processes has ended")
        return self._exit

    def resize(self, size: TerminalSize) -> None:
        pass

    async def terminate(self, grace: float) -> None:
        if not self.alive:
            return
        if grace > 0:
            self.terminated.set()
            if not self.traps:
                await self._die(Exit(143, 15))
                return
            try:
                async with asyncio.timeout(grace), self._news:
                    await self._news.wait_for(lambda: not self.alive)
            except TimeoutError:
                pass
        await self._die(Exit(137, 9))

    async def close(self) -> None:
        await self.terminate(0)

    async def play(self, script: Script) -> None:
        """Runs the script to its end."""
        try:
            code = await script(self)
        except asyncio.CancelledError:
            if self.alive:
                raise
            return
        await self._end(Exit(code))

    async def _die(self, how: Exit | None) -> None:
        if self.task and (self.alive or self._lost) and not self.task.done():
            await self._end(how)
            self.task.cancel()

    async def _end(self, how: Exit | None) -> None:
        if self._exit is None:
            self._exit = how
        async with self._news:
            self._news.notify_all()


class Stage:
    """A Launcher of scripts."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.scripts: dict[str, Script] = {}
        self.shells = {"bash", "sh"}  # the installed shells
        self.locked: set[str] = set()  # commands that cannot be executed
        self.unwatched: set[str] = set()  # commands whose shim dies before it reports their start
        self.waiting: set[str] = set()  # commands that never start
        self.closed = False  # no command can be launched
        self.dead = asyncio.Event()  # the supervisor has ended, and the worker sees it
        self.actors: list[Actor] = []
        self._tasks = tasks
        self._pids = count(100)

    async def launch(self, command: Command) -> Actor:
        await asyncio.sleep(0)
        if self.closed:
            raise SupervisorLost("the supervisor of this worker's processes has ended")
        name = command.argv[0]
        if name in self.shells:  # the shell runs the script that its file names
            name = command.argv[-1].removeprefix(SCRIPTS)
        if name in self.locked:
            raise NotExecutable(f"{name} cannot be executed")
        if name in self.unwatched:
            raise LaunchLost("the shim that watches over this command was killed")
        if name in self.waiting:
            await asyncio.Event().wait()
        if name not in self.scripts:
            raise CommandNotFound(f"there is no command {name}")
        actor = Actor(next(self._pids), command)
        self.actors.append(actor)
        actor.task = self._tasks.create_task(actor.play(self.scripts[name]))
        return actor

    async def ended(self) -> None:
        await self.dead.wait()

    def statistics(self) -> SupervisorStatistics:
        return SupervisorStatistics(shims_busy=len(self.alive), commands_started=len(self.actors))

    async def close(self) -> None:
        self.closed = True
        for actor in self.actors:
            await actor.terminate(0)

    @property
    def alive(self) -> list[Actor]:
        return [actor for actor in self.actors if actor.alive]


class Rooms:
    """Workspaces without a disk, with given results of checkouts and artifact collections."""

    def __init__(self) -> None:
        self.open: list[Room] = []
        self.refused = ""  # a sentence about the variables of each step
        self.fetching: Callable[[], Awaitable[None]] | None = None
        self.collecting: Callable[[ArtifactSink], Awaitable[Collected]] | None = None
        self.brought: tuple[Step, ...] | None = None  # the steps from the jobs' sources
        self.results: Results | None = None  # the results of all jobs
        self.left: list[JobId] = []  # jobs that have released their sources
        self.full = False

    def make(self, job: Job) -> Workspace:
        if self.full:
            raise NoRoom("the disk is full: No space left on device")
        room = Room(self, job)
        self.open.append(room)
        return room

    def has_room(self) -> bool:
        return not self.full

    async def sweep(self) -> None:
        pass

    def close(self) -> None:
        assert not self.open


class Room:
    def __init__(self, rooms: Rooms, job: Job) -> None:
        self._rooms, self._job = rooms, job
        self.results = rooms.results

    @property
    def home(self) -> str:
        return "/room/home"

    @property
    def tmp(self) -> str:
        return "/room/tmp"

    @property
    def revision(self) -> Revision:
        return Revision()

    async def fetch(self, report: Callable[[Report], Awaitable[None]], deadline: Deadline) -> None:
        if self._rooms.fetching:
            await report(CloneStarted(self._job.spec.repository, "", "", self._job.created_at))
            await self._rooms.fetching()

    def steps(self) -> tuple[Step, ...]:
        if self._rooms.brought is None:
            raise SetupFailed("there is no job.json in the source")
        return self._rooms.brought

    @property
    def variables(self) -> Mapping[str, str]:
        return {}

    @property
    def variables_file(self) -> str:
        return "/room/variables"

    def open_variables(self) -> None:
        pass

    def take_variables(self) -> None:
        if self._rooms.refused:
            raise ValueError(self._rooms.refused)

    async def script(self, text: str) -> str:
        return f"{SCRIPTS}{text}"

    async def collect(self, sink: ArtifactSink) -> Collected:
        if self._rooms.collecting:
            return await self._rooms.collecting(sink)
        return Collected()

    async def release_folders(self) -> None:
        self._rooms.left.append(self._job.id)

    def directory(self, wanted: str = "") -> str:
        if wanted:
            raise SetupFailed(f"there is no working directory {wanted!r}")
        return "/room/checkout"

    async def remove(self) -> None:
        self._rooms.open.remove(self)
