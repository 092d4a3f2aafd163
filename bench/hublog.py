"""The hub's access log: a line per request, read as a stream from any position."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MANIFEST = re.compile(r"/v2/.+/manifests/[^/]+")
OK = 200
SETTLE_S = 0.03
SETTLE_LIMIT_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A position in the log, in bytes from its beginning."""

    offset: int


@dataclass(frozen=True, kw_only=True)
class HubRequest:
    """A request that the hub answered, or whose client gave up.

    :param time_s: when it ended, seconds since the epoch.
    :param role: ``registry``, ``auth``, ``cdn``, or ``foreign`` when a client followed a fault's
        lure: another host name, or plain HTTP.
    :param uri: path and query.
    :param status: 499 when the client closed the connection before an answer.
    :param body_bytes: bytes of the body that were handed to the network.
    :param request_s: seconds from the first byte of the request to the last of the answer.
    :param client: the peer's address.
    :param range: the ``Range`` header, empty without one.
    :param counted: whether it was charged to a quota.
    """

    time_s: float
    role: str
    method: str
    uri: str
    status: int
    body_bytes: int
    request_s: float
    client: str
    user_agent: str
    range: str
    counted: bool

    @property
    def is_manifest(self) -> bool:
        """Whether it asked the registry for a manifest."""
        return self.role == "registry" and bool(MANIFEST.fullmatch(self.uri.partition("?")[0]))


@dataclass(frozen=True, kw_only=True)
class HubTotals:
    """Sums over requests.

    :param body_bytes: all bodies, tokens and errors too.
    :param blob_bytes: bodies that the CDN sent.
    :param manifest_bytes: bodies of manifests that were found.
    :param quota_requests: manifest requests that were charged to a quota.
    """

    body_bytes: int
    blob_bytes: int
    manifest_bytes: int
    requests: int
    quota_requests: int


def end(log: Path) -> Mark:
    """Return the position after what is in the log, once nothing is being added.

    nginx writes a line just after the client has its last byte, so the log is given a moment to
    come to rest; under traffic that never rests the position is taken all the same.
    """
    deadline = time.monotonic() + SETTLE_LIMIT_S
    size = -1
    while size != (size := log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(SETTLE_S)
    return Mark(offset=size)


def read(log: Path, since: Mark | None = None) -> Iterator[HubRequest]:
    """Yield the requests after a position, oldest ended first; a line in the making is left out."""
    with log.open("rb") as source:
        source.seek(since.offset if since else 0)
        for line in source:
            if line.endswith(b"\n"):
                yield parse(line)


def parse(line: bytes) -> HubRequest:
    """Return the request that a line of the log tells of."""
    told = json.loads(line)
    return HubRequest(**{**told, "counted": told["counted"] == "1"})


def total(requests: Iterable[HubRequest]) -> HubTotals:
    """Add up requests in one pass."""
    body = blob = manifest = count = quota = 0
    for request in requests:
        count += 1
        body += request.body_bytes
        quota += request.counted
        if request.role == "cdn":
            blob += request.body_bytes
        elif request.is_manifest and request.status == OK:
            manifest += request.body_bytes
    return HubTotals(
        body_bytes=body,
        blob_bytes=blob,
        manifest_bytes=manifest,
        requests=count,
        quota_requests=quota,
    )
