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
_AT_ONCE_S = 2.0  # requests that overlap end, and are logged, in any order


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
        last word before stands. Of HEADs at once, the one that saw the most left came first.
        """
        heads = [one for one in self._since() if one.method == "HEAD"]
        if not heads:
            return _limit(self._known)
        at_once = [one for one in heads if one.time - heads[0].time < _AT_ONCE_S]
        return _limit(max(at_once, key=_remaining))

    def after(self) -> RateLimit | None:
        """Return what is left now: of answers that came at once, the least."""
        seen = self._since()
        if not seen:
            return _limit(self._known)
        at_once = [one for one in seen if seen[-1].time - one.time < _AT_ONCE_S]
        return _limit(min(at_once, key=_remaining))

    def _since(self) -> list[OriginRecord]:
        """Return the records since the watch began that carry a limit."""
        _settle(self._log)
        offset = self._offset if _size(self._log) >= self._offset else 0  # the log was rotated
        try:
            return [one for one in accesslog.origin(self._log, offset=offset) if one.limit]
        except FileNotFoundError:
            return []


def _limit(seen: OriginRecord | None) -> RateLimit | None:
    if seen is None or seen.limit is None:
        return None
    return RateLimit(
        limit=seen.limit, remaining=seen.remaining, window_s=seen.window_s, seen_at=seen.time
    )


def _remaining(seen: OriginRecord) -> int:
    return seen.remaining or 0


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
