"""The size of the hostile suite: a dose in every run of the tests, more in `make hostile`."""

import os
from typing import Final

DOSE: Final = int(os.environ.get("AIRUNNER_HOSTILE", "1"))  # how many times the dose
