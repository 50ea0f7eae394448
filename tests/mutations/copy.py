"""A copy of the project with an interpreter of its own, so that what is broken there breaks nothing.

The interpreter is a virtual environment that finds the copy first and then all that ours finds,
and has an `airunner` beside it: so processes that tests start run the copy, too.
"""

import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

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
        """Make it in a folder that is not there yet."""
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
    def replaced(self, file: str, old: str, new: str) -> Iterator[None]:
        """Change the one place in a file where this text stands, for the length of a block."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    def run(self, *words: str, seconds: float) -> "subprocess.CompletedProcess[str]":
        """Run a module of the copy; raises subprocess.TimeoutExpired."""
        return subprocess.run(
            [str(self.python), "-B", "-m", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
