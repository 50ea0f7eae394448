"""Real jobs for a long time, while workers are killed: `make soak MINUTES=n`.

A seed throws the dice. Jobs with an end that is known beforehand go to real workers; now and then
one of these is killed with SIGKILL, or drained, and another takes its place; some jobs are
cancelled. Every job is accounted for:

- it ended as it had to: with its own exit code, or cancelled, or lost after as many failures as may be;
- its sequences go up without one twice, and its stream ended by itself;
- the output of its last attempt is whole, byte for byte;
- no process of any job is left.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.support.site import Process, Site, site

WORKERS = 3
LEASE_SECONDS = 2
OPEN = 30  # jobs under way, so that workers always have some


@dataclass(frozen=True, slots=True)
class Wish:
    """A job whose end is known."""

    id: str
    code: int
    lines: int
    cancelled: bool

    @property
    def output(self) -> bytes:
        return b"".join(b"line %d\n" % n for n in range(1, self.lines + 1))


class Soak:
    """One run: what was wished for, and who works on it."""

    def __init__(self, it: Site, dice: random.Random, mark: str) -> None:
        self.site = it
        self.dice = dice
        self.mark = mark
        self.wishes: deque[Wish] = deque()  # not accounted for yet
        self.jobs = 0  # that are
        self.wrong: list[str] = []
        self.workers = [self.hire() for _ in range(WORKERS)]
        self.deeds: Counter[str] = Counter()

    def hire(self) -> Process:
        return self.site.start_worker("--slots", "2", "--visibility-timeout", str(LEASE_SECONDS))

    def step(self) -> None:
        deed = self.dice.choices(("submit", "kill", "drain", "cancel"), (12, 1, 1, 2))[0]
        self.deeds[deed] += 1
        match deed:
            case "submit":
                self.wishes.append(self.submit(cancelled=False))
            case "cancel":
                wish = self.submit(cancelled=True)
                self.site.run("cancel", wish.id, check=True)
                self.wishes.append(wish)
            case _:
                number = signal.SIGKILL if deed == "kill" else signal.SIGTERM
                worker = self.workers.pop(self.dice.randrange(WORKERS))
                worker.signal(number)
                worker.wait()
                self.workers.append(self.hire())

    def submit(self, *, cancelled: bool) -> Wish:
        """A job that prints, leaves a child behind in a session of its own, and exits."""
        code, lines = self.dice.choice((0, 0, 0, 1, 77)), self.dice.randrange(2000)
        pause = 600 if cancelled else self.dice.choice((0, 0, 0.1, 1))
        script = (
            f"setsid sleep 600 >/dev/null & seq -f 'line %.0f' {lines}; sleep {pause}; exit {code}"
        )
        id = self.site.submit("--env", f"SOAK={self.mark}", "--", "sh", "-c", script)
        return Wish(id, code, lines, cancelled)

    def account(self, most: int) -> None:
        """Wait for the oldest jobs' ends, until at most so many are not accounted for."""
        while len(self.wishes) > most:
            wish = self.wishes.popleft()
            self.jobs += 1
            sequences = [int(str(event["sequence"])) for event in self.site.events(wish.id)]
            if sequences != sorted(set(sequences)):
                self.wrong.append(f"{wish.id}: sequences are doubled or out of order")
            self.wrong += [f"{wish.id}: {why}" for why in self.judge(wish)]

    def judge(self, wish: Wish) -> list[str]:
        job = self.site.show(wish.id)
        self.deeds[str(job["reason"])] += 1
        if job["reason"] == "lost":
            return [] if job["failures"] == 3 else [f"lost after {job['failures']} failures"]
        if wish.cancelled:
            return [] if job["state"] == "cancelled" else [f"cancelled, but {job['state']}"]
        if job["exit_code"] != wish.code:
            return [f"exit code {job['exit_code']}, not {wish.code}"]
        output = self.site.run("logs", wish.id, check=True).stdout
        whole = output == wish.output if job["attempt"] == 1 else output.endswith(wish.output)
        return [] if whole else [f"{len(output)} bytes of output, not {len(wish.output)}"]


def remaining(mark: str) -> list[int]:
    """The processes whose environment has the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SOAK={mark}".encode() in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except (OSError, ProcessLookupError):
            continue
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Run real jobs while workers are killed.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as folder, site(Path(folder) / "site") as it:
        soak = Soak(it, random.Random(options.seed), f"{os.getpid()}-{options.seed}")
        end = monotonic() + options.minutes * 60
        while monotonic() < end:
            soak.step()
            soak.account(OPEN)
        soak.account(0)
        soak.wrong += [f"process {pid} is left" for pid in remaining(soak.mark)]
    print(f"{soak.jobs} jobs:", dict(soak.deeds.most_common()))
    print(*soak.wrong or ["every job is accounted for, and no process is left"], sep="\n")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
