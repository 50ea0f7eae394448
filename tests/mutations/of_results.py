"""Rules of what a job leaves that are broken on purpose: what is read, written, kept and removed."""

from typing import Final

from tests.mutations.mutation import Mutation

COLLECT: Final = "tests/worker/workspace/results/test_collect.py::"
RESULTS: Final = "tests/worker/workspace/results/test_results.py::"
SINK: Final = f"{RESULTS}TestFolderSink::"
NOTHING_OUTSIDE: Final = "results/stay-inside"

OF_RESULTS: Final = (
    Mutation(
        name="a file that is read though it became a link",
        promise=NOTHING_OUTSIDE,
        file="airunner/worker/workspace/results/collect.py",
        old="_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC\n",
        new="_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC\n",
        test=f"{COLLECT}test_a_file_or_a_folder_that_becomes_a_link_meanwhile_is_not_followed",
    ),
    Mutation(
        name="a link out of the workspace that is stored as its file",
        promise=NOTHING_OUTSIDE,
        file="airunner/worker/workspace/results/collect.py",
        old='            if real.startswith(f"{top}/") and stat',
        new="            if stat",
        test=f"{COLLECT}test_a_shelf_without_links_gets_the_files_that_they_lead_to_within_the_workspace",
    ),
    Mutation(
        name="a log that is written through a link",
        promise=NOTHING_OUTSIDE,
        file="airunner/worker/workspace/results/logs.py",
        old="os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK",
        new="os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK",
        test=f"{RESULTS}test_nothing_is_written_through_a_link_that_somebody_put_into_the_folder",
    ),
    Mutation(
        name="a frozen attempt that removes what the next has moved aside",
        promise="results/folder-belongs-to-one-attempt",
        file="airunner/worker/workspace/results/results.py",
        old="            if is_named(self._name, self._folder, folder=self._parent):\n",
        new="            if self._folder:\n",
        test=f"{RESULTS}test_an_attempt_that_was_frozen_writes_into_the_folder_that_was_moved_aside",
    ),
    Mutation(
        name="a step that said nothing and has no log",
        promise="results/result-is-whole-and-last",
        file="airunner/worker/workspace/results/results.py",
        old="                self._logs.ensure(index)\n",
        new="                self._logs.has(index)\n",
        test=f"{RESULTS}test_each_step_that_ran_has_a_log_and_no_other",
    ),
    Mutation(
        name="logs that pile up in memory",
        promise="results/lines-while-the-job-runs",
        file="airunner/worker/workspace/results/logs.py",
        old="            await self._wait_for_room()\n",
        new="            pass\n",
        test=f"{RESULTS}test_the_logs_are_whole_when_the_result_is_there",
    ),
    Mutation(
        name="a drive that hangs and is waited for",
        promise="results/lines-while-the-job-runs",
        file="airunner/worker/workspace/results/logs.py",
        old="        except TimeoutError:\n            self.give_up()\n",
        new="        except TimeoutError:\n            pass\n",
        test=f"{RESULTS}test_a_drive_that_hangs_costs_the_logs_and_holds_the_job_up_for_a_minute_at_most",
    ),
    Mutation(
        name="success, though a log is not whole",
        promise="processes/kept-or-failed",
        file="airunner/worker/workspace/results/manifest.py",
        old='            return "success" if complete else "failed"',
        new='            return "success"',
        test=f"{RESULTS}test_a_log_that_cannot_be_written_ends_there_and_is_told_once",
    ),
    Mutation(
        name="an artifact that is not what was said of it",
        promise="results/artifacts-follow-patterns",
        file="airunner/worker/workspace/results/folder_sink.py",
        old="    if at != artifact.size or digest.hexdigest() != artifact.sha256:\n",
        new="    if at != artifact.size:\n",
        test=f"{SINK}test_what_is_not_what_was_said_is_not_kept_and_the_next_one_is",
    ),
    Mutation(
        name="a piece of an artifact that is left behind",
        promise="results/artifacts-follow-patterns",
        file="airunner/files/atomic.py",
        old="            os.unlink(temporary, dir_fd=folder)\n        raise\n",
        new="            os.stat(temporary, dir_fd=folder)\n        raise\n",
        test=f"{SINK}test_what_is_not_what_was_said_is_not_kept_and_the_next_one_is",
    ),
    Mutation(
        name="a folder of git among the artifacts",
        promise="results/artifacts-follow-patterns",
        file="airunner/worker/workspace/results/patterns.py",
        old="        if not self._git and _GIT in path.split",
        new="        if self._git and _GIT in path.split",
        test=f"{COLLECT}test_git_folders_are_artifacts_only_if_a_pattern_is_about_them",
    ),
    Mutation(
        name="more artifacts than there may be",
        promise="results/leftovers-delay-nobody",
        file="airunner/worker/workspace/results/scan.py",
        old="                if len(candidates) == ARTIFACTS_MAX:\n",
        new="                if len(candidates) == -1:\n",
        test=f"{COLLECT}test_more_files_than_may_be_are_an_error_and_the_first_are_kept",
    ),
)
