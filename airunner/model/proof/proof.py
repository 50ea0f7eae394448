"""Verification of a job's event stream against its hash chain and its seal.

A reader computes the job's chain (chain.py) while it reads the stream, and compares each link
with the link that the server sent with the event. So a difference is found where it begins.
At the end the reader compares the seal's counts and digest with its own.

Output that retention removed is an OutputCut at its place, with the link of the removed output.
The chain continues from that link, so all other events are still proven; the removed output is not.

Limit: a log in which every later link and the seal were computed anew passes. Only a digest
that was noted elsewhere when the job ended reveals it.
"""

from dataclasses import dataclass

from airunner.model.job_events import JobEvent, JobFinished
from airunner.model.jobs import Sequence
from airunner.model.proof.chain import next_link
from airunner.model.proof.seal import NOTHING, Seal
from airunner.model.reports import Output, OutputCut


@dataclass(frozen=True, slots=True)
class Whole:
    """Every event and every byte of output is present and unchanged since the job ended."""

    seal: Seal


@dataclass(frozen=True, slots=True)
class Unproven:
    """Every present event is unchanged; retention removed `size` bytes of output."""

    seal: Seal
    size: int
    dropped: tuple[tuple[Sequence, Sequence], ...]  # first and last sequence of each removed range


@dataclass(frozen=True, slots=True)
class Differs:
    """The events at these sequences are missing, changed or unreadable."""

    first: Sequence
    last: Sequence
    why: str


@dataclass(frozen=True, slots=True)
class Unsealed:
    """The job has not ended; every event up to `last` is present and unchanged."""

    last: Sequence


Verdict = Whole | Unproven | Differs | Unsealed


class LogVerifier:
    """Verifies a job's event stream, event by event from sequence 1.

    verdict() can be asked at any time.
    """

    def __init__(self) -> None:
        self._last = Sequence(0)
        self._link = NOTHING
        self._size = 0  # bytes of output
        self._cut = 0  # bytes of output that cuts stand for
        self._dropped: list[tuple[Sequence, Sequence]] = []
        self._seal: Seal | None = None
        self._differs: Differs | None = None

    def add(self, event: JobEvent) -> None:
        """Verify the next event. Events after the first difference are ignored."""
        if self._differs is None:
            self._differs = self._check(event)

    def add_unreadable(self, why: str) -> None:
        """Record that the next event cannot be read, which is a difference."""
        lost = Sequence(self._last + 1)
        self._differs = self._differs or Differs(lost, lost, f"it cannot be read: {why}")

    def verdict(self, kept: int | None = None) -> Verdict:
        """The verdict on the events so far; `kept`: the server's count of stored output bytes."""
        if self._differs:
            return self._differs
        if self._seal is None:
            return Unsealed(self._last)
        if not self._dropped:
            return Whole(self._seal)
        if kept == self._seal.size:  # retention removed nothing, so the output is missing
            return Differs(*self._dropped[0], "output is missing that the server says it keeps")
        size = self._seal.size - self._size
        return Unproven(self._seal, size, tuple(self._dropped))

    def _check(self, event: JobEvent) -> Differs | None:
        if self._seal:
            return Differs(event.first, event.last, "it follows the end of the job")
        due = Sequence(self._last + 1)
        if event.first != due:
            if event.first < due:
                return Differs(event.first, self._last, "it comes twice")
            return Differs(due, Sequence(event.first - 1), "it is missing")
        computed = next_link(self._link, event)
        match event.body:
            case OutputCut(size=size):
                self._cut += size
                if event.link != computed:
                    self._dropped.append((event.first, event.last))
            case body:
                if event.link != computed:
                    return Differs(event.first, event.last, "its digest does not match its link")
                self._size += body.size if isinstance(body, Output) else 0
        self._last, self._link = event.last, event.link
        return self._check_seal(event.body, event) if isinstance(event.body, JobFinished) else None

    def _check_seal(self, end: JobFinished, event: JobEvent) -> Differs | None:
        """Compare the seal with the counts and the digest of the events so far."""
        seal = self._seal = end.seal
        if seal is None:
            return Differs(event.first, event.last, "the end of the job has no seal")
        read = Seal(count=self._last, size=self._size, cut=self._cut, digest=self._link)
        if seal.digest != read.digest:
            why = "the digest of the seal does not match"
        elif seal.count != read.count:
            why = f"the seal counts {seal.count:,} events, the stream has {read.count:,}"
        elif seal.size + seal.cut != read.size + read.cut or (
            seal.size != read.size and not self._dropped
        ):
            why = (
                f"the seal has {seal.size:,} bytes of output and {seal.cut:,} that were cut, "
                f"the stream has {read.size:,} and {read.cut:,}"
            )
        else:
            return None
        return Differs(event.first, event.last, why)
