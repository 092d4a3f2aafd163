"""What is known of VMs: from their labels at once, and from inside of one that runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vmreg.errors import VmregError
from vmreg.vms import creating, provision
from vmreg.vms.provider import DAEMON_JSON, DOCKERLESS_LABEL

if TYPE_CHECKING:
    from vmreg.vms.provider import Provider, Vm


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A VM in a list.

    :param state: ``running`` or ``stopped``.
    :param docker: the Docker that it was made with; empty for an image of one's own, or none.
    :param address: its IPv4 address; empty when it is stopped.
    :param cpus: limit, 0 for none.
    :param memory_bytes: limit, 0 for none.
    """

    name: str
    project: str
    state: str
    docker: str
    address: str
    cpus: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Details:
    """A VM by itself.

    :param instance: what the provider calls it.
    :param docker_answers: the version that its dockerd gives; ``None`` when it does not answer.
    :param mirrors: what its ``daemon.json`` lists, in order; ``None`` when that cannot be read.
    :param dockerless: whether it was made without a dockerd.
    :param finished: whether its creation came to its end.
    """

    summary: Summary
    instance: str
    docker_answers: str | None
    mirrors: tuple[str, ...] | None
    dockerless: bool
    finished: bool

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, sizes in bytes."""
        rest = {key: value for key, value in asdict(self).items() if key != "summary"}
        return {**asdict(self.summary), **rest}


def summaries(provider: Provider, *, project: str = "") -> tuple[Summary, ...]:
    """Return all VMs by name, or those of one project; nothing is asked of the VMs themselves."""
    labels = {creating.PROJECT_LABEL: project} if project else None
    return tuple(_summary(vm) for vm in provider.list(labels=labels))


def details(provider: Provider, vm: Vm) -> Details:
    """Return all that can be found out about a VM; one that is ill raises nothing."""
    return Details(
        summary=_summary(vm),
        instance=vm.instance,
        docker_answers=_version(provider, vm) if vm.running else None,
        mirrors=mirrors(provider, vm),
        dockerless=DOCKERLESS_LABEL in vm.labels,
        finished=not creating.is_unfinished(provider, vm),
    )


def _summary(vm: Vm) -> Summary:
    labels = vm.labels
    return Summary(
        name=vm.name,
        project=labels.get(creating.PROJECT_LABEL, ""),
        state="running" if vm.running else "stopped",
        docker=labels.get(creating.VERSION_LABEL, ""),
        address=vm.address,
        cpus=float(labels.get(creating.CPUS_LABEL) or 0),
        memory_bytes=int(labels.get(creating.MEMORY_LABEL) or 0),
    )


def _version(provider: Provider, vm: Vm) -> str | None:
    argv = ["timeout", "10", "docker", "version", "--format", "{{.Server.Version}}"]
    try:
        done = provider.exec(vm.name, argv)
    except VmregError:  # no docker in it, or it stopped meanwhile
        return None
    return done.output.strip() if done.exit_code == 0 else None


def mirrors(provider: Provider, vm: Vm) -> tuple[str, ...] | None:
    """Return what a VM's ``daemon.json`` lists, running or not; ``None`` when it cannot be read."""
    try:
        text = (provider.read_file(vm.name, DAEMON_JSON) or b"").decode()
        return provision.mirrors(provision.parse_settings(text))
    except (VmregError, UnicodeDecodeError):
        return None
