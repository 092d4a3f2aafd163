"""The images that the hub serves, as its catalogue lists them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class HubBlob:
    """A blob of an image: its size in bytes, and whether it is a layer or the config."""

    digest: str
    size: int
    layer: bool


@dataclass(frozen=True, kw_only=True)
class HubImage:
    """An image that the hub serves.

    :param reference: repository and tag, such as ``library/node:20``.
    :param index_digest: what the tag names; the manifest itself for an image without an index.
    :param manifest_digest: the manifest for amd64.
    :param blobs: config and layers for amd64, the config first.
    :param unique_bytes: index, manifest, config and layers, each once.
    """

    reference: str
    index_digest: str
    manifest_digest: str
    blobs: tuple[HubBlob, ...]
    unique_bytes: int


def read_images(path: Path) -> Mapping[str, HubImage]:
    """Return the images of a catalogue file by their references."""
    return {one["reference"]: _image(one) for one in json.loads(path.read_text())["images"]}


def _image(told: Mapping[str, Any]) -> HubImage:
    config, layers = told["config"], told["layers"]
    parts: Sequence[Mapping[str, Any]] = (told["index"], told["manifest"], config, *layers)
    return HubImage(
        reference=told["reference"],
        index_digest=told["index"]["digest"],
        manifest_digest=told["manifest"]["digest"],
        blobs=(HubBlob(**config, layer=False), *(HubBlob(**layer, layer=True) for layer in layers)),
        unique_bytes=sum({part["digest"]: part["size"] for part in parts}.values()),
    )
