"""The Docker engine, and the only module that knows its SDK.

Everything that vmreg starts carries the label :data:`OWNER_LABEL`; nothing without it is touched.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Literal

import docker
import docker.errors
import requests.exceptions
from docker.types import EndpointConfig, LogConfig, NetworkingConfig, Ulimit

from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

OWNER_LABEL = "vmreg.owner"
NANOCPUS = 1_000_000_000
SECOND_NS = 1_000_000_000


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


@contextmanager
def _engine_errors(doing: str) -> Iterator[None]:
    """Turn the SDK's errors into ours."""
    try:
        yield
    except docker.errors.APIError as error:
        raise VmregError(
            brief=f"the Docker engine refused to {doing}",
            details=str(error.explanation or error),
        ) from error
    except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
        raise HostError(
            brief=f"the Docker engine did not answer (trying to {doing})",
            details=str(error),
            resolution="Check that it runs: docker info",
        ) from error


class Engine:
    """A connection to one Docker engine.

    :param owner: value of the owner label; the methods that list see only what carries it.
    """

    def __init__(self, client: docker.DockerClient, *, owner: str) -> None:
        """Wrap an open SDK client; use :meth:`connect`."""
        self._client = client
        self._api = client.api
        self.owner = owner

    @classmethod
    def connect(cls, *, owner: str) -> Engine:
        """Return a connection to the engine that the environment names (``DOCKER_HOST``).

        :raises HostError: no engine answers.
        """
        try:
            client = docker.from_env(timeout=120)
            client.ping()
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise HostError(
                brief="no Docker engine answers",
                details=str(error),
                resolution="Install and start Docker, or let ./inv do it: sudo ./inv registry.start",
            ) from error
        return cls(client, owner=owner)

    def close(self) -> None:
        """Close the connection; a second call is harmless."""
        self._client.close()

    # images

    def image_id(self, reference: str) -> str | None:
        """Return the id of a local image, or ``None`` when it is absent."""
        try:
            return str(self._client.images.get(reference).id)
        except docker.errors.ImageNotFound:
            return None

    def pull_image(self, reference: str) -> None:
        """Pull an image from its registry.

        :raises VmregError: the pull failed, in the middle too.
        """
        with _engine_errors(f"pull {reference}"):
            for event in self._api.pull(reference, stream=True, decode=True):
                if "errorDetail" in event:
                    raise VmregError(
                        brief=f"pulling {reference} failed",
                        details=str(event["errorDetail"].get("message", "")),
                    )

    def import_image(self, archive: Path, *, reference: str, changes: Sequence[str] = ()) -> str:
        """Import a root file system (a tar file) as a single-layer image; return its id.

        :param changes: Dockerfile instructions such as ``LABEL a=b``.
        """
        repository, _, tag = reference.rpartition(":")
        with _engine_errors(f"import {reference}"):
            self._api.import_image_from_file(
                str(archive), repository=repository, tag=tag, changes=list(changes)
            )
        found = self.image_id(reference)
        if found is None:
            raise VmregError(brief=f"importing {archive} as {reference} left no image")
        return found

    def remove_image(self, reference: str) -> None:
        """Remove an image; one that is absent is fine."""
        try:
            self._api.remove_image(reference, force=True)
        except docker.errors.ImageNotFound:
            return

    # networks

    def bridge_gateway(self) -> str:
        """Return the host's IPv4 address on the default bridge: ``host-gateway`` in containers.

        :raises HostError: the engine runs without a default bridge.
        """
        for network in self._api.networks(names=["bridge"]):
            for config in network["IPAM"]["Config"] or ():
                if "." in str(config.get("Subnet", "")):
                    # The engine omits the gateway of a bridge that it numbered itself.
                    first = ip_network(config["Subnet"])[1]
                    return str(config.get("Gateway") or first)
        raise HostError(
            brief="the Docker engine has no default bridge, so VMs cannot reach this host",
            resolution="Start the engine without --bridge=none, or set docker_registry.bind.",
        )

    def ensure_network(
        self, name: str, *, labels: Mapping[str, str] | None = None, internal: bool = False
    ) -> str:
        """Create a bridge network unless it exists; return its id. A second call is harmless.

        :param internal: its members reach one another and nothing else.
        """
        for network in self._api.networks(names=[name]):
            if network["Name"] == name:
                return str(network["Id"])
        with _engine_errors(f"create the network {name}"):
            made = self._api.create_network(
                name,
                driver="bridge",
                internal=internal,
                labels={OWNER_LABEL: self.owner, **(labels or {})},
            )
        return str(made["Id"])

    def network_subnets(self, name: str) -> tuple[str, ...]:
        """Return the IPv4 subnets of a network, empty when it does not exist."""
        return tuple(
            str(config["Subnet"])
            for network in self._api.networks(names=[name])
            if network["Name"] == name
            for config in network["IPAM"]["Config"] or ()
            if "." in str(config.get("Subnet", ""))
        )

    def remove_network(self, name: str) -> None:
        """Remove a network of ours; one that is absent is fine."""
        for network in self._api.networks(names=[name]):
            if network["Name"] == name and (network["Labels"] or {}).get(OWNER_LABEL) == self.owner:
                with _engine_errors(f"remove the network {name}"):
                    self._api.remove_network(network["Id"])

    def connect_network(self, network: str, container: str, *, aliases: Sequence[str] = ()) -> None:
        """Attach a container to a further network.

        :param aliases: names under which the network's other members resolve it.
        """
        with _engine_errors(f"connect {container} to {network}"):
            self._api.connect_container_to_network(container, network, aliases=list(aliases))

    def disconnect_network(self, network: str, container: str) -> None:
        """Detach a container from a network."""
        with _engine_errors(f"disconnect {container} from {network}"):
            self._api.disconnect_container_from_network(container, network, force=True)

    # containers

    def create(self, spec: ContainerSpec) -> Container:
        """Create a container without starting it.

        :raises VmregError: the name is taken, the image is missing, or the engine refuses a value.
        """
        with _engine_errors(f"create {spec.name}"):
            made = self._api.create_container(
                image=spec.image,
                name=spec.name,
                hostname=spec.name,
                command=list(spec.command) or None,
                entrypoint=list(spec.entrypoint) if spec.entrypoint is not None else None,
                environment=dict(spec.environment),
                user=spec.user or None,
                labels={OWNER_LABEL: self.owner, **spec.labels},
                volumes=[mount.target for mount in spec.mounts if _is_anonymous(mount)],
                ports=[port.container for port in spec.ports],
                host_config=self._host_config(spec),
                networking_config=_networking(spec),
                healthcheck=_health(spec.health),
                stop_signal=spec.stop_signal,
            )
        return self.inspect(str(made["Id"]))

    def run(self, spec: ContainerSpec) -> Container:
        """Create a container and start it; one that does not start is removed again."""
        container = self.create(spec)
        try:
            self.start(container.id)
        except BaseException:
            self.remove(container.id)
            raise
        return self.inspect(container.id)

    def start(self, container: str) -> None:
        """Start a created or stopped container; a running one is left alone."""
        with _engine_errors(f"start {container}"):
            self._api.start(container)

    def stop(self, container: str, *, timeout_s: int) -> None:
        """Send the container's stop signal and kill it after ``timeout_s`` seconds."""
        with _engine_errors(f"stop {container}"):
            self._api.stop(container, timeout=timeout_s)

    def restart(self, container: str, *, timeout_s: int = 10) -> None:
        """Stop and start a container."""
        with _engine_errors(f"restart {container}"):
            self._api.restart(container, timeout=timeout_s)

    def kill(self, container: str, *, signal: str = "SIGKILL") -> None:
        """Send a signal to the container's first process."""
        with _engine_errors(f"signal {container}"):
            self._api.kill(container, signal=signal)

    def pause(self, container: str) -> None:
        """Freeze every process of a container."""
        with _engine_errors(f"pause {container}"):
            self._api.pause(container)

    def unpause(self, container: str) -> None:
        """Undo :meth:`pause`."""
        with _engine_errors(f"unpause {container}"):
            self._api.unpause(container)

    def remove(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; one that is absent is fine."""
        try:
            self._api.remove_container(container, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "already in progress" not in str(error):
                raise VmregError(brief=f"cannot remove {container}", details=str(error)) from error

    def rename(self, container: str, name: str) -> None:
        """Give a container another name."""
        with _engine_errors(f"rename {container}"):
            self._api.rename(container, name)

    def inspect(self, container: str) -> Container:
        """Return a container's present state.

        :raises VmregError: there is no such container.
        """
        with _engine_errors(f"inspect {container}"):
            return _snapshot(self._api.inspect_container(container))

    def find(self, name: str) -> Container | None:
        """Return the container of that exact name, whoever owns it, or ``None``."""
        try:
            return _snapshot(self._api.inspect_container(name))
        except docker.errors.NotFound:
            return None

    def list(self, *, labels: Mapping[str, str] | None = None) -> tuple[Container, ...]:
        """Return our containers, stopped ones too, that carry all ``labels``; by name."""
        wanted = [f"{key}={value}" for key, value in (labels or {}).items()]
        with _engine_errors("list containers"):
            rows = self._api.containers(
                all=True, filters={"label": [f"{OWNER_LABEL}={self.owner}", *wanted]}
            )
            found = [self.find(str(row["Id"])) for row in rows]
        return tuple(sorted((one for one in found if one), key=lambda one: one.name))

    def publishers(self, port: int) -> tuple[str, ...]:
        """Return the names of all running containers that publish host TCP port ``port``."""
        with _engine_errors("list containers"):
            rows = self._api.containers()
        return tuple(
            str(row["Names"][0]).lstrip("/")
            for row in rows
            if any(binding.get("PublicPort") == port for binding in row["Ports"] or ())
        )

    def logs(self, container: str, *, tail: int = 20) -> str:
        """Return the last ``tail`` lines of a container's output, both streams."""
        try:
            output = self._api.logs(container, tail=tail)
        except docker.errors.APIError as error:
            return f"(no log: {error.explanation or error})"
        return bytes(output).decode(errors="replace").strip()

    def follow(self, container: str, *, tail: int = 20) -> Iterator[bytes]:
        """Yield a container's output as it comes, beginning ``tail`` lines back."""
        with _engine_errors(f"follow {container}"):
            yield from self._api.logs(container, stream=True, follow=True, tail=tail)

    def exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        user: str = "",
    ) -> Finished:
        """Run a command in a running container to its end.

        :raises VmregError: the container is not running or the command does not exist.
        """
        with _engine_errors(f"run {argv[0]} in {container}"):
            made = self._api.exec_create(
                container, list(argv), environment=dict(environment or {}), user=user
            )
            output, errors = self._api.exec_start(made["Id"], demux=True)
            status = self._api.exec_inspect(made["Id"])["ExitCode"]
        return Finished(
            exit_code=int(status),
            output=(output or b"").decode(errors="replace"),
            errors=(errors or b"").decode(errors="replace"),
        )

    def put_file(self, container: str, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write one file into a container, running or not; its folder must exist."""
        folder, _, name = path.rpartition("/")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
        with _engine_errors(f"write {path} into {container}"):
            self._api.put_archive(container, folder or "/", archive.getvalue())

    def _host_config(self, spec: ContainerSpec) -> dict[str, Any]:
        config = dict(
            self._api.create_host_config(
                binds=[
                    f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"
                    for mount in spec.mounts
                    if mount.kind != "tmpfs" and mount.source
                ],
                tmpfs={mount.target: "" for mount in spec.mounts if mount.kind == "tmpfs"},
                port_bindings=_bindings(spec.ports),
                network_mode=spec.network,
                extra_hosts=dict(spec.extra_hosts),
                cap_add=list(spec.cap_add),
                cap_drop=list(spec.cap_drop),
                security_opt=list(spec.security_opt),
                read_only=spec.read_only,
                init=spec.init,
                restart_policy={"Name": "unless-stopped"} if spec.restart else None,
                log_config=LogConfig(
                    type=LogConfig.types.JSON,
                    config={"max-size": str(spec.log_bytes), "max-file": "2"},
                ),
                mem_limit=spec.memory_bytes or None,
                nano_cpus=int(spec.cpus * NANOCPUS) or None,
                pids_limit=spec.pids or None,
                ulimits=[Ulimit(name="nofile", soft=spec.open_files, hard=spec.open_files)]
                if spec.open_files
                else None,
            )
        )
        if spec.unmask_system_paths:
            config |= {"MaskedPaths": [], "ReadonlyPaths": []}
        return config


def _is_anonymous(mount: Mount) -> bool:
    return mount.kind == "volume" and not mount.source


def _bindings(ports: Sequence[PublishedPort]) -> dict[int | str, Any]:
    bindings: dict[int | str, Any] = {}
    for port in ports:
        bindings.setdefault(port.container, []).append((port.address, port.host))
    return bindings


def _networking(spec: ContainerSpec) -> NetworkingConfig | None:
    if not spec.aliases:
        return None
    endpoint = EndpointConfig("1.41", aliases=list(spec.aliases))
    return NetworkingConfig({spec.network: endpoint})  # type: ignore[arg-type]  # stub is wrong


def _health(check: HealthCheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "Test": ["CMD", *check.argv],
        "Interval": int(check.interval_s * SECOND_NS),
        "Timeout": int(check.timeout_s * SECOND_NS),
        "Retries": check.retries,
        "StartPeriod": int(check.start_period_s * SECOND_NS),
    }


def _snapshot(raw: Mapping[str, Any]) -> Container:
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
