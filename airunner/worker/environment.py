"""The environments of commands: a job's, and that of the worker's own git.

A job sees a clean base, what its submitter gave it, and where it is. It sees nothing of the
worker's own variables, which may hold tokens and keys. git does run with the worker's
variables, because it needs the worker's credentials: its HOME, SSH agent and credential
helper. Those of airunner itself are left out there too.
"""

from collections.abc import Mapping
from typing import Final

from airunner.model.jobs import Job
from airunner.model.spec import ProcessType

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_OURS: Final = ("AIRUNNER_", "JWT_")  # prefixes of what only airunner may see
_ELSEWHERE: Final = frozenset(  # would send git to another repository than the one it is told
    (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_WORK_TREE",
    )
)


def job_environment(
    job: Job, home: str, *, step: int | None = None, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """All that a job's command sees; the job's own values win over the base, those `over` them over both.

    `step` is the index of the step that it is.
    """
    terminal = job.spec.process_type is ProcessType.PTY
    return {
        "PATH": PATH,
        "HOME": home,
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color" if terminal else "dumb",
        **job.spec.environment,
        **(overrides or {}),
        "AIRUNNER_JOB_ID": job.id,
        "AIRUNNER_ATTEMPT": str(job.attempt),
        "AIRUNNER_QUEUE": job.spec.queue,
        **({} if step is None else {"AIRUNNER_STEP": str(step)}),
    }


def git_environment(own: Mapping[str, str], *, allow_local: bool) -> dict[str, str]:
    """What the worker's git sees, of the worker's `own` variables and ours.

    GIT_ALLOW_PROTOCOL is a closed list, stronger than any configuration, and holds for submodules
    too: `ext::` runs nothing, and file:// opens nothing unless local repositories are allowed.
    """
    kept = {
        name: value
        for name, value in own.items()
        if not name.startswith(_OURS) and name not in _ELSEWHERE
    }
    return {
        "PATH": PATH,
        **kept,
        "LC_ALL": "C.UTF-8",  # what git says is read by people who do not share our language
        "GIT_TERMINAL_PROMPT": "0",  # nobody is there to answer
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git" + (":file" if allow_local else ""),
    }
