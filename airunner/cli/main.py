"""`airunner`: every command, and how any of them ends.

A command imports what it needs when it runs, so that `airunner --help` and the
shell's completion are quick. Whatever goes wrong is one sentence on standard error,
and an exit code of exits.py; AIRUNNER_DEBUG=1 shows where it came from.
"""

import os
import sys
from inspect import cleandoc
from typing import Annotated, Final, NoReturn

import typer

from airunner.cli.bench import bench
from airunner.cli.cancel import cancel
from airunner.cli.certs import certs
from airunner.cli.exits import INTERRUPTED, OURS, USAGE, CommandFailed, innermost
from airunner.cli.keys import keys
from airunner.cli.list import list_jobs
from airunner.cli.log import backup, check, salvage
from airunner.cli.logs import logs
from airunner.cli.monitor import monitor
from airunner.cli.output import StdoutClosed, note, open_missing, quiet_exit
from airunner.cli.queues import queues
from airunner.cli.retry import retry
from airunner.cli.server import server
from airunner.cli.show import show
from airunner.cli.submit import submit
from airunner.cli.token import token
from airunner.cli.up import up
from airunner.cli.verify import verify
from airunner.cli.version import version
from airunner.cli.worker import worker
from airunner.errors import Refused

# They exit with the code of a job's command, so that 2 may be its own: our mistakes are 125.
_STAND_FOR_A_COMMAND: Final = ("submit", "monitor", "retry", "worker")
_JOBS, _RUNNING, _SETTING_UP = "Jobs", "Running it", "Setting it up"


def _unwrapped(docstring: str | None) -> str:
    """A docstring whose paragraphs are one line each, to be wrapped at the terminal's width."""
    return "\n\n".join(" ".join(each.split()) for each in cleandoc(docstring or "").split("\n\n"))


app = typer.Typer(
    name="airunner",
    help="Run commands on other machines: a job queue server, its workers and their command line.\n\n"
    "[bold]Start[/bold]   airunner up   and in another terminal   airunner submit -- echo hello",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in (
    (_JOBS, (submit, monitor, list_jobs, show, logs, verify, cancel, retry, queues)),
    (_RUNNING, (up, server, worker, bench)),
    (_SETTING_UP, (certs, keys, token, version)),
):
    for _command in _commands:
        _name = "list" if _command is list_jobs else _command.__name__
        app.command(_name, rich_help_panel=_panel, help=_unwrapped(_command.__doc__))(_command)

log = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Look after the file that a server keeps its jobs in.",
)
for _of_a_log in (check, backup, salvage):
    log.command(_of_a_log.__name__, help=_unwrapped(_of_a_log.__doc__))(_of_a_log)
app.add_typer(log, name="log", rich_help_panel=_RUNNING)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
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
    quiet_exit()
    sys.exit(code)


def _run(words: list[str]) -> int:
    """The exit code of a command line."""
    words, command = _without_command(words)
    try:
        return int(app(words, standalone_mode=False, obj=command) or 0)
    except typer.TyperException as error:
        if message := error.format_message().rstrip("."):  # there is none when help is shown
            note(f"{message} (see `airunner {_named(words)}--help`)")
        return _of(words, USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001, RUF100 - every end of a command has its sentence
        return _of(words, _explained(innermost(error)))


def _explained(error: BaseException) -> int:
    if os.environ.get("AIRUNNER_DEBUG"):
        raise error
    match error:
        case StdoutClosed():
            return 0
        case CommandFailed(code=code):
            note(str(error))
            return code
        case Refused():
            note(str(error))
            return OURS
        case _:
            kind = type(error).__name__
            note(
                f"this is a mistake of airunner's own ({kind}: {error}): please report it, with what "
                "AIRUNNER_DEBUG=1 shows"
            )
            return OURS


def _without_command(words: list[str]) -> tuple[list[str], list[str]]:
    """`submit`'s words without the job's own command, which follows --, and that."""
    if words[:1] == ["submit"] and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def _named(words: list[str]) -> str:
    """The command that a command line begins with, and a space."""
    known = {f"log {each.name}" for each in log.registered_commands}
    known |= {f"{each.name}" for each in app.registered_commands} | {"log"}
    for count in (2, 1):
        if (name := " ".join(words[:count])) in known:
            return f"{name} "
    return ""


def _of(words: list[str], code: int) -> int:
    return OURS if code == USAGE and words and words[0] in _STAND_FOR_A_COMMAND else code
