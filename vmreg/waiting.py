"""Waits with one monotonic deadline, whose failure says what was seen last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(
    probe: Callable[[], T | None],
    *,
    what: str,
    timeout_s: float,
    interval_s: float = 0.1,
    evidence: Callable[[], str] = lambda: "",
) -> T:
    """Call ``probe`` until it returns something other than ``None`` and return that.

    An error that the probe raises ends the wait at once: a probe returns ``None`` for "not yet".

    :param what: completes the sentence "... did not happen within N s".
    :param timeout_s: seconds until the wait fails; the probe runs at least once.
    :param interval_s: seconds between two probes.
    :param evidence: called on failure for the details: a state, last log lines.
    :raises VmregError: the deadline passed.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            raise VmregError(
                brief=f"{what} did not happen within {timeout_s:g} s", details=evidence()
            )
        time.sleep(max(0, min(interval_s, deadline - time.monotonic())))
