from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmreg.units import (
    DURATION_S,
    SIZE_BYTES,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("50GB", 50_000_000_000),
        ("50gb", 50_000_000_000),
        (" 1.5 MiB ", 1_572_864),
        ("1.001KB", 1_001),
        ("0.5KiB", 512),
        ("7B", 7),
        ("2PB", 2 * 10**15),
    ],
)
def test_sizes_are_exact(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("50", "has no unit"),
        ("1.5", "has no unit"),
        ("50 bananas", "'bananas' is not a unit of size"),
        ("50 G", "'G' is not a unit of size"),
        ("-5GB", "is not a size such as 50GB"),
        ("5GB foo", "is not a size such as 50GB"),
        ("1e3GB", "is not a size such as 50GB"),
        ("٣GB", "is not a size such as 50GB"),
        ("GB", "is not a size such as 50GB"),
        ("0.3B", "is not a whole number of bytes"),
        ("0.0001KB", "is not a whole number of bytes"),
    ],
)
def test_sizes_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_size(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1.5 hours", timedelta(minutes=90)),
        ("1 minute", timedelta(minutes=1)),
        ("10 secs", timedelta(seconds=10)),
        ("0.5m", timedelta(seconds=30)),
    ],
)
def test_durations_are_exact(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("30", "has no unit"),
        ("5M", "'M' is not a unit of time"),
        ("5ms", "'ms' is not a unit of time"),
        ("1 months", "'months' is not a unit of time"),
        ("1y", "'y' is not a unit of time"),
        ("1h30m", "is not a duration such as 30d"),
        ("-1d", "is not a duration such as 30d"),
        ("0.5s", "is not a whole number of seconds"),
        ("999999999999w", "is longer than a thousand years"),
    ],
)
def test_durations_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_duration(text)
    assert str(caught.value) == reason


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_a_size_reads_back_as_it_was_written(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_reads_back_as_it_was_written(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@settings(deadline=None)
@given(
    number=st.decimals(min_value=0, max_value=10**6, places=6),
    unit=st.sampled_from(sorted(SIZE_BYTES)),
)
def test_fractions_of_a_size_are_exact_or_refused(number: object, unit: str) -> None:
    exact = number * SIZE_BYTES[unit]  # type: ignore[operator]  # a Decimal
    try:
        assert parse_size(f"{number}{unit}") == exact
    except ValueError:
        assert exact != int(exact)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= timedelta(0)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - the property is about both outcomes
    else:
        assert text.strip()[-1].isalpha()


def test_formats_use_the_shortest_exact_unit() -> None:
    assert format_size(50_000_000_000) == "50GB"
    assert format_size(2**30) == "1GiB"
    assert format_size(1_001) == "1001B"
    assert format_size(0) == "0B"
    assert format_duration(timedelta(days=30)) == "30d"
    assert format_duration(timedelta(seconds=90)) == "90s"
    assert format_duration(timedelta(0)) == "0s"
    assert min(DURATION_S.values()) == 1
