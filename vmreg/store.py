"""registry:2's on-disk format, and the probe image that proves the serving path.

The layout below ``docker/registry/v2``: ``blobs/sha256/<xx>/<hex>/data`` holds every manifest,
configuration and layer; ``repositories/<name>/_manifests/revisions/sha256/<hex>/link`` and
``_layers/sha256/<hex>/link`` say which repository may serve which of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("docker/registry/v2")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
    MANIFEST_TYPE,
    "application/vnd.oci.image.manifest.v1+json",
)
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"

# Docker Hub has no names of three parts, so this repository can't exist there. The first part has
# no dot: the docker command would take it for a registry's host.
PROBE_REPOSITORY = "library/vmreg.invalid/probe"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A tiny image that the cache itself holds: its manifest and one layer, as stored.

    :param manifest: the manifest's bytes.
    :param layer: the layer's bytes.
    """

    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def manifest_digest(self) -> str:
        """The manifest's digest, ``sha256:`` and 64 hexadecimal digits."""
        return digest_of(self.manifest)

    @property
    def layer_digest(self) -> str:
        """The layer's digest."""
        return digest_of(self.layer)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the cache holds: the number of blobs and their total size in bytes."""

    blobs: int
    size_bytes: int


def digest_of(content: bytes) -> str:
    """Return the digest of some bytes.

    >>> digest_of(b"")[:19]
    'sha256:e3b0c44298fc'
    """
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob_path(data: Path, digest: str) -> Path:
    """Return where the registry keeps a blob below its data folder, there or not."""
    digits = digest.removeprefix("sha256:")
    return data / ROOT / "blobs" / "sha256" / digits[:2] / digits / "data"


def usage(data: Path) -> Usage:
    """Count the blobs below a data folder; a folder that is absent holds nothing.

    Takes one directory read per blob: about a second for 100,000 of them.
    """
    blobs, size_bytes = 0, 0
    for shard in _entries(data / ROOT / "blobs" / "sha256"):
        for blob in _entries(shard):
            try:
                size_bytes += (blob / "data").stat().st_size
            except (FileNotFoundError, NotADirectoryError):  # being written, or just evicted
                continue
            blobs += 1
    return Usage(blobs=blobs, size_bytes=size_bytes)


def probe() -> Probe:
    """Return the probe image; it is the same each time."""
    layer = b"vmreg probe\n" * 64
    config = config_json(architecture="amd64", diff_id=digest_of(layer))
    return Probe(manifest=manifest_json(config=config, layer=layer), config=config, layer=layer)


def config_json(*, architecture: str, diff_id: str) -> bytes:
    """Return an image configuration with one layer.

    :param diff_id: digest of the layer's uncompressed archive.
    """
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    return json.dumps(document, sort_keys=True).encode()


def manifest_json(*, config: bytes, layer: bytes) -> bytes:
    """Return the manifest of a configuration and one layer, all as they are stored."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer)],
    }
    return json.dumps(document, indent=3).encode()


def put_probe(data: Path, *, owner: tuple[int, int] | None = None) -> Probe:
    """Write the probe image into the registry's data folder and return it.

    Harmless while the registry runs, and a second time.

    :param owner: user and group that the files are given to, when the caller may do so.
    """
    image = probe()
    put_image(data, image, owner=owner)
    return image


def put_image(data: Path, image: Probe, *, owner: tuple[int, int] | None = None) -> None:
    """Write an image of the probe repository, its manifest last, without a tag.

    Harmless while the registry runs, and a second time.

    :param owner: user and group that the files are given to, when the caller may do so.
    """
    repository = data / ROOT / "repositories" / PROBE_REPOSITORY
    revisions, layers = repository / "_manifests" / "revisions", repository / "_layers"
    for content, folder in (
        (image.layer, layers),
        (image.config, layers),
        (image.manifest, revisions),
    ):
        digest = digest_of(content)
        _write(data, blob_path(data, digest), content, owner)
        _write(data, _link(folder, digest), digest.encode(), owner)


def put_tag(data: Path, tag: str, digest: str, *, owner: tuple[int, int] | None = None) -> None:
    """Let a tag of the probe repository name a manifest; harmless a second time."""
    folder = tags_folder(data) / tag
    for link in (_link(folder / "index", digest), folder / "current" / "link"):
        _write(data, link, digest.encode(), owner)


def tags_folder(data: Path) -> Path:
    """Return where the tags of the probe repository lie: a folder each."""
    return data / ROOT / "repositories" / PROBE_REPOSITORY / "_manifests" / "tags"


def link_folders(data: Path, digest: str) -> tuple[Path, ...]:
    """Return the folders whose links let the probe repository serve a blob, there or not."""
    repository = data / ROOT / "repositories" / PROBE_REPOSITORY
    kinds = (repository / "_manifests" / "revisions", repository / "_layers")
    return tuple(_link(kind, digest).parent for kind in kinds)


def _link(folder: Path, digest: str) -> Path:
    return folder / "sha256" / digest.removeprefix("sha256:") / "link"


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(content), "digest": digest_of(content)}


def _entries(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _write(data: Path, path: Path, content: bytes, owner: tuple[int, int] | None) -> None:
    """Put a file in place by a rename, so that no reader sees half of it."""
    if path.exists() and path.read_bytes() == content:
        return
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    staged.write_bytes(content)
    if owner is not None:
        for made in (*missing, staged):
            if made.is_relative_to(data):
                os.chown(made, *owner)
    staged.replace(path)
