"""The environment variables of a job's commands and of the worker's git.

A job's command sees a base, which is the same for all jobs of a worker, the variables of the job, and
variables that describe its attempt. It sees none of the worker's variables, because they may hold
tokens and keys; `airunner worker --env` and `--path` add to the base. git runs
with the worker's variables, because it needs the worker's credentials: HOME, the SSH agent and the
credential helper. airunner's own variables are hidden from git too.
"""

from collections.abc import Mapping
from typing import Final

from airunner.model.jobs import Job
from airunner.model.repositories import redacted
from airunner.model.spec import ProcessType
from airunner.worker.workspace.variables import AIRUNNER_PREFIX
from airunner.worker.workspace.variables import NAME as ENV
from airunner.worker.workspace.workspace import Workspace

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_AIRUNNER_PREFIXES: Final = (AIRUNNER_PREFIX, "JWT_")  # variables that only airunner may see
_GIT_REDIRECTIONS: Final = frozenset(  # variables that would send git to another repository
    (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    )
)
_PROMPTS: Final = frozenset(("DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS"))  # windows for a password


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


def git_environment(own: Mapping[str, str], *, allow_local: bool) -> dict[str, str]:
    """The environment of the worker's git, from the worker's `own` variables.

    GIT_ALLOW_PROTOCOL is a closed list, which overrides any git configuration and applies to
    submodules too: `ext::` runs no command, and file:// opens no repository unless `allow_local`.

    Nothing asks for a password: no terminal, no window, and no credential manager. GIT_ASKPASS stays,
    since operators name a program there that prints a token. Relative folders of PATH are left out:
    git runs in the checkout, where they would be folders of the repository.
    """
    inherited = {
        name: value
        for name, value in own.items()
        if not name.startswith(_AIRUNNER_PREFIXES)
        and name not in _GIT_REDIRECTIONS
        and name not in _PROMPTS
    }
    return {
        **inherited,
        "PATH": _absolute_folders(own.get("PATH", "")) or PATH,
        "LC_ALL": "C.UTF-8",  # git's messages go to readers who need not share the worker's locale
        "GIT_TERMINAL_PROMPT": "0",  # a worker cannot answer a prompt
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git" + (":file" if allow_local else ""),
    }


def _absolute_folders(path: str) -> str:
    return ":".join(folder for folder in path.split(":") if folder.startswith("/"))
