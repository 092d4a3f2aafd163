"""Waiting for the transfers under way, before what carries them is stopped.

nginx's own graceful end is not enough: it closes the inner servers that the next slice of a
transfer has to come through.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vmreg import waiting
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from vmreg.engine import Engine

ACTIVITY_URL = "http://127.0.0.1:5001/_activity"
WRITING = re.compile(r"Writing: (\d+)")


def drain(engine: Engine, proxy: str, *, timeout_s: float) -> bool:
    """Return once the proxy answers nobody any more; ``False`` when that takes too long.

    New requests are still served meanwhile. A proxy that cannot be asked has nothing to finish.

    :param proxy: the proxy's container.
    """

    def quiet() -> bool | None:
        return True if transfers(engine, proxy) == 0 else None

    try:
        return waiting.until(quiet, what="the last answer", timeout_s=timeout_s)
    except VmregError:
        return False


def transfers(engine: Engine, proxy: str) -> int | None:
    """Return how many answers a proxy is sending now, those between its own servers included.

    ``None`` when it is too busy to say, 0 when it is gone.
    """
    try:
        done = engine.exec(proxy, ["timeout", "2", "wget", "-q", "-O", "-", ACTIVITY_URL])
    except VmregError:
        return 0
    found = WRITING.search(done.output)
    return int(found[1]) - 1 if found else None  # one of them is this very answer
