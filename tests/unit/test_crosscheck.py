from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.crosscheck import bypasses, disagreements
from tests.unit import fabricate

if TYPE_CHECKING:
    from bench.samples import Arm, ArmRun, NetworkCounter, Pattern

    Field = NetworkCounter | int | None

UNIQUE = fabricate.UNIQUE_BYTES


def changed(run: ArmRun, number: int = 0, /, **fields: Field) -> ArmRun:
    clients = list(run.clients)
    clients[number] = dataclasses.replace(clients[number], **fields)  # type: ignore[arg-type]  # any field
    return dataclasses.replace(run, clients=tuple(clients))


def findings(run: ArmRun) -> tuple[str, ...]:
    return disagreements(fabricate.samples(run))


def test_a_run_that_adds_up_has_no_findings() -> None:
    assert disagreements(fabricate.samples()) == ()
    assert bypasses(fabricate.samples()) == ()


@given(share=st.floats(0.9, 1.1))
def test_hub_and_egress_may_differ_by_one_per_cent(share: float) -> None:
    run = fabricate.run(vms=1)
    hub = sum(row.body_bytes for row in run.requests)
    egress = int(hub * share)
    found = findings(dataclasses.replace(run, egress_bytes=egress))
    assert bool(found) == (abs(hub - egress) > 0.01 * max(hub, egress))
    assert all("the egress received" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("share", "agrees"), [(0.985, False), (0.995, True), (1.005, True), (1.02, False)]
)
@pytest.mark.parametrize("arm", ["direct", "vmreg", "registry2"])
def test_a_vm_receives_what_was_sent_to_it(arm: Arm, share: float, *, agrees: bool) -> None:
    run = changed(fabricate.run(arm, vms=2), 1, network=fabricate.counter(int(UNIQUE * share)))
    assert (findings(run) == ()) == agrees
    assert all("vm-01" in sentence for sentence in findings(run))


@given(extra=st.integers(0, 30_000_000))
def test_heads_and_handshakes_excuse_more_bytes_and_never_fewer(extra: int) -> None:
    run = fabricate.run("direct", vms=1)
    over = changed(run, network=fabricate.counter(UNIQUE + extra))
    allowance = 0.01 * UNIQUE + len(run.requests) * 6_144
    assert bool(findings(over)) == (extra > allowance)
    short = changed(run, network=fabricate.counter(UNIQUE - extra))
    assert bool(findings(short)) == (UNIQUE - extra < 0.99 * UNIQUE)


def test_bodies_that_a_client_read_get_no_allowance() -> None:
    run = fabricate.run("vmreg", "concurrent-http", 2)
    assert findings(changed(run, body_bytes=int(UNIQUE * 1.009))) == ()
    assert len(findings(changed(run, body_bytes=int(UNIQUE * 1.011)))) == 1


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"network": None}, "vm-00 has no count of its own"),
        ({"edge_bytes": None}, "no count of what it sent to vm-00"),
        ({"edge_bytes": UNIQUE // 2}, "the edge sent"),
        ({"network": fabricate.counter(UNIQUE // 2), "edge_bytes": UNIQUE // 2}, "of an image of"),
    ],
)
def test_a_count_that_is_missing_or_short_is_a_finding(
    fields: dict[str, Field], complaint: str
) -> None:
    found = findings(changed(fabricate.run(vms=1), **fields))
    assert len(found) == 1
    assert complaint in found[0]
    assert found[0].startswith("vmreg, 1 VM one after another: ")


def test_the_egress_has_to_have_counted() -> None:
    found = findings(dataclasses.replace(fabricate.run(vms=1), egress_bytes=None))
    assert found == ("vmreg, 1 VM one after another: the egress's own count is missing",)


def test_a_killed_client_is_left_out() -> None:
    run = fabricate.run("vmreg", "first-killed", 2)
    assert findings(changed(run, 0, body_bytes=0, edge_bytes=UNIQUE)) == ()
    assert len(findings(changed(run, 1, body_bytes=0))) == 1


@pytest.mark.parametrize("arm", ["vmreg", "registry2"])
@pytest.mark.parametrize("pattern", ["sequential", "concurrent"])
def test_a_client_of_a_mirror_in_the_hubs_log_went_around(arm: Arm, pattern: Pattern) -> None:
    run = fabricate.run(arm, pattern, 3)
    own = dataclasses.replace(run.requests[0], client="vm-02", method="HEAD", body_bytes=0)
    run = dataclasses.replace(run, requests=(*run.requests, own))
    found = bypasses(fabricate.samples(run))
    assert len(found) == 1
    assert "vm-02 went around the mirror: the hub logged 1 of its requests" in found[0]


def test_direct_clients_may_ask_the_hub() -> None:
    assert bypasses(fabricate.samples(fabricate.run("direct", vms=2))) == ()


def shared(run: ArmRun, edge_bytes: int, *, edge_requests: int | None = None) -> ArmRun:
    """The same run through an edge that saw all clients under one address."""
    clients = tuple(
        dataclasses.replace(client, edge_bytes=None, edge_requests=None) for client in run.clients
    )
    return dataclasses.replace(
        run, clients=clients, edge_bytes=edge_bytes, edge_requests=edge_requests
    )


@given(share=st.floats(0.9, 1.1))
def test_clients_of_one_address_are_compared_by_their_sum(share: float) -> None:
    received = 3 * int(UNIQUE * 1.001)
    sent = int(received * share)
    found = findings(shared(fabricate.run("vmreg", "concurrent", 3), sent, edge_requests=36))
    assert bool(found) == (not 0.99 * sent <= received <= 1.01 * sent + 36 * 1_024)
    assert all("to all clients" in sentence for sentence in found)


def test_one_client_of_a_shared_address_that_received_too_little_is_named() -> None:
    run = shared(fabricate.run("vmreg", "concurrent", 3), 3 * UNIQUE)
    found = findings(changed(run, 2, network=fabricate.counter(UNIQUE // 2)))
    assert any("vm-02 received" in sentence for sentence in found)
    assert any("the edge sent" in sentence for sentence in found)


def test_a_shared_sum_needs_every_clients_count() -> None:
    run = shared(fabricate.run("vmreg", "concurrent", 3), 3 * UNIQUE)
    assert findings(changed(run, 1, network=None)) == (
        "vmreg, 3 VMs all at once: vm-01 has no count of its own",
    )
