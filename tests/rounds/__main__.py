"""The command of the crash test: `python -m tests.rounds --rounds 200 --seed 1`, or `make fuzz`."""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack, closing
from pathlib import Path
from random import SystemRandom
from shutil import copytree
from time import monotonic
from typing import Final

from airunner.model.job_events import JobReturned
from tests.rounds.campaign import DEEDS, Campaign
from tests.rounds.checker import complaints
from tests.support.disk import Disk, hide_mounts, obstacle
from tests.support.installation import Site

ROUND_SECONDS: Final = 2  # about
ROUNDS_MIN: Final = 3  # of a campaign that ends with its minutes
ROUNDS_PER_SITE: Final = 25  # then a new campaign begins, so that a complaint has a short history


def fight(
    folder: Path,
    seed: str,
    rounds: int,
    *,
    durable: bool,
    disks: tuple[Disk, Disk] | None = None,
    only: Collection[str] = (),
) -> tuple[Counter[str], list[str]]:
    """Runs one campaign on a server of its own, on `disks`, if there are any.

    Returns its actions, records and complaints.
    """
    store = f"sqlite:{disks[0].path / 'jobs.db'}" if disks else None
    site = Site(folder, store=store if durable else "memory")
    campaign = Campaign(site, seed, durable=durable, disks=disks, only=only)
    try:
        seen = asyncio.run(campaign.run(rounds))
        wrong = complaints(seen)
    finally:
        site.close()
    if durable:
        checked = site.run("log", "check", site.store)
        if checked.returncode:
            wrong.append(f"`airunner log check` says {checked.stdout!r} {checked.stderr!r}")
    counts = campaign.deeds
    counts["jobs"] = len(seen.ids)
    counts["watchers"] = len(seen.views)
    counts["events"] = sum(len(view.items) for view in seen.views)
    counts["commands"] = len(seen.exits)
    counts["ended"] = sum(len(view.ends) for view in seen.audits.values())
    for view in seen.audits.values():
        counts.update(f"as {end.outcome.reason.value}" for end in view.ends)
        counts["attempts"] += view.entries[-1].attempt if view.entries else 0
        counts.update(
            f"returned as {entry.body.ending.value}"
            for entry in view.entries
            if isinstance(entry.body, JobReturned)
        )
    return counts, wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Attack servers, workers and their disks while they work."
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--minutes", type=float, help="instead of so many rounds")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--only", action="append", choices=DEEDS, default=[], help="this attack")
    parser.add_argument("--memory", action="store_true", help="kill workers alone")
    parser.add_argument("--keep", action="store_true", help="keep the folder of what is wrong")
    options = parser.parse_args()
    hide_mounts()
    if reason := obstacle():
        print(f"skipped: attacks on disks, since none can be made here: {reason}")
    began, done, bad, number, total = monotonic(), 0, 0, options.seed, Counter[str]()
    end = began + options.minutes * 60 if options.minutes else None
    while monotonic() < end if end else done < options.rounds:
        left = options.rounds - done if end is None else round(end - monotonic()) // ROUND_SECONDS
        rounds = max(ROUNDS_MIN, min(ROUNDS_PER_SITE, left)) if end else min(ROUNDS_PER_SITE, left)
        print(f"{rounds} rounds, seed {number}:", flush=True)
        folder = tempfile.TemporaryDirectory(prefix="rounds-", ignore_cleanup_errors=True)
        if options.keep:
            folder._finalizer.detach()  # type: ignore[attr-defined]  # until Python 3.12 has delete=False
        with ExitStack() as mounts:
            disks = None
            if not reason:
                one, two = (Path(folder.name) / name for name in ("server", "worker"))
                disks = (
                    mounts.enter_context(closing(Disk(one))),
                    mounts.enter_context(closing(Disk(two))),
                )
            counts, wrong = fight(
                Path(folder.name) / "site",
                str(number),
                rounds,
                durable=not options.memory,
                disks=disks,
                only=options.only,
            )
            if wrong and disks and options.keep:
                copytree(disks[0].path, Path(folder.name) / "kept")
        total += counts
        done += rounds
        bad += bool(wrong)
        print(*wrong or ["sound"], sep="\n", flush=True)
        number += 1
    print(f"{done} rounds in {monotonic() - began:.0f} s:", dict(total.most_common()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
