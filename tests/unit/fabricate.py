"""Made-up runs that add up, for tests that then break one thing in them."""

from __future__ import annotations

from bench.samples import (
    HEADERS_PER_PACKET_BYTES,
    Arm,
    ArmRun,
    ClientSample,
    FirstByte,
    Host,
    Meta,
    NetworkCounter,
    Pattern,
    Samples,
    UpstreamRequest,
)

LAYERS = (48_500_000, 24_000_000, 64_000_000, 211_000_000, 3_000, 47_000_000, 1_300_000, 500)
MANIFEST_BYTES = 4_000
UNIQUE_BYTES = sum(LAYERS) + MANIFEST_BYTES
PACKET_BYTES = 1_448


def meta(*, allowed_skips: tuple[str, ...] = ()) -> Meta:
    return Meta(
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        host=Host(
            cpu="Example 9000",
            cores=2,
            memory_bytes=8_000_000_000,
            kernel="6.1.0-1-amd64",
            docker="20.10.24",
        ),
        started_at="2026-11-24T10:00:00+00:00",
        arguments=("bench.savings", "--vms", "10"),
        upstream="embedded",
        profile="quick",
        bandwidth_bytes_s=50_000_000,
        image="node:20",
        scale=1.0,
        allowed_skips=allowed_skips,
    )


def pull_requests(client: str, *, ended_s: float, times: float = 1.0) -> list[UpstreamRequest]:
    """One image's requests: a token, a manifest that counts, the layers from the CDN."""

    def row(role: str, path: str, body_bytes: float, *, quota: bool = False) -> UpstreamRequest:
        return UpstreamRequest(
            client=client,
            role=role,
            method="GET",
            path=path,
            status=200,
            body_bytes=int(body_bytes),
            quota=quota,
            ended_s=ended_s,
        )

    return [
        row("auth", "/token", 0),
        row("registry", "/v2/library/node/manifests/20", MANIFEST_BYTES * times, quota=True),
        *(row("cdn", f"/blob/{number}", size * times) for number, size in enumerate(LAYERS)),
    ]


def counter(payload_bytes: int) -> NetworkCounter:
    packets = payload_bytes // PACKET_BYTES + 1
    return NetworkCounter(
        rx_bytes=payload_bytes + HEADERS_PER_PACKET_BYTES * packets, rx_packets=packets
    )


def client(
    number: int,
    *,
    arm: Arm,
    started_s: float,
    pull_s: float,
    http: bool = False,
    killed: bool = False,
) -> ClientSample:
    received = UNIQUE_BYTES // 2 if killed else UNIQUE_BYTES
    asked = [started_s + 0.01 * layer for layer in range(len(LAYERS))]
    return ClientSample(
        name=f"vm-{number:02}",
        started_s=started_s,
        finished_s=started_s + pull_s,
        network=None if http else counter(int(received * 1.001)),
        body_bytes=received if http else None,
        edge_bytes=received if arm == "vmreg" else None,
        edge_requests=12 if arm == "vmreg" else None,
        digests_ok=None if killed else True,
        killed=killed,
        first_bytes=tuple(
            FirstByte(
                digest=f"sha256:{layer:064x}",
                asked_s=at_s,
                came_s=at_s + 0.05 + 0.002 * number + 0.01 * layer,
                hub_s=at_s + 0.03,
            )
            for layer, at_s in enumerate(asked)
        )
        if http
        else (),
    )


def run(
    arm: Arm = "vmreg", pattern: Pattern = "sequential", vms: int = 10, *, times: float = 1.0
) -> ArmRun:
    """One arm's run; ``times`` stretches what the hub sent to the cache."""
    sequential = pattern == "sequential"
    http = pattern in {"concurrent-http", "first-killed"}
    cold_s = 9.0 if sequential else 9.0 + (0.03 if http else 0.3) * vms
    clients: list[ClientSample] = []
    requests: list[UpstreamRequest] = []
    now_s = 0.0
    for number in range(vms):
        warm = sequential and number > 0 and arm != "direct"
        pull_s = (2.1 if warm else cold_s) + 0.02 * number
        clients.append(
            client(
                number,
                arm=arm,
                started_s=now_s,
                pull_s=pull_s,
                http=http,
                killed=pattern == "first-killed" and number == 0,
            )
        )
        if arm == "direct":
            requests += pull_requests(clients[-1].name, ended_s=now_s + pull_s)
        now_s += (pull_s + 0.5) if sequential else 0.0
    if arm != "direct" and vms:
        fetches = 1 if arm == "vmreg" else (2 if sequential else vms + 1)
        for _ in range(fetches):
            requests += pull_requests(
                "egress" if arm == "vmreg" else "registry2", ended_s=cold_s, times=times
            )
    return ArmRun(
        arm=arm,
        pattern=pattern,
        vms=vms,
        unique_bytes=UNIQUE_BYTES,
        counted_by="hub",
        requests=tuple(requests),
        clients=tuple(clients),
        egress_bytes=sum(row.body_bytes for row in requests) if arm == "vmreg" else None,
    )


def samples(*runs: ArmRun, allowed_skips: tuple[str, ...] = ()) -> Samples:
    return Samples(meta=meta(allowed_skips=allowed_skips), runs=runs or whole(10))


def whole(vms: int) -> tuple[ArmRun, ...]:
    """Every arm in both of the VMs' patterns, and the HTTP clients' two."""
    arms: tuple[Arm, ...] = ("direct", "registry2", "vmreg")
    patterns: tuple[Pattern, ...] = ("sequential", "concurrent")
    return (
        *(run(arm, pattern, vms) for pattern in patterns for arm in arms),
        run("direct", "concurrent-http", 1),
        run("vmreg", "concurrent-http", vms),
        run("vmreg", "first-killed", vms),
    )
