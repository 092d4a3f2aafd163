"""What the hub said about its limit on pulls, before and after."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vmreg import accesslog
from vmreg.status import RateLimit

if TYPE_CHECKING:
    from pathlib import Path

    from vmreg.accesslog import OriginRecord

_SETTLE_S = 0.05
_SETTLE_LIMIT_S = 0.5


class Watch:
    """Looks at the origin's log from the moment that it is made."""

    def __init__(self, log: Path) -> None:
        """Remember the log's end and the last word in it."""
        self._log = log
        self._known = accesslog.latest_limit(log)
        self._offset = _size(log)

    def before(self) -> RateLimit | None:
        """Return what was left before the first manifest was fetched.

        A HEAD is not counted, so the first one since the watch began tells it; without one, the
        last word before stands.
        """
        _settle(self._log)
        offset = self._offset if _size(self._log) >= self._offset else 0  # the log was rotated
        try:
            heads = [
                one
                for one in accesslog.origin(self._log, offset=offset)
                if one.method == "HEAD" and one.limit
            ]
        except FileNotFoundError:
            heads = []
        return _limit(heads[0] if heads else self._known)

    def after(self) -> RateLimit | None:
        """Return what is left now."""
        _settle(self._log)
        return _limit(accesslog.latest_limit(self._log) or self._known)


def _limit(seen: OriginRecord | None) -> RateLimit | None:
    if seen is None or seen.limit is None:
        return None
    return RateLimit(
        limit=seen.limit, remaining=seen.remaining, window_s=seen.window_s, seen_at=seen.time
    )


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _settle(log: Path) -> None:
    """Wait for the log to rest: a line comes a moment after its client has the last byte."""
    deadline = time.monotonic() + _SETTLE_LIMIT_S
    size = -1
    while size != (size := _size(log)) and time.monotonic() < deadline:
        time.sleep(_SETTLE_S)
