"""The entry point of `airunner`: the table of commands, and the exit code of each.

Only the module of the command that runs is imported, and it imports its dependencies when it runs:
the other commands and their flags took 30 of the 380 ms of processor time of `airunner list`.
`airunner --help` and shell completion import every command module, without their dependencies.
An error is a single sentence on standard error and an exit code of cli/exit_codes.py;
AIRUNNER_DEBUG=1 shows the traceback.
"""

import os
import sys
from collections.abc import Collection
from importlib import import_module
from inspect import cleandoc
from itertools import chain
from types import ModuleType
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from airunner.cli.error_sentences import sentence
from airunner.cli.exit_codes import INTERRUPTED, OURS, USAGE, CommandFailed, innermost
from airunner.cli.render.streams import StdoutClosed, flush, note, open_missing
from airunner.jobfile.error import JobFileError
from airunner.model.errors import Refused

# Panel of the help -> commands. Each command is a function in the module of its name.
_COMMANDS: Final = {
    "Jobs": (
        *(
            "submit",
            "run",
            "monitor",
            "list",
            "show",
            "logs",
            "artifacts",
            "verify",
            "cancel",
            "retry",
            "queues",
        ),
    ),
    "Server and worker": ("up", "server", "worker", "bench", "log"),
    "Set-up": ("certs", "keys", "token", "version"),
}
# Groups: their help, and their commands, which are functions in the module of the group's name.
_GROUPS: Final = {
    "artifacts": ("List and download the artifacts of a job.", ("show", "get")),
    "log": (
        "Check, back up and salvage the SQLite log of a server.",
        ("check", "backup", "salvage"),
    ),
}
_FUNCTIONS: Final = {"list": "list_jobs"}  # functions that cannot have their command's name
# Commands that exit with the job's exit code, which may be 2: wrong usage is 125 here.
_EXIT_AS_THE_JOB: Final = ("submit", "run", "monitor", "retry", "worker")


def _help_text(docstring: str | None) -> str:
    """A docstring with each paragraph on a line, for Typer to wrap at the terminal's width."""
    return "\n\n".join(" ".join(each.split()) for each in cleandoc(docstring or "").split("\n\n"))


def build_app(names: Collection[str]) -> typer.Typer:
    """The Typer program with the given commands."""
    app = typer.Typer(
        name="airunner",
        help="Run commands on other machines: a job queue server, its workers and a command "
        "line.\n\n[bold]Start[/bold]   airunner up   and in another terminal   "
        "airunner submit -- echo hello",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_airunner)
    for panel, commands in _COMMANDS.items():
        for name in commands:
            if name in names and name in _GROUPS:
                app.add_typer(_group(name), name=name, rich_help_panel=panel)
            elif name in names:
                _add(app, name, import_module(f"airunner.cli.commands.{name}"), panel=panel)
    return app


class _ShowByDefault(TyperGroup):
    """A group that runs `show` if no command is named."""

    def parse_args(
        self, ctx: Any, args: list[str]
    ) -> list[str]:  # Any: Typer does not export the class
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


def _group(group: str) -> typer.Typer:
    help, names = _GROUPS[group]
    shows = "show" in names
    app = typer.Typer(
        cls=_ShowByDefault if shows else None,
        no_args_is_help=True,
        rich_markup_mode="rich",
        help=help,
        subcommand_metavar="[show] ID | get ID [PATTERN]..." if shows else None,
    )
    for name in names:
        _add(app, name, import_module(f"airunner.cli.commands.{group}"))
    return app


def _add(app: typer.Typer, name: str, module: ModuleType, *, panel: str | None = None) -> None:
    command = getattr(module, _FUNCTIONS.get(name, name))
    app.command(name, rich_help_panel=panel, help=_help_text(command.__doc__))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from airunner.cli.commands.version import version

        version()
        raise typer.Exit


def _airunner(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Runs the command line of this process, and exits."""
    open_missing()
    # Keeps gRPC from printing its own lines about a failed handshake beside the error sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    code = run(sys.argv[1:])
    flush()
    # Not sys.exit(): at the end of the interpreter gRPC waits up to 2 s for a thread of its own.
    os._exit(code)


def run(words: list[str]) -> int:
    """Runs a command line, and returns its exit code."""
    words, command = _split_job_command(words)
    every = {*chain(*_COMMANDS.values())}
    try:
        app = build_app(every.intersection(words[:1]) or every)
        return int(app(words, standalone_mode=False, obj=command) or 0)
    except typer.TyperException as error:
        if message := error.format_message().rstrip("."):  # empty if the help was shown
            note(f"{message} (see `airunner {_command_name(words)}--help`)")
        return _exit_code(words, USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001, RUF100 - every error becomes a sentence
        return _exit_code(words, _report(innermost(error), [*words, *command]))


def _report(error: BaseException, words: list[str]) -> int:
    if os.environ.get("AIRUNNER_DEBUG"):
        raise error
    match error:
        case StdoutClosed():
            return 0
        case CommandFailed(code=code):
            note(str(error))
            return code
        case Refused() | JobFileError():
            note(str(error))
            return OURS
        case _:
            kind = type(error).__name__
            note(
                sentence(error, words, os.environ)
                or f"internal error ({kind}: {error}): please report it with the traceback that "
                "AIRUNNER_DEBUG=1 shows"
            )
            return OURS


def _split_job_command(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits the words of `submit` at --: the words before it, and the job's command after it."""
    if words[:1] == ["submit"] and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def _command_name(words: list[str]) -> str:
    """The command that a command line begins with, and a space; "" if it names none."""
    known = {*chain(*_COMMANDS.values())}
    known.update(f"{group} {name}" for group, (_, names) in _GROUPS.items() for name in names)
    for count in (2, 1):
        if (name := " ".join(words[:count])) in known:
            return f"{name} "
    return ""


def _exit_code(words: list[str], code: int) -> int:
    return OURS if code == USAGE and words and words[0] in _EXIT_AS_THE_JOB else code
