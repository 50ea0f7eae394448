"""The set-up of a bench run: its certificates and clients, and its end by a signal."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import typer

from airunner.bench.setting import Setting
from airunner.cli.processes.certificates import make_certificates
from airunner.cli.processes.signals import on_stop_signals
from airunner.wire.client.endpoint import Endpoint
from airunner.wire.client.jobs_client import JobsClient
from airunner.worker.session.connect import connect

T = TypeVar("T")


def make_setting(
    folder: Path,
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
    """A Setting with all its files in `folder`, which must be empty."""
    certs = folder / "certs"
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
        folder=folder,
        certs=certs,
        environment={**os.environ, "HOME": str(folder)},
        client=lambda address: JobsClient(endpoint(address)),
        connect=lambda address: connect(endpoint(address)),
    )


async def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Awaits the work. SIGINT and SIGTERM cancel it and become the exit code, 128 + signal.

    So the work's processes and files are removed, whichever signal ends it.
    """
    task = asyncio.current_task()
    assert task
    received = on_stop_signals(task.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if not received:
            raise
        raise typer.Exit(128 + received[0]) from None
