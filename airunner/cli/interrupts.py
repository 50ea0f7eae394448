"""Signals while `airunner submit` waits for a job.

    SIGINT, with a terminal     ask on /dev/tty: cancel, detach or wait; a second SIGINT detaches
    SIGINT without a terminal   cancel the job, and wait for its end; if the server refuses the
    SIGTERM                     cancel, a second signal ends the command with a note that the job
                                may go on

Before the server has answered the submission, there is no job to cancel: a signal waits a moment
for the answer, then ends the command.

The question goes to /dev/tty, since standard input and standard error may be pipes. A background
process does not ask: the kernel stops a background process that reads from its terminal.
"""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeVar

from airunner.cli.exit_codes import INTERRUPTED, CommandFailed
from airunner.cli.render.streams import note
from airunner.model.errors import AlreadyFinished, Refused
from airunner.model.jobs import JobId
from airunner.wire.client.jobs_client import JobsClient

_INPUTS_MAX: Final = 16  # signals and typed lines that may wait; more are dropped
_ANSWER_SECONDS: Final = 2.0  # to wait for the answer; an accepted job can then be cancelled

Answer = TypeVar("Answer")


class Detached(Exception):
    """The person has detached from the job, which goes on."""


class Interrupts:
    """Handles SIGINT and SIGTERM while the context is entered."""

    def __init__(self) -> None:
        self._inputs: asyncio.Queue[str] = asyncio.Queue(_INPUTS_MAX)
        self._terminal: int | None = None
        self._received = asyncio.Event()
        self._asked = False
        self._cancelled = False
        self._cancel_refused = False  # a cancel

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._receive, "interrupt")
        loop.add_signal_handler(signal.SIGTERM, self._receive, "terminate")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
        if self._terminal is not None:
            loop.remove_reader(self._terminal)
            os.close(self._terminal)

    async def await_answer(self, asking: Coroutine[None, None, Answer]) -> Answer:
        """The server's answer. Raises CommandFailed if a signal comes and no answer follows it."""
        async with asyncio.TaskGroup() as tasks:
            answer, signalled = tasks.create_task(asking), tasks.create_task(self._received.wait())
            await asyncio.wait((answer, signalled), return_when=asyncio.FIRST_COMPLETED)
            signalled.cancel()
            if not answer.done():
                await asyncio.wait((answer,), timeout=_ANSWER_SECONDS)
            if not answer.done():
                answer.cancel()
                raise CommandFailed(
                    "interrupted before the server answered: `airunner list` shows whether it "
                    "has accepted the job",
                    INTERRUPTED,
                )
        return answer.result()

    async def handle(self, jobs: JobsClient, id: JobId) -> None:
        """Handles signals and typed answers until cancelled.

        Raises Detached if the person detaches, CommandFailed if the server refuses a second cancel.
        """
        while True:
            input = await self._inputs.get()
            if input == "terminate" or (input == "interrupt" and not self._has_terminal()):
                await self._cancel(jobs, id)
            elif input == "interrupt":
                if self._asked or self._cancelled:
                    self._write_terminal("\n")  # later output starts on a new line
                    raise Detached
                self._ask()
            elif not self._asked:
                continue
            elif input in ("c", "cancel"):
                self._asked = False
                await self._cancel(jobs, id)
            elif input in ("d", "detach", "hangup"):
                self._write_terminal("\n" if input == "hangup" else "")
                raise Detached
            elif input in ("", "w", "wait"):
                self._asked = False
            else:
                self._ask()

    def _receive(self, input: str) -> None:
        self._received.set()
        with suppress(asyncio.QueueFull):
            self._inputs.put_nowait(input)

    def _has_terminal(self) -> bool:
        if self._terminal is not None:
            return True
        try:
            terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            return False
        try:
            foreground = os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            foreground = False
        if not foreground:
            os.close(terminal)
            return False
        self._terminal = terminal
        asyncio.get_running_loop().add_reader(terminal, self._read_terminal)
        return True

    def _read_terminal(self) -> None:
        assert self._terminal is not None
        try:
            line = os.read(self._terminal, 256)
        except OSError:
            line = b""
        if not line:
            asyncio.get_running_loop().remove_reader(self._terminal)
        self._receive(line.decode(errors="replace").strip().lower() if line else "hangup")

    def _ask(self) -> None:
        self._asked = True
        self._write_terminal(
            "\nairunner: the job is not over: [c]ancel it, [d]etach, or [w]ait on? "
        )

    def _write_terminal(self, text: str) -> None:
        assert self._terminal is not None
        with suppress(OSError):
            os.write(self._terminal, text.encode())

    async def _cancel(self, jobs: JobsClient, id: JobId) -> None:
        if self._cancelled:
            return
        note(f"cancelling job {id}, and waiting for its end")
        try:
            await jobs.cancel(id)
        except AlreadyFinished:
            pass
        except Refused as refusal:
            if self._cancel_refused:
                raise CommandFailed(
                    f"job {id} was not cancelled and may go on: {refusal}"
                ) from None
            self._cancel_refused = True
            note(f"the job was not cancelled: {refusal}")
            return
        self._cancelled = True
