"""Whether what was read of a job is all that there was, and as it was.

A reader makes the job's chain again (chain.py) while its stream comes in, and holds each link
against the one that the server sent with the event. So a difference is found where it
begins. At the end the seal is held against what was read: its count, its bytes, its digest.

Output that retention took is a mark in its place, with the link of what was there. The chain
goes on from that link, so that all else is still proven; of the output itself nothing can be.

What this cannot see: a log whose every later link and whose seal were made anew. Against that
only a digest helps that was noted elsewhere when the job ended.
"""

from dataclasses import dataclass

from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.jobs import Sequence
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING, Seal
from airunner.model.reports import Output, OutputCut


@dataclass(frozen=True, slots=True)
class Whole:
    """Every event and every byte is there, as when the job ended."""

    seal: Seal


@dataclass(frozen=True, slots=True)
class Unproven:
    """All that is left is as it was, and output of `size` bytes is not left."""

    seal: Seal
    size: int
    dropped: tuple[tuple[Sequence, Sequence], ...]  # from, to: where it was


@dataclass(frozen=True, slots=True)
class Differs:
    """What stands at these sequences is not what the job's log had there."""

    first: Sequence
    last: Sequence
    why: str


@dataclass(frozen=True, slots=True)
class Unsealed:
    """The job has not ended; up to `last` each event has its link."""

    last: Sequence


Verdict = Whole | Unproven | Differs | Unsealed


class LogVerifier:
    """Takes in a job's stream from sequence 1 on, and says at any time what it proves."""

    def __init__(self) -> None:
        self._last = Sequence(0)
        self._link = NOTHING
        self._size = 0  # bytes of output
        self._cut = 0  # bytes that marks stand for
        self._dropped: list[tuple[Sequence, Sequence]] = []
        self._seal: Seal | None = None
        self._differs: Differs | None = None

    def add(self, entry: JobEvent) -> None:
        """Take in the entry that follows; what comes after a difference is not looked at."""
        if self._differs is None:
            self._differs = self._checked(entry)

    def add_unreadable(self, why: str) -> None:
        """Take in that what follows cannot be read."""
        lost = Sequence(self._last + 1)
        self._differs = self._differs or Differs(lost, lost, f"it cannot be read: {why}")

    def verdict(self, kept: int | None = None) -> Verdict:
        """What has been proven; `kept` is how many bytes of output the server says it has."""
        if self._differs:
            return self._differs
        if self._seal is None:
            return Unsealed(self._last)
        if not self._dropped:
            return Whole(self._seal)
        if kept == self._seal.size:  # then no retention has taken what is missing here
            return Differs(*self._dropped[0], "output is missing that the server says it keeps")
        size = self._seal.size - self._size
        return Unproven(self._seal, size, tuple(self._dropped))

    def _checked(self, entry: JobEvent) -> Differs | None:
        if self._seal:
            return Differs(entry.first, entry.last, "it follows the end of the job")
        due = Sequence(self._last + 1)
        if entry.first != due:
            if entry.first < due:
                return Differs(entry.first, self._last, "it comes again")
            return Differs(due, Sequence(entry.first - 1), "it is missing")
        made = next_link(self._link, entry)
        match entry.body:
            case OutputCut(size=size):
                self._cut += size
                if entry.link != made:
                    self._dropped.append((entry.first, entry.last))
            case what:
                if entry.link != made:
                    return Differs(entry.first, entry.last, "it has another digest than its link")
                self._size += what.size if isinstance(what, Output) else 0
        self._last, self._link = entry.last, entry.link
        return self._sealed(entry.body, entry) if isinstance(entry.body, JobFinished) else None

    def _sealed(self, end: JobFinished, entry: JobEvent) -> Differs | None:
        """Hold the seal against what was read."""
        seal = self._seal = end.seal
        if seal is None:
            return Differs(entry.first, entry.last, "the end of the job has no seal")
        read = Seal(count=self._last, size=self._size, cut=self._cut, digest=self._link)
        if seal.digest != read.digest:
            why = "the seal has another digest"
        elif seal.count != read.count:
            why = f"the seal counts {seal.count:,} events, and here are {read.count:,}"
        elif seal.size + seal.cut != read.size + read.cut or (
            seal.size != read.size and not self._dropped
        ):
            why = (
                f"the seal has {seal.size:,} bytes of output and {seal.cut:,} that were cut, "
                f"and here are {read.size:,} and {read.cut:,}"
            )
        else:
            return None
        return Differs(entry.first, entry.last, why)
