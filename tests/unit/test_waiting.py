from __future__ import annotations

import pytest

from vmreg.errors import HostError, VmregError
from vmreg.waiting import until


class Clock:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("vmreg.waiting.time.monotonic", lambda: made.now)
    monkeypatch.setattr("vmreg.waiting.time.sleep", made.sleep)
    return made


def test_what_the_probe_finds_is_returned_at_once(clock: Clock) -> None:
    assert until(lambda: 0, what="zero", timeout_s=1) == 0
    assert clock.slept == []


def test_the_probe_runs_until_it_finds_something(clock: Clock) -> None:
    answers = iter([None, None, "found"])
    assert until(lambda: next(answers), what="it", timeout_s=9, interval_s=2) == "found"
    assert clock.slept == [2, 2]


def test_the_deadline_is_kept_and_the_evidence_told(clock: Clock) -> None:
    probes: list[float] = []
    with pytest.raises(VmregError) as caught:
        until(
            lambda: probes.append(clock.now),
            what="the end of the world",
            timeout_s=2.5,
            interval_s=1,
            evidence=lambda: f"seen {len(probes)} times",
        )
    assert caught.value == VmregError(
        brief="the end of the world did not happen within 2.5 s", details="seen 4 times"
    )
    assert probes == [100, 101, 102, 102.5]


def test_no_time_at_all_still_probes_once(clock: Clock) -> None:
    assert until(lambda: "present", what="it", timeout_s=0) == "present"
    with pytest.raises(VmregError, match="within 0 s"):
        until(lambda: None, what="it", timeout_s=0)
    assert clock.slept == []


def test_an_error_in_the_probe_ends_the_wait(clock: Clock) -> None:
    def broken() -> None:
        raise HostError(brief="gone")

    with pytest.raises(HostError, match="gone"):
        until(broken, what="it", timeout_s=9)
    assert clock.slept == []
