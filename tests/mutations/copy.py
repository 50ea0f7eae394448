"""A copy of the project with an interpreter of its own, in which rules are broken.

The interpreter is a virtual environment that finds the copy first, and then every package that this
interpreter finds. It has an `airunner` beside it, so processes that tests start run the copy, too.
"""

import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.mutations.mutation import Mutation

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("airunner", "docs", "tests", "configs", "proto")
FILES: Final = ("pyproject.toml", "Makefile", "Procfile", "*.md", "requirements.lock")
COMMAND: Final = """#!{python}
import sys
from airunner.cli.main import main
sys.exit(main())
"""


class Copy:
    """The project in another folder."""

    def __init__(self, folder: Path) -> None:
        """Makes the copy in an empty folder, or one that does not exist yet."""
        self.root = folder / "project"
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        for part in PARTS:
            shutil.copytree(ROOT / part, self.root / part, ignore=ignored)
        for pattern in FILES:
            for path in ROOT.glob(pattern):
                shutil.copy(path, self.root)
        home = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        (packages,) = home.glob("lib/python*/site-packages")
        paths = [str(self.root), *site.getsitepackages()]
        (packages / "copy.pth").write_text("".join(f"{path}\n" for path in paths))
        self.python = home / "bin" / "python"
        command = home / "bin" / "airunner"
        command.write_text(COMMAND.format(python=self.python))
        command.chmod(0o755)

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        """Breaks a rule for the length of a block. Raises Misfit."""
        path = self.root / mutation.file
        text = path.read_text(encoding="utf-8")
        path.write_text(mutation.applied(text), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    def run(self, *words: str, seconds: float) -> "subprocess.CompletedProcess[str]":
        """Runs a module of the copy. Raises subprocess.TimeoutExpired."""
        return subprocess.run(
            [str(self.python), "-B", "-m", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
