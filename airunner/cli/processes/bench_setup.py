"""What whoever measures shares: a setting with certificates of its own, and an end by a signal."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import typer

from airunner.bench.setting import Setting
from airunner.cli.processes.certificates import make_certificates
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from airunner.worker.session.connect import connect

T = TypeVar("T")


def make_setting(
    place: Path,
    *,
    seconds: float,
    rounds: int,
    clients: tuple[int, ...],
    slots: int,
    durable: bool,
    fsyncs: tuple[str, ...],
    jobs: int,
    output_bytes: int,
    seed: int,
) -> Setting:
    """A Setting whose files are all in `place`, an empty folder."""
    certs = place / "certs"
    make_certificates(certs)

    def endpoint(address: str) -> Endpoint:
        return Endpoint(server=address, ca_cert=certs / "ca.pem")

    return Setting(
        seconds=seconds,
        rounds=rounds,
        clients=clients,
        slots=slots,
        durable=durable,
        fsyncs=fsyncs,
        jobs=jobs,
        output_bytes=output_bytes,
        seed=seed,
        folder=place,
        certs=certs,
        environment={**os.environ, "HOME": str(place)},
        client=lambda address: JobsClient(endpoint(address)),
        connect=lambda address: connect(endpoint(address)),
    )


async def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """The work's result; SIGINT and SIGTERM cancel it, and are then the exit code.

    So what it has started ends, and its files go, however it is told to stop. asyncio's own way with
    SIGINT is a handler that runs wherever Python is, where what it raises may be lost.
    """
    task, heard = asyncio.current_task(), list[int]()
    assert task

    def stop(number: int) -> None:
        heard.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await work
    except asyncio.CancelledError:
        if not heard:
            raise
        raise typer.Exit(128 + heard[0]) from None
