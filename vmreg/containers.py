"""What a container is made of and what the engine says of it: values, no connection."""

from __future__ import annotations

import io
import tarfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OWNER_LABEL = "vmreg.owner"
NANOCPUS = 1_000_000_000
SECOND_NS = 1_000_000_000
LOG_FILES = 2


@dataclass(frozen=True, kw_only=True)
class Mount:
    """Something mounted into a container.

    :param kind: ``bind`` (``source`` is a host path), ``volume`` (``source`` is a name, empty for
        an anonymous one) or ``tmpfs`` (no source).
    """

    target: str
    kind: Literal["bind", "volume", "tmpfs"] = "bind"
    source: str = ""
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishedPort:
    """A container's TCP port as it is reached from the host."""

    container: int
    host: int
    address: str = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A command that the engine runs in the container; it is unhealthy after ``retries`` misses."""

    argv: tuple[str, ...]
    interval_s: float = 5
    timeout_s: float = 5
    retries: int = 3
    start_period_s: float = 10


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """All that a container is made of. The name is also its host name.

    :param labels: added to the owner label.
    :param network: name of the network it starts on.
    :param aliases: further names on that network (user-defined networks only).
    :param extra_hosts: host name to address; ``host-gateway`` is understood.
    :param memory_bytes: limit; 0 is none, as for ``cpus``, ``pids`` and ``open_files``.
    :param stop_timeout_s: seconds between the stop signal and the kill when the engine stops it.
    :param log_bytes: size at which the engine rotates the container's log, two files kept.
    :param unmask_system_paths: leave ``/proc`` and ``/sys`` writable, as a nested dockerd needs.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = "bridge"
    aliases: tuple[str, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    unmask_system_paths: bool = False
    read_only: bool = False
    init: bool = False
    restart: bool = False
    health: HealthCheck | None = None
    stop_signal: str = "SIGTERM"
    stop_timeout_s: int = 10
    log_bytes: int = 10_000_000
    memory_bytes: int = 0
    cpus: float = 0
    pids: int = 0
    open_files: int = 0


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container as the engine last reported it.

    :param state: ``created``, ``running``, ``paused``, ``restarting``, ``exited`` or ``dead``.
    :param health: ``healthy``, ``unhealthy``, ``starting``, or empty without a health check.
    :param restarts: how often the restart policy has started it again.
    :param addresses: network name to IPv4 address.
    """

    id: str
    name: str
    image: str
    image_id: str
    state: str
    health: str
    restarts: int
    exit_code: int
    started_at: str
    labels: Mapping[str, str]
    addresses: Mapping[str, str]

    @property
    def running(self) -> bool:
        """Whether its main process is alive."""
        return self.state == "running"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that ran in a container: its exit status and its output, decoded."""

    exit_code: int
    output: str
    errors: str


def creation(spec: ContainerSpec, *, owner: str) -> dict[str, Any]:
    """Return the body of the engine's request that creates a container.

    :param owner: value of the owner label.
    """
    anonymous = [
        mount.target for mount in spec.mounts if mount.kind == "volume" and not mount.source
    ]
    return {
        "Image": spec.image,
        "Hostname": spec.name,
        "Cmd": list(spec.command) or None,
        "Entrypoint": list(spec.entrypoint) if spec.entrypoint is not None else None,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "User": spec.user,
        "Labels": {**spec.labels, OWNER_LABEL: owner},
        "Volumes": {target: {} for target in anonymous},
        "ExposedPorts": {f"{port.container}/tcp": {} for port in spec.ports},
        "Healthcheck": _health(spec.health) if spec.health else None,
        "StopSignal": spec.stop_signal,
        "StopTimeout": spec.stop_timeout_s,
        "HostConfig": {**_access(spec), **_limits(spec)},
        "NetworkingConfig": {
            "EndpointsConfig": {spec.network: {"Aliases": list(spec.aliases)}}
            if spec.aliases
            else {}
        },
    }


def _access(spec: ContainerSpec) -> dict[str, Any]:
    """Return what the container sees of the host and may do to it."""
    masks: dict[str, Any] = (
        {"MaskedPaths": [], "ReadonlyPaths": []} if spec.unmask_system_paths else {}
    )
    return {
        "Binds": [
            f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"
            for mount in spec.mounts
            if mount.kind != "tmpfs" and mount.source
        ],
        "Tmpfs": {mount.target: "" for mount in spec.mounts if mount.kind == "tmpfs"},
        "PortBindings": _bindings(spec.ports),
        "NetworkMode": spec.network,
        "ExtraHosts": [f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
        "SecurityOpt": list(spec.security_opt),
        "ReadonlyRootfs": spec.read_only,
        **masks,
    }


def _limits(spec: ContainerSpec) -> dict[str, Any]:
    """Return how the container is kept alive and bounded."""
    files = {"Name": "nofile", "Soft": spec.open_files, "Hard": spec.open_files}
    return {
        "Init": spec.init,
        "RestartPolicy": {"Name": "unless-stopped" if spec.restart else "no"},
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(spec.log_bytes), "max-file": str(LOG_FILES)},
        },
        "Memory": spec.memory_bytes,
        "NanoCpus": int(spec.cpus * NANOCPUS),
        "PidsLimit": spec.pids or None,
        "Ulimits": [files] if spec.open_files else [],
    }


def _bindings(ports: Sequence[PublishedPort]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        binding = {"HostIp": port.address, "HostPort": str(port.host)}
        bindings.setdefault(f"{port.container}/tcp", []).append(binding)
    return bindings


def _health(check: HealthCheck) -> dict[str, Any]:
    return {
        "Test": ["CMD", *check.argv],
        "Interval": int(check.interval_s * SECOND_NS),
        "Timeout": int(check.timeout_s * SECOND_NS),
        "Retries": check.retries,
        "StartPeriod": int(check.start_period_s * SECOND_NS),
    }


def snapshot(raw: Mapping[str, Any]) -> Container:
    """Return a container from the engine's description of it."""
    state, config = raw["State"], raw["Config"]
    networks = raw["NetworkSettings"].get("Networks") or {}
    return Container(
        id=raw["Id"],
        name=raw["Name"].lstrip("/"),
        image=config["Image"],
        image_id=raw["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        restarts=raw.get("RestartCount", 0),
        exit_code=state["ExitCode"],
        started_at=state["StartedAt"],
        labels=config["Labels"] or {},
        addresses={name: one["IPAddress"] for name, one in networks.items() if one["IPAddress"]},
    )


def publishers_of(rows: Iterable[Mapping[str, Any]], port: int) -> tuple[str, ...]:
    """Return the names of the listed containers that publish host TCP port ``port``."""
    return tuple(
        str(row["Names"][0]).lstrip("/")
        for row in rows
        if any(
            binding.get("PublicPort") == port and binding.get("Type") == "tcp"
            for binding in row["Ports"] or ()
        )
    )


def archive_of(name: str, content: bytes, *, mode: int) -> bytes:
    """Return a tar archive that holds one file of root's, last changed now."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def content_of(archive: bytes) -> bytes:
    """Return the one file that a tar archive holds.

    :raises VmregError: it holds something else.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        entry = tar.next()
        content = tar.extractfile(entry) if entry is not None and entry.isfile() else None
        if content is None:
            raise VmregError(brief="it is not a regular file")
        return content.read()
