"""Whether the process that made a VM still lives, told by a label that the VM carries."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def of_this_process() -> str:
    """Return what identifies this process on this host, for a label."""
    return _of(os.getpid())


def is_gone(keeper: str) -> bool:
    """Return whether a process of this host, and surely this one, is no more.

    :param keeper: what :func:`of_this_process` returned there; empty is nobody's.
    """
    host, _, rest = keeper.partition("/")
    pid = rest.partition("/")[0]
    return host == platform.node() and pid.isdigit() and _of(int(pid)) != keeper


def _of(pid: int) -> str:
    """Return what identifies a live process of this host, empty when there is none.

    The start time, in clock ticks since boot, tells it from a later process of the same number.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{platform.node()}/{pid}/{fields[19]}"
