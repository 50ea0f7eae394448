"""`airunner`: every command, and how any of them ends.

Only the command that runs is imported, and it imports what it needs when it runs: of 380 ms that
`airunner list` took of a processor, the other commands and their flags were 30. `airunner --help` and the
shell's completion import every command, and none of what those need. Whatever goes wrong is one
sentence on standard error, and an exit code of exits.py; AIRUNNER_DEBUG=1 shows where it came from.
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

from airunner.cli.exit_codes import INTERRUPTED, OURS, USAGE, CommandFailed, innermost
from airunner.cli.render.streams import StdoutClosed, flush, note, open_missing
from airunner.jobfile.error import JobFileError
from airunner.model.errors import Refused

# By panel of the help. A command is a function in a module of its own name.
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
    "Running it": ("up", "server", "worker", "bench", "log"),
    "Setting it up": ("certs", "keys", "token", "version"),
}
# Commands of commands: functions in the module of the group's name.
_GROUPS: Final = {
    "artifacts": ("Show and fetch the files that a job has left.", ("show", "get")),
    "log": ("Look after the file that a server keeps its jobs in.", ("check", "backup", "salvage")),
}
_FUNCTIONS: Final = {"list": "list_jobs"}  # where the name is taken
# They exit with the code of a job's command, so that 2 may be its own: our mistakes are 125.
_EXIT_AS_THE_JOB: Final = ("submit", "run", "monitor", "retry", "worker")


def _help_text(docstring: str | None) -> str:
    """A docstring whose paragraphs are one line each, to be wrapped at the terminal's width."""
    return "\n\n".join(" ".join(each.split()) for each in cleandoc(docstring or "").split("\n\n"))


def _build_app(names: Collection[str]) -> typer.Typer:
    """The program with these commands."""
    app = typer.Typer(
        name="airunner",
        help="Run commands on other machines: a job queue server, its workers and their command "
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
    """A group whose `show` need not be said."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: its class is hidden
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
    """The entry point."""
    open_missing()
    # gRPC's own lines about a failed handshake would stand beside our one sentence.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    code = _run(sys.argv[1:])
    flush()
    # Not sys.exit(): as the interpreter ends, gRPC waits up to 2 s for a thread of its own.
    os._exit(code)


def _run(words: list[str]) -> int:
    """The exit code of a command line."""
    words, command = _split_job_command(words)
    every = {*chain(*_COMMANDS.values())}
    try:
        app = _build_app(every.intersection(words[:1]) or every)
        return int(app(words, standalone_mode=False, obj=command) or 0)
    except typer.TyperException as error:
        if message := error.format_message().rstrip("."):  # there is none when help is shown
            note(f"{message} (see `airunner {_command_name(words)}--help`)")
        return _exit_code(words, USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001, RUF100 - every end of a command has its sentence
        return _exit_code(words, _report(innermost(error)))


def _report(error: BaseException) -> int:
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
                f"this is a mistake of airunner's own ({kind}: {error}): please report it, with what "
                "AIRUNNER_DEBUG=1 shows"
            )
            return OURS


def _split_job_command(words: list[str]) -> tuple[list[str], list[str]]:
    """`submit`'s words without the job's own command, which follows --, and that."""
    if words[:1] == ["submit"] and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def _command_name(words: list[str]) -> str:
    """The command that a command line begins with, and a space."""
    known = {*chain(*_COMMANDS.values())}
    known.update(f"{group} {name}" for group, (_, names) in _GROUPS.items() for name in names)
    for count in (2, 1):
        if (name := " ".join(words[:count])) in known:
            return f"{name} "
    return ""


def _exit_code(words: list[str], code: int) -> int:
    return OURS if code == USAGE and words and words[0] in _EXIT_AS_THE_JOB else code
