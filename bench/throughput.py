"""How fast a warm blob comes, against a static nginx on the same file and a plain registry:2.

The three serve at the same time on the same network; rounds go through them in turn, so that
whatever else the host does meets all of them. Ratios are taken within a round.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Literal

from bench import arms, provenance, pulls, upstream
from bench.criteria import Criterion
from bench.manifests import Target, describe
from bench.parallel import at_once
from bench.place import cache_folder, open_place, prepare, site
from vmreg import images, stack, waiting
from vmreg.engine import ContainerSpec, Mount
from vmreg.errors import VmregError
from vmreg.store import blob_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.arms import Site
    from bench.progress import Progress
    from bench.samples import Host

SCHEMA_VERSION = 1
SCALE = 0.5  # the largest layer of node:20 is 105 MB then
PORT = 5000
READ_BYTES = 1 << 20
TIMEOUT_S = 60
STORED_TIMEOUT_S = 60
STATIC = b"""\
daemon off; pid /tmp/nginx.pid; error_log stderr warn; worker_processes auto;
events { worker_connections 8192; }
http {
    sendfile on; tcp_nopush on; access_log off; client_body_temp_path /tmp/1;
    proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3; uwsgi_temp_path /tmp/4; scgi_temp_path /tmp/5;
    server { listen 5000; root /data; }
}
"""
Server = Literal["static", "registry2", "vmreg"]
# vmreg in the middle: neither baseline always comes before it.
SERVERS: tuple[Server, ...] = ("static", "vmreg", "registry2")
BASELINES: tuple[tuple[str, Server, float], ...] = (
    ("warm-blob-vs-static", "static", 0.9),
    ("warm-blob-vs-registry2", "registry2", 1.2),
)


@dataclass(frozen=True, kw_only=True)
class Round:
    """One server's turn: so many clients fetched the whole blob at once.

    :param total_bytes: what all of them received.
    :param elapsed_s: from the first request to the last byte.
    """

    number: int
    server: Server
    total_bytes: int
    elapsed_s: float


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What a run saw: ``clients`` fetched a blob of ``blob_bytes`` from each server in turn."""

    commit: str
    host: Host
    clients: int
    blob_bytes: int
    rounds: tuple[Round, ...]


def measure(*, rounds: int, clients: int, scale: float, progress: Progress) -> Throughput:
    """Warm both caches, take the rounds, and remove everything.

    :raises VmregError: something did not start or did not serve the blob.
    """
    with open_place(progress, keep=False) as place:
        prepare(place.engine, progress, embedded=True)
        hub = upstream.open_upstream(
            "embedded",
            place.engine,
            name=place.name,
            folder=place.folder,
            cache=cache_folder() / "hub",
            scale=scale,
            progress=progress.say,
        )
        with hub as opened:
            there = site(place, opened)
            target = Target(endpoint=opened.endpoint, repository="library/node", reference="20")
            blob = max(describe(target).blobs, key=lambda one: one.size_bytes)
            with _servers(there, target, blob.digest, progress) as urls:
                progress.begin("warm blobs", number=1, of=1)
                fetch = partial(_round, urls, clients=clients, blob_bytes=blob.size_bytes)
                fetch(0)  # page cache and connections: not counted
                taken = [one for number in range(1, rounds + 1) for one in fetch(number)]
        commit, _ = provenance.commit()
        return Throughput(
            commit=commit,
            host=provenance.host(docker=place.engine.version()),
            clients=clients,
            blob_bytes=blob.size_bytes,
            rounds=tuple(taken),
        )


def judge(seen: Throughput) -> tuple[Criterion, ...]:
    """Return the criteria: the median over the rounds of vmreg's rate to a baseline's."""
    return tuple(_criterion(seen, *baseline) for baseline in BASELINES)


def to_json(seen: Throughput) -> str:
    """Return the text of ``throughput.json``: the rounds as they were seen, and the criteria."""
    document = {
        "schema_version": SCHEMA_VERSION,
        **dataclasses.asdict(seen),
        "criteria": [dataclasses.asdict(one) for one in judge(seen)],
    }
    return json.dumps(document, indent=1) + "\n"


def rates(seen: Throughput, server: Server) -> list[float]:
    """Return a server's bytes per second, round by round."""
    return [one.total_bytes / one.elapsed_s for one in seen.rounds if one.server == server]


def _criterion(seen: Throughput, name: str, baseline: Server, threshold: float) -> Criterion:
    ours, theirs = rates(seen, "vmreg"), rates(seen, baseline)
    measured = median(mine / its for mine, its in zip(ours, theirs, strict=True))
    return Criterion(
        id=name,
        title=f"A warm blob comes at {threshold} or more of the speed of {baseline}",
        status="pass" if measured >= threshold else "fail",
        measured=measured,
        threshold=threshold,
        unit="ratio",
        evidence=f"median of {len(ours)} rounds, {seen.clients} clients at once: "
        f"{median(ours) / 1e6:.0f} MB/s against {median(theirs) / 1e6:.0f} MB/s",
    )


@contextmanager
def _servers(
    there: Site, target: Target, digest: str, progress: Progress
) -> Iterator[dict[Server, tuple[str, str]]]:
    """Yield each server's address and path of the blob, all of them warm."""
    path = f"/v2/{target.repository}/blobs/{digest}"
    with (
        arms.open_arm("registry2", there, progress=progress.say) as plain,
        arms.open_arm("vmreg", there, progress=progress.say) as ours,
    ):
        for arm in (plain, ours):
            progress.begin(f"warming {arm.name}", number=1, of=1)
            there_now = dataclasses.replace(target, endpoint=arm.endpoint)
            pulls.http_pulls(there_now, clients=1, total_bytes=0, progress=progress)
        data = there.folder / "home/registry/data"
        stored = blob_path(data, digest)
        waiting.until(
            lambda: stored.exists() or None, what=f"{digest} on disk", timeout_s=STORED_TIMEOUT_S
        )
        with _static(there, data) as static:
            address = {"static": static, "registry2": plain.container, "vmreg": ours.container}
            yield {
                server: (
                    there.engine.inspect(address[server]).addresses[there.network],
                    f"/{stored.relative_to(data)}" if server == "static" else path,
                )
                for server in SERVERS
            }


@contextmanager
def _static(there: Site, data: Path) -> Iterator[str]:
    """Yield the name of an nginx that serves the cache's files and does nothing else."""
    engine, name = there.engine, f"{there.name}-static"
    user, group = stack.owner()
    spec = ContainerSpec(
        name=name,
        image=images.ensure(engine, recipe=images.COMPONENTS, pinned=images.NGINX_PIN),
        entrypoint=(),
        command=("nginx", "-e", "stderr", "-c", "/etc/static.conf"),
        user=f"{user}:{group}",
        network=there.network,
        mounts=(
            Mount(target="/data", source=str(data), read_only=True),
            Mount(target="/tmp", kind="tmpfs"),  # noqa: S108 - the container's own
        ),
    )
    try:
        made = engine.create(spec)
        engine.put_file(made.id, "/etc/static.conf", STATIC)
        engine.start(made.id)
        address = engine.inspect(name).addresses[there.network]
        waiting.until(
            lambda: _listens(address), what=f"an answer of {name}", timeout_s=arms.START_TIMEOUT_S
        )
        yield name
    finally:
        engine.remove(name)


def _listens(address: str) -> bool | None:
    try:
        socket.create_connection((address, PORT), timeout=1).close()
    except OSError:
        return None
    return True


def _round(
    urls: dict[Server, tuple[str, str]], number: int, *, clients: int, blob_bytes: int
) -> Sequence[Round]:
    taken = []
    for shift in range(len(SERVERS)):
        server = SERVERS[(number + shift) % len(SERVERS)]
        began = time.monotonic()
        received = at_once([partial(_fetch, *urls[server])] * clients, name=server)
        elapsed_s = time.monotonic() - began
        if set(received) != {blob_bytes}:
            raise VmregError(
                brief=f"{server} did not send the blob",
                details=f"{clients} clients received {received} bytes, not {blob_bytes} each",
            )
        taken.append(
            Round(number=number, server=server, total_bytes=sum(received), elapsed_s=elapsed_s)
        )
    return taken


def _fetch(address: str, path: str) -> int:
    """Return the bytes of a body, which the kernel throws away: the servers are what is timed."""
    with socket.create_connection((address, PORT), timeout=TIMEOUT_S) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head and (piece := connection.recv(4096)):
            head += piece
        status, _, rest = head.partition(b"\r\n\r\n")
        if b" 200 " not in status.partition(b"\r\n")[0]:
            return -1
        received, scratch = len(rest), bytearray(READ_BYTES)
        while count := connection.recv_into(scratch, READ_BYTES, socket.MSG_TRUNC):
            received += count
        return received
