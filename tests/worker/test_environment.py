"""The environment of a job's command: where each variable comes from, and which one wins."""

from airunner.model.spec import JobSpec, ProcessType
from airunner.worker.environment import base_environment, job_environment
from airunner.worker.host_runtime import host_environment
from airunner.worker.workspace.workspace import Revision
from tests.support.fake_commands import Room, Rooms
from tests.wire.json.sample_jobs import asked

BASE = base_environment(user="ada", login_shell="/bin/bash")


class Checkout(Room):
    """A workspace with a checkout."""

    @property
    def revision(self) -> Revision:
        return Revision("0123456789", "" if self._job.spec.branch == "v1" else "main")


def environment(
    spec: JobSpec, base: dict[str, str] = BASE, *, step: dict[str, str] | None = None
) -> dict[str, str]:
    job = asked(spec)
    return job_environment(job, base, Checkout(Rooms(), job), step=0, overrides=step)


def test_a_job_learns_the_revision_of_its_checkout() -> None:
    spec = JobSpec(command="x", repository="https://ghp_NOTAREALTOKEN@host/x.git")
    found = environment(spec)
    assert found["AIRUNNER_REPOSITORY"] == "https://***@host/x.git"
    assert (found["AIRUNNER_COMMIT"], found["AIRUNNER_BRANCH"]) == ("0123456789", "main")
    tag = JobSpec(command="x", repository="https://host/x.git", branch="v1")
    assert environment(tag)["AIRUNNER_BRANCH"] == "v1"
    full = JobSpec(command="x", repository="https://host/x.git", branch="refs/heads/main")
    assert environment(full)["AIRUNNER_BRANCH"] == "main"
    job = asked(JobSpec(command="x"))
    bare = job_environment(job, BASE, Room(Rooms(), job))
    assert not {"AIRUNNER_REPOSITORY", "AIRUNNER_COMMIT", "AIRUNNER_BRANCH"} & bare.keys()


def test_a_step_wins_over_the_job_the_job_over_the_worker_and_the_worker_over_the_rest() -> None:
    base = base_environment(
        user="ada",
        login_shell="/bin/sh",
        path="/opt/bin",
        variables={"A": "worker", "B": "worker", "C": "worker", "TMPDIR": "/scratch", "CI": "no"},
    )
    spec = JobSpec(command="x", environment={"B": "job", "C": "job", "AIRUNNER_COMMIT": "own"})
    found = environment(spec, base, step={"C": "step", "AIRUNNER_JOB_ID": "forged"})
    assert (found["A"], found["B"], found["C"]) == ("worker", "job", "step")
    assert (found["PATH"], found["TMPDIR"], found["CI"]) == ("/opt/bin", "/scratch", "no")
    assert found["AIRUNNER_COMMIT"] == "own"
    assert found["AIRUNNER_JOB_ID"] == "id-1"


def test_no_pager_waits_in_a_terminal() -> None:
    for kind in ProcessType:
        found = environment(JobSpec(command="x", process_type=kind))
        assert (found["PAGER"], found["GIT_PAGER"]) == ("cat", "cat")
    assert environment(JobSpec(command="x", environment={"PAGER": "less"}))["PAGER"] == "less"


def test_the_base_has_the_user_of_this_process_and_a_shell_that_exists() -> None:
    found = host_environment(variables={"A": "b"})
    assert found["USER"] == found["LOGNAME"] != ""
    assert found["SHELL"] in ("/bin/bash", "/usr/bin/bash", "/bin/sh")
    assert found["A"] == "b"
