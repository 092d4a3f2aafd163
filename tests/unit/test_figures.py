from __future__ import annotations

import dataclasses

import pytest

from bench import figures
from bench.samples import Arm, FirstByte, NetworkCounter, Pattern
from tests.unit import fabricate

UNIQUE = fabricate.UNIQUE_BYTES


def test_the_figures_of_a_run_follow_from_its_rows() -> None:
    run = fabricate.run("registry2", "concurrent", 3)
    found = figures.figures(run)
    assert found.upstream_bytes == 4 * UNIQUE
    assert found.upstream_requests == 4 * (2 + len(fabricate.LAYERS))
    assert found.quota_requests == 4
    assert found.pull_s == tuple(round(client.pull_s, 6) for client in run.clients)
    assert found.client_bytes == pytest.approx(3 * UNIQUE * 1.001, rel=1e-6)


@pytest.mark.parametrize(
    ("arm", "expected"), [("direct", (1, 2, 3)), ("registry2", (2, 2, 2)), ("vmreg", (1, 1, 1))]
)
def test_bytes_add_up_client_after_client(arm: Arm, expected: tuple[int, ...]) -> None:
    found = figures.cumulative_bytes(fabricate.run(arm, "sequential", 3))
    assert found == tuple(count * UNIQUE for count in expected)


def test_an_answer_that_ends_between_two_pulls_belongs_to_the_first() -> None:
    run = fabricate.run("direct", "sequential", 2)
    late = dataclasses.replace(
        run.requests[-1], ended_s=run.clients[1].started_s - 0.1, body_bytes=7
    )
    late_run = dataclasses.replace(run, requests=(*run.requests, late))
    assert figures.cumulative_bytes(late_run) == (UNIQUE + 7, 2 * UNIQUE + 7)


@pytest.mark.parametrize("pattern", ["concurrent", "concurrent-http", "first-killed"])
def test_only_one_after_another_has_a_curve(pattern: Pattern) -> None:
    assert figures.cumulative_bytes(fabricate.run("vmreg", pattern, 3)) == ()


def test_without_a_log_the_interfaces_count() -> None:
    direct = dataclasses.replace(fabricate.run("direct", vms=2), counted_by="network", requests=())
    assert figures.upstream_bytes(direct) == figures.client_bytes(direct)
    assert figures.figures(direct).upstream_requests is None
    assert figures.figures(direct).quota_requests is None
    assert figures.cumulative_bytes(direct) == ()
    counter = NetworkCounter(rx_bytes=1_066, rx_packets=1)
    cached = dataclasses.replace(direct, arm="registry2", network=counter)
    assert figures.upstream_bytes(cached) == 1_000


def test_one_client_without_a_count_leaves_the_sum_unknown() -> None:
    run = fabricate.run(vms=2)
    blind = dataclasses.replace(run.clients[1], network=None)
    assert figures.client_bytes(dataclasses.replace(run, clients=(run.clients[0], blind))) is None


def test_a_late_client_lags_behind_its_own_request_not_behind_the_hub() -> None:
    run = fabricate.run("vmreg", "concurrent-http", 1)
    firsts = (
        FirstByte(digest="sha256:aa", asked_s=1.0, came_s=1.5, hub_s=1.25),
        FirstByte(digest="sha256:bb", asked_s=9.0, came_s=9.125, hub_s=1.0),
        FirstByte(digest="sha256:cc", asked_s=9.0, came_s=9.5, hub_s=None),
    )
    client = dataclasses.replace(run.clients[0], first_bytes=firsts)
    run = dataclasses.replace(run, clients=(client,))
    assert figures.waits(run) == (0.5, 0.125, 0.5)
    assert figures.lags(run) == (0.25, 0.125)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (94_400_817, "94.4 MB"), (4e9, "4.000 GB")],
)
def test_sizes_are_in_powers_of_a_thousand(count: float, text: str) -> None:
    assert figures.size(count) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.8, "80.0 %"), (0.7999, "79.9 %"), (0.9, "90.0 %"), (-1.0, "-100.0 %")]
)
def test_a_share_is_never_rounded_up_to_its_threshold(share: float, text: str) -> None:
    assert figures.percent(share) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.0042, "0.004 s"), (3.14159, "3.14 s"), (42.06, "42.1 s"), (123.4, "123 s")],
)
def test_seconds_have_sensible_digits(duration: float, text: str) -> None:
    assert figures.seconds(duration) == text
