"""The handlers of the signals that stop a process."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from airunner.cli.processes.signals import on_stop_signals

ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def received(
    *numbers: int, install: Callable[[Callable[[], None], Callable[[], None]], object]
) -> list[str]:
    """The calls that a process makes which gets these signals, one after the other."""
    calls: list[str] = []

    async def stop_again_and_again() -> None:
        called = asyncio.Event()

        def note(call: str) -> None:
            calls.append(call)
            called.set()

        install(lambda: note("first"), lambda: note("again"))
        for number in numbers:
            called.clear()
            os.kill(os.getpid(), number)
            await asyncio.wait_for(called.wait(), 10)

    with handlers_restored():
        asyncio.run(stop_again_and_again())
    return calls


def test_the_first_signal_and_every_later_one_have_calls_of_their_own() -> None:
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)
    assert received(*signals, install=on_stop_signals) == ["first", "again", "again"]


def test_without_a_second_call_every_signal_makes_the_first() -> None:
    calls = received(
        signal.SIGINT, signal.SIGINT, install=lambda first, again: on_stop_signals(first)
    )
    assert calls == ["first", "first"]


def test_the_end_of_the_terminal_counts_where_it_is_asked_for() -> None:
    calls = received(
        signal.SIGHUP,
        signal.SIGTERM,
        install=lambda first, again: on_stop_signals(first, again, hangup=True),
    )
    assert calls == ["first", "again"]


def test_a_process_under_nohup_goes_on_ignoring_the_end_of_the_terminal() -> None:
    async def install() -> object:
        on_stop_signals(lambda: None, hangup=True)
        return signal.getsignal(signal.SIGHUP)

    with handlers_restored():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert asyncio.run(install()) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_numbers_of_the_signals_are_kept_in_their_order(number: signal.Signals) -> None:
    numbers: list[object] = []
    received(
        number,
        signal.SIGTERM,
        install=lambda first, again: numbers.append(on_stop_signals(first, again)),
    )
    assert numbers == [[number, signal.SIGTERM]]
