"""The Docker engine, and the only module that knows its SDK.

Everything that vmreg starts carries the label :data:`OWNER_LABEL`; nothing without it is touched.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Self

import docker
import docker.errors
import requests.exceptions
from docker.utils import kwargs_from_env

from vmreg import hijack
from vmreg.containers import (
    OWNER_LABEL,
    Container,
    ContainerSpec,
    Finished,
    HealthCheck,
    Mount,
    PublishedPort,
    archive_of,
    content_of,
    creation,
    publishers_of,
    snapshot,
)
from vmreg.engine_errors import engine_errors
from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "OWNER_LABEL",
    "Container",
    "ContainerSpec",
    "Engine",
    "Finished",
    "HealthCheck",
    "Mount",
    "PublishedPort",
]
_MAKING_NETWORKS = threading.Lock()
NOT_EXECUTED = "OCI runtime exec failed"  # the engine says so where the command's output would be
POOLS = 4096


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
    def connect(cls, *, owner: str) -> Self:
        """Return a connection to the engine that the environment names (``DOCKER_HOST``).

        :raises HostError: no engine answers.
        """
        try:
            # The SDK keeps a pool for each path and closes the oldest, in use or not.
            client = docker.DockerClient(timeout=120, num_pools=POOLS, **kwargs_from_env())
            client.ping()
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise HostError(
                brief="no Docker engine answers",
                details=str(error),
                resolution="Install and start one, or let ./inv registry.start do it.",
            ) from error
        return cls(client, owner=owner)

    def close(self) -> None:
        """Close the connection; a second call is harmless."""
        self._client.close()

    def version(self) -> str:
        """Return the engine's own version, such as ``20.10.24``."""
        with engine_errors("tell its version"):
            return str(self._api.version()["Version"])

    # images

    def image_id(self, reference: str) -> str | None:
        """Return the id of a local image, or ``None`` when it is absent."""
        with engine_errors(f"look up the image {reference}"):
            try:
                return str(self._client.images.get(reference).id)
            except docker.errors.NotFound:
                return None

    def pull_image(self, reference: str) -> None:
        """Pull an image from its registry.

        :raises VmregError: the pull failed, in the middle too.
        """
        with engine_errors(f"pull {reference}"):
            for event in self._api.pull(reference, stream=True, decode=True):
                if "errorDetail" in event:
                    raise VmregError(
                        brief=f"pulling {reference} failed",
                        details=str(event["errorDetail"].get("message", "")),
                    )

    def import_image(self, archive: Path, *, reference: str, changes: Sequence[str] = ()) -> str:
        """Import a root file system (a tar file) as a single-layer image; return its id.

        :param changes: Dockerfile instructions such as ``LABEL a=b``.
        :raises VmregError: the archive is damaged or a change is not understood.
        """
        repository, _, tag = reference.rpartition(":")
        with engine_errors(f"import {reference}"):
            answer = self._api.import_image_from_file(
                str(archive), repository=repository, tag=tag, changes=list(changes)
            )
        # The engine streams its verdict with status 200, also when the archive is no archive.
        found = self.image_id(reference)
        if found is None or "errorDetail" in answer:
            raise VmregError(
                brief=f"the Docker engine could not import {archive} as {reference}",
                details=answer.strip(),
            )
        return found

    def remove_image(self, reference: str) -> None:
        """Remove an image; one that is absent is fine.

        :raises VmregError: a container uses it.
        """
        with engine_errors(f"remove the image {reference}"), suppress(docker.errors.NotFound):
            self._api.remove_image(reference, force=True)

    # networks

    def bridge_gateway(self) -> str:
        """Return the host's IPv4 address on the default bridge: ``host-gateway`` in containers.

        :raises HostError: the engine runs without a default bridge.
        """
        network = self._network("bridge") or {"IPAM": {"Config": None}}
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

        Threads may call it at once. Processes that may do so take a lock of their own: old
        engines look and make in two steps, and then hold several networks of one name.

        :param internal: its members reach one another and nothing else.
        """
        with engine_errors(f"create the network {name}"), _MAKING_NETWORKS:
            present = self._network(name) or self._api.create_network(
                name,
                driver="bridge",
                internal=internal,
                labels={OWNER_LABEL: self.owner, **(labels or {})},
                check_duplicate=True,
            )
        return str(present["Id"])

    def network_subnets(self, name: str) -> tuple[str, ...]:
        """Return the IPv4 subnets of a network, empty when it does not exist."""
        network = self._network(name)
        if network is None:
            return ()
        configs = network["IPAM"]["Config"] or ()
        return tuple(str(one["Subnet"]) for one in configs if "." in str(one.get("Subnet", "")))

    def remove_network(self, name: str) -> None:
        """Remove a network of ours; one that is absent, or another's, is left alone.

        :raises VmregError: containers are attached to it.
        """
        network = self._network(name)
        if network is None or (network["Labels"] or {}).get(OWNER_LABEL) != self.owner:
            return
        with engine_errors(f"remove the network {name}"), suppress(docker.errors.NotFound):
            self._api.remove_network(network["Id"])

    def _network(self, name: str) -> Mapping[str, Any] | None:
        with engine_errors(f"look up the network {name}"):
            # The engine's own filter also matches longer names.
            found = [one for one in self._api.networks(names=[name]) if one["Name"] == name]
        return found[0] if found else None

    def connect_network(self, network: str, container: str, *, aliases: Sequence[str] = ()) -> None:
        """Attach a container to a further network.

        :param aliases: names under which the network's other members resolve it.
        """
        with engine_errors(f"connect {container} to {network}"):
            self._api.connect_container_to_network(container, network, aliases=list(aliases))

    def disconnect_network(self, network: str, container: str) -> None:
        """Detach a container from a network."""
        with engine_errors(f"disconnect {container} from {network}"):
            self._api.disconnect_container_from_network(container, network, force=True)

    # containers

    def create(self, spec: ContainerSpec) -> Container:
        """Create a container without starting it.

        :raises VmregError: the name is taken, the image is missing, or the engine refuses a value.
        """
        with engine_errors(f"create {spec.name}"):
            made = self._api.create_container_from_config(  # type: ignore[no-untyped-call]  # the stub
                creation(spec, owner=self.owner), spec.name
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
        with engine_errors(f"start {container}"):
            self._api.start(container)

    def stop(self, container: str, *, timeout_s: int) -> None:
        """Send the container's stop signal and kill it after ``timeout_s`` seconds."""
        with engine_errors(f"stop {container}"):
            self._api.stop(container, timeout=timeout_s)

    def restart(self, container: str, *, timeout_s: int = 10) -> None:
        """Stop and start a container."""
        with engine_errors(f"restart {container}"):
            self._api.restart(container, timeout=timeout_s)

    def kill(self, container: str, *, signal: str = "SIGKILL") -> None:
        """Send a signal to the container's first process."""
        with engine_errors(f"signal {container}"):
            self._api.kill(container, signal=signal)

    def pause(self, container: str) -> None:
        """Freeze every process of a container."""
        with engine_errors(f"pause {container}"):
            self._api.pause(container)

    def unpause(self, container: str) -> None:
        """Undo :meth:`pause`."""
        with engine_errors(f"unpause {container}"):
            self._api.unpause(container)

    def remove(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; one that is absent is fine."""
        with engine_errors(f"remove {container}"):
            try:
                self._api.remove_container(container, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if "already in progress" not in str(error):
                    raise

    def rename(self, container: str, name: str) -> None:
        """Give a container another name."""
        with engine_errors(f"rename {container}"):
            self._api.rename(container, name)

    def inspect(self, container: str) -> Container:
        """Return a container's present state.

        :raises VmregError: there is no such container.
        """
        with engine_errors(f"inspect {container}"):
            return snapshot(self._api.inspect_container(container))

    def find(self, name: str) -> Container | None:
        """Return the container of that exact name or id, whoever owns it, or ``None``."""
        with engine_errors(f"look up {name}"):
            try:
                found = snapshot(self._api.inspect_container(name))
            except docker.errors.NotFound:
                return None
        # To the engine the name "cafe" is also the beginning of an id.
        return found if name in (found.name, found.id) else None

    def list(self, *, labels: Mapping[str, str] | None = None) -> tuple[Container, ...]:
        """Return our containers, stopped ones too, that carry all ``labels``; by name."""
        wanted = [f"{key}={value}" for key, value in (labels or {}).items()]
        with engine_errors("list containers"):
            rows = self._api.containers(
                all=True, filters={"label": [f"{OWNER_LABEL}={self.owner}", *wanted]}
            )
            found = [self.find(str(row["Id"])) for row in rows]
        return tuple(sorted((one for one in found if one), key=lambda one: one.name))

    def publishers(self, port: int) -> tuple[str, ...]:
        """Return the names of all running containers that publish host TCP port ``port``."""
        with engine_errors("list containers"):
            rows = self._api.containers()
        return publishers_of(rows, port)

    def logs(self, container: str, *, tail: int = 20) -> str:
        """Return the last ``tail`` lines of a container's output, both streams.

        It serves as evidence in errors, so it raises none: it says why there is no log.
        """
        try:
            output = self._api.logs(container, tail=tail)
        except docker.errors.APIError as error:
            return f"(no log: {error.explanation or error})"
        except requests.exceptions.RequestException as error:
            return f"(no log: {error})"
        return bytes(output).decode(errors="replace").strip()

    def follow(self, container: str, *, tail: int = 20) -> Iterator[bytes]:
        """Yield a container's output as it comes, beginning ``tail`` lines back."""
        with engine_errors(f"follow {container}"):
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
        with engine_errors(f"run {argv[0]} in {container}"):
            made = self._api.exec_create(
                container, list(argv), environment=dict(environment or {}), user=user
            )
            output, errors = hijack.output(self._api.exec_start(made["Id"], socket=True))
            status = self._api.exec_inspect(made["Id"])["ExitCode"]
        if status is None:
            raise VmregError(brief=f"{container} ended while {argv[0]} ran in it", details=errors)
        finished = Finished(exit_code=int(status), output=output, errors=errors)
        if status and finished.output.startswith(NOT_EXECUTED):
            raise VmregError(brief=f"cannot run {argv[0]} in {container}", details=finished.output)
        return finished

    def received(self, container: str) -> dict[str, tuple[int, int]]:
        """Return what a running container received: interface to bytes and packets.

        Counted by the engine since the container started; nothing runs in the container.
        """
        with engine_errors(f"read the network counters of {container}"):
            stats = self._api.stats(container, stream=False, one_shot=True)
        return {
            interface: (int(counted["rx_bytes"]), int(counted["rx_packets"]))
            for interface, counted in (stats.get("networks") or {}).items()
        }

    def put_file(self, container: str, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write one file into a container, running or not; its folder must exist."""
        folder, _, name = path.rpartition("/")
        archive = archive_of(name, content, mode=mode)
        with engine_errors(f"write {path} into {container}"):
            self._api.put_archive(container, folder or "/", archive)

    def read_file(self, container: str, path: str) -> bytes | None:
        """Return a regular file's content from a container, running or not; ``None`` without it.

        :raises VmregError: it is no regular file.
        """
        with engine_errors(f"read {path} in {container}"):
            try:
                chunks, _ = self._api.get_archive(container, path)
                return content_of(b"".join(chunks))
            except docker.errors.NotFound:
                return None
