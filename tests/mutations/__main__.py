"""Break every rule of the list, one at a time: `python -m tests.mutations`, or `make mutate`."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Final

from tests.mutations.copy import Copy
from tests.mutations.mutation import Mutation
from tests.mutations.mutations import MUTATIONS

SECONDS_MAX: Final = 120.0  # for one test; a test that hangs has noticed, too
ALL_SECONDS_MAX: Final = 600.0  # for all tests, while no rule is broken


def run(copy: Copy, *tests: str, seconds: float) -> tuple[int | None, str]:
    """The exit code of pytest, None if it did not end in time, and the output."""
    try:
        done = copy.run("pytest", "-q", "-x", *tests, seconds=seconds)
    except subprocess.TimeoutExpired:
        return None, f"no end within {seconds:g} s\n"
    return done.returncode, done.stdout + done.stderr


def verdict(copy: Copy, mutation: Mutation) -> str:
    """CAUGHT if the test of a mutation fails with it."""
    with copy.mutated(mutation):
        code, _ = run(copy, mutation.test, seconds=SECONDS_MAX)
    match code:
        case 0:
            return "SURVIVED"
        case 1 | None:  # failed, or did not end in time
            return "CAUGHT"
        case _:
            return f"BROKEN ({code})"


def main() -> int:
    parser = argparse.ArgumentParser(description="Break rules, and see that tests notice.")
    parser.add_argument("words", nargs="*", help="only mutations with one of these in their name")
    words = parser.parse_args().words
    chosen = [each for each in MUTATIONS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Copy(Path(folder) / "copy")
        tests = dict.fromkeys(each.test for each in chosen)
        code, output = run(copy, *tests, seconds=ALL_SECONDS_MAX)
        if code != 0:
            print(f"{output}the tests fail ({code}) although no rule is broken")
            return 1
        bad = 0
        for mutation in chosen:
            began = monotonic()
            said = verdict(copy, mutation)
            bad += said != "CAUGHT"
            print(f"{said:8} {monotonic() - began:5.1f} s  {mutation.name}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} mutations were caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
