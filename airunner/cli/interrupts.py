"""Ctrl-C while a job of ours runs: cancel it, or leave it running?

    SIGINT, with a terminal     ask on /dev/tty; a second one detaches
    SIGINT without, SIGTERM     cancel, and wait for the end; if that could not be asked
                                for, a second one ends us, and says that the job may go on

Before the server has answered there is no job to ask about: either signal gives the
answer a moment to come, and then ends us.

The question goes to /dev/tty and not to standard input and error, which may be
pipes with something else in them. A process in the background has no terminal: to
read from it there would stop us.
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

_WORDS_MAX: Final = 16  # of a person who is typing faster than anything happens
_ANSWER_SECONDS: Final = 2.0  # for a server that answers at all; a job that it has can be cancelled

Answer = TypeVar("Answer")


class Detached(Exception):
    """The person no longer wants to wait; the job goes on."""


class Interrupts:
    """Takes SIGINT and SIGTERM over for as long as it is entered."""

    def __init__(self) -> None:
        self._inputs: asyncio.Queue[str] = asyncio.Queue(_WORDS_MAX)
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
        """The server's answer; CommandFailed if a signal comes and the answer does not."""
        async with asyncio.TaskGroup() as tasks:
            answer, signalled = tasks.create_task(asking), tasks.create_task(self._received.wait())
            await asyncio.wait((answer, signalled), return_when=asyncio.FIRST_COMPLETED)
            signalled.cancel()
            if not answer.done():
                await asyncio.wait((answer,), timeout=_ANSWER_SECONDS)
            if not answer.done():
                answer.cancel()
                raise CommandFailed(
                    "interrupted before the server answered: `airunner list` shows whether it has "
                    "taken the job in",
                    INTERRUPTED,
                )
        return answer.result()

    async def handle(self, jobs: JobsClient, id: JobId) -> None:
        """Do for the job what is asked for, until cancelled.

        Raises Detached, or CommandFailed when the server would not take a second cancel either.
        """
        while True:
            word = await self._inputs.get()
            if word == "terminate" or (word == "interrupt" and not self._has_terminal()):
                await self._cancel(jobs, id)
            elif word == "interrupt":
                if self._asked or self._cancelled:
                    self._write_terminal("\n")  # what follows begins a line of its own
                    raise Detached
                self._ask()
            elif not self._asked:
                continue
            elif word in ("c", "cancel"):
                self._asked = False
                await self._cancel(jobs, id)
            elif word in ("d", "detach", "hangup"):
                self._write_terminal("\n" if word == "hangup" else "")
                raise Detached
            elif word in ("", "w", "wait"):
                self._asked = False
            else:
                self._ask()

    def _receive(self, word: str) -> None:
        self._received.set()
        with suppress(asyncio.QueueFull):
            self._inputs.put_nowait(word)

    def _has_terminal(self) -> bool:
        if self._terminal is not None:
            return True
        try:
            terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            return False
        try:
            ours = os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            ours = False
        if not ours:
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
