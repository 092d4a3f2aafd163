"""What a registry's manifests say: an index's platforms, a manifest's blobs. No I/O."""

from __future__ import annotations

import json
import platform as host
import re
from dataclasses import dataclass
from typing import Any

from vmreg.store import MANIFEST_TYPES

ACCEPT = ", ".join(MANIFEST_TYPES)
LIMIT_BYTES = 4 * 1024 * 1024  # what Docker Hub and registry:2 take for a manifest at most
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
}
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?")
_UNSAID = {"linux/arm64": "v8", "linux/arm": "v7"}  # a variant that is left out means this one
_UNKNOWN = "unknown"  # an attestation's platform: nothing that runs


@dataclass(frozen=True, kw_only=True)
class Platform:
    """An operating system and a processor, such as ``linux/arm64/v8``; a variant may be empty."""

    system: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        """Return the platform as ``--platform`` takes it."""
        return "/".join(part for part in (self.system, self.architecture, self.variant) if part)

    def means(self, other: Platform) -> bool:
        """Return whether the two are the same, a variant that is left out being the usual one."""
        return self._whole() == other._whole()

    def _whole(self) -> tuple[str, str, str]:
        name = f"{self.system}/{self.architecture}"
        return self.system, self.architecture, self.variant or _UNSAID.get(name, "")


@dataclass(frozen=True, kw_only=True)
class Blob:
    """A blob that a manifest names; ``size_bytes`` is what the manifest promises."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A manifest in an index, and the platform that it is for."""

    platform: Platform
    manifest: Blob


@dataclass(frozen=True, kw_only=True)
class Index:
    """Manifests by platform, in the index's order; what runs nowhere is left out."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An image for one platform.

    :param blobs: the configuration, then the layers in the manifest's order, each once; layers
        that other servers hold are left out.
    """

    config: Blob
    blobs: tuple[Blob, ...]


def parse_platform(text: str) -> Platform:
    """Return the platform that a text such as ``linux/arm64`` names.

    :raises ValueError: it names none.

    >>> str(parse_platform("Linux/ARM64/v8"))
    'linux/arm64/v8'
    """
    if not _PLATFORM.fullmatch(text.lower()):
        raise ValueError(f"{text!r} is not a platform such as linux/amd64")
    system, architecture, *variant = text.lower().split("/")
    return Platform(system=system, architecture=architecture, variant="".join(variant))


def host_platform() -> Platform:
    """Return the platform of Linux containers on this host."""
    machine = host.machine().lower()
    return parse_platform(f"linux/{_MACHINES.get(machine, machine)}")


def parse(body: bytes) -> Index | Manifest:
    """Return what a manifest's bytes say.

    :raises ValueError: they say nothing that can be pulled.
    """
    try:
        told = dict(json.loads(body))
        if "manifests" in told:
            entries = [_entry(one) for one in told["manifests"]]
            return Index(
                entries=tuple(one for one in entries if one.platform.system != _UNKNOWN),
            )
        if "config" not in told:
            raise ValueError("it is neither an index nor an image of this decade")
        layers = [one for one in told["layers"] if not _is_elsewhere(one)]
        blobs = tuple(dict.fromkeys(_blob(one) for one in (told["config"], *layers)))
        return Manifest(config=_blob(told["config"]), blobs=blobs)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is damaged: {error!r}") from error


def platform_of_config(body: bytes) -> Platform:
    """Return the platform that an image's configuration was made for.

    :raises ValueError: it does not say.
    """
    try:
        return _platform(dict(json.loads(body)))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"its configuration names no platform: {error!r}") from error


def _entry(told: dict[str, Any]) -> Entry:
    given = told.get("platform") or {"os": _UNKNOWN, "architecture": _UNKNOWN}
    return Entry(platform=_platform(given), manifest=_blob(told))


def _platform(told: dict[str, Any]) -> Platform:
    return Platform(
        system=str(told["os"]),
        architecture=str(told["architecture"]),
        variant=str(told.get("variant") or ""),
    )


def _blob(told: dict[str, Any]) -> Blob:
    digest, size_bytes = str(told["digest"]), int(told["size"])
    if not DIGEST.fullmatch(digest) or size_bytes < 0:
        raise ValueError(f"it names {digest!r} of {size_bytes} bytes")
    return Blob(digest=digest, size_bytes=size_bytes)


def _is_elsewhere(layer: dict[str, Any]) -> bool:
    kind = str(layer.get("mediaType", ""))
    return bool(layer.get("urls")) or "foreign" in kind or "nondistributable" in kind
