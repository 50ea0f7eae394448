"""Rules of sources that are broken on purpose: who may have one, what is copied, where it leads."""

from typing import Final

from tests.mutations.mutation import Mutation

LOCK: Final = "tests/worker/workspace/sources/test_source_lock.py::"
FOLDER: Final = "tests/worker/workspace/sources/test_source_folder.py::"
SOURCES: Final = "tests/worker/workspace/sources/test_sources.py::"
COPY: Final = "tests/worker/workspace/sources/test_copy.py::"

OF_SOURCES: Final = (
    Mutation(
        name="a source that leads out of its root",
        promise="sources/nothing-outside-the-root",
        file="airunner/worker/workspace/sources/source_folder.py",
        old='    if not folder.startswith(top.rstrip("/") + "/"):\n',
        new='    if not folder.startswith(top.rstrip("/")):\n',
        test=f"{FOLDER}test_a_link_that_leads_out_is_refused_at_any_level",
    ),
    Mutation(
        name="a way down through links",
        promise="sources/nothing-outside-the-root",
        file="airunner/files/descent.py",
        old="os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC\n",
        new="os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC\n",
        test=f"{COPY}test_what_is_swapped_meanwhile_leads_nowhere_and_holds_nobody_up",
    ),
    Mutation(
        name="a way back up into whatever is there now",
        promise="sources/nothing-outside-the-root",
        file="airunner/files/descent.py",
        old="            if _identity(above) != self._closed.pop():\n",
        new="            if self._closed.pop() == ():\n",
        test="tests/files/test_descent.py::test_a_folder_that_is_moved_meanwhile_does_not_lead_out",
    ),
    Mutation(
        name="a source lock that stops no other job",
        promise="sources/one-job-at-a-time",
        file="airunner/worker/workspace/sources/source_lock.py",
        old="            if job != self._job or attempt >= self._attempt:\n",
        new="            if job == self._job and attempt >= self._attempt:\n",
        test=f"{LOCK}test_a_source_has_one_job_and_says_which",
    ),
    Mutation(
        name="a lock whose name means another file by now",
        promise="sources/one-job-at-a-time",
        file="airunner/worker/workspace/sources/source_lock.py",
        old="        return is_named(LOCK, current, folder=self._source)\n",
        new="        return True\n",
        test=f"{LOCK}test_of_many_who_come_at_once_one_has_it",
    ),
    Mutation(
        name="an earlier attempt that removes the lock of the next",
        promise="sources/one-job-at-a-time",
        file="airunner/worker/workspace/sources/source_lock.py",
        old="            if is_named(LOCK, self._file, folder=self._source):\n",
        new="            if self._file:\n",
        test=f"{LOCK}test_a_later_attempt_of_a_job_takes_over_and_the_earlier_one_leaves_it_alone",
    ),
    Mutation(
        name="old results that are copied with their source",
        promise="sources/private-copy",
        file="airunner/worker/workspace/sources/copy.py",
        old="                    if not prefix and is_reserved(entry.name):\n",
        new="                    if prefix and is_reserved(entry.name):\n",
        test=f"{COPY}test_what_airunner_keeps_at_the_top_is_left_out_and_below_it_is_not",
    ),
    Mutation(
        name="a copy that nobody can stop",
        promise="sources/cancelled-copy-stops",
        file="airunner/worker/workspace/sources/source.py",
        old="            stop.set()\n",
        new="",
        test=f"{SOURCES}test_a_fetch_that_is_cancelled_copies_no_more_and_frees_its_source",
    ),
)
