"""The command of the simulation: many seeds over all cores, or the events of one seed.

python -m tests.simulation --seeds 1000     seeds 0 to 999; prints the failed seeds with a command
python -m tests.simulation --seed 17        prints the events of one seed, in virtual seconds
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.simulation.run import Verdict, judge

CHUNK = 10  # seeds that a process takes at a time


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell the story of this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return tell(chosen.seed)
    return simulate_all(range(chosen.first, chosen.first + chosen.seeds))


def tell(seed: int) -> int:
    verdict = judge(seed, lambda at, text: print(f"{at:10.3f}  {text}"))
    print(verdict.counts)
    for complaint in verdict.complaints:
        print(f"BROKEN {complaint}")
    return bool(verdict.complaints)


def simulate_all(seeds: range) -> int:
    began, failed, jobs, processes = time.monotonic(), 0, 0, 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
        for done in as_completed([pool.submit(judge_each, chunk) for chunk in chunks]):
            for verdict in done.result():
                jobs, processes = jobs + verdict.jobs, processes + verdict.processes
                failed += bool(verdict.complaints)
                for complaint in verdict.complaints:
                    print(f"seed {verdict.seed}: {complaint}", flush=True)
                if verdict.complaints:
                    print(f"    python -m tests.simulation --seed {verdict.seed}", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{len(seeds)} seeds, {jobs} jobs, {processes} processes in {seconds:.0f} s: "
        f"{failed or 'none'} failed"
    )
    return bool(failed)


def judge_each(seeds: range) -> list[Verdict]:
    return [judge(seed) for seed in seeds]


if __name__ == "__main__":
    sys.exit(main())
