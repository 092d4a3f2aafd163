"""``registry.*``: the cache's life, as Invoke tasks that parse, call and print."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from invoke.collection import Collection

from vmreg.cli import config, prewarming
from vmreg.cli.common import Table, check_format, command, is_dry, open_stack, say, show
from vmreg.errors import DegradedError, NotRunningError, UsageError

if TYPE_CHECKING:
    from invoke.context import Context

    from vmreg.status import Component, Status

ROLES = ("proxy", "storage")


@command(help={"port": "the host port, instead of the configured one"})
def start(context: Context, port: str = "") -> None:
    """Start the cache, or bring it to what the configuration says; harmless when it runs."""
    with open_stack({"docker_registry.port": port} if port else None) as stack:
        if is_dry(context):
            from vmreg import status as reading  # noqa: PLC0415 - start-up time

            for sentence in reading.read(stack).pending or ("nothing to do",):
                say(sentence)
            return
        done = stack.start(progress=say)
    for sentence in done.actions or ("it already runs as configured",):
        say(sentence)
    say(f"serving on {', '.join(done.addresses)} after {done.seconds:.1f} s")
    say("next: vm registry status")


@command
def stop(context: Context) -> None:
    """Let transfers finish, then stop the cache; what it holds is kept."""
    with open_stack() as stack:
        if is_dry(context):
            for role in ROLES:
                container = stack.container(role)
                say(f"stop {container.name}" if container else f"the {role} is not there")
            return
        ran = stack.stop(progress=say)
        say(f"stopped; the data stays in {stack.state / 'data'}" if ran else "it was not running")
    say("next: vm registry start")


@command(name="status", help={"format_": "table, json or yaml"})
def status_(context: Context, format_: str = "table") -> None:
    """Show what runs, whether it serves, what it holds, and how the hub answers.

    Exits with 0 when it serves, 3 when it is stopped and 4 when it is degraded.
    """
    del context  # nothing here runs a command
    check_format(format_)
    from vmreg import status as reading  # noqa: PLC0415 - start-up time

    with open_stack() as stack:
        found = reading.read(stack)
    show(format_, table=lambda: _as_table(found), document=found.to_json)
    if found.state == "stopped":
        raise NotRunningError(
            brief="the registry is not running", resolution="Start it: vm registry start"
        )
    if found.state == "degraded":
        raise DegradedError(
            brief="the registry is degraded",
            details=found.fault,
            resolution="Look at its last words: vm registry logs",
        )


@command(
    help={
        "role": "proxy or storage; both when not given",
        "follow": "go on as more is written; needs a role",
        "tail": "how many lines back to begin",
    }
)
def logs(context: Context, role: str = "", follow: bool = False, tail: int = 50) -> None:  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    """Show the containers' own output. The access logs are files: see ``registry.status``."""
    del context
    if tail < 0:
        raise UsageError(brief=f"--tail {tail} is less than nothing", resolution="Give 0 or more.")
    if role and role not in ROLES:
        raise UsageError(brief=f"there is no role {role!r}", resolution="Choose proxy or storage.")
    if follow and not role:
        raise UsageError(
            brief="--follow needs to know whom", resolution="Add --role proxy or --role storage."
        )
    with open_stack() as stack:
        for one in (role,) if role else ROLES:
            container = stack.container(one)
            if container is None:
                raise NotRunningError(
                    brief=f"there is no {one} container",
                    resolution="Start it: vm registry start",
                )
            if follow:
                for chunk in stack.engine.follow(container.id, tail=tail):
                    sys.stdout.write(chunk.decode(errors="replace"))
                    sys.stdout.flush()
            else:
                sys.stdout.write(stack.engine.logs(container.id, tail=tail) + "\n")


def _as_table(status: Status) -> Table:
    from humanfriendly import format_size  # noqa: PLC0415 - start-up time

    storage, limit = status.storage, status.rate_limit
    used = f"{format_size(storage.used_bytes)} of {format_size(storage.max_bytes)}"
    free = format_size(storage.free_bytes)
    rows = [
        ("state", f"{status.state}{f' ({status.fault})' if status.fault else ''}"),
        ("mirror for VMs", status.mirror),
        ("listens on", ", ".join(status.addresses)),
        *((one.role, _component(one)) for one in status.components),
        ("holds", f"{storage.blobs} blobs, {used}; {free} free on the disk"),
        ("data", storage.path),
        ("upstream", f"{status.upstream.url} {_reach(status.upstream.reachable)}"),
    ]
    if limit is not None:
        age_s = max(0, round(time.time() - limit.seen_at))
        rows.append(
            ("hub's rate limit", f"{limit.remaining} of {limit.limit} pulls left, {age_s} s ago")
        )
    rows += [("start would", sentence) for sentence in status.pending]
    return Table(columns=("what", "value"), rows=tuple(rows))


def _component(one: Component) -> str:
    health = f", {one.health}" if one.health else ""
    return f"{one.name}: {one.state}{health}, {one.restarts} restarts"


def _reach(reachable: bool | None) -> str:  # noqa: FBT001 - three-valued, not a switch
    return {True: "(reachable)", False: "(does not answer)", None: "(not asked)"}[reachable]


ns = Collection("registry", start, stop, status_, logs, prewarming.pull, config.ns)
