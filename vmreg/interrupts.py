"""Signals that must not leave anything behind."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What the signals do meanwhile: unwind the program, or wait until they may."""

    def __init__(self) -> None:
        """Let signals unwind."""
        self.held: list[int] = []
        self._holding = False

    def hold(self) -> None:
        """From now on signals wait until the end of the block. A second call is harmless."""
        self._holding = True

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Be the signal handler.

        :raises KeyboardInterrupt: for Ctrl-C.
        :raises SystemExit: for the others, with the status that a shell reports for them.
        """
        if self._holding:
            self.held.append(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)


@contextmanager
def unwinding() -> Iterator[Interrupts]:
    """Make SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that ``finally`` blocks run.

    A signal that came while it was held takes its usual course at the end of the block. One that
    was ignored before stays so (``nohup``), and away from the main thread, which alone gets
    signals, nothing changes.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    try:
        for number in ours:
            signal.signal(number, interrupts)
        yield interrupts
    finally:
        for number in ours:
            signal.signal(number, before[number] or signal.SIG_DFL)
        for held in interrupts.held[:1]:
            signal.raise_signal(held)
