"""Containers that carry a name of ours but not our label: found before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg.containers import OWNER_LABEL
from vmreg.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmreg.engine import Engine


def refuse_strangers(engine: Engine, names: Iterable[str]) -> None:
    """Make sure that whoever has one of these names is ours; nothing is changed.

    :raises HostError: a container of that name belongs to somebody else.
    """
    for name in names:
        found = engine.find(name)
        if found is not None and found.labels.get(OWNER_LABEL) != engine.owner:
            raise HostError(
                brief=f"there is a container {name}, and it is not ours",
                details=f"it is {found.state} and has no label {OWNER_LABEL}={engine.owner}",
                resolution="Rename it, or choose other names for ours: "
                "vm registry config set docker_registry.instance NAME",
            )
