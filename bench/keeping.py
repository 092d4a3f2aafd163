"""An engine connection that can be told to leave everything where it is, for debugging."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmreg.engine import OWNER_LABEL, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator


class KeepingEngine(Engine):
    """Removes and stops nothing once :meth:`hold` was called.

    :ivar wanted: whether the user asked to keep what the failed, or the last, step left.
    :ivar holding: whether removals are ignored from now on.
    """

    wanted = False
    holding = False

    def hold(self) -> None:
        """Ignore removals from now on, if that is wanted; a second call is harmless."""
        self.holding = self.wanted

    @contextmanager
    def holding_at_end(self, *, last: bool) -> Iterator[None]:
        """Call :meth:`hold` when the block fails, or when it was the ``last`` one."""
        try:
            yield
        except BaseException:
            self.hold()
            raise
        if last:
            self.hold()

    def remove(self, container: str) -> None:
        """Remove a container, unless everything is kept."""
        if not self.holding:
            super().remove(container)

    def stop(self, container: str, *, timeout_s: int) -> None:
        """Stop a container, unless everything is kept."""
        if not self.holding:
            super().stop(container, timeout_s=timeout_s)

    def remove_network(self, name: str) -> None:
        """Remove a network, unless everything is kept."""
        if not self.holding:
            super().remove_network(name)

    def how_to_remove(self, name: str) -> str:
        """Return the commands that remove what was kept of the run of that name."""
        mine = f"--filter label={OWNER_LABEL}={self.owner} --filter name={name}"
        return (
            f"docker rm --force --volumes $(docker ps --all --quiet {mine}); "
            f"docker network rm $(docker network ls --quiet {mine})"
        )
