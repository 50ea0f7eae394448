"""The environment variables of a job's commands.

A job's command sees a base, which is the same for all jobs of a worker, the variables of the job, and
variables that describe its attempt. It sees none of the worker's variables, because they may hold
tokens and keys; `airunner worker --env` and `--path` add to the base. The worker's git has other
variables (workspace/git_environment.py).
"""

from collections.abc import Mapping

from airunner.model.jobs import Job
from airunner.model.repositories import redacted
from airunner.model.spec import ProcessType
from airunner.worker.workspace.git_environment import PATH
from airunner.worker.workspace.variables import NAME as ENV
from airunner.worker.workspace.workspace import Workspace


def base_environment(
    *, user: str, login_shell: str, path: str = PATH, variables: Mapping[str, str] = {}
) -> dict[str, str]:
    """The variables of all jobs of a worker; `variables` override the others.

    A pager would wait for a key in a job with a terminal, so it is `cat`.
    """
    return {
        "PATH": path,
        "LANG": "C.UTF-8",
        "CI": "true",
        "USER": user,
        "LOGNAME": user,
        "SHELL": login_shell,
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        **variables,
    }


def job_environment(
    job: Job,
    base: Mapping[str, str],
    workspace: Workspace,
    *,
    step: int | None = None,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The complete environment of a job's command.

    The base overrides the variables of the workspace, the job's variables override the base, those
    of earlier steps override the job's, and `overrides` override them all. `step` is the index of
    the step, if the command is a step.
    """
    terminal = job.spec.process_type is ProcessType.PTY
    checkout = {
        "AIRUNNER_REPOSITORY": redacted(job.spec.repository),
        "AIRUNNER_COMMIT": workspace.revision.commit,
        "AIRUNNER_BRANCH": workspace.revision.branch or job.spec.branch,
    }
    return {
        "HOME": workspace.home,
        "TMPDIR": workspace.tmp,
        "TERM": "xterm-256color" if terminal else "dumb",
        **{name: value for name, value in checkout.items() if value},
        **base,
        **job.spec.environment,
        **workspace.variables,
        **(overrides or {}),
        "AIRUNNER_JOB_ID": job.id,
        "AIRUNNER_ATTEMPT": str(job.attempt),
        "AIRUNNER_QUEUE": job.spec.queue,
        **({} if step is None else {"AIRUNNER_STEP": str(step), ENV: workspace.variables_file}),
    }
