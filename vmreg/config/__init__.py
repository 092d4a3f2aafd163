"""The configuration: layered YAML and variables to frozen, typed settings.

Importing this package costs nothing; pydantic and the YAML parser are loaded by the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmreg.config.loading import load
    from vmreg.config.model import (
        Credentials,
        ImageSettings,
        RegistrySettings,
        Settings,
        UpstreamSettings,
    )
    from vmreg.config.project import Project, load_project

__all__ = [
    "Credentials",
    "ImageSettings",
    "Project",
    "RegistrySettings",
    "Settings",
    "UpstreamSettings",
    "load",
    "load_project",
]
_ELSEWHERE = {"load": "loading", "Project": "project", "load_project": "project"}


def __getattr__(name: str) -> object:
    """Return a public name, importing the module that holds it (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing else here needs it

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _ELSEWHERE.get(name, "model")
    return getattr(import_module(f"{__name__}.{module}"), name)
