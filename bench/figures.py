"""Figures that follow from one arm's raw run, and the words that they are written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.samples import ArmRun, ClientSample

HTTP = " (HTTP clients)"
PATTERN_NAMES = {
    "sequential": "one after another",
    "concurrent": "all at once",
    "concurrent-http": f"all at once{HTTP}",
    "first-killed": f"all at once, the first one killed{HTTP}",
}
ARM_NAMES = {
    "direct": "direct (no mirror)",
    "registry2": "registry2 (plain registry:2)",
    "vmreg": "vmreg",
}
SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


@dataclass(frozen=True, kw_only=True)
class ArmFigures:
    """One entry of ``arms`` in ``savings.json``.

    :param upstream_bytes: bytes of bodies that left the upstream; received bytes where the
        upstream keeps no log for us.
    :param upstream_requests: answers of the upstream, or ``None`` where nobody counted them.
    :param quota_requests: those that spend Docker Hub's pull limit, or ``None`` likewise.
    :param pull_s: seconds of each client's pull, in the order in which they were started.
    :param first_byte_s: seconds from a blob's request to its first byte, client by client.
    :param client_bytes: what all clients received together, or ``None`` when one has no count.
    """

    arm: str
    pattern: str
    vms: int
    unique_bytes: int
    upstream_bytes: int
    upstream_requests: int | None
    quota_requests: int | None
    pull_s: tuple[float, ...]
    first_byte_s: tuple[float, ...]
    client_bytes: int | None


def figures(run: ArmRun) -> ArmFigures:
    """Return the figures of one run."""
    logged = run.counted_by != "network"
    return ArmFigures(
        arm=run.arm,
        pattern=run.pattern,
        vms=run.vms,
        unique_bytes=run.unique_bytes,
        upstream_bytes=upstream_bytes(run),
        upstream_requests=len(run.requests) if logged else None,
        quota_requests=sum(request.quota for request in run.requests) if logged else None,
        pull_s=tuple(round(client.pull_s, 6) for client in run.clients),
        first_byte_s=tuple(round(wait, 6) for wait in waits(run)),
        client_bytes=client_bytes(run),
    )


def upstream_bytes(run: ArmRun) -> int:
    """Return the bytes that the upstream sent in a run.

    They are the bodies in its log. Without a log they are the payload that the cache's interface
    received, or the clients' when there is no cache.
    """
    if run.counted_by != "network":
        return sum(request.body_bytes for request in run.requests)
    if run.network is not None:
        return run.network.payload_bytes
    return client_bytes(run) or 0


def cumulative_bytes(run: ArmRun) -> tuple[int, ...]:
    """Return the upstream's bytes after the first client, after the second, and so on.

    An answer belongs to the last client that had started when it ended. Empty for runs that are
    not one after another, and for those whose requests nobody logged.
    """
    if run.pattern != "sequential" or run.counted_by == "network":
        return ()
    starts = [client.started_s for client in run.clients[1:]]
    return tuple(
        sum(request.body_bytes for request in run.requests if request.ended_s < end)
        for end in (*starts, float("inf"))
    )


def received_bytes(client: ClientSample) -> int | None:
    """Return what a client received, by its own count, or ``None`` when it has none."""
    if client.body_bytes is not None:
        return client.body_bytes
    return client.network.payload_bytes if client.network is not None else None


def client_bytes(run: ArmRun) -> int | None:
    """Return what all clients received together, or ``None`` when one of them has no count."""
    counts = [received_bytes(client) for client in run.clients]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def waits(run: ArmRun) -> tuple[float, ...]:
    """Return the seconds from each blob's request to its first byte, client by client."""
    return tuple(
        first.came_s - first.asked_s for client in run.clients for first in client.first_bytes
    )


def lags(run: ArmRun) -> tuple[float, ...]:
    """Return the seconds by which each first byte came after the hub's own.

    For a blob that was asked for after the hub had begun to send it, they count from the request.
    """
    return tuple(
        first.came_s - max(first.asked_s, first.hub_s)
        for client in run.clients
        for first in client.first_bytes
        if first.hub_s is not None
    )


def label(run: ArmRun) -> str:
    """Return a run's name: ``vmreg, 10 VMs all at once``."""
    return f"{run.arm}, {work(run)}"


def work(run: ArmRun) -> str:
    """Return what a run's clients did: ``10 VMs all at once``, ``1 HTTP client all at once``."""
    name = PATTERN_NAMES[run.pattern]
    who = "HTTP client" if name.endswith(HTTP) else "VM"
    return f"{run.vms} {who}{'s' * (run.vms > 1)} {name.removesuffix(HTTP)}"


def size(count_bytes: float) -> str:
    """Return a size with three or four significant digits, in powers of 1000.

    >>> size(94_400_817), size(1_234_000_000), size(512)
    ('94.4 MB', '1.234 GB', '512 B')
    """
    for multiple, unit in SIZES:
        if abs(count_bytes) >= multiple:
            digits = 3 if multiple == SIZES[0][0] else 1
            return f"{count_bytes / multiple:.{digits}f} {unit}"
    return f"{count_bytes:.0f} B"


def seconds(duration_s: float) -> str:
    """Return a duration with about three significant digits.

    >>> seconds(0.0042), seconds(3.14159), seconds(123.4)
    ('0.004 s', '3.14 s', '123 s')
    """
    digits = 3 if abs(duration_s) < 1 else 2 if abs(duration_s) < 10 else 1  # noqa: PLR2004 - digits
    return f"{duration_s:.{digits if abs(duration_s) < 100 else 0}f} s"  # noqa: PLR2004 - as above


def percent(share: float) -> str:
    """Return a share of one as per cent with one decimal, never rounded up to a threshold.

    >>> percent(0.9), percent(0.79999)
    ('90.0 %', '79.9 %')
    """
    return f"{int(share * 1000 + 1e-9) / 10:.1f} %" if share >= 0 else f"{share * 100:.1f} %"
