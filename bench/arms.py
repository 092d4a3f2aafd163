"""The arms of the benchmark: three ways for a client to reach the same upstream.

Each is a context manager that starts what the arm needs with an empty cache, under names of the
run's own, and removes all of it at the end.
"""

from __future__ import annotations

import shutil
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bench.wire import Endpoint, Wire, WireError
from vmreg import accesslog, images, serving, waiting
from vmreg.engine import ContainerSpec, Mount, PublishedPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.keeping import KeepingEngine
    from vmreg.accesslog import EdgeRecord, OriginRecord
    from vmreg.engine import Engine

ArmName = Literal["direct", "registry2", "vmreg"]
HUB_URL = "https://registry-1.docker.io"
LOOPBACK = "127.0.0.1"
REGISTRY_PORT = 5000
CONFIG_FOLDER = "/etc/docker/registry"
START_TIMEOUT_S = 30
# What the official image carries, and the one line that makes it a mirror.
REGISTRY_CONFIG = f"""\
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :{REGISTRY_PORT}
proxy:
  remoteurl: {HUB_URL}
"""
# The official image and Debian's package call the program differently.
REGISTRY_COMMAND = (
    f"exec $(command -v docker-registry || command -v registry) serve {CONFIG_FOLDER}/config.yml"
)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the arms stand.

    :param name: what the names of containers and networks begin with; unique for a run.
    :param folder: scratch space of the run.
    :param network: the Docker network on which the upstream and the clients are.
    :param ca_file: the upstream's certificate authority, ``None`` for the public ones.
    :param upstream: the upstream as a plain HTTP client on this host reaches it.
    """

    engine: KeepingEngine
    name: str
    folder: Path
    network: str
    ca_file: Path | None
    upstream: Endpoint


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where logs and counters stood at one moment."""

    edge: int = 0
    origin: int = 0
    rx_bytes: int = 0
    rx_packets: int = 0


@dataclass(frozen=True, kw_only=True)
class OpenArm:
    """An arm that runs.

    :param mirror: what a VM's dockerd is told, ``None`` for no mirror.
    :param endpoint: where a plain HTTP client on this host pulls from.
    :param sources: address on the upstream's network to the cache's name there.
    :param logs: folder of the cache's access logs, when it keeps any.
    :param container: the cache's container, whose counters are read, when the arm has one.
    """

    name: ArmName
    engine: Engine
    endpoint: Endpoint
    mirror: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    logs: Path | None = None
    container: str = ""

    def position(self) -> Position:
        """Return where logs and counters stand now."""
        rx_bytes = rx_packets = 0
        if self.container:
            received = self.engine.received(self.container).values()
            rx_bytes = sum(one[0] for one in received)
            rx_packets = sum(one[1] for one in received)
        return Position(
            edge=self._size("edge.jsonl"),
            origin=self._size("origin.jsonl"),
            rx_bytes=rx_bytes,
            rx_packets=rx_packets,
        )

    def edge_since(self, start: Position) -> tuple[EdgeRecord, ...]:
        """Return what the edge logged since then; empty for an arm without one."""
        if self.logs is None:
            return ()
        return tuple(accesslog.edge(self.logs / "edge.jsonl", offset=start.edge))

    def origin_since(self, start: Position) -> tuple[OriginRecord, ...]:
        """Return what the origin logged since then; empty for an arm without one."""
        if self.logs is None:
            return ()
        return tuple(accesslog.origin(self.logs / "origin.jsonl", offset=start.origin))

    def _size(self, name: str) -> int:
        path = self.logs / name if self.logs else None
        return path.stat().st_size if path and path.exists() else 0


def open_arm(
    name: ArmName, site: Site, *, progress: Callable[[str], None] = lambda _: None
) -> AbstractContextManager[OpenArm]:
    """Return the context manager of an arm: started with an empty cache, removed at the end."""
    return {"direct": direct, "registry2": registry2, "vmreg": vmreg}[name](site, progress)


@contextmanager
def direct(site: Site, progress: Callable[[str], None]) -> Iterator[OpenArm]:
    """Yield the arm without a mirror: there is nothing to start."""
    del progress
    yield OpenArm(name="direct", engine=site.engine, endpoint=site.upstream)


@contextmanager
def registry2(site: Site, progress: Callable[[str], None]) -> Iterator[OpenArm]:
    """Yield a plain registry as the mirror, as it is commonly run.

    :raises VmregError: it does not come to answer.
    """
    engine, name, port = site.engine, f"{site.name}-registry2", free_port()
    image = images.ensure(
        engine, recipe=images.COMPONENTS, pinned=images.REGISTRY_PIN, progress=progress
    )
    ca_path = f"{CONFIG_FOLDER}/upstream-ca.pem"
    spec = ContainerSpec(
        name=name,
        image=image,
        entrypoint=(),
        command=("sh", "-c", REGISTRY_COMMAND),
        environment={"SSL_CERT_FILE": ca_path} if site.ca_file else {},
        network=site.network,
        mounts=(Mount(kind="volume", target="/var/lib/registry"),),
        ports=tuple(
            PublishedPort(container=REGISTRY_PORT, host=port, address=address)
            for address in (LOOPBACK, engine.bridge_gateway())
        ),
    )
    try:
        made = engine.create(spec)
        engine.put_file(made.id, f"{CONFIG_FOLDER}/config.yml", REGISTRY_CONFIG.encode())
        if site.ca_file:
            engine.put_file(made.id, ca_path, site.ca_file.read_bytes())
        engine.start(made.id)
        endpoint = Endpoint(url=f"http://{LOOPBACK}:{port}")
        _wait_for(endpoint, engine, name)
        yield OpenArm(
            name="registry2",
            engine=engine,
            endpoint=endpoint,
            mirror=serving.mirror(port),
            sources={engine.inspect(name).addresses[site.network]: "registry2"},
            container=name,
        )
    finally:
        engine.remove(name)


@contextmanager
def vmreg(site: Site, progress: Callable[[str], None]) -> Iterator[OpenArm]:
    """Yield this project's own registry, an instance of the run's own.

    :raises VmregError: it does not come to serve.
    """
    from vmreg.config import load  # noqa: PLC0415 - pydantic is slow to import
    from vmreg.stack import Stack  # noqa: PLC0415 - as above

    home, port = site.folder / "home", free_port()
    settings = load(
        overrides={
            "docker_registry.enabled": "true",
            "docker_registry.port": str(port),
            "docker_registry.instance": f"{site.name}-cache",
            "docker_registry.upstream.network": site.network,
            **({"docker_registry.upstream.ca_file": str(site.ca_file)} if site.ca_file else {}),
        },
        environment={"VM_HOME": str(home)},
        cwd=site.folder,
    )
    stack = Stack(site.engine, settings)
    try:
        stack.start(progress=progress)
        addresses = site.engine.inspect(settings.proxy_name).addresses
        yield OpenArm(
            name="vmreg",
            engine=site.engine,
            endpoint=Endpoint(url=f"http://{LOOPBACK}:{port}"),
            mirror=serving.mirror(port),
            sources={addresses[site.network]: "egress"},
            logs=settings.state_dir / "logs",
            container=settings.proxy_name,
        )
    finally:
        stack.stop()
        if not site.engine.holding:
            shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """Return a TCP port of this host on which nothing listens now."""
    with socket.create_server(("0.0.0.0", 0)) as probe:  # noqa: S104 - closed at once
        return int(probe.getsockname()[1])


def _wait_for(endpoint: Endpoint, engine: Engine, container: str) -> None:

    def answers() -> bool | None:
        wire = Wire(endpoint, scope="")
        try:
            wire.open("GET", "/v2/").read()
        except WireError:
            return None
        finally:
            wire.close()
        return True

    waiting.until(
        answers,
        what=f"an answer of {container}",
        timeout_s=START_TIMEOUT_S,
        evidence=lambda: engine.logs(container),
    )
