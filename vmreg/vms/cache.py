"""Whether VMs of this host have a cache to pull from, and what to do when they have not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from vmreg import ports, serving
from vmreg.engine import OWNER_LABEL
from vmreg.plan import STATE_LABEL

if TYPE_CHECKING:
    from vmreg.stack import Stack


class State(Enum):
    """What is at the cache's port."""

    SERVING = "serving"
    SICK = "degraded"
    STOPPED = "stopped"
    FOREIGN = "foreign"


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The cache as a VM would find it.

    :param address: ``address:port`` where it should listen.
    :param detail: what is wrong with it, who has its port, or whose it is when it serves and is not
        this configuration's; else empty.
    :param folder: where a cache that runs keeps its state; else empty.
    """

    state: State
    address: str
    detail: str
    folder: str = ""


class Choice(Enum):
    """What a VM gets: the cache as it is, a cache started first, a question first, or none."""

    USE = "use"
    START = "start"
    ASK = "ask"
    LATER = "later"
    NONE = "none"


def look(stack: Stack) -> Cache:
    """Return the state of the cache; nothing is changed.

    :raises HostError: the engine does not answer.
    """
    port = stack.settings.registry.port
    bound = stack.bound()
    address = f"{bound[0]}:{port}"
    publishers = stack.engine.publishers(port)
    for name in publishers:
        folder = _folder(stack, name)
        if folder is None:
            continue
        if fault := serving.fault(bound[0], port):
            return Cache(state=State.SICK, address=address, detail=fault, folder=folder)
        elsewhere = "" if folder == str(stack.state) else f"the cache is that of {folder}"
        return Cache(state=State.SERVING, address=address, detail=elsewhere, folder=folder)
    for one in bound:
        if not _is_free(one, port):
            who = f"the container {publishers[0]}" if publishers else ports.holder(port)
            return Cache(state=State.FOREIGN, address=f"{one}:{port}", detail=who)
    return Cache(state=State.STOPPED, address=address, detail="it is not running")


def choose(cache: Cache, *, wanted: bool | None, may_ask: bool) -> Choice:
    """Return what to do for a VM that is meant to use the cache.

    :param wanted: what the command line says of it, ``None`` when it says nothing.
    :param may_ask: whether a person is there to answer.
    """
    if wanted is False or cache.state is State.FOREIGN:
        return Choice.NONE
    if cache.state is State.SERVING:
        return Choice.USE
    if wanted:
        return Choice.START
    return Choice.ASK if may_ask else Choice.LATER


def _folder(stack: Stack, name: str) -> str | None:
    """Return where a cache of ours keeps its state, ``None`` for any other container.

    A host has one cache for all its users, so that of another ``VM_HOME`` is as good as one's own.
    """
    found = stack.engine.find(name)
    if found is None or found.labels.get(OWNER_LABEL) != stack.engine.owner:
        return None
    return found.labels.get(STATE_LABEL)


def _is_free(address: str, port: int) -> bool:
    try:
        return ports.is_free(address, port)
    except OSError:  # not an address of this host: the start says so
        return True
