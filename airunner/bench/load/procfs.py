"""What the kernel says of a process: its memory and its time, where there is /proc."""

import os
from pathlib import Path
from typing import Final, Literal

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second


class Meter:
    """What a process spends from now on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = busy_seconds(pid)

    @property
    def busy(self) -> float:
        """Seconds on a processor since then."""
        return busy_seconds(self._pid) - self._before

    @property
    def resident(self) -> int:
        """Bytes of memory that it has now."""
        return resident_bytes(self._pid)


def busy_seconds(pid: int) -> float:
    """Time on a processor, of all threads, in the process and in the kernel for it."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children_seconds() -> float:
    """Time on a processor of all children of this process that it has waited for."""
    used = os.times()
    return used.children_user + used.children_system


def resident_bytes(pid: int | Literal["self"]) -> int:
    """Memory that is there for the process now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most that resident_bytes() has been since the process began, or since forget_peak()."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")


def filesystem(folder: Path) -> str:
    """The kind of file system that a folder is on, such as ext4; "" if nobody says."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    except OSError:
        return ""
    kinds = dict(line.split()[1:3] for line in mounts.splitlines())
    for place in (folder.resolve(), *folder.resolve().parents):
        if kind := kinds.get(str(place)):
            return kind
    return ""


def processor() -> str:
    """The model of the processor; "" if nobody says."""
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
