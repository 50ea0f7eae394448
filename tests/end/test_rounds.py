"""A few rounds of kill -9 under load; `make fuzz` fights many more."""

from pathlib import Path

from tests.rounds.__main__ import fight


def test_five_rounds_of_kills_lose_nothing_that_a_client_was_told(tmp_path: Path) -> None:
    counts, wrong = fight(tmp_path / "site", "5", 5, durable=True)
    assert not wrong
    assert counts["ended"] > 5
