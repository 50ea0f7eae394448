"""The pauses of a playback."""

from airunner.cli.render.playback import Pace
from airunner.model.jobs import Instant


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def pauses(pace: Pace, watch: Watch, *instants: int) -> list[float]:
    found = []
    for at in instants:
        found.append(round(pace.wait(Instant(at)), 6))
        watch.time += found[-1]
    return found


def test_pauses_are_as_long_as_they_were() -> None:
    watch = Watch()
    assert pauses(Pace(1.0, None, watch), watch, 5_000, 5_500, 7_500) == [0.0, 0.5, 2.0]


def test_speed_divides_each_pause() -> None:
    watch = Watch()
    assert pauses(Pace(4.0, None, watch), watch, 0, 2_000) == [0.0, 0.5]


def test_a_long_pause_is_cut_after_it_was_divided() -> None:
    watch = Watch()
    assert pauses(Pace(2.0, 1.0, watch), watch, 0, 60_000, 61_000) == [0.0, 1.0, 0.5]


def test_a_clock_that_stepped_back_makes_no_pause() -> None:
    watch = Watch()
    assert pauses(Pace(1.0, None, watch), watch, 9_000, 1_000, 1_500) == [0.0, 0.0, 0.5]


def test_time_lost_in_printing_is_made_up() -> None:
    watch = Watch()
    pace = Pace(1.0, None, watch)
    pace.wait(Instant(0))
    watch.time += 0.4
    assert round(pace.wait(Instant(1_000)), 6) == 0.6
