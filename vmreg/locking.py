"""One command at a time where two would be in each other's way."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold a file's lock; the file and its folder are made when they are missing, and stay.

    :param timeout_s: seconds that another command may take to let it go.
    :raises VmregError: another command holds it for longer.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only what changes something needs it

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=timeout_s):
            yield
    except Timeout as error:
        raise VmregError(
            brief=f"another command has held {path} for {timeout_s:g} s",
            resolution="Wait for it to end, or end it, and try again.",
        ) from error
