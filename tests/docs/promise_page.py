"""docs/promises.md: every promise with the checks that hold it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from tests.docs.markers import Promise, read_markers

SECTIONS: Final = {
    "jobs": "Jobs",
    "logs": "Logs",
    "log-file": "The file of the log",
    "processes": "Processes",
    "sources": "Sources",
    "results": "Results and artifacts",
    "server": "The server",
}
HEAD: Final = """\
# Promises

Everything that airunner promises, each promise with the checks that hold it. `make docs` generates
this page from the markers on the tests (`tests/promises.py`): a promise stands once, above its main
check, and a test compares the page with the markers.

- `tests/store/invariants.py` is checked for every job on random walks (`make fuzz SEEDS=n`). A walk
  makes random requests to the core, crashes it after any event, and drives the remaining log to
  its end.
- `tests/simulation/checker.py` judges simulated worlds: the real server and real workers over a
  clock, a network, a disk and processes that fail as the random numbers of a seed say.
  `python -m tests.simulation --seed n` prints the story of one world.
- `tests/rounds/checker.py` judges real processes. Clients of every kind use a server while
  processes and disks are attacked, round after round (`make fuzz KILLS=n`, or
  `make soak MINUTES=n`), and locks that the jobs hold tell if two attempts ever ran at once. The
  attacks: SIGKILL and SIGTERM of the server, of workers and of both; SIGSTOP of the server, and of a
  worker process alone for longer than its leases; SIGKILL of a worker's supervisor, with and without
  its shims; a disk that fills up for a while, that dies (all reads and writes fail), or whose writes
  of new blocks fail; a power cut; a worker's disk that fills up, dies or loses its power.
  `python -m tests.rounds --only "power cut" --seed n` runs rounds of a kind.
  `tests/end/test_rounds.py` runs a few rounds.
- A disk of these rounds is an ext4 file system on a loop device, whose power is cut by
  FS_IOC_SHUTDOWN without a flush of its journal. That needs root and the right to mount; elsewhere
  the rounds say so, and skip the attacks on disks. A cut that tears or reorders writes is
  simulated, on every machine: `tests/log/sqlite/test_crash_points.py` opens a log in each state that
  a crash may leave of its writes and syncs.
- `make mutate` breaks rules on purpose, one at a time, and a test must notice each. Every mutation
  in `tests/mutations` names the promise that it breaks.
"""


def promise_page() -> str:
    """The page, from the markers on the tests."""
    promises = read_markers().promises()
    parts = [HEAD]
    for section, title in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [_shown(each) for each in promises if each.id.startswith(f"{section}/")]
    return "\n".join(parts)


def _shown(promise: Promise) -> str:
    title, _, rest = promise.text.partition(". ")
    end = "" if title.endswith(".") else "."
    text = f"**{title}{end}** {rest}".rstrip()
    lines = "".join(f"- {line}\n" for line in _by_file(promise.checks))
    return f"{text} (`{promise.id}`)\n\n{lines}"


def _by_file(checks: Sequence[str]) -> Iterator[str]:
    """A line for each file, the file of the main check first."""
    files = list(dict.fromkeys(check.partition("::")[0] for check in checks))
    ordered = sorted(checks, key=lambda check: files.index(check.partition("::")[0]))
    for file, group in groupby(ordered, key=lambda check: check.partition("::")[0]):
        names = [check.partition("::")[2] for check in group]
        named = ", ".join(f"`{name}`" for name in names if name)
        yield f"{file}: {named}" if named else file
