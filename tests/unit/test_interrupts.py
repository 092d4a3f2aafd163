"""Signals: they unwind, they wait while something must end, and they are put back."""

from __future__ import annotations

import signal
import threading

import pytest

from vmreg.interrupts import unwinding


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
)
def test_a_signal_unwinds_the_block(number: signal.Signals, kind: type[BaseException]) -> None:
    before = signal.getsignal(number)

    with pytest.raises(kind) as caught, unwinding():
        signal.raise_signal(number)

    assert kind is KeyboardInterrupt or caught.value.args == (128 + number,)
    assert signal.getsignal(number) == before


def test_a_held_signal_takes_its_course_at_the_end() -> None:
    steps = []

    def block() -> None:
        with unwinding() as interrupts:
            interrupts.hold()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            steps.append("the block ran to its end")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert steps == ["the block ran to its end"]


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with unwinding():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_away_from_the_main_thread_nothing_changes() -> None:
    seen = []

    def block() -> None:
        with unwinding():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()

    assert seen == [signal.getsignal(signal.SIGTERM)]
