"""Containers that carry a name of ours and are not this cache's: found before one is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg.containers import OWNER_LABEL
from vmreg.errors import HostError
from vmreg.plan import ROLE_LABEL, STATE_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmreg.engine import Engine

RENAME = "choose other names for ours: vm registry config set docker_registry.instance NAME"


def refuse_strangers(engine: Engine, names: Iterable[str], *, state: str) -> None:
    """Make sure that whoever has one of these names belongs to this cache; nothing is changed.

    :param state: the folder of this cache's state.
    :raises HostError: a container of that name belongs to somebody else, or to another cache.
    """
    for name in names:
        found = engine.find(name)
        if found is None:
            continue
        if found.labels.get(OWNER_LABEL) != engine.owner or ROLE_LABEL not in found.labels:
            raise HostError(
                brief=f"there is a container {name}, and it is not ours",
                details=f"it is {found.state}, and its labels do not say that it is a cache's",
                resolution=f"Rename it, or {RENAME}",
            )
        if found.labels.get(STATE_LABEL, state) != state:
            raise HostError(
                brief=f"the container {name} belongs to another cache of this host",
                details=f"it is {found.state}, and its state is in {found.labels[STATE_LABEL]}",
                resolution=f"Use that cache, stop it there, or {RENAME}",
            )
