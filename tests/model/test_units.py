"""Parsing and formatting of durations and sizes."""

from collections.abc import Callable

import pytest

from airunner.model.units import parse_duration, parse_size, show_duration, show_size, show_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "1.5h", "-3", "10 minutes", "5m1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65_536), ("64KiB", 65_536), ("64k", 64_000), ("1GB", 10**9), ("2 MiB", 2 << 20)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1.5GB", "-1", "3 apples", "5iB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("parse", [parse_duration, parse_size])
def test_a_number_with_too_many_digits_is_refused_and_quoted_in_part(
    parse: Callable[[str], int],
) -> None:
    with pytest.raises(ValueError, match="too large a number") as raised:
        parse("9" * 4_300)
    assert len(str(raised.value)) < 120
    assert parse("0" * 4_300 + "7") == 7


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0s"),
        (1_240, "1.2s"),
        (42_000, "42s"),
        (185_000, "3m05s"),
        (7_620_000, "2h07m"),
        (356_400_000, "4d03h"),
    ],
)
def test_a_duration_shows_its_two_leading_units(milliseconds: int, text: str) -> None:
    assert show_duration(milliseconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(512, "512 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_a_size_shows_its_leading_unit(size: int, text: str) -> None:
    assert show_size(size) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_shows_its_milliseconds_and_is_of_no_place(milliseconds: int, text: str) -> None:
    assert show_time(milliseconds) == text
