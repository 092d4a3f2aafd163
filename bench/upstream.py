"""The upstream side of a run: who counts the bytes that leave it.

The embedded hub keeps a log of every byte. The real one keeps none for us: there the egress's log
counts for this project's cache, and network counters for everything else.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bench.puller import AGENT
from bench.samples import NetworkCounter, UpstreamRequest
from bench.wire import Endpoint
from vmreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.arms import OpenArm, Position
    from bench.hub import Hub
    from bench.hublog import HubRequest
    from bench.samples import CountedBy
    from vmreg.accesslog import OriginRecord
    from vmreg.engine import Engine

HUB_URL = "https://registry-1.docker.io"
HTTPS = 443
KINDS = ("embedded", "docker.io")
BLOB = re.compile(r"sha256[:/](?:[0-9a-f]{2}/)?([0-9a-f]{64})")
MANIFEST = re.compile(r"/manifests/[^/]+$")
QUIET_S = 0.6  # a request is in the log only a moment after its client has the last byte
QUIET_TIMEOUT_S = 15.0
OK = 200


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What left the upstream during a run.

    :param requests: in the order of the log, times in seconds since ``epoch``.
    :param network: counters of the cache's interface when ``counted_by`` is ``network``.
    :param first_bytes: digest to the time at which the upstream first began to send that blob.
    """

    counted_by: CountedBy
    requests: tuple[UpstreamRequest, ...]
    network: NetworkCounter | None = None
    first_bytes: Mapping[str, float] = field(default_factory=dict)


class Watch(Protocol):
    """A count under way."""

    def read(self, *, clients: Mapping[str, str], epoch: float) -> Counted:
        """Wait for the upstream to be quiet and return what it sent since the watch began.

        :param clients: address to name of the clients that have one of their own.
        :param epoch: the time that the results count from, in seconds since the Unix epoch.
        """
        ...


class Upstream(Protocol):
    """A registry to pull from."""

    @property
    def network(self) -> str:
        """The Docker network on which VMs reach it under its own names."""
        ...

    @property
    def ca_file(self) -> Path | None:
        """Its certificate authority; ``None`` for the public ones."""
        ...

    @property
    def endpoint(self) -> Endpoint:
        """How a plain HTTP client on this host reaches it."""
        ...

    def watch(self, arm: OpenArm, start: Position) -> Watch:
        """Begin to count."""
        ...

    def set_bandwidth(self, bytes_s: int | None) -> None:
        """Cap it, where that can be done; ``None`` is no cap."""
        ...


class EmbeddedHub:
    """The stand-in, counted by its own access log."""

    def __init__(self, hub: Hub) -> None:
        """Use a running hub; it stays the caller's to stop."""
        from bench.hub import HUB_HOSTS  # noqa: PLC0415 - the hub is needed only here

        self.hub = hub
        self.network = hub.network
        self.ca_file = hub.ca_file
        self.endpoint = Endpoint(
            url=HUB_URL,
            addresses=dict.fromkeys(HUB_HOSTS, (hub.address, HTTPS)),
            ca_file=hub.ca_file,
        )

    def watch(self, arm: OpenArm, start: Position) -> Watch:
        """Begin at the log's present end."""
        del start
        return _HubWatch(self.hub, arm)

    def set_bandwidth(self, bytes_s: int | None) -> None:
        """Cap all connections together."""
        self.hub.set_bandwidth(bytes_s)


class DockerHub:
    """The real one, counted at the egress where there is one, else at network interfaces."""

    ca_file: Path | None = None

    def __init__(self, network: str) -> None:
        """Let clients reach it from a Docker network that exists."""
        self.network = network
        self.endpoint = Endpoint(url=HUB_URL)

    def watch(self, arm: OpenArm, start: Position) -> Watch:
        """Begin where logs and counters stood at ``start``."""
        return _CounterWatch(arm, start)

    def set_bandwidth(self, bytes_s: int | None) -> None:
        """Do nothing: the internet has the bandwidth that it has."""


def open_upstream(
    kind: str,
    engine: Engine,
    *,
    name: str,
    folder: Path,
    cache: Path,
    scale: float,
    progress: Callable[[str], None],
) -> AbstractContextManager[Upstream]:
    """Return the context manager of an upstream.

    :param kind: one of :data:`KINDS`.
    :param name: what the names of containers and networks begin with.
    :param folder: the run's scratch folder.
    :param cache: keeps the embedded hub's images from run to run.
    :param scale: of the embedded hub's images.
    :raises UsageError: there is no such kind.
    """
    if kind == "docker.io":
        return docker_io(engine, name=name)
    if kind == "embedded":
        return embedded(
            engine, name=name, folder=folder, cache=cache, scale=scale, progress=progress
        )
    raise UsageError(
        brief=f"--upstream {kind} is not known", resolution=f"Choose one of {', '.join(KINDS)}."
    )


@contextmanager
def embedded(
    engine: Engine,
    *,
    name: str,
    folder: Path,
    cache: Path,
    scale: float,
    progress: Callable[[str], None],
) -> Iterator[EmbeddedHub]:
    """Yield an embedded hub that is removed at the end."""
    from bench.hub import Hub  # noqa: PLC0415 - the hub is needed only here

    with Hub.start(
        engine,
        name=f"{name}-hub",
        network=f"{name}-net",
        state=folder / "hub",
        cache=cache,
        scale=scale,
        progress=progress,
    ) as hub:
        yield EmbeddedHub(hub)


@contextmanager
def docker_io(engine: Engine, *, name: str) -> Iterator[DockerHub]:
    """Yield the real hub, as seen from a network of the run's own that is removed at the end."""
    network = f"{name}-net"
    engine.ensure_network(network)
    try:
        yield DockerHub(network)
    finally:
        engine.remove_network(network)


class _HubWatch:
    def __init__(self, hub: Hub, arm: OpenArm) -> None:
        self._hub, self._arm, self._start = hub, arm, hub.mark()

    def read(self, *, clients: Mapping[str, str], epoch: float) -> Counted:
        """Return the hub's own log of the run."""
        _until_quiet(lambda: self._hub.totals(self._start).requests)
        rows = tuple(self._hub.requests(self._start))
        names = {**clients, **self._arm.sources}
        return Counted(
            counted_by="hub",
            requests=tuple(_from_hub(row, names, epoch) for row in rows),
            first_bytes=_first(
                (
                    (row.uri, row.time_s - row.request_s)
                    for row in rows
                    if row.role == "cdn" and row.body_bytes
                ),
                epoch,
            ),
        )


class _CounterWatch:
    def __init__(self, arm: OpenArm, start: Position) -> None:
        self._arm, self._start = arm, start

    def read(self, *, clients: Mapping[str, str], epoch: float) -> Counted:
        """Return the egress's log, or how far the cache's counters moved."""
        del clients
        _until_quiet(lambda: len(self._arm.origin_since(self._start)))
        if self._arm.logs is not None:
            rows = self._arm.origin_since(self._start)
            blobs = (
                (row.uri, row.time - row.request_s + (row.first_byte_s or 0))
                for row in rows
                if _role(row) == "cdn"
            )
            return Counted(
                counted_by="egress",
                requests=tuple(_from_origin(row, epoch) for row in rows),
                first_bytes=_first(blobs, epoch),
            )
        return Counted(counted_by="network", requests=(), network=self._moved())

    def _moved(self) -> NetworkCounter | None:
        if not self._arm.container:
            return None
        now = self._arm.position()
        return NetworkCounter(
            rx_bytes=now.rx_bytes - self._start.rx_bytes,
            rx_packets=now.rx_packets - self._start.rx_packets,
        )


def _until_quiet(count: Callable[[], int]) -> None:
    """Return when a count has not moved for a moment, or after a fixed time."""
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    seen = -1
    while seen != (now := count()) and time.monotonic() < deadline:
        seen = now
        time.sleep(QUIET_S)


def _from_hub(row: HubRequest, names: Mapping[str, str], epoch: float) -> UpstreamRequest:
    agent = row.user_agent.removeprefix(AGENT) if row.user_agent.startswith(AGENT) else row.client
    return UpstreamRequest(
        client=names.get(row.client, agent),
        role=row.role,
        method=row.method,
        path=row.uri.partition("?")[0],
        status=row.status,
        body_bytes=row.body_bytes,
        quota=row.counted,
        ended_s=row.time_s - epoch,
    )


def _from_origin(row: OriginRecord, epoch: float) -> UpstreamRequest:
    role = _role(row)
    manifest = role == "registry" and bool(MANIFEST.search(row.uri))
    return UpstreamRequest(
        client="egress",
        role=role,
        method=row.method,
        path=row.uri,
        status=row.status,
        body_bytes=row.received_bytes,
        quota=manifest and row.method == "GET" and row.status == OK,
        ended_s=row.time - epoch,
    )


def _role(row: OriginRecord) -> str:
    if "token" in row.uri and "/v2/" not in row.uri:
        return "auth"
    if MANIFEST.search(row.uri):
        return "registry"
    return "cdn" if row.received_bytes and BLOB.search(row.uri) else "registry"


def _first(sent: Iterator[tuple[str, float]], epoch: float) -> dict[str, float]:
    first: dict[str, float] = {}
    for uri, began in sent:
        found = BLOB.search(uri)
        if found:
            digest = f"sha256:{found[1]}"
            first[digest] = min(began - epoch, first.get(digest, float("inf")))
    return first
