"""What the registry is doing, read from the engine, the disk, the edge and the logs."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vmreg import accesslog, serving, store
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.engine import Container
    from vmreg.stack import Stack

UPSTREAM_URL = "http://127.0.0.1:5001/_upstream"


@dataclass(frozen=True, kw_only=True)
class Component:
    """One container: ``state`` is ``absent`` when there is none."""

    role: str
    name: str
    state: str
    health: str
    restarts: int
    started_at: str
    image: str


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Sizes in bytes: the blobs held, the cap, the space left on the disk."""

    path: str
    blobs: int
    used_bytes: int
    max_bytes: int
    free_bytes: int


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """The registry that is mirrored; ``reachable`` is ``None`` when it could not be asked."""

    url: str
    reachable: bool | None


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """The hub's word on pulls left, from its last answer that carried one.

    :param limit: pulls allowed in the window.
    :param remaining: pulls left of them.
    :param window_s: the window's length in seconds.
    :param seen_at: when it was said, seconds since the epoch.
    """

    limit: int
    remaining: int | None
    window_s: int | None
    seen_at: float


@dataclass(frozen=True, kw_only=True)
class Status:
    """The whole picture.

    :param state: ``running``, ``degraded`` or ``stopped``.
    :param serving: whether a manifest and a blob just came through the edge.
    :param fault: why not, empty when they did.
    :param mirror: what VMs put in ``registry-mirrors``.
    :param pending: what a start would do now, one sentence each.
    """

    state: str
    serving: bool
    fault: str
    addresses: tuple[str, ...]
    mirror: str
    components: tuple[Component, ...]
    storage: Storage
    upstream: Upstream
    rate_limit: RateLimit | None
    pending: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON-ready values, sizes in bytes and times in seconds."""
        return asdict(self)


def read(stack: Stack) -> Status:
    """Return the status of a stack; nothing is changed.

    :raises HostError: the engine does not answer.
    """
    settings = stack.settings
    containers = {role: stack.container(role) for role in ("proxy", "storage")}
    alive = any(one is not None and one.running for one in containers.values())
    bound = stack.bound()
    port = settings.registry.port
    silent = serving.fault(bound[0], port) if alive else "it is not running"
    fault = silent or _complaint(containers)
    return Status(
        state="running" if not fault else "degraded" if alive else "stopped",
        serving=not silent,
        fault=fault,
        addresses=tuple(f"{address}:{port}" for address in bound),
        mirror=serving.mirror(port),
        components=tuple(
            _component(role, getattr(settings, f"{role}_name"), found)
            for role, found in containers.items()
        ),
        storage=_storage(stack),
        upstream=_upstream(stack, containers["proxy"]),
        rate_limit=_rate_limit(stack),
        pending=_pending(stack),
    )


def _complaint(containers: Mapping[str, Container | None]) -> str:
    """Return which container is not well although the cache still answers."""
    for role, found in containers.items():
        if found is None or not found.running:
            return f"the {role} is {found.state if found else 'absent'}"
        if found.health == "unhealthy":
            return f"the {role} fails its health check"
    return ""


def _component(role: str, name: str, found: Container | None) -> Component:
    if found is None:
        return Component(
            role=role, name=name, state="absent", health="", restarts=0, started_at="", image=""
        )
    return Component(
        role=role,
        name=name,
        state=found.state,
        health=found.health,
        restarts=found.restarts,
        started_at=found.started_at,
        image=found.image,
    )


def _storage(stack: Stack) -> Storage:
    data = stack.state / "data"
    used = store.usage(data)
    existing = next(folder for folder in (data, *data.parents) if folder.exists())
    return Storage(
        path=str(data),
        blobs=used.blobs,
        used_bytes=used.size_bytes,
        max_bytes=stack.settings.registry.max_size,
        free_bytes=shutil.disk_usage(existing).free,
    )


def _upstream(stack: Stack, proxy: Container | None) -> Upstream:
    url = stack.settings.registry.upstream.url
    if proxy is None or not proxy.running:
        return Upstream(url=url, reachable=None)
    argv = ["wget", "-q", "-T", "5", "-O", "/dev/null", UPSTREAM_URL]
    try:
        return Upstream(url=url, reachable=stack.engine.exec(proxy.id, argv).exit_code == 0)
    except VmregError:  # it stopped meanwhile
        return Upstream(url=url, reachable=None)


def _rate_limit(stack: Stack) -> RateLimit | None:
    seen = accesslog.latest_limit(stack.state / "logs" / "origin.jsonl")
    if seen is None or seen.limit is None:
        return None
    return RateLimit(
        limit=seen.limit,
        remaining=seen.remaining,
        window_s=seen.window_s,
        seen_at=seen.time,
    )


def _pending(stack: Stack) -> tuple[str, ...]:
    """Say what a start would do, as far as that is known without making anything."""
    try:
        present = stack.planned()
    except (VmregError, OSError) as error:  # a password or a file that is missing now
        return (f"cannot tell: {error}",)
    if present is None:
        names = (stack.settings.proxy_name, stack.settings.storage_name)
        return tuple(f"create {name}" for name in names)
    # "created" and "recreated" are what a start says when it has done so.
    return tuple(one.replace("created ", "create ", 1) for one in stack.actions(present).values())
