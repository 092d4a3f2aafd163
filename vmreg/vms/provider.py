"""What a VM is, and what a provider must be able to do with one.

A provider is written from this module alone: it keeps no state outside the VMs themselves, so that
a second process, or the same one after a crash, finds and removes what the first one made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vmreg.engine import Finished

DAEMON_JSON = "/etc/docker/daemon.json"
DOCKERLESS_LABEL = "vmreg.vm.dockerless"  # of VMs whose spec says docker=False


@dataclass(frozen=True, kw_only=True)
class VmSpec:
    """What a VM is made of.

    :param name: unique for the provider; letters, digits, ``-``, ``_`` and ``.``.
    :param network: the provider's network that it is attached to.
    :param mirror: address of a registry mirror that its dockerd uses from the first pull on.
    :param ca_pem: a certificate that everything in the VM trusts, for any host.
    :param extra_hosts: host name to address, resolved before DNS.
    :param cpus: limit, 0 for none.
    :param memory_bytes: limit, 0 for none.
    :param image: the provider's image reference; empty for its default.
    :param docker: whether a dockerd runs in it.
    :param labels: kept with the VM and returned by ``list``.
    :param daemon: further keys for the VM's ``/etc/docker/daemon.json``.
    """

    name: str
    network: str = "bridge"
    mirror: str | None = None
    ca_pem: bytes | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    cpus: float = 0
    memory_bytes: int = 0
    image: str = ""
    docker: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    daemon: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM as the provider last reported it.

    :param address: its IPv4 address; empty when it is not running.
    :param instance: what the provider itself calls it: a container's name, for instance.
    """

    name: str
    address: str
    running: bool
    instance: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class NetworkCounters:
    """What a VM's network interface has received since it started, in bytes and packets."""

    rx_bytes: int
    rx_packets: int


class Connection(Protocol):
    """A way into one running VM; all that provisioning needs."""

    def exec(self, argv: Sequence[str]) -> Finished:
        """Run a command as root to its end, no shell in between.

        :raises VmregError: the VM is not running or the command does not exist.
        """
        ...

    def put_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file, owned by root; its folder must exist. Not atomic."""
        ...

    def daemon_log(self, *, tail: int = 20) -> str:
        """Return the last ``tail`` lines that the VM's dockerd logged."""
        ...


class Provider(Protocol):
    """Makes VMs and removes them. All methods may be called from several threads at once."""

    def create(self, spec: VmSpec) -> Vm:
        """Create a VM and start it; what is left of a failed one is removed.

        ``host.docker.internal`` resolves to this host in it. Its dockerd may still be starting.

        :raises VmregError: the name is taken, a value is refused, or it did not start.
        """
        ...

    def start(self, name: str) -> Vm:
        """Start a stopped VM; a running one is left alone.

        :raises NotRunningError: there is no such VM.
        """
        ...

    def stop(self, name: str) -> None:
        """Stop a VM cleanly and keep its disk; a stopped one is left alone.

        :raises NotRunningError: there is no such VM.
        """
        ...

    def destroy(self, name: str) -> None:
        """Remove a VM with its disk, whatever state it is in; one that is absent is fine."""
        ...

    def list(self, *, labels: Mapping[str, str] | None = None) -> tuple[Vm, ...]:
        """Return the VMs that carry all ``labels``, stopped ones too, by name."""
        ...

    def wait_ready(self, name: str, *, timeout_s: float = 60) -> None:
        """Return as soon as the VM's dockerd answers; at once where it has none.

        :raises VmregError: it does not in time, or the VM stopped; with its last log lines.
        """
        ...

    def exec(self, name: str, argv: Sequence[str]) -> Finished:
        """Run a command in a VM: see :meth:`Connection.exec`."""
        ...

    def put_file(self, name: str, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file into a VM, running or not: see :meth:`Connection.put_file`."""
        ...

    def read_file(self, name: str, path: str) -> bytes | None:
        """Return a file's content from a VM, running or not; ``None`` when it is not there.

        :raises NotRunningError: there is no such VM.
        """
        ...

    def session(self, name: str, argv: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        """Return the program and arguments that run a command in a VM in front of a person.

        Run on this host, it has the caller's standard streams for the command's, and it ends with
        the command's exit status.

        :param terminal: whether the caller's streams are a terminal, as the command's then are.
        :raises NotRunningError: the VM is absent or stopped.
        """
        ...

    def daemon_log(self, name: str, *, tail: int = 20) -> str:
        """Return the last ``tail`` lines that a VM's dockerd logged."""
        ...

    def follow(self, name: str, *, tail: int = 20) -> Iterator[bytes]:
        """Yield what a VM's dockerd logs as it comes, beginning ``tail`` lines back.

        :raises NotRunningError: there is no such VM.
        """
        ...

    def address(self, name: str) -> str:
        """Return a running VM's IPv4 address.

        :raises NotRunningError: it is not running.
        """
        ...

    def received(self, name: str) -> NetworkCounters:
        """Return a running VM's counters as they are at this moment.

        :raises NotRunningError: it is not running.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class VmConnection:
    """A provider's way into the VM of one name."""

    provider: Provider
    name: str

    def exec(self, argv: Sequence[str]) -> Finished:
        """Run a command: see :meth:`Connection.exec`."""
        return self.provider.exec(self.name, argv)

    def put_file(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file: see :meth:`Connection.put_file`."""
        self.provider.put_file(self.name, path, content, mode=mode)

    def daemon_log(self, *, tail: int = 20) -> str:
        """Return dockerd's last lines: see :meth:`Connection.daemon_log`."""
        return self.provider.daemon_log(self.name, tail=tail)
