"""Errors of the user's machine have a sentence; defects of airunner have none."""

import errno
import os

import pytest

from airunner.cli.error_sentences import sentence
from airunner.model.units import shortened

DEFECTS = (errno.EBADF, errno.EINVAL, errno.EFAULT, errno.ENOTSOCK, errno.ESPIPE, errno.ENOTCONN)


def of_the_system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize("number", DEFECTS, ids=errno.errorcode.get)
def test_an_error_of_a_wrong_call_of_the_system_is_a_defect(number: int) -> None:
    assert sentence(of_the_system(number), (), {}) is None
    assert sentence(of_the_system(number, "file"), (), {}) is None


def test_an_error_without_a_number_is_a_defect() -> None:
    assert sentence(OSError("no number"), (), {}) is None


def test_an_error_of_the_users_machine_names_its_path_and_a_remedy() -> None:
    denied = sentence(of_the_system(errno.EACCES, "secret"), (), {})
    assert denied == "cannot use secret: Permission denied"
    full = sentence(of_the_system(errno.ENOSPC), (), {})
    assert full == "No space left on device: free space on the disk"
    path = "x" * 300
    long = sentence(of_the_system(errno.ENAMETOOLONG, path), (), {})
    assert long == f"cannot use {shortened(path)}: File name too long"
