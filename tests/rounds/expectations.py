"""The jobs of the crash test, and their expected output and exit codes.

Each attempt holds a lock on a file of its job while any of its processes lives, and records its
begin and end in a file beside the lock. So the next attempt, or a client that has seen the job's
end, can tell without airunner if the previous attempt still runs.
"""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from airunner.model.jobs import JobId
from airunner.model.spec import JobSpec, ProcessType

# $1: the folder of marks, $2: the tag, $3: blocks, $4: lines in each, $5: the pause after each,
# $6: the exit code, $7: "child" leaves a child process in a session of its own.
SCRIPT: Final = """
exec 2>/dev/null  # where shells tell of children that a signal has ended
mark=$1/$AIRUNNER_JOB_ID
exec 9>>"$mark.lock"
flock -n 9 || echo "overlap $AIRUNNER_ATTEMPT $2" >>"$mark"
echo "begin $AIRUNNER_ATTEMPT $2" >>"$mark"
[ "$7" != child ] || setsid sleep 600 >/dev/null 2>&1 &
n=0
while [ $n -lt $3 ]; do
  seq -f "$2 $AIRUNNER_ATTEMPT %.0f" $((n * $4 + 1)) $((n * $4 + $4))
  n=$((n + 1))
  sleep $5
done
echo "end $AIRUNNER_ATTEMPT $2" >>"$mark"
exit $6
"""


ENDLESS: Final = 6_000  # blocks, with a pause after each


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A job with a known output and exit code."""

    tag: str  # in every line of its output, and in every mark
    blocks: int
    lines: int  # in each block
    pause: float  # seconds after each block
    code: int
    pty: bool = False
    child: bool = False  # it leaves a child process

    @property
    def endless(self) -> bool:
        """True if only a cancel ends the job."""
        return self.blocks >= ENDLESS

    def output(self, attempt: int) -> bytes:
        """The whole output of an attempt that nothing ends early."""
        end = "\r\n" if self.pty else "\n"
        count = self.blocks * self.lines
        return "".join(f"{self.tag} {attempt} {n}{end}" for n in range(1, count + 1)).encode()

    def argv(self, marks: Path) -> tuple[str, ...]:
        numbers = (self.blocks, self.lines, self.pause, self.code)
        child = "child" if self.child else ""
        return ("sh", "-c", SCRIPT, "round", str(marks), self.tag, *map(str, numbers), child)

    def spec(self, marks: Path) -> JobSpec:
        command, *args = self.argv(marks)
        kind = ProcessType.PTY if self.pty else ProcessType.PIPE
        return JobSpec(command=command, args=tuple(args), process_type=kind, grace_seconds=1)


def thrown(dice: Random, tag: str, *, endless: bool = False) -> Wish:
    """A random job: most are quick, some write much, some are slow."""
    blocks, lines, pause = dice.choice(
        (
            (1, 3, 0),
            (1, 1, 0.2),
            (1, 3_000, 0),
            (4, 200, 0.1),
            (12, 20, 0.1),
            (20, 300, 0.15),
            (40, 4_000, 0.05),
        )
    )
    return Wish(
        tag=tag,
        blocks=ENDLESS if endless else blocks,
        lines=3 if endless else lines,
        pause=0.1 if endless else pause,
        code=dice.choice((0, 0, 0, 1, 77)),
        pty=dice.random() < 0.2,
        child=dice.random() < 0.3,
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """A record that an attempt's command has written to a file, without airunner."""

    what: str  # begin, end or overlap
    attempt: int
    tag: str


def marks_of(marks: Path, id: JobId) -> Iterator[Mark]:
    """The marks of a job's attempts, in the order of their writes."""
    path = marks / id
    for line in path.read_text().splitlines() if path.exists() else ():
        what, attempt, tag = line.split()
        yield Mark(what, int(attempt), tag)


def is_alive(marks: Path, id: JobId) -> bool:
    """True if a process of the job is alive. Only for a job without further attempts."""
    path = marks / f"{id}.lock"
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
