"""Memory and processor time of a process, read from /proc."""

import os
from pathlib import Path
from typing import Final, Literal

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second


class Meter:
    """The resources that a process uses from the construction of the meter on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = busy_seconds(pid)

    @property
    def busy(self) -> float:
        """Processor seconds since the construction."""
        return busy_seconds(self._pid) - self._before

    @property
    def resident(self) -> int:
        """Resident bytes now."""
        return resident_bytes(self._pid)


def busy_seconds(pid: int) -> float:
    """User and system time of all threads of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children_seconds() -> float:
    """User and system time of all waited-for children of this process, in seconds."""
    used = os.times()
    return used.children_user + used.children_system


def resident_bytes(pid: int | Literal["self"]) -> int:
    """The resident set size of a process."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The maximum of resident_bytes() since the process began, or since forget_peak()."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Resets peak_bytes() to the present resident set size."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")


def filesystem(folder: Path) -> str:
    """The type of the file system of a folder, such as ext4; "" if unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    except OSError:
        return ""
    kinds = dict(line.split()[1:3] for line in mounts.splitlines())
    for path in (folder.resolve(), *folder.resolve().parents):
        if kind := kinds.get(str(path)):
            return kind
    return ""


def processor() -> str:
    """The model name of the processor; "" if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def _status(pid: int | Literal["self"], field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(f"process {pid} has no {field}")
