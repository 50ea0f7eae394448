"""The size of the hostile suite: a dose in every run of the tests, more in `make hostile`."""

import os
from typing import Final

DOSE: Final = int(os.environ.get("AIRUNNER_HOSTILE", "1"))  # how many times the dose


def patience(seconds: float) -> float:
    """The longest wait of a bystander: this in `make hostile`, which has the machine to itself.

    In a run of all tests, whose processes share the cores, ten seconds, which says little: there the
    longest step of the server (measured_command.py) shows that an attack is contained.
    """
    return seconds if DOSE > 1 else 10.0
