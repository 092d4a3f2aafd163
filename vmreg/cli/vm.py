"""``vm.*``: a VM's life, as Invoke tasks that parse, call and print."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit

from vmreg.cli import creation
from vmreg.cli.common import (
    OWNER,
    Table,
    ask,
    check_format,
    command,
    is_dry,
    may_ask,
    open_stack,
    say,
    show,
)
from vmreg.errors import DegradedError, NotRunningError, UsageError, VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from invoke.context import Context

    from vmreg.stack import Stack
    from vmreg.vms.docker import DockerProvider
    from vmreg.vms.doctor import Report
    from vmreg.vms.overview import Details, Summary
    from vmreg.vms.provider import Vm

NAME_HELP = "the VM; by default the project's name"
FORMAT_HELP = "table, json or yaml"
YES_HELP = "do not ask"
NO_INPUT_HELP = "never ask; what would be asked is answered in the safest way"
REGISTRY_HELP = "use the cache, and start it if it does not run"
NO_REGISTRY_HELP = "let the VM do without the cache"


@contextmanager
def _provider() -> Iterator[DockerProvider]:
    """Yield the provider. The cache's configuration may be faulty: it is not read."""
    from vmreg.engine import Engine  # noqa: PLC0415 - start-up time of --help
    from vmreg.vms.docker import DockerProvider  # noqa: PLC0415 - as above

    engine = Engine.connect(owner=OWNER)
    try:
        yield DockerProvider(engine)
    finally:
        engine.close()


@contextmanager
def _vm(name: str) -> Iterator[tuple[DockerProvider, Vm]]:
    """Yield the provider and the VM of that name; an empty one is the project's.

    :raises NotRunningError: there is no such VM.
    """
    with _provider() as provider:
        yield provider, _existing(provider, name or _project_name())


@contextmanager
def _vm_and_cache(name: str) -> Iterator[tuple[Stack, DockerProvider, Vm]]:
    """Yield the stack as well, for what has to do with the cache.

    :raises NotRunningError: there is no such VM.
    """
    from vmreg.vms.docker import DockerProvider  # noqa: PLC0415 - start-up time of --help

    with open_stack() as stack:
        provider = DockerProvider(stack.engine)
        yield stack, provider, _existing(provider, name or _project_name())


def _existing(provider: DockerProvider, name: str) -> Vm:
    for vm in provider.list():
        if vm.name == name:
            return vm
    raise NotRunningError(
        brief=f"there is no VM {name}",
        resolution=f"See what there is: vm list; or make it: vm create {name}",
    )


def _project_name() -> str:
    from vmreg.config import load_project  # noqa: PLC0415 - start-up time of --help

    return load_project().name


@command(
    help={
        "name": "the project's name; by default the folder's",
        "force": "write over a vm.yaml that is there",
    },
    positional=["name"],
)
def init(context: Context, name: str = "", force: bool = False) -> None:  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    """Write a vm.yaml with every key explained into this folder."""
    from pathlib import Path  # noqa: PLC0415 - start-up time of --help

    from vmreg.config import project  # noqa: PLC0415 - as above

    path, text = project.init(Path.cwd(), name=name, force=force, dry=is_dry(context))
    if is_dry(context):
        print(text, end="")  # noqa: T201 - the data of a dry run
        return
    say(f"wrote {path}")
    say("next: vm create")


@command(name="list", help={"format": FORMAT_HELP, "project": "only the VMs of this project"})
def list_(_: Context, format_: str = "table", project: str = "") -> None:
    """List the VMs: name, state, Docker release, address, project."""
    check_format(format_)
    from vmreg.vms import overview  # noqa: PLC0415 - start-up time of --help

    with _provider() as provider:
        found = overview.summaries(provider, project=project)
    show(
        format_,
        table=lambda: _as_rows(found),
        document=lambda: {"vms": [asdict(one) for one in found]},
    )
    if not found:
        say(f"{f'{project} has' if project else 'there is'} no VM; next: vm create NAME")


def _as_rows(found: Sequence[Summary]) -> Table:
    return Table(
        columns=("name", "state", "docker", "address", "project"),
        rows=tuple((one.name, one.state, one.docker, one.address, one.project) for one in found),
    )


@command(name="status", help={"name": NAME_HELP, "format": FORMAT_HELP}, positional=["name"])
def status_(_: Context, name: str = "", format_: str = "table") -> None:
    """Show one VM: its limits, its Docker, its mirror.

    Exits with 0 when it is well, 3 when it is stopped and 4 when its dockerd does not answer.
    """
    check_format(format_)
    from vmreg.vms import overview  # noqa: PLC0415 - start-up time of --help

    with _vm(name) as (provider, vm):
        found = overview.details(provider, vm)
    show(format_, table=lambda: _as_table(found), document=found.to_json)
    if not vm.running:
        raise NotRunningError(
            brief=f"the VM {vm.name} is stopped", resolution=f"Start it: vm start {vm.name}"
        )
    if found.docker_answers is None and not found.dockerless:
        raise DegradedError(
            brief=f"the dockerd of {vm.name} does not answer",
            resolution=f"Look at its last words: vm logs {vm.name}",
        )


def _as_table(found: Details) -> Table:
    from humanfriendly import format_size  # noqa: PLC0415 - start-up time of --help

    one = found.summary
    docker = "none" if found.dockerless else found.docker_answers or f"{one.docker} (no answer)"
    mirrors = "cannot be read" if found.mirrors is None else ", ".join(found.mirrors) or "none"
    rows = (
        ("name", one.name),
        ("state", one.state if found.finished else f"{one.state}, never finished"),
        ("project", one.project),
        ("docker", docker),
        ("mirrors", mirrors),
        ("address", one.address),
        ("cpus", f"{one.cpus:g}" if one.cpus else "no limit"),
        ("memory", format_size(one.memory_bytes) if one.memory_bytes else "no limit"),
        ("container", found.instance),
    )
    return Table(columns=("what", "value"), rows=rows)


@command(
    help={
        "name": NAME_HELP,
        "registry": REGISTRY_HELP,
        "no_registry": "do not look after the cache",
        "no_input": NO_INPUT_HELP,
    },
    positional=["name"],
)
def start(
    context: Context,
    name: str = "",
    registry: bool = False,  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    no_registry: bool = False,  # noqa: FBT001, FBT002 - as above
    no_input: bool = False,  # noqa: FBT001, FBT002 - as above
) -> None:
    """Start a stopped VM, and see whether the cache that it uses still runs."""
    from vmreg.vms.creating import is_unfinished  # noqa: PLC0415 - start-up time of --help

    wanted = creation.wanted(registry=registry, no_registry=no_registry)
    with _vm_and_cache(name) as (stack, provider, vm):
        if is_dry(context):
            say(f"{vm.name} runs already" if vm.running else f"start {vm.name}")
            return
        if is_unfinished(provider, vm):
            raise DegradedError(
                brief=f"{vm.name} was never finished: its creation was killed",
                resolution=f"Make it anew: vm create {vm.name}; or remove it: vm destroy {vm.name}",
            )
        if creation.uses_mirror(provider, vm, stack):
            creation.mirror_for(stack, wanted=wanted, may_ask=may_ask(no_input=no_input))
        provider.start(vm.name)
        provider.wait_ready(vm.name)
    say(f"{vm.name} {'runs already' if vm.running else 'is running'}")
    say(f"next: vm ssh {vm.name}")


@command(help={"name": NAME_HELP}, positional=["name"])
def stop(context: Context, name: str = "") -> None:
    """Stop a VM cleanly and keep its disk."""
    with _vm(name) as (provider, vm):
        if is_dry(context):
            say(f"stop {vm.name}" if vm.running else f"{vm.name} is stopped already")
            return
        provider.stop(vm.name)
    say(f"{vm.name} {'is stopped' if vm.running else 'was stopped already'}; its disk is kept")
    say(f"next: vm start {vm.name}")


@command(
    name="exec",
    help={"name": "the VM", "command": "one word of the command; repeat it for each"},
    positional=["name"],
    iterable=["command"],
)
def exec_(_: Context, name: str, command: list[str] | None = None) -> None:
    """Run a command in a VM as root, with this terminal; its exit code becomes ours."""
    if not command:
        raise UsageError(
            brief="there is nothing to run",
            resolution="Name a command: vm exec NAME -- docker ps",
        )
    _session(name, command)


@command(help={"name": NAME_HELP}, positional=["name"])
def ssh(_: Context, name: str = "") -> None:
    """Open a shell in a VM."""
    _session(name, ["bash", "-l"])


def _session(name: str, argv: Sequence[str]) -> None:
    from vmreg.process import attached  # noqa: PLC0415 - start-up time of --help

    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with _vm(name) as (provider, vm):
        program = provider.session(vm.name, argv, terminal=terminal)
    status = attached(program)
    if status:
        raise Exit(code=status if status > 0 else 128 - status)


@command(
    help={
        "name": NAME_HELP,
        "follow": "go on as more is written",
        "tail": "how many lines back to begin",
    },
    positional=["name"],
)
def logs(_: Context, name: str = "", follow: bool = False, tail: int = 50) -> None:  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    """Show what a VM's dockerd says."""
    if tail < 0:
        raise UsageError(brief=f"--tail {tail} is less than nothing", resolution="Give 0 or more.")
    with _vm(name) as (provider, vm):
        if not follow:
            said = provider.daemon_log(vm.name, tail=tail)
            if said:
                print(said)  # noqa: T201 - the data of this command
            return
        for chunk in provider.follow(vm.name, tail=tail):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


@command(
    help={
        "name": NAME_HELP,
        "registry": REGISTRY_HELP,
        "no_registry": "take the cache out of the VM again",
        "no_input": NO_INPUT_HELP,
    },
    positional=["name"],
)
def provision(
    context: Context,
    name: str = "",
    registry: bool = False,  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    no_registry: bool = False,  # noqa: FBT001, FBT002 - as above
    no_input: bool = False,  # noqa: FBT001, FBT002 - as above
) -> None:
    """Bring a running VM to what vm.yaml says of the cache; a second call changes nothing."""
    wanted = creation.wanted(registry=registry, no_registry=no_registry)
    with _vm_and_cache(name) as (stack, provider, vm):
        asking = may_ask(no_input=no_input) and not is_dry(context)
        mirror = creation.mirror_for(stack, wanted=wanted, may_ask=asking, dry=is_dry(context))
        if is_dry(context):
            say(f"let {vm.name} pull {f'through {mirror}' if mirror else 'without the cache'}")
            return
        done = creation.apply(provider, vm.name, mirror, home=stack.settings.home)
    for sentence in done or ("nothing to change",):
        say(sentence)
    say(f"next: vm doctor {vm.name}")


@command(help={"name": NAME_HELP, "yes": YES_HELP, "no_input": NO_INPUT_HELP}, positional=["name"])
def destroy(
    context: Context,
    name: str = "",
    yes: bool = False,  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    no_input: bool = False,  # noqa: FBT001, FBT002 - as above
) -> None:
    """Remove a VM and its disk, for good; one that is not there is fine."""
    from vmreg import images  # noqa: PLC0415 - start-up time of --help

    called = name or _project_name()
    if not is_dry(context):
        images.sweep()  # a creation that was killed may have been building one
    with _provider() as provider:
        if all(vm.name != called for vm in provider.list()):
            say(f"there is no VM {called}")
            return
        if is_dry(context):
            say(f"remove {called} and its disk")
            return
        if not yes and not may_ask(no_input=no_input):
            raise UsageError(
                brief=f"{called} was not removed: nobody is there to ask",
                resolution=f"Say so beforehand: vm destroy {called} --yes",
            )
        if not yes and not ask(f"Remove {called} and all that is on its disk?", default=False):
            raise VmregError(brief=f"{called} was not removed", resolution="Nothing was changed.")
        provider.destroy(called)
    say(f"{called} is gone")


@command(help={"name": NAME_HELP, "format": FORMAT_HELP}, positional=["name"])
def doctor(_: Context, name: str = "", format_: str = "table") -> None:
    """Find out whether a VM really pulls through the cache, and what is in the way.

    Exits with 0 when all is well, and 4 when something is found.
    """
    check_format(format_)
    from vmreg.vms.doctor import examine  # noqa: PLC0415 - start-up time of --help

    with _vm_and_cache(name) as (stack, provider, vm):
        report = examine(stack, provider, vm.name)
    show(format_, table=lambda: _findings(report), document=report.to_json)
    if not report.healthy:
        failed = [one.id for one in report.findings if one.status == "fail"]
        raise DegradedError(
            brief=f"{vm.name} is not well: {', '.join(failed) or 'its pull was not tried'}",
            resolution="Follow the remedies above, then run it again.",
        )
    say(f"{vm.name} pulls through the cache")


def _findings(report: Report) -> Table:
    return Table(
        columns=("check", "result", "finding", "remedy"),
        rows=tuple((one.id, one.status, one.summary, one.remedy) for one in report.findings),
    )


ns = Collection(
    "vm", init, creation.create, list_, status_, start, stop, exec_, ssh, logs, provision,
    destroy, doctor,
)  # fmt: skip
