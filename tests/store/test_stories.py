"""Each file in stories/ is a story told to the engine, with what it answered.

If a change to the answers is meant, run `REWRITE=1 pytest tests/store/test_stories.py`
and read the diff.
"""

import os
from pathlib import Path

import pytest

from tests.store.story_runner import Teller

STORIES = sorted(Path(__file__).with_name("stories").glob("*.txt"))


def retell(text: str) -> str:
    """The story, with what the engine answers now."""
    teller, out = Teller(), list[str]()
    for line in text.splitlines():
        if line.startswith("  "):
            continue
        out.append(line)
        if line and not line.startswith("#"):
            out += [f"  {answer}" for answer in teller.tell(line)]
    return "\n".join(out) + "\n"


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_story(story: Path) -> None:
    told = retell(story.read_text())
    if os.environ.get("REWRITE"):
        story.write_text(told)
    assert told == story.read_text()


def test_there_are_stories() -> None:
    assert len(STORIES) > 10
