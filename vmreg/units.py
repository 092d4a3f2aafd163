"""Sizes and durations as people write them, exact in both directions.

The libraries that were tried are too lenient for a configuration file. ``humanfriendly`` takes a
bare ``50`` for bytes, ``50 bananas`` for 50 bytes, ``5M`` for five minutes, a year for 364 days
and ``1.001KB`` for 1000 bytes; pydantic takes a bare ``30`` for seconds and knows no weeks.
"""

from __future__ import annotations

import re
from datetime import timedelta

# The multiples of each unit, largest first; writing uses the first that divides exactly.
SIZE_BYTES = {
    "PB": 10**15,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "PiB": 2**50,
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "B": 1,
}
DURATION_S = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
LONGEST_S = 1_000 * 365 * DURATION_S["d"]

_NAMES = {
    name: short
    for short, names in {
        "w": ("w", "week", "weeks"),
        "d": ("d", "day", "days"),
        "h": ("h", "hour", "hours"),
        "m": ("m", "min", "mins", "minute", "minutes"),
        "s": ("s", "sec", "secs", "second", "seconds"),
    }.items()
    for name in names
}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]+)")


def parse_size(text: str) -> int:
    """Return the bytes that a size stands for.

    Units are ``B``, ``KB`` to ``PB`` (powers of 1000) and ``KiB`` to ``PiB`` (powers of 1024),
    in any case.

    :raises ValueError: no unit, an unknown one, a sign, or not a whole number of bytes.

    >>> parse_size("50GB"), parse_size("1.5 MiB")
    (50000000000, 1572864)
    """
    number, unit = _split(text.strip(), what="size", example="50GB")
    known = {name.lower(): name for name in SIZE_BYTES}
    if unit.lower() not in known:
        raise ValueError(f"{unit!r} is not a unit of size")
    return _multiply(number, SIZE_BYTES[known[unit.lower()]], smallest="bytes")


def format_size(size_bytes: int) -> str:
    """Return the shortest exact way to write a size; :func:`parse_size` reads it back.

    >>> format_size(50_000_000_000), format_size(1_572_864), format_size(1_001)
    ('50GB', '1536KiB', '1001B')
    """
    return _largest(size_bytes, SIZE_BYTES)


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text stands for, in whole seconds.

    Units are ``s``, ``m`` (minutes), ``h``, ``d`` and ``w``, or their English names. Months and
    years are no fixed number of seconds and are refused.

    :raises ValueError: no unit, an unknown one, a sign, or not a whole number of seconds.

    >>> parse_duration("2w"), parse_duration("1.5 hours")
    (datetime.timedelta(days=14), datetime.timedelta(seconds=5400))
    """
    number, unit = _split(text.strip(), what="duration", example="30d")
    if unit not in _NAMES:
        raise ValueError(f"{unit!r} is not a unit of time")
    seconds = _multiply(number, DURATION_S[_NAMES[unit]], smallest="seconds")
    if seconds > LONGEST_S:
        raise ValueError("is longer than a thousand years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Return the shortest exact way to write a duration of whole seconds.

    >>> format_duration(timedelta(days=30)), format_duration(timedelta(seconds=90))
    ('30d', '90s')
    """
    return _largest(int(duration.total_seconds()), DURATION_S)


def _split(text: str, *, what: str, example: str) -> tuple[str, str]:
    if not text:
        raise ValueError("is empty")
    if re.fullmatch(r"[0-9.]+", text):
        raise ValueError("has no unit")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"is not a {what} such as {example}")
    return match[1], match[2]


def _multiply(number: str, multiple: int, *, smallest: str) -> int:
    whole, _, fraction = number.partition(".")
    scale = int("1" + "0" * len(fraction))
    amount, rest = divmod(int(whole + fraction) * multiple, scale)
    if rest:
        raise ValueError(f"is not a whole number of {smallest}")
    return amount


def _largest(amount: int, multiples: dict[str, int]) -> str:
    candidates = [
        f"{amount // multiple}{unit}"
        for unit, multiple in multiples.items()
        if amount % multiple == 0 and amount
    ]
    smallest = next(unit for unit, multiple in multiples.items() if multiple == 1)
    return min(candidates, key=len, default=f"0{smallest}")
