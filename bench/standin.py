"""The embedded hub as a service, to try the cache where Docker Hub cannot be reached."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.hub import Hub
from bench.place import cache_folder
from vmreg.engine import Engine
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER = "vmreg-hub"
NAME = "vmreg-hub"
QUOTA = 100  # pulls: what Docker Hub gives to the anonymous


def start(*, scale: float, progress: Callable[[str], None]) -> tuple[dict[str, str], list[str]]:
    """Start the hub anew; it runs until :func:`stop`, or until the engine stops.

    :param scale: multiplies the sizes of the images' layers; 1 is as large as the real ones.
    :returns: the variables that make a cache use it, and the images that it has.
    :raises VmregError: it does not come up.
    """
    stop()
    engine = Engine.connect(owner=OWNER)
    try:
        hub = Hub.start(
            engine,
            name=NAME,
            network=NAME,
            state=cache_folder() / "standin",
            cache=cache_folder() / "hub",
            scale=scale,
            quota=QUOTA,
            progress=progress,
        )
    finally:
        engine.close()
    variables = {
        "VM_REGISTRY_UPSTREAM_NETWORK": hub.network,
        "VM_REGISTRY_UPSTREAM_CA_FILE": str(hub.ca_file),
    }
    return variables, sorted(hub.images)


def stop() -> bool:
    """Remove the hub; return whether it was there. A second call is harmless."""
    engine = Engine.connect(owner=OWNER)
    try:
        found = engine.list()
        for container in found:
            engine.remove(container.id)
        with suppress(VmregError):  # a cache may still be on it
            engine.remove_network(NAME)
    finally:
        engine.close()
    return bool(found)


def exports(variables: dict[str, str]) -> str:
    """Return the lines that set variables in a shell.

    >>> exports({"A": "b c"})
    "export A='b c'"
    """
    return "\n".join(f"export {name}={shlex.quote(one)}" for name, one in variables.items())
