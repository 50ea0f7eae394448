"""Campaigns of the crash test: under load, a process or the server's disk is attacked at random.

    round     clients receive a random number of events -> a signal, or an attack on the disk -> a
              restart after a random time
    campaign  rounds; then every process restarts, every open job ends, and every job is read again

The seed decides the moments and the victims. The timing of the machine in between does not depend
on the seed: the same seed gives the same attacks, but not the same sequence of events.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Collection
from contextlib import aclosing, suppress
from random import Random
from typing import Final

from airunner.model.errors import Refused
from airunner.model.job_events import JobFinished
from airunner.model.jobs import JobId
from airunner.wire.client.follow import follow
from airunner.wire.client.jobs_client import JobsClient
from airunner.worker.supervisor.trees.subreaper_tree import children
from tests.rounds.clients import Clients
from tests.rounds.disk_attacks import DISK_DEEDS, DiskAttacks
from tests.rounds.expectations import is_alive
from tests.rounds.observations import Sightings, View
from tests.rounds.worker_disk_attacks import WORKER_DISK_DEEDS, WorkerDiskAttacks
from tests.support.disk import Disk
from tests.support.installation import Process, Site

LEASE_SECONDS: Final = 3
CLIENTS: Final = 5
WORKERS: Final = 3
DRAIN_SECONDS_MAX: Final = 120.0  # from the last round until every job has ended
PROVED: Final = 3  # jobs, by `airunner verify`
MOMENT_SECONDS_MAX: Final = 1.5  # the longest wait of a round for the clients' events

SERVER, WORKER, BOTH, STOP, DRAIN = "server", "worker", "both", "stop", "drain"
FREEZE_SERVER, FREEZE_WORKER = "frozen server", "frozen worker"
SUPERVISOR = "supervisor"
DEEDS: Final = {
    SERVER: 10,
    WORKER: 10,
    BOTH: 4,
    STOP: 2,
    DRAIN: 2,
    FREEZE_SERVER: 2,
    FREEZE_WORKER: 4,
    SUPERVISOR: 4,
    **DISK_DEEDS,
    **WORKER_DISK_DEEDS,
}
OF_WORKERS: Final = (WORKER, DRAIN, FREEZE_WORKER, SUPERVISOR, *WORKER_DISK_DEEDS)


class Campaign:
    """A server with its workers and clients, and the attacks on them."""

    def __init__(
        self,
        site: Site,
        seed: str,
        *,
        durable: bool = True,
        disks: tuple[Disk, Disk] | None = None,
        only: Collection[str] = (),
    ) -> None:
        """`durable`: the server's log survives its death; otherwise only workers are killed.

        `disks`: those of the log and of the first worker; without them, the attacks on them are
        counted as skipped.
        `only`: the kinds of attack; none: all of them.
        """
        self.site = site
        self._dice = Random(f"{seed} campaign")
        self._durable = durable
        self._marks = site.folder / "marks"
        self._marks.mkdir()
        self._deeds = {
            deed: weight
            for deed, weight in DEEDS.items()
            if (durable or deed in OF_WORKERS) and (not only or deed in only)
        }
        self.clients = Clients(site, self._marks, seed)
        self._workers: list[Process | None] = [None] * WORKERS
        self._hired = 0
        self._tasks: asyncio.TaskGroup
        self.deeds: Counter[str] = Counter()
        self._disk: DiskAttacks | None = None
        self._worker_disk: WorkerDiskAttacks | None = None
        self._work = {index: site.folder / f"work-{index}" for index in range(WORKERS)}
        if disks:
            disk, of_worker = disks
            self._work[0] = of_worker.path / "work"
            self._disk = DiskAttacks(site, disk, self.clients, self._start_server, self.deeds)
            self._worker_disk = WorkerDiskAttacks(of_worker, self.clients, lambda: self._hire(0))

    async def run(self, rounds: int) -> Sightings:
        """Runs the whole campaign; returns the clients' records."""
        await self._start_server()
        for index in range(WORKERS):
            self._hire(index)
        async with asyncio.TaskGroup() as living:
            lives = living.create_task(self.clients.live(CLIENTS))
            async with asyncio.TaskGroup() as self._tasks:
                for _ in range(rounds):
                    await self._round()
            self.clients.closed.set()
            done, _ = await asyncio.wait([lives], timeout=DRAIN_SECONDS_MAX)
            if not done:
                self._complain_of_what_is_open()
                lives.cancel()
        async with self.clients.connection() as jobs:
            for id in self.clients.seen.ids:
                await self._audit(jobs, id)
        await self._prove()
        return self.clients.seen

    async def _round(self) -> None:
        """Waits for a random moment, attacks a process, and has it replaced or resumed."""
        dice = self._dice
        await self.clients.hears(dice.randrange(1, 100), MOMENT_SECONDS_MAX)
        await self.clients.pause(dice.choice((0.0, 0.0, 0.05, 0.3)))
        self._check_who_lives()
        deed = dice.choices(list(self._deeds), list(self._deeds.values()))[0]
        on_disk = deed in DISK_DEEDS or deed in WORKER_DISK_DEEDS
        self.deeds[deed if self._disk or not on_disk else f"skipped {deed}"] += 1
        if deed in (WORKER, BOTH, DRAIN, FREEZE_WORKER):
            index = dice.randrange(WORKERS)
            away = dice.choice((0.0, 0.0, 0.5, 1.5, LEASE_SECONDS + 1.0))
            number = signal.SIGTERM if deed == DRAIN else signal.SIGKILL
            treat = self._freeze(index, away) if deed == FREEZE_WORKER else None
            self._tasks.create_task(treat or self._replace(index, number, away))
        if deed == SUPERVISOR:
            self._kill_guards(dice.randrange(WORKERS), dice.choice((True, False)))
        if on_disk:
            await self._attack_disk(deed, Random(dice.random()))
            return
        assert self.site.server
        if deed in (SERVER, BOTH, STOP):
            self.site.server.signal(signal.SIGTERM if deed == STOP else signal.SIGKILL)
            await asyncio.to_thread(self.site.server.wait)
            await self.clients.pause(dice.choice((0.0, 0.0, 0.5, 1.5)))
            await self._start_server()
        elif deed == FREEZE_SERVER:
            self.site.server.signal(signal.SIGSTOP)
            await self.clients.pause(dice.choice((0.5, LEASE_SECONDS + 1.0)))
            self.site.server.signal(signal.SIGCONT)

    async def _start_server(self) -> None:
        await asyncio.to_thread(self.site.start_server)

    async def _attack_disk(self, deed: str, dice: Random) -> None:
        """Attacks a disk, if there are any, with dice of its own: later rounds are then the same."""
        if self._disk and deed in DISK_DEEDS:
            await self._disk.run(deed, dice)
        elif self._worker_disk:
            self._tasks.create_task(self._attack_worker_disk(self._worker_disk, deed, dice))

    async def _attack_worker_disk(
        self, attacks: WorkerDiskAttacks, deed: str, dice: Random
    ) -> None:
        worker, self._workers[0] = self._workers[0], None
        if worker:
            self._workers[0] = await attacks.run(deed, worker, dice)

    async def _replace(self, index: int, number: signal.Signals, away: float) -> None:
        """Ends a worker; after `away` seconds a new worker starts in its folder."""
        worker, self._workers[index] = self._workers[index], None
        if worker is None:
            return  # it has been ended already
        worker.signal(number)
        await asyncio.to_thread(worker.wait)
        await self.clients.pause(away)
        self._hire(index)

    async def _freeze(self, index: int, more: float) -> None:
        """Stops a worker process alone for longer than its leases last, and resumes it.

        Its supervisor and shims go on, and must kill its jobs when the leases end.
        """
        worker, self._workers[index] = self._workers[index], None
        if worker is None:
            return
        worker.signal(signal.SIGSTOP)
        await self.clients.pause(LEASE_SECONDS + 1.5 + more)
        worker.signal(signal.SIGCONT)
        self._workers[index] = worker

    def _kill_guards(self, index: int, shims: bool) -> None:
        """Kills the supervisor of a worker, and with `shims` the shims too; the worker goes on."""
        worker = self._workers[index]
        if worker is None:
            return
        for supervisor in children(worker.pid):
            below = children(supervisor) if shims else ()
            for pid in (supervisor, *below):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _hire(self, index: int) -> Process:
        self._hired += 1
        name = f"worker-{index}-{self._hired}"
        self._workers[index] = worker = self.site.start(
            "worker",
            *("--name", name, "--slots", "3", "--drain-timeout", "0.5"),
            *("--work-dir", str(self._work[index]), "--log-format", "json"),
            *("--visibility-timeout", str(LEASE_SECONDS)),
        )
        return worker

    async def _audit(self, jobs: JobsClient, id: JobId) -> None:
        """Reads a job's events from the first to the end, after the last round."""
        view = self.clients.seen.audits[id] = View(id, 1, "the audit")
        try:
            async with aclosing(follow(jobs, id, stop_at_tail=True, known=True)) as entries:
                async for entry in entries:
                    view.entries.append(entry)
        except Refused as refusal:
            self.clients.alarm(f"the audit was told of {id}: {refusal.status}: {refusal}")
        if view.ends and is_alive(self._marks, id):
            self.clients.alarm(f"a process of {id} lives though all is over")

    async def _prove(self) -> None:
        """Runs `airunner verify` on some jobs, and `airunner log check` on the open file."""
        ids = [id for id, view in self.clients.seen.audits.items() if view.ends]
        commands: list[tuple[str, ...]] = [
            ("verify", id) for id in self._dice.sample(ids, min(len(ids), PROVED))
        ]
        if self._durable:
            commands.append(("log", "check", self.site.store))
        for words in commands:
            done = await asyncio.to_thread(self.site.run, *words)
            if done.returncode:
                self.clients.alarm(f"{words}: {done.returncode}: {done.stdout!r} {done.stderr!r}")

    def _check_who_lives(self) -> None:
        """Raises an alarm if a server or worker has ended without an attack."""
        named = {f"worker {index}": each for index, each in enumerate(self._workers)}
        for name, process in {"the server": self.site.server, **named}.items():
            if process and process.popen.poll() is not None:
                last = "".join(process.journal[-20:])
                self.clients.alarm(f"{name} ended by itself ({process.popen.returncode}): {last}")
                raise AssertionError(self.clients.seen.alarms[-1])

    def _complain_of_what_is_open(self) -> None:
        for view in self.clients.seen.views:
            if not view.entries or not isinstance(view.entries[-1].body, JobFinished):
                last = view.entries[-1] if view.entries else None
                self.clients.alarm(
                    f"{view.id} has not ended {DRAIN_SECONDS_MAX:g} s after the last round: {last}"
                )
