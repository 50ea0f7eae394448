"""Rules of workers that live for a while, of runs without a server and of uploads, broken on purpose."""

from typing import Final

from tests.mutations.mutation import Mutation

RUN: Final = "tests/cli/test_run.py::"
UPLOADS: Final = "tests/end/test_uploads.py::"

OF_RUNS: Final = (
    Mutation(
        name="a worker that asks for one job too many",
        promise="processes/jobs-max-is-exact",
        file="airunner/worker/worker.py",
        old="        if self._options.jobs_max is None or self._asked < self._options.jobs_max:\n",
        new="        if self._options.jobs_max is None or self._asked <= self._options.jobs_max:\n",
        test="tests/worker/test_worker.py::"
        "test_a_worker_of_a_few_jobs_is_never_leased_more_than_these",
    ),
    Mutation(
        name="a run that replaces whatever is called results",
        promise="processes/run-replaces-only-its-own",
        file="airunner/cli/processes/folders.py",
        old="    if names and not any(",
        new="    if not names and not any(",
        test=f"{RUN}test_a_folder_that_is_not_of_a_run_is_never_replaced",
    ),
    Mutation(
        name="an upload that gives up on a server that is away",
        promise="results/upload-survives-server-death",
        file="airunner/worker/uploads.py",
        old="self._endpoint, patience=inf)",
        new="self._endpoint, patience=0)",
        test=f"{UPLOADS}test_artifacts_wait_for_a_server_that_is_away_and_are_whole",
    ),
    Mutation(
        name="sources that may have spools in them",
        promise="sources/folders-lie-apart",
        file="airunner/cli/processes/folders.py",
        old='    check_apart(jobs_dir, work, "--work-dir")\n',
        new="",
        test=f"{RUN}test_what_cannot_be_run_or_started_is_said",
    ),
)
