"""``vm.create``, and how a command comes to the mirror that a VM gets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vmreg.cli.common import ask, command, is_dry, may_ask, open_stack, say
from vmreg.errors import UsageError, VmregError

if TYPE_CHECKING:
    from pathlib import Path

    from invoke.context import Context

    from vmreg.config import Project
    from vmreg.stack import Stack
    from vmreg.vms.cache import Cache
    from vmreg.vms.creating import Order
    from vmreg.vms.provider import Connection, Provider, Vm


PROVISION_TIMEOUT_S = 180


@command(
    help={
        "name": "the new VM; by default the project's name",
        "docker": "its Docker: 20.10, 26.1 or 28.5",
        "image": "the provider's image to use instead",
        "cpus": "how many CPUs it may use, such as 1.5",
        "memory": "how much memory it may use, such as 4GB",
        "registry": "use the cache, and start it if it does not run",
        "no_registry": "let the VM do without the cache",
        "no_input": "never ask",
    },
    positional=["name"],
)
def create(  # noqa: PLR0917 - Invoke makes options of them
    context: Context,
    name: str = "",
    docker: str = "",
    image: str = "",
    cpus: str = "",
    memory: str = "",
    registry: bool = False,  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    no_registry: bool = False,  # noqa: FBT001, FBT002 - as above
    no_input: bool = False,  # noqa: FBT001, FBT002 - as above
) -> None:
    """Make a VM with a Docker of its own, which pulls through the cache of this host.

    A failure, or Ctrl-C, leaves nothing behind.
    """
    choice = wanted(registry=registry, no_registry=no_registry)
    from vmreg.config.everything import load_everything  # noqa: PLC0415 - start-up time of --help

    given = {
        "services.docker.version": docker,
        "vm.image": image,
        "vm.cpus": cpus,
        "vm.memory": memory,
    }
    _, project = load_everything(overrides={key: one for key, one in given.items() if one})
    asking = may_ask(no_input=no_input) and not is_dry(context)
    _create(project, name, wanted=choice, asking=asking, dry=is_dry(context))


def _create(project: Project, name: str, *, wanted: bool | None, asking: bool, dry: bool) -> None:
    from vmreg.config.project import check_name  # noqa: PLC0415 - start-up time of --help
    from vmreg.vms import creating  # noqa: PLC0415 - as above
    from vmreg.vms.docker import DockerProvider  # noqa: PLC0415 - as above

    began = time.monotonic()
    called = check_name(name or project.name)
    with open_stack() as stack:
        _check_free(called, stack)
        mirror = None
        if project.docker:
            mirror = mirror_for(stack, wanted=wanted, may_ask=asking, dry=dry)
        order = _order(project, called, mirror)
        if dry:
            say(f"create {called} {_description(order)}")
            return
        home = stack.settings.home
        reference = creating.ensure_image(stack.engine, order, home=home, progress=say)
        vm = creating.create(
            DockerProvider(stack.engine),
            order,
            reference=reference,
            home=home,
            finish=lambda vm: _finish(vm, order),
            progress=say,
        )
    say(f"{called} is running at {vm.address} after {time.monotonic() - began:.1f} s")
    say(f"next: vm ssh {called}")


def _check_free(name: str, stack: Stack) -> None:
    """Make sure that a VM's container would not have a name that the cache's may have.

    :raises UsageError: it would.
    """
    from vmreg.vms.docker import PREFIX  # noqa: PLC0415 - start-up time of --help

    if PREFIX + name in stack.names():
        raise UsageError(
            brief=f"a VM cannot be called {name}: {PREFIX}{name} is a container of the cache",
            resolution="Choose another name.",
        )


def _order(project: Project, name: str, mirror: str | None) -> Order:
    from vmreg.vms.creating import Order  # noqa: PLC0415 - start-up time of --help

    return Order(
        name=name,
        project=project.name,
        docker=project.docker,
        version=project.docker_version,
        image=project.image,
        cpus=project.cpus,
        memory_bytes=project.memory_bytes,
        mirror=mirror,
    )


def _description(order: Order) -> str:
    docker = f"with Docker {order.version}" if order.docker else "without Docker"
    kind = f"from {order.image}" if order.image else docker
    return f"{kind}, {f'pulling through {order.mirror}' if order.mirror else 'without the cache'}"


def _finish(vm: Connection, order: Order) -> None:
    """Give everything else in a new VM that pulls the mirror that its dockerd has already."""
    if order.mirror and order.docker:
        from vmreg.vms.reconcile import provision  # noqa: PLC0415 - start-up time of --help

        provision(vm, order.mirror)


def apply(provider: Provider, name: str, mirror: str | None, *, home: Path) -> tuple[str, ...]:
    """Give a running VM the mirror, or take it away; return a sentence for each change.

    One command does so at a time, and a signal that ends it lets it put things right first.

    :raises NotRunningError: the VM is stopped.
    :raises VmregError: a file in the VM is not valid, or its dockerd refused the change.
    """
    from vmreg.interrupts import unwinding  # noqa: PLC0415 - start-up time of --help
    from vmreg.locking import locked  # noqa: PLC0415 - as above
    from vmreg.vms.provider import VmConnection  # noqa: PLC0415 - as above
    from vmreg.vms.reconcile import provision  # noqa: PLC0415 - as above

    with unwinding(), locked(home / "provision.lock", timeout_s=PROVISION_TIMEOUT_S):
        return provision(VmConnection(provider=provider, name=name), mirror)


def wanted(*, registry: bool, no_registry: bool) -> bool | None:
    """Return what the two options say together, ``None`` when neither is given.

    :raises UsageError: both are.
    """
    if registry and no_registry:
        raise UsageError(
            brief="--registry and --no-registry contradict each other",
            resolution="Keep one of them.",
        )
    return True if registry else False if no_registry else None


def uses_mirror(provider: Provider, vm: Vm, stack: Stack) -> bool:
    """Return whether a VM's ``daemon.json`` lists the cache; what cannot be read does not."""
    from vmreg import serving  # noqa: PLC0415 - start-up time of --help
    from vmreg.vms import overview  # noqa: PLC0415 - as above

    found = overview.mirrors(provider, vm) or ()
    return serving.mirror(stack.settings.registry.port) in found


def mirror_for(
    stack: Stack, *, wanted: bool | None, may_ask: bool, dry: bool = False
) -> str | None:
    """Return the mirror that a VM gets, ``None`` for none; may start the cache.

    What is in the way is said on stderr, and the VM goes on without the cache.

    :param wanted: ``--registry`` or ``--no-registry``; ``None`` leaves it to the configuration.
    :param may_ask: whether a person may be asked.
    :param dry: only say what would be done.
    """
    from vmreg import serving  # noqa: PLC0415 - start-up time of --help
    from vmreg.vms import cache  # noqa: PLC0415 - as above

    registry = stack.settings.registry
    if wanted is False or (wanted is None and not registry.enabled):
        return None
    found = cache.look(stack)
    choice = cache.choose(found, wanted=wanted, may_ask=may_ask)
    if found.state is cache.State.SERVING and found.detail:
        say(f"note: {found.detail}")
    if choice is cache.Choice.NONE:
        say(f"warning: port {registry.port} is held by {found.detail}; going on without the cache")
        say(f"remedy: stop it, or: vm registry config set docker_registry.port {registry.port + 1}")
        return None
    if choice is cache.Choice.ASK and ask("Start Docker registry?", default=True):
        choice = cache.Choice.START
    if choice is cache.Choice.START:
        _start(stack, dry=dry)
    elif choice is not cache.Choice.USE:
        _warn(found)
    return serving.mirror(registry.port)


def _start(stack: Stack, *, dry: bool) -> None:
    if dry:
        say("start the cache")
        return
    try:
        done = stack.start(progress=say)
    except VmregError as error:
        say(f"warning: the cache does not start; going on without it\n{error}")
        return
    say(f"the cache is serving on {', '.join(done.addresses)}")


def _warn(found: Cache) -> None:
    say(
        f"warning: the cache is {found.state.value} ({found.detail}); "
        "until it serves, pulls go to the hub itself"
    )
    say("remedy: vm registry start")
