"""The environment of an attempt: launcher, workspaces, clock, log, spools and uploads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from airunner.model.jobs import TaskToken
from airunner.model.limits import SETUP_TIMEOUT_SECONDS
from airunner.system.clock import Clock
from airunner.worker.environment import base_environment
from airunner.worker.process import Launcher
from airunner.worker.spool.spools import MemorySpools, Spools
from airunner.worker.workspace.workspace import ArtifactSink, Workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts that every attempt of a process shares: real ones, or fakes with the same rules."""

    launcher: Launcher
    workspaces: Workspaces
    clock: Clock
    log: FilteringBoundLogger
    environment: Mapping[str, str] = field(  # the variables of all jobs
        default_factory=lambda: base_environment(user="nobody", login_shell="/bin/sh")
    )
    spools: Spools = field(default_factory=MemorySpools)
    setup_seconds: float = SETUP_TIMEOUT_SECONDS  # for the set-up of an attempt, checkout included
    uploads: Callable[[TaskToken], ArtifactSink] | None = (
        None  # artifacts of a lease, to its server
    )
