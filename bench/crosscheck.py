"""Whether independent counts of the same bytes agree, and whether a client went around the cache.

What is compared with what, and why they can be:

* the hub's log and the egress's log both count bodies, without heads and without TLS;
* the edge's log counts bodies; a plain HTTP client counts the bodies that it read;
* a VM's interface counts packets, so the packet headers are taken off first. What remains holds
  the heads of the answers, and for ``direct`` the TLS handshakes and records. That can only make
  it larger, so an allowance for each answer is granted in that direction alone;
* VMs that pull at once reach the edge from one address, the host's, so there only the sums of
  what was sent and what was received are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import client_bytes, label, received_bytes, size, upstream_bytes

if TYPE_CHECKING:
    from bench.samples import ArmRun, ClientSample, Samples

TOLERANCE = 0.01
HEAD_BYTES = 1024  # status line and header fields of one answer, generously
HANDSHAKE_BYTES = 5120  # certificate chain and the rest of a TLS handshake, one per answer at most
ASSUMED_REQUESTS = 32  # of one pull where nobody counted them


def disagreements(samples: Samples) -> tuple[str, ...]:
    """Return one sentence for each pair of counts that differ by over 1 % or cannot be compared.

    A run of which this returns anything proves nothing, whatever its other figures say.
    """
    return tuple(
        f"{label(run)}: {finding}"
        for run in samples.runs
        for finding in (*_upstream(run), *_clients(run))
    )


def bypasses(samples: Samples) -> tuple[str, ...]:
    """Return one sentence for each client of a mirror that asked the hub itself."""
    return tuple(
        f"{label(run)}: {client.name} went around the mirror: the hub logged {count} of its"
        f" requests and sent it {size(around_bytes(run, client))}"
        for run in samples.runs
        if run.arm != "direct"
        for client in run.clients
        if (count := sum(request.client == client.name for request in run.requests))
    )


def around_bytes(run: ArmRun, client: ClientSample) -> int:
    """Return the bytes of bodies that the hub sent to this client itself."""
    return sum(request.body_bytes for request in run.requests if request.client == client.name)


def _upstream(run: ArmRun) -> list[str]:
    if run.arm != "vmreg" or run.counted_by != "hub":
        return []
    hub = upstream_bytes(run)
    if run.egress_bytes is None:
        return ["the egress's own count is missing"]
    if abs(hub - run.egress_bytes) <= TOLERANCE * max(hub, run.egress_bytes):
        return []
    return [f"the hub sent {size(hub)}, the egress received {size(run.egress_bytes)}"]


def _clients(run: ArmRun) -> list[str]:
    findings: list[str] = []
    for client in run.clients:
        if not client.killed:  # what a killed client's kernel threw away was still sent
            findings += _client(run, client)
    if _is_shared(run):
        findings += _together(run)
    return findings


def _is_shared(run: ArmRun) -> bool:
    """Return whether the cache logged its clients under one name, so that only sums compare."""
    return run.edge_bytes is not None and all(one.edge_bytes is None for one in run.clients)


def _together(run: ArmRun) -> list[str]:
    received, sent = client_bytes(run), run.edge_bytes
    if received is None or sent is None or any(client.killed for client in run.clients):
        return []
    allowance = (run.edge_requests or ASSUMED_REQUESTS * run.vms) * HEAD_BYTES
    if (1 - TOLERANCE) * sent <= received <= (1 + TOLERANCE) * sent + allowance:
        return []
    return [f"the edge sent {size(sent)} to all clients, which received {size(received)}"]


def _client(run: ArmRun, client: ClientSample) -> list[str]:
    received = received_bytes(client)
    if received is None:
        return [f"{client.name} has no count of its own"]
    if received < (1 - TOLERANCE) * run.unique_bytes:
        return [f"{client.name} received {size(received)} of an image of {size(run.unique_bytes)}"]
    if _is_shared(run):
        return []
    sent, requests = _sent_to(run, client)
    if sent is None:
        return [f"the cache has no count of what it sent to {client.name}"]
    allowance = requests * _overhead_bytes(run) if client.body_bytes is None else 0
    if (1 - TOLERANCE) * sent <= received <= (1 + TOLERANCE) * sent + allowance:
        return []
    return [f"{_sender(run)} sent {size(sent)} to {client.name}, which received {size(received)}"]


def _sent_to(run: ArmRun, client: ClientSample) -> tuple[int | None, int]:
    if run.arm == "vmreg":
        return client.edge_bytes, client.edge_requests or ASSUMED_REQUESTS
    if run.arm == "direct" and run.counted_by == "hub":
        return around_bytes(run, client), sum(row.client == client.name for row in run.requests)
    return run.unique_bytes, ASSUMED_REQUESTS


def _sender(run: ArmRun) -> str:
    if run.arm == "direct":
        return "the hub"
    return "the edge" if run.arm == "vmreg" else "registry:2"


def _overhead_bytes(run: ArmRun) -> int:
    return HEAD_BYTES + (HANDSHAKE_BYTES if run.arm == "direct" else 0)
