"""`airunner version`: prints the version."""

from airunner import __version__
from airunner.cli.render.streams import say


def version() -> None:
    """Print the version."""
    say(f"airunner {__version__}")
