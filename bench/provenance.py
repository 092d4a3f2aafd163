"""Where and on what code a run takes place."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from bench.samples import Host
from vmreg.errors import VmregError
from vmreg.process import run

CHECKOUT = Path(__file__).resolve().parent.parent
CPUINFO = Path("/proc/cpuinfo")
UNKNOWN = "unknown"


def host(*, docker: str) -> Host:
    """Return what this machine is. It asks the kernel, and changes nothing.

    :param docker: the engine's version, which only the engine knows.
    """
    return Host(
        cpu=cpu_model(CPUINFO.read_text(encoding="utf-8", errors="replace")),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        docker=docker,
    )


def cpu_model(cpuinfo: str) -> str:
    r"""Return the processor's name from the text of ``/proc/cpuinfo``, or the machine's type.

    >>> cpu_model("processor : 0\nmodel name : Fast 9000\n")
    'Fast 9000'
    """
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def commit(checkout: Path = CHECKOUT) -> tuple[str, bool]:
    """Return the git commit of a checkout and whether tracked files differ from it.

    Outside a checkout, or without git, it is ``("unknown", False)``.
    """
    git = ("git", "-C", str(checkout))
    try:
        top, head = run([*git, "rev-parse", "--show-toplevel", "HEAD"]).output.splitlines()
        changes = run([*git, "status", "--porcelain", "--untracked-files=no"]).output.strip()
    except VmregError:
        return UNKNOWN, False
    if Path(top).resolve() != checkout.resolve():
        return UNKNOWN, False  # installed inside another project's checkout
    return head, bool(changes)
