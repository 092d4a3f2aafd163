"""The proxy's access logs: one JSON object a line, read as a stream of typed records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAIL_BYTES = 262_144


@dataclass(frozen=True, kw_only=True)
class EdgeRecord:
    """A client's request at the edge.

    :param time: when it ended, seconds since the epoch.
    :param sent_bytes: size of the body that was sent.
    :param request_s: seconds from the first byte of the request to the last of the answer.
    :param first_byte_s: seconds until storage began to answer, ``None`` when it was not asked.
    :param source: ``disk``, ``storage``, ``tags``, ``upstream`` or ``local``.
    :param cache: nginx's word for what its cache did (``HIT``, ``STALE``, …), often empty.
    """

    time: float
    client: str
    method: str
    uri: str
    status: int
    sent_bytes: int
    request_s: float
    first_byte_s: float | None
    source: str
    cache: str
    agent: str
    range: str


@dataclass(frozen=True, kw_only=True)
class OriginRecord:
    """A request to the upstream; the bytes are those of bodies.

    :param host: the upstream host that answered.
    :param received_bytes: what came from it.
    :param limit: the pulls that the hub allows in its window, ``None`` where it does not say.
    :param remaining: the pulls left.
    :param window_s: the window's length in seconds.
    """

    time: float
    method: str
    uri: str
    status: int
    host: str
    received_bytes: int
    sent_bytes: int
    request_s: float
    first_byte_s: float | None
    range: str
    limit: int | None
    remaining: int | None
    window_s: int | None
    limit_source: str


DAMAGED = (KeyError, ValueError, TypeError, AttributeError, OverflowError)


def edge(path: Path, *, offset: int = 0) -> Iterator[EdgeRecord]:
    """Yield the edge's records from a byte offset on; a line that is cut or damaged is skipped.

    :raises FileNotFoundError: there is no such log.
    """
    for row in _rows(path, offset):
        try:
            yield _edge(row)
        except DAMAGED:
            continue


def origin(path: Path, *, offset: int = 0) -> Iterator[OriginRecord]:
    """Yield the origin's records from a byte offset on; a line that is cut or damaged is skipped.

    :raises FileNotFoundError: there is no such log.
    """
    for row in _rows(path, offset):
        try:
            yield _origin(row)
        except DAMAGED:
            continue


def latest_limit(path: Path) -> OriginRecord | None:
    """Return the newest record that carries the hub's rate limit, looking at the log's end only."""
    try:
        size = path.stat().st_size
        found = [one for one in origin(path, offset=max(0, size - TAIL_BYTES)) if one.limit]
    except FileNotFoundError:
        return None
    return found[-1] if found else None


def total(values: str) -> int:
    """Add up what nginx noted for each server that it asked.

    >>> total("10, 5 : 1"), total("-"), total("")
    (16, 0, 0)
    """
    return sum(int(part) for part in _parts(values))


def _parts(values: str) -> list[str]:
    parts = values.replace(":", ",").replace(" ", "").split(",")
    return [part for part in parts if part not in {"", "-"}]


def _seconds(values: str) -> float | None:
    parts = _parts(values)
    return sum(float(part) for part in parts) if parts else None


def _rows(path: Path, offset: int) -> Iterator[dict[str, Any]]:
    with path.open("rb") as log:
        log.seek(offset)
        for line in log:
            try:
                row = json.loads(line.decode(errors="replace"))
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def _edge(row: dict[str, Any]) -> EdgeRecord:
    return EdgeRecord(
        time=float(row["time"]),
        client=row["client"],
        method=row["method"],
        uri=row["uri"],
        status=int(row["status"]),
        sent_bytes=int(row["sent_bytes"]),
        request_s=float(row["request_s"]),
        first_byte_s=_seconds(row["first_byte_s"]),
        source=row["source"],
        cache=row["cache"],
        agent=row["agent"],
        range=row["range"],
    )


def _origin(row: dict[str, Any]) -> OriginRecord:
    limit, window_s = _limit(row["limit"])
    return OriginRecord(
        time=float(row["time"]),
        method=row["method"],
        uri=row["uri"],
        status=int(row["status"]),
        host=row["host"],
        received_bytes=total(row["received_bytes"]),
        sent_bytes=int(row["sent_bytes"]),
        request_s=float(row["request_s"]),
        first_byte_s=_seconds(row["first_byte_s"]),
        range=row["range"],
        limit=limit,
        remaining=_limit(row["remaining"])[0],
        window_s=window_s,
        limit_source=row["limit_source"],
    )


def _limit(value: str) -> tuple[int | None, int | None]:
    """Read the hub's ``100;w=21600``: a number and the window's seconds."""
    number, _, window = value.partition(";w=")
    return (
        int(number) if number.isdecimal() else None,
        int(window) if window.isdecimal() else None,
    )
