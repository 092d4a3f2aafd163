"""The docker provider: a VM is a container that runs its own dockerd, without ``--privileged``."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg.engine import OWNER_LABEL, ContainerSpec, Mount
from vmreg.errors import NotRunningError, VmregError
from vmreg.serving import HOST_NAME
from vmreg.vms import provision
from vmreg.vms.image import ensure_vm_image
from vmreg.vms.provider import (
    DAEMON_JSON,
    DOCKERLESS_LABEL,
    NetworkCounters,
    Vm,
    VmConnection,
    VmSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vmreg.engine import Container, Engine, Finished

VM_LABEL = "vmreg.vm"
NETWORK_LABEL = "vmreg.vm.network"
PREFIX = "vm-"
BOOT_PATH = "/usr/local/sbin/vmreg-boot"
CERTIFICATE_PATH = "/usr/local/share/ca-certificates/vmreg-given.crt"
# A VM's dockerd gives its containers 10 s, unless they ask for more, and itself 5 s on top.
STOP_TIMEOUT_S = 30
_COUNTERS = tuple(f"/sys/class/net/eth0/statistics/rx_{kind}" for kind in ("bytes", "packets"))

# The first fourteen are what dockerd gives to every container by default: it can only give what it
# has. SYS_ADMIN is for mounts and namespaces, NET_ADMIN for bridges and packet filters. With any
# one of the sixteen missing, no container starts in the VM.
CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_ADMIN",
    "NET_ADMIN",
)


class DockerProvider:
    """VMs on one Docker engine; see :class:`vmreg.vms.provider.Provider` for the methods.

    A VM's container is called ``vm-NAME``. Only containers of the engine connection's owner that
    carry :data:`VM_LABEL` are ever listed, entered or removed. It may be used from many threads.
    """

    def __init__(self, engine: Engine) -> None:
        """Use an open connection; it stays the caller's to close."""
        self._engine = engine
        self._image = ""
        self._image_lock = threading.Lock()

    def create(self, spec: VmSpec) -> Vm:
        """Create a VM and start it; what is left of a failed one is removed.

        :raises VmregError: the name is taken, a value is refused, or it did not start.
        """
        image = spec.image or self._default_image()
        files = boot_files(spec)
        try:
            made = self._engine.create(container_spec(spec, image=image))
        except VmregError as error:
            self._explain_refusal(spec.name, error)
            raise
        try:
            for path, (content, mode) in files.items():
                self._engine.put_file(made.id, path, content, mode=mode)
            self._engine.start(made.id)
            return _vm(self._engine.inspect(made.id))
        except BaseException:
            self._engine.remove(made.id)
            raise

    def start(self, name: str) -> Vm:
        """Start a stopped VM; a running one is left alone.

        :raises NotRunningError: there is no such VM.
        """
        container = self._existing(name)
        self._engine.start(container.id)
        return _vm(self._engine.inspect(container.id))

    def stop(self, name: str) -> None:
        """Stop a VM cleanly and keep its disk; a stopped one is left alone.

        :raises NotRunningError: there is no such VM.
        """
        self._engine.stop(self._existing(name).id, timeout_s=STOP_TIMEOUT_S)

    def destroy(self, name: str) -> None:
        """Kill a VM and remove it with its disk; one that is absent is fine."""
        container = self._find(name)
        if container is not None:
            self._engine.remove(container.id)

    def list(self, *, labels: Mapping[str, str] | None = None) -> tuple[Vm, ...]:
        """Return the VMs that carry all ``labels``, stopped ones too, by name."""
        found = self._engine.list(labels=labels)
        return tuple(_vm(container) for container in found if VM_LABEL in container.labels)

    def wait_ready(self, name: str, *, timeout_s: float = 60) -> None:
        """Return as soon as the VM's dockerd answers; at once where it has none.

        :raises VmregError: it does not in time, or the VM stopped; with its last log lines.
        """
        if DOCKERLESS_LABEL in self._running(name).labels:
            return
        provision.wait_for_dockerd(VmConnection(provider=self, name=name), timeout_s=timeout_s)

    def exec(self, name: str, argv: Sequence[str]) -> Finished:
        """Run a command in a VM as root to its end.

        :raises NotRunningError: the VM is absent or stopped.
        :raises VmregError: the command does not exist.
        """
        try:
            return self._engine.exec(PREFIX + name, argv)
        except VmregError as error:
            self._running(name, cause=error)
            raise

    def put_file(self, name: str, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file into a VM, running or not; its folder must exist.

        :raises NotRunningError: there is no such VM.
        """
        self._engine.put_file(self._existing(name).id, path, content, mode=mode)

    def read_file(self, name: str, path: str) -> bytes | None:
        """Return a file's content from a VM, running or not; ``None`` when it is not there.

        :raises NotRunningError: there is no such VM.
        """
        return self._engine.read_file(self._existing(name).id, path)

    def session(self, name: str, argv: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        """Return Docker's own command line for it: it knows terminals.

        :raises NotRunningError: the VM is absent or stopped.
        """
        flags = ("--interactive", "--tty") if terminal else ("--interactive",)
        return ("docker", "exec", *flags, self._running(name).id, *argv)

    def daemon_log(self, name: str, *, tail: int = 20) -> str:
        """Return the last ``tail`` lines that a VM's dockerd logged."""
        return self._engine.logs(PREFIX + name, tail=tail)

    def follow(self, name: str, *, tail: int = 20) -> Iterator[bytes]:
        """Yield what a VM's dockerd logs as it comes, beginning ``tail`` lines back.

        :raises NotRunningError: there is no such VM.
        """
        return self._engine.follow(self._existing(name).id, tail=tail)

    def address(self, name: str) -> str:
        """Return a running VM's IPv4 address.

        :raises NotRunningError: it is not running.
        """
        return _vm(self._running(name)).address

    def received(self, name: str) -> NetworkCounters:
        """Return what a running VM's ``eth0`` has received since the VM started.

        :raises NotRunningError: it is not running.
        """
        # The engine's own statistics come from a sampler and take a second to answer.
        done = self.exec(name, ["cat", *_COUNTERS])
        if done.exit_code:
            raise VmregError(brief=f"the VM {name} has no eth0", details=done.errors.strip())
        rx_bytes, rx_packets = done.output.split()
        return NetworkCounters(rx_bytes=int(rx_bytes), rx_packets=int(rx_packets))

    def _default_image(self) -> str:
        with self._image_lock:  # so that one of many threads builds it
            self._image = self._image or ensure_vm_image(self._engine)
            return self._image

    def _find(self, name: str) -> Container | None:
        container = self._engine.find(PREFIX + name)
        if container is None or container.labels.get(OWNER_LABEL) != self._engine.owner:
            return None
        return container if container.labels.get(VM_LABEL) == name else None

    def _existing(self, name: str) -> Container:
        container = self._find(name)
        if container is None:
            raise NotRunningError(brief=f"there is no VM {name}")
        return container

    def _running(self, name: str, *, cause: Exception | None = None) -> Container:
        """Return the VM's container; this is also how an error finds its better explanation."""
        container = self._find(name)
        if container is None:
            raise NotRunningError(brief=f"there is no VM {name}") from cause
        if not container.running:
            raise NotRunningError(
                brief=f"the VM {name} is not running ({container.state})",
                details=self._engine.logs(container.id, tail=5),
                resolution=f"Start it: vm start {name}",
            ) from cause
        return container

    def _explain_refusal(self, name: str, cause: VmregError) -> None:
        taken = self._engine.find(PREFIX + name)
        if taken is None:
            return
        what = "VM" if self._find(name) else f"container {PREFIX + name}, which is not ours,"
        raise VmregError(
            brief=f"cannot create the VM {name}: a {what} of that name exists ({taken.state})",
            resolution="Choose another name, or remove it first.",
        ) from cause


def container_spec(spec: VmSpec, *, image: str) -> ContainerSpec:
    """Return the container that a VM is made of.

    The system paths that the engine hides stay hidden and ``/run`` starts empty at each boot.
    ``/var/lib/docker`` is a volume, because overlayfs cannot lie on top of overlayfs.
    """
    labels = {**spec.labels, VM_LABEL: spec.name, NETWORK_LABEL: spec.network}
    return ContainerSpec(
        name=PREFIX + spec.name,
        image=image,
        entrypoint=("/bin/sh", BOOT_PATH),
        command=() if spec.docker else ("dockerless",),
        init=True,
        labels=labels if spec.docker else {**labels, DOCKERLESS_LABEL: "true"},
        network=spec.network,
        extra_hosts={HOST_NAME: "host-gateway", **spec.extra_hosts},
        mounts=(
            Mount(kind="volume", target="/var/lib/docker"),
            Mount(kind="tmpfs", target="/run"),
        ),
        cap_drop=("ALL",),
        cap_add=CAPABILITIES,
        # The default filters refuse keyctl and pivot_root, which runc needs.
        security_opt=("seccomp=unconfined", "apparmor=unconfined"),
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
    )


def boot_files(spec: VmSpec) -> dict[str, tuple[bytes, int]]:
    """Return the files that are in a VM before it first starts: path to content and mode."""
    settings = provision.initial_settings(mirror=spec.mirror, more=spec.daemon)
    files = {
        BOOT_PATH: (Path(__file__).with_name("boot.sh").read_bytes(), 0o755),
        DAEMON_JSON: (json.dumps(settings, indent=2).encode() + b"\n", 0o644),
    }
    if spec.ca_pem is not None:
        files[CERTIFICATE_PATH] = (spec.ca_pem.rstrip() + b"\n", 0o644)
    return files


def _vm(container: Container) -> Vm:
    addresses = container.addresses
    preferred = addresses.get(container.labels.get(NETWORK_LABEL, ""))
    return Vm(
        name=container.labels[VM_LABEL],
        address=preferred or next(iter(addresses.values()), ""),
        running=container.running,
        instance=container.name,
        labels=container.labels,
    )
