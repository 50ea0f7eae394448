"""The file AIRUNNER_ENV, through which a step gives variables to the steps after it.

    echo "VERSION=1.2" >>"$AIRUNNER_ENV"

Each line is NAME=VALUE, taken literally: no quotes, no expansion. Each step has a file of its own, which
the worker reads once: after the step, or when the next one starts beside it. A file with a line that it
refuses gives no variable at all, and fails its step: a step that runs without a variable that it expects
does damage.

The job owns the file, so it may have become anything: a link, a pipe, a folder, or gigabytes.
"""

import os
import stat
from collections.abc import Mapping
from typing import Final

from airunner.model.errors import InvalidRequest
from airunner.model.limits import ENVIRONMENT_BYTES_MAX
from airunner.model.validation import check_environment

NAME: Final = "AIRUNNER_ENV"
AIRUNNER_PREFIX: Final = "AIRUNNER_"  # of the names that describe an attempt
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_SHOWN_CHARS: Final = 64  # of a name in an error


class VariablesFile:
    """The file of one step, and the variables that the steps so far have given."""

    def __init__(self, path: str, given: Mapping[str, str] = {}) -> None:
        """Makes the file. `given`: the variables of the earlier steps. Raises OSError."""
        self.path = path
        self.variables = given
        os.close(os.open(path, _MAKE, 0o600))

    def take(self) -> None:
        """Adds the variables in the file.

        Raises ValueError with a sentence about a file that is not as it must be; then no variable of
        it counts.
        """
        try:
            data = self._read()
        except OSError as error:
            raise ValueError(f"{NAME}: the file cannot be read: {error.strerror}") from None
        if not data:
            return
        try:
            variables = {**self.variables, **_parsed(data)}
            check_environment(NAME, variables)
        except InvalidRequest as error:
            raise ValueError(f"{NAME}: {error.why}") from None
        self.variables = variables

    def _read(self) -> bytes:
        """The bytes of the file, one more than the limit at most; none if it is gone."""
        try:
            descriptor = os.open(self.path, _OPEN)
        except FileNotFoundError:
            return b""
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no regular file")
            return os.read(descriptor, ENVIRONMENT_BYTES_MAX + 1)
        finally:
            os.close(descriptor)


def _parsed(data: bytes) -> dict[str, str]:
    """The variables in the bytes of a file. Raises InvalidRequest."""
    if len(data) > ENVIRONMENT_BYTES_MAX:
        limit = f"ENVIRONMENT_BYTES_MAX ({ENVIRONMENT_BYTES_MAX} bytes)"
        raise InvalidRequest(NAME, f"the file is larger than {limit}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(NAME, f"line {place} is not UTF-8 text") from None
    variables: dict[str, str] = {}
    for number, each in enumerate(text.split("\n"), 1):
        line = each.removesuffix("\r")
        if not line:
            continue
        name, equals, value = line.partition("=")
        shown = repr(name[:_SHOWN_CHARS])
        if not equals:
            raise InvalidRequest(NAME, f"line {number} is not NAME=VALUE")
        if name.upper().startswith(AIRUNNER_PREFIX):
            raise InvalidRequest(NAME, f"line {number}: {shown} is a name of airunner's own")
        if not value.isprintable():
            raise InvalidRequest(
                NAME, f"line {number}: the value of {shown} has characters that cannot be shown"
            )
        try:
            check_environment(NAME, {name: value})
        except InvalidRequest:
            raise InvalidRequest(NAME, f"line {number}: {shown} is not a variable name") from None
        variables[name] = value
    return variables
