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

__all__ = [
    "Credentials",
    "ImageSettings",
    "RegistrySettings",
    "Settings",
    "UpstreamSettings",
    "load",
]


def __getattr__(name: str) -> object:
    """Return a public name, importing the module that holds it (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing else here needs it

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "loading" if name == "load" else "model"
    return getattr(import_module(f"{__name__}.{module}"), name)
