"""The generated code is the output of the generator for the contract."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises import holds

ROOT = Path(__file__).parent.parent.parent
GENERATED = Path("airunner/wire/job/v1")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    subprocess.run(
        ["sh", str(ROOT / "proto" / "generate.sh"), str(folder)],
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    return folder


@holds("server/published-contract-is-served")
@pytest.mark.parametrize(
    "name", ["job_pb2.py", "job_pb2.pyi", "job_pb2_grpc.py", "job_pb2_grpc.pyi"]
)
def test_the_generated_code_is_fresh(name: str, fresh: Path) -> None:
    committed = (ROOT / GENERATED / name).read_text(encoding="utf-8")
    assert committed == (fresh / GENERATED / name).read_text(encoding="utf-8"), "run `make proto`"
