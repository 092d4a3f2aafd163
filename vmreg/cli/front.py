"""The ``vm`` command: what a person types, in front of the Invoke tasks that do the work.

Every command here names a task and has that task's options, no more and no fewer. Nothing but
click is imported before one is run, so that help and completion come at once.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

FORMATS = click.Choice(["table", "json", "yaml"])
DOCKERS = click.Choice(["20.10", "26.1", "28.5", "20", "26", "28"])
SHELLS = click.Choice(["bash", "zsh", "fish"])
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
COMPLETE = "_VM_COMPLETE"


def _run(task: str, /, *, dry_run: bool = False, **given: Any) -> None:  # noqa: ANN401 - as varied as the options
    """Run a task; its exit code becomes ours."""
    from invoke.config import Config  # noqa: PLC0415 - start-up time of --help
    from invoke.exceptions import Exit  # noqa: PLC0415 - as above
    from invoke.executor import Executor  # noqa: PLC0415 - as above

    from vmreg.cli.tree import ns  # noqa: PLC0415 - as above

    # What is not given is left to the task. What click gathers as a tuple is a list to Invoke.
    values = {
        key: list(one) if isinstance(one, tuple) else one
        for key, one in given.items()
        if one is not None
    }
    config = Config(overrides={"run": {"dry": dry_run}})
    try:
        Executor(ns, config).execute((task, values))
    except Exit as ended:
        sys.exit(ended.code)


class _Exec(click.Command):
    """A command whose words after the name are another program's, also after ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave out the ``--`` behind the name."""
        if "--" in args[1:2]:
            args = [args[0], *args[2:]]
        return super().parse_args(ctx, args)


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the VMs whose names begin like that; what cannot be asked completes nothing."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - start-up time of --help

    from vmreg.cli.common import OWNER  # noqa: PLC0415 - as above
    from vmreg.engine import Engine  # noqa: PLC0415 - as above
    from vmreg.errors import VmregError  # noqa: PLC0415 - as above
    from vmreg.vms.docker import DockerProvider  # noqa: PLC0415 - as above

    try:
        engine = Engine.connect(owner=OWNER)
    except VmregError:
        return []
    try:
        found = DockerProvider(engine).list()
    except VmregError:
        return []
    finally:
        engine.close()
    return [CompletionItem(vm.name) for vm in found if vm.name.startswith(incomplete)]


def _flag(*names: str, help: str) -> click.Option:  # noqa: A002 - click's own word
    return click.Option(names, is_flag=True, help=help)


def _text(*names: str, help: str, metavar: str = "TEXT") -> click.Option:  # noqa: A002 - as above
    return click.Option(names, metavar=metavar, help=help)


def _name(*, required: bool = False) -> click.Argument:
    return click.Argument(
        ["name"],
        required=required,
        metavar="NAME" if required else "[NAME]",
        shell_complete=_names,
    )


def _format() -> click.Option:
    return click.Option(["--format", "format_"], type=FORMATS, default="table", show_default=True)


def _dry() -> click.Option:
    return _flag("--dry-run", help="Say what would be done, and do nothing.")


def _tail() -> click.Option:
    return click.Option(
        ["--tail"], type=int, default=50, show_default=True, help="How many lines back to begin."
    )


def _follow() -> click.Option:
    return _flag("-f", "--follow", help="Go on as more is written.")


def _registry(without: str) -> Sequence[click.Option]:
    return (
        _flag("--registry", help="Use the cache, and start it if it does not run."),
        _flag("--no-registry", help=without),
        _flag("--no-input", help="Never ask."),
    )


def _command(
    name: str,
    task: str,
    help: str,  # noqa: A002 - click's own word
    *params: click.Parameter,
    kind: type[click.Command] = click.Command,
    **more: Any,  # noqa: ANN401 - click's own
) -> click.Command:
    callback = partial(_run, task)
    # Without a short one of its own the help is cut off in lists.
    more["short_help"] = help
    return kind(name, callback=callback, params=list(params), help=help, **more)


class _Ordered(click.Group):
    """A group whose help lists its commands in their own order."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


def _group(name: str, help: str, *commands: click.Command) -> click.Group:  # noqa: A002 - click's own
    children = {one.name or "": one for one in commands}
    return _Ordered(name, children, help=help, short_help=help, context_settings=SETTINGS)


def _completion(shell: str) -> None:
    """Print the script that completes ``vm`` in a shell."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - start-up time of --help

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(commands, {}, "vm", COMPLETE).source())


_KEY = click.Argument(["key"])
_CONFIG = _group(
    "config",
    "Show, check and change the configuration.",
    _command(
        "show",
        "registry.config.show",
        "Show every value in force and where it comes from; secrets are masked.",
        _format(),
    ),
    _command(
        "get",
        "registry.config.get",
        "Print one value in force, and on stderr where it comes from.",
        _KEY,
    ),
    _command(
        "set",
        "registry.config.set",
        "Set one value in your config.yaml, keeping its comments and their order.",
        _KEY,
        click.Argument(["value"]),
        _flag("--project", help="Write into the nearest vm.yaml instead of your own config.yaml."),
        _dry(),
    ),
    _command(
        "path",
        "registry.config.path",
        "Print the files that are read, strongest first, and whether they exist.",
    ),
    _command(
        "validate",
        "registry.config.validate",
        "Check every value in every place; each fault is listed with its remedy.",
    ),
)
_REGISTRY = _group(
    "registry",
    "The cache of this host.",
    _command(
        "start",
        "registry.start",
        "Start the cache, or bring it to what the configuration says; harmless when it runs.",
        _text("--port", metavar="PORT", help="The host port, instead of the configured one."),
        _dry(),
    ),
    _command(
        "stop",
        "registry.stop",
        "Let transfers finish, then stop the cache; what it holds is kept.",
        _dry(),
    ),
    _command(
        "status",
        "registry.status",
        "Show what runs, whether it serves, what it holds, and how the hub answers.",
        _format(),
    ),
    _command(
        "logs",
        "registry.logs",
        "Show the containers' own output. The access logs are files: see vm registry status.",
        click.Option(
            ["--role"],
            type=click.Choice(["proxy", "storage"]),
            help="Of this container only.",
        ),
        _follow(),
        _tail(),
    ),
    _command(
        "pull",
        "registry.pull",
        "Fetch images into the cache before any VM asks for them.",
        click.Argument(["images"], nargs=-1, metavar="[IMAGE]..."),
        _text("--for", "for_", metavar="FILE", help="All images that this vm.yaml, and the "
              "compose files and Dockerfiles beside it, name."),
        click.Option(
            ["--platform"],
            multiple=True,
            metavar="OS/ARCH",
            help="For this platform, or all; may be repeated. By default this host's.",
        ),
        _format(),
        _dry(),
    ),
    _CONFIG,
)  # fmt: skip
commands = _group(
    "vm",
    "Throwaway VMs, each with a Docker of its own, that pull through one cache on this host.",
    _command(
        "init",
        "vm.init",
        "Write a vm.yaml with every key explained into this folder.",
        click.Argument(["name"], required=False, metavar="[NAME]"),
        _flag("--force", help="Write over a vm.yaml that is there."),
        _dry(),
    ),
    _command(
        "create",
        "vm.create",
        "Make a VM with a Docker of its own, which pulls through the cache of this host.",
        click.Argument(["name"], required=False, metavar="[NAME]"),
        click.Option(["--docker"], type=DOCKERS, help="Its Docker."),
        _text("--image", metavar="IMAGE", help="The provider's image to use instead."),
        _text("--cpus", metavar="N", help="How many CPUs it may use, such as 1.5."),
        _text("--memory", metavar="SIZE", help="How much memory it may use, such as 4GB."),
        *_registry("Let the VM do without the cache."),
        _dry(),
    ),
    _command(
        "list",
        "vm.list",
        "List the VMs: name, state, Docker release, address, project.",
        _text("--project", help="Only the VMs of this project."),
        _format(),
    ),
    _command(
        "status",
        "vm.status",
        "Show one VM: its limits, its Docker, its mirror.",
        _name(),
        _format(),
    ),
    _command(
        "start",
        "vm.start",
        "Start a stopped VM, and see whether the cache that it uses still runs.",
        _name(),
        *_registry("Do not look after the cache."),
        _dry(),
    ),
    _command("stop", "vm.stop", "Stop a VM cleanly and keep its disk.", _name(), _dry()),
    _command(
        "exec",
        "vm.exec",
        "Run a command in a VM as root, with this terminal; its exit code becomes ours.",
        _name(required=True),
        click.Argument(["command"], nargs=-1, required=True, type=click.UNPROCESSED),
        kind=_Exec,
        context_settings={"allow_interspersed_args": False},
    ),
    _command("ssh", "vm.ssh", "Open a shell in a VM.", _name()),
    _command("logs", "vm.logs", "Show what a VM's dockerd says.", _name(), _follow(), _tail()),
    _command(
        "provision",
        "vm.provision",
        "Bring a running VM to what vm.yaml says of the cache; a second call changes nothing.",
        _name(),
        *_registry("Take the cache out of the VM again."),
        _dry(),
    ),
    _command(
        "destroy",
        "vm.destroy",
        "Remove a VM and its disk, for good; one that is not there is fine.",
        _name(),
        _flag("-y", "--yes", help="Do not ask."),
        _flag("--no-input", help="Never ask."),
        _dry(),
    ),
    _command(
        "doctor",
        "vm.doctor",
        "Find out whether a VM really pulls through the cache, and what is in the way.",
        _name(),
        _format(),
    ),
    _REGISTRY,
    click.Command(
        "completion",
        callback=_completion,
        params=[click.Argument(["shell"], type=SHELLS)],
        help='Print the script that completes this command: eval "$(vm completion bash)".',
        short_help="Print the script that completes this command in a shell.",
    ),
)
commands = click.version_option(package_name="vmreg", prog_name="vm")(commands)


def main() -> None:
    """Be the program ``vm``."""
    _open_streams()
    try:
        commands(prog_name="vm")
    except OSError as error:  # from what click prints; tasks have messages of their own
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write(f"error: {error.strerror or error}\n")
        sys.exit(1)


def _open_streams() -> None:
    """Put an empty stream in the place of each standard one that the caller closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))
