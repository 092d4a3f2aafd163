"""Makes a VM whole or not at all, however the command that makes it ends.

A VM carries the identity of the process that makes it, and a file once it is finished. Whoever is
killed in between leaves a VM without that file and a maker that is gone: the next command of that
name removes it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import VmregError
from vmreg.interrupts import unwinding
from vmreg.locking import locked
from vmreg.vms import image, keeper
from vmreg.vms.provider import VmConnection, VmSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vmreg.engine import Engine
    from vmreg.vms.provider import Provider, Vm

MAKER_LABEL = "vmreg.vm.maker"
PROJECT_LABEL = "vmreg.vm.project"
VERSION_LABEL = "vmreg.vm.docker"
CPUS_LABEL = "vmreg.vm.cpus"
MEMORY_LABEL = "vmreg.vm.memory"
FINISHED = "/etc/vmreg-finished"
READY_TIMEOUT_S = 60
LATE_S = 1.0
BUILD_TIMEOUT_S = 900


@dataclass(frozen=True, kw_only=True)
class Order:
    """A VM as a person wants it.

    :param project: whose it is.
    :param docker: whether it has a dockerd.
    :param version: which Docker, see :func:`vmreg.vms.image.release`; used without ``image``.
    :param image: the provider's image reference instead.
    :param cpus: limit, 0 for none.
    :param memory_bytes: limit, 0 for none.
    :param mirror: the address of the mirror, or ``None``.
    """

    name: str
    project: str
    docker: bool = True
    version: str = image.DEFAULT_VERSION
    image: str = ""
    cpus: float = 0
    memory_bytes: int = 0
    mirror: str | None = None


def create(
    provider: Provider,
    order: Order,
    *,
    reference: str,
    home: Path,
    finish: Callable[[VmConnection], object] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Vm:
    """Create a VM, wait until its dockerd answers, finish it; a failure leaves nothing behind.

    :param reference: the image to use, see :func:`ensure_image`.
    :param home: the folder whose lock keeps two commands apart.
    :param finish: what is done in the running VM before it counts as finished.
    :param progress: told when something of a killed command is removed first.
    :raises VmregError: the name is taken, or the VM did not come up; nothing is left of it then.
    """
    with unwinding() as interrupts:
        _make_room(provider, order.name, home=home, progress=progress)
        try:
            made = provider.create(_spec(order, reference))
            provider.wait_ready(order.name, timeout_s=READY_TIMEOUT_S)
            finish(VmConnection(provider=provider, name=order.name))
            provider.put_file(order.name, FINISHED, b"")
        except BaseException as error:
            interrupts.hold()
            _undo(provider, order.name, refused=isinstance(error, VmregError))
            raise
    return made


def ensure_image(
    engine: Engine, order: Order, *, home: Path, progress: Callable[[str], None] = lambda _: None
) -> str:
    """Return the image reference for an order, building it when it is absent.

    Of several commands one builds, and the others wait for it.

    :raises VmregError: it cannot be had.
    """
    if order.image:
        return order.image
    reference = image.release(order.version).recipe.reference
    if engine.image_id(reference) is not None:
        return reference
    with locked(home / "images.lock", timeout_s=BUILD_TIMEOUT_S):
        return image.ensure_vm_image(engine, order.version, progress=progress)


def is_unfinished(provider: Provider, vm: Vm) -> bool:
    """Return whether a VM was left half made by a process that is gone."""
    maker = vm.labels.get(MAKER_LABEL, "")
    return keeper.is_gone(maker) and provider.read_file(vm.name, FINISHED) is None


def _undo(provider: Provider, name: str, *, refused: bool) -> None:
    """Destroy the VM if this process made it.

    :param refused: whether the provider has said so. After an interruption it may still be at work
        on a request that nobody waits for any more.
    """
    deadline = time.monotonic() + (0 if refused else LATE_S)
    while True:
        if _is_ours(provider, name):
            provider.destroy(name)
            return
        if time.monotonic() >= deadline:
            return
        time.sleep(0.1)


def _is_ours(provider: Provider, name: str) -> bool:
    """Return whether this very process made the VM: the name may be another's, and taken."""
    ours = {MAKER_LABEL: keeper.of_this_process()}
    return any(vm.name == name for vm in provider.list(labels=ours))


def _make_room(
    provider: Provider, name: str, *, home: Path, progress: Callable[[str], None]
) -> None:
    """Remove what a killed command left of that name.

    :raises VmregError: a VM of that name is there, or being made.
    """
    with locked(home / "vms.lock", timeout_s=READY_TIMEOUT_S):
        found = next((vm for vm in provider.list() if vm.name == name), None)
        if found is None:
            return
        if is_unfinished(provider, found):
            progress(f"removing {name}, which was never finished")
            provider.destroy(name)
            return
        if provider.read_file(name, FINISHED) is None and MAKER_LABEL in found.labels:
            raise VmregError(
                brief=f"the VM {name} is being created by another command",
                resolution="Wait for it to end, or choose another name.",
            )
        raise VmregError(
            brief=f"the VM {name} exists already ({'running' if found.running else 'stopped'})",
            resolution=f"Use it: vm start {name}; or remove it first: vm destroy {name}",
        )


def _spec(order: Order, reference: str) -> VmSpec:
    daemon = {} if order.image else image.release(order.version).settings(order.mirror)
    return VmSpec(
        name=order.name,
        image=reference,
        docker=order.docker,
        cpus=order.cpus,
        memory_bytes=order.memory_bytes,
        mirror=order.mirror,
        daemon=daemon,
        labels={
            MAKER_LABEL: keeper.of_this_process(),
            PROJECT_LABEL: order.project,
            VERSION_LABEL: order.version if order.docker and not order.image else "",
            CPUS_LABEL: f"{order.cpus:g}",
            MEMORY_LABEL: str(order.memory_bytes),
        },
    )
