"""The environment variables of the worker's git.

git runs with the worker's variables, because it needs the worker's credentials: HOME, the SSH agent
and the credential helper. airunner's own variables are hidden from git, as from jobs.
"""

from collections.abc import Mapping
from typing import Final

from airunner.worker.workspace.variables import AIRUNNER_PREFIX

# Of jobs, unless the worker says otherwise, and of git if the worker has none.
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
