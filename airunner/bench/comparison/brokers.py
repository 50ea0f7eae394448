"""Redis and PostgreSQL, started for one run, in folders of their own, on the loopback.

Both have their default settings, since most installations do. A second Redis writes and syncs its
append-only file before it answers, to show the cost of durability.
"""

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from airunner.bench.comparison.processes import Missing, free_port, managed_process, until_open

START_SECONDS: Final = 60.0
NO_REDIS: Final = "no redis-server on the PATH: install it (Debian, Ubuntu: redis-server)"
NO_POSTGRES: Final = (
    "no initdb and postgres on the PATH or below /usr/lib/postgresql: install PostgreSQL "
    "(Debian, Ubuntu: postgresql)"
)

Url = Callable[
    [int], str
]  # the broker's URL for a load by number: each load has a database of its own


@asynccontextmanager
async def redis(folder: Path, *settings: str) -> AsyncIterator[Url]:
    """Runs a Redis server with `settings`. Raises Missing if Redis is not installed."""
    program = shutil.which("redis-server")
    if not program:
        raise Missing(NO_REDIS)
    folder.mkdir()
    port = free_port()
    argv = (program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *settings)
    async with managed_process("redis", argv, folder) as process:
        await until_open(port, process, START_SECONDS)
        yield lambda number: f"redis://127.0.0.1:{port}/{number}"


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Url]:
    """Runs a PostgreSQL server; as another user under root, since PostgreSQL refuses root."""
    initdb, program = postgres_program("initdb"), postgres_program("postgres")
    folder.mkdir()
    user = unprivileged(folder)
    data, port = folder / "data", free_port()
    making = await asyncio.create_subprocess_exec(
        *(*user, initdb, "--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C"),
        *("--pgdata", str(data)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await making.communicate()
    if making.returncode:
        raise Missing(f"initdb fails: {output.decode(errors='replace').strip().splitlines()[-1]}")
    argv = (*user, program, "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder))
    async with managed_process("postgres", argv, folder, stop="QUIT") as process:
        await until_open(port, process, START_SECONDS)
        yield lambda number: f"postgresql://bench@127.0.0.1:{port}/load{number}"


def postgres_program(name: str) -> str:
    """The path of a PostgreSQL program; Debian has it in a folder for each version."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(installed[-1]) if installed else None)
    if not found:
        raise Missing(NO_POSTGRES)
    return found


def unprivileged(folder: Path) -> Sequence[str]:
    """The command prefix that runs a program as an unprivileged owner of the folder."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise Missing("PostgreSQL does not run as root, and there is no setpriv (util-linux)")
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return (setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--")


BROKERS: Final[dict[str, Callable[[Path], AbstractAsyncContextManager[Url]]]] = {
    "redis": redis,
    "redis-synced": lambda folder: redis(folder, "--appendonly", "yes", "--appendfsync", "always"),
    "postgres": postgres,
}
