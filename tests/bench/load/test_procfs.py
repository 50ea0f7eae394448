"""Memory and processor time of a process, read from /proc."""

import os
import subprocess
import sys

import pytest

from airunner.bench.load.procfs import Meter, busy_seconds, children_seconds, resident_bytes

BUSY = "import time; print(flush=True)\nwhile time.process_time() < 0.2: pass"


def test_a_meter_counts_from_when_it_was_made() -> None:
    meter = Meter(os.getpid())
    before = busy_seconds(os.getpid())
    while busy_seconds(os.getpid()) < before + 0.05:
        pass
    # The kernel counts in ticks of 10 ms.
    assert 0.03 <= meter.busy <= busy_seconds(os.getpid())
    assert meter.resident > 1_000_000


def test_children_count_once_they_have_been_waited_for() -> None:
    before = children_seconds()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        assert resident_bytes(child.pid) > 1_000_000
        assert children_seconds() == before
    assert children_seconds() - before >= 0.15


def test_a_process_that_is_gone_has_no_memory() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    with pytest.raises((ProcessLookupError, FileNotFoundError)):
        resident_bytes(child.pid)
