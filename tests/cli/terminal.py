"""A pseudo-terminal that runs `airunner`, and types into it."""

import re
from collections.abc import Mapping

from ptyprocess import PtyProcess  # type: ignore[import-untyped]  # the package has no types

from tests.cli.conftest import AIRUNNER, Shell


class Terminal:
    """`airunner` in a pseudo-terminal, and its output so far."""

    def __init__(
        self, shell: Shell, *words: str, environment: Mapping[str, str] = {}, columns: int = 80
    ) -> None:
        self.process = PtyProcess.spawn(
            [AIRUNNER, *words],
            env={**shell.environment, **environment},
            cwd=str(shell.home),
            dimensions=(24, columns),
        )
        self.text = ""

    def until(self, text: str) -> None:
        while text not in self.text:
            self.text += self.process.read().decode()

    def send(self, text: str) -> None:
        self.process.write(text.encode())

    def wait(self) -> int:
        try:
            while True:
                self.text += self.process.read().decode()
        except EOFError:
            code = self.process.wait()
            self.process.close()
            return int(code)

    @property
    def id(self) -> str:
        found = re.search(r"airunner: job (\S+)\r\n", self.text)
        assert found
        return found[1]
