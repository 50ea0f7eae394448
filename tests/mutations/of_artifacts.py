"""Rules of what steps and artifacts take and prove in the core, broken on purpose."""

from typing import Final

from tests.mutations.mutation import Mutation

ARTIFACTS: Final = "tests/store/test_artifacts.py::"
SHELVES: Final = "airunner/store/eviction.py"

OF_ARTIFACTS: Final = (
    Mutation(
        name="an artifact that a dead token finds room for",
        promise="jobs/one-worker-at-a-time",
        file=SHELVES,
        old="    job = table.held_by(token)\n",
        new="    job = table.ended_by(token) or table.held_by(token)\n",
        test=f"{ARTIFACTS}test_room_may_be_asked_for_before_a_byte_has_come",
    ),
    Mutation(
        name="what a lost attempt has left, counted for the next",
        promise="results/artifacts-are-fenced",
        file="airunner/store/transitions.py",
        old="                artifacts=0,  # the next attempt makes its own\n",
        new="",
        test=f"{ARTIFACTS}test_what_an_attempt_left_is_void_when_the_next_one_has_to_come",
    ),
    Mutation(
        name="one job that may fill all shelves",
        promise="results/artifact-storage-is-bounded",
        file=SHELVES,
        old="    if job.artifact_bytes + size > keep.artifact_bytes_per_job:\n",
        new="    if size > keep.artifact_bytes_per_job:\n",
        test=f"{ARTIFACTS}test_what_a_job_may_leave_is_bounded_for_each_and_no_later_try_helps",
    ),
    Mutation(
        name="artifacts that go while somebody watches their job",
        promise="results/artifact-storage-is-bounded",
        file=SHELVES,
        old="        if id not in watched:\n",
        new="        if id:\n",
        test=f"{ARTIFACTS}test_the_oldest_go_for_a_new_one_and_neither_the_watched_nor_the_young",
    ),
    Mutation(
        name="artifacts that go as soon as their job has ended",
        promise="results/artifact-storage-is-bounded",
        file=SHELVES,
        old="        if ended_at + keep.spared > now:\n",
        new="        if ended_at > now:\n",
        test=f"{ARTIFACTS}test_the_oldest_go_for_a_new_one_and_neither_the_watched_nor_the_young",
    ),
    Mutation(
        name="scripts of any number of megabytes in memory",
        promise="server/memory-is-bounded",
        file=SHELVES,
        old="    missing = table.script_bytes + size - keep.script_bytes_max if size else 0\n",
        new="    missing = size - keep.script_bytes_max if size else 0\n",
        test="tests/store/test_walk.py",
    ),
    Mutation(
        name="all artifacts that go where one would do",
        promise="results/artifact-storage-is-bounded",
        file=SHELVES,
        old="        if missing <= 0:\n            break\n",
        new="",
        test=f"{ARTIFACTS}test_no_more_of_them_go_than_is_needed_and_all_that_go_at_once",
    ),
    Mutation(
        name="output that proves nothing of the step that wrote it",
        promise="logs/finished-log-is-sealed",
        file="airunner/model/proof/chain.py",
        old="            index = () if step is None else (step,)\n",
        new="            index: tuple[int, ...] = ()\n",
        test="tests/model/proof/test_proof.py::test_what_was_changed_of_steps_is_found_where_it_begins",
    ),
    Mutation(
        name="an artifact that another one may be shown for",
        promise="logs/finished-log-is-sealed",
        file="airunner/model/proof/chain.py",
        old="    return values[:end] if end <= plain else tuple(map(_plain, values[:end]))\n",
        new="    return values[:plain]\n",
        test="tests/model/proof/test_proof.py::test_what_was_changed_of_steps_is_found_where_it_begins",
    ),
)
