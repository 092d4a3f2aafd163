"""The hub's content, written straight into the on-disk layout of registry:2.

The same seed and scale give the same digests. Content is written beside its final place and
renamed into it when it is complete, so that nothing half-written is ever believed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.hubd.layers import Layer, LayerPlan, write_layer
from bench.hubd.profiles import FOREIGN, ImagePlan, plans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CATALOGUE = "catalogue.json"
LAYOUT = Path("docker/registry/v2")
SOURCES = ("content.py", "layers.py", "profiles.py")
DOCKER = "application/vnd.docker"
OCI = "application/vnd.oci.image"
CREATED = "2024-01-01T00:00:00Z"
MEDIA_TYPES: Mapping[str, Mapping[str, str]] = {
    "docker": {
        "index": f"{DOCKER}.distribution.manifest.list.v2+json",
        "manifest": f"{DOCKER}.distribution.manifest.v2+json",
        "config": f"{DOCKER}.container.image.v1+json",
        "layer": f"{DOCKER}.image.rootfs.diff.tar.gzip",
    },
    "oci": {
        "index": f"{OCI}.index.v1+json",
        "manifest": f"{OCI}.manifest.v1+json",
        "config": f"{OCI}.config.v1+json",
        "layer": f"{OCI}.layer.v1.tar+gzip",
    },
}


@dataclass(frozen=True, kw_only=True)
class StoredBlob:
    """A blob on disk: its digest and its size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image as the catalogue lists it; the manifest and the blobs are those for amd64.

    :param reference: ``repository:tag``.
    :param index: equals ``manifest`` when the image has no index.
    """

    reference: str
    index: StoredBlob
    manifest: StoredBlob
    config: StoredBlob
    layers: tuple[StoredBlob, ...]


def ensure(
    cache: Path,
    *,
    seed: int,
    scale: float,
    busybox: bytes,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Return the folder that holds the content, writing it first unless it is there.

    Concurrent calls wait for one another; what a killed call left behind is removed.

    :param cache: holds one folder per seed, scale and version of the generator.
    :param scale: multiplies layer sizes and file counts; 1 is the real images' size.
    :param busybox: a static busybox for the root file systems.
    """
    cache.mkdir(parents=True, exist_ok=True)
    final = cache / _key(seed=seed, scale=scale, busybox=busybox)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for orphan in cache.glob(".partial-*"):
            shutil.rmtree(orphan)
        if not final.exists():
            progress(f"generating images at scale {scale:g}")
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
            partial.chmod(0o755)
            _write(partial, seed=seed, scale=scale, busybox=busybox, progress=progress)
            os.sync()
            partial.rename(final)
    return final


def _key(*, seed: int, scale: float, busybox: bytes) -> str:
    """Name the content after all that decides its bytes, the generator's own text included."""
    told = hashlib.sha256(busybox)
    for source in SOURCES:
        told.update(Path(__file__).with_name(source).read_bytes())
    return f"scale-{scale:g}-seed-{seed}-{told.hexdigest()[:12]}"


def _write(
    root: Path, *, seed: int, scale: float, busybox: bytes, progress: Callable[[str], None]
) -> None:
    writer = _Writer(root, seed=seed, busybox=busybox)
    images: list[StoredImage] = []
    for plan in plans(scale):
        progress(f"generating {plan.repository}")
        images.extend(writer.image(plan))
    catalogue = {"images": [asdict(image) for image in images]}
    (root / CATALOGUE).write_text(json.dumps(catalogue, indent=1))


class _Writer:
    """Puts blobs and links where registry:2 looks for them."""

    def __init__(self, root: Path, *, seed: int, busybox: bytes) -> None:
        self._root = root / LAYOUT
        self._seed = seed
        self._busybox = busybox
        self._layers: dict[LayerPlan, Layer] = {}
        self._root.mkdir(parents=True)

    def image(self, plan: ImagePlan) -> tuple[StoredImage, ...]:
        """Write an image; return one entry per tag."""
        kinds = MEDIA_TYPES["oci" if plan.form == "oci" else "docker"]
        manifest, config, layers = self._manifest(plan, plan.layers, "amd64", kinds)
        index = manifest
        if plan.form != "single":
            other, _, _ = self._manifest(plan, (FOREIGN,), "arm64", kinds)
            index = self._index(plan, {"amd64": manifest, "arm64": other}, kinds)
        for tag in plan.tags:
            self._tag(plan.repository, tag, index)
        return tuple(
            StoredImage(
                reference=f"{plan.repository}:{tag}",
                index=index,
                manifest=manifest,
                config=config,
                layers=layers,
            )
            for tag in plan.tags
        )

    def _index(
        self, plan: ImagePlan, manifests: Mapping[str, StoredBlob], kinds: Mapping[str, str]
    ) -> StoredBlob:
        listed = [
            {
                **_descriptor(blob, kinds["manifest"]),
                "platform": {"architecture": name, "os": "linux"},
            }
            for name, blob in manifests.items()
        ]
        return self._revision(
            plan.repository,
            {"schemaVersion": 2, "mediaType": kinds["index"], "manifests": listed},
        )

    def _manifest(
        self,
        plan: ImagePlan,
        plans_: Iterable[LayerPlan],
        architecture: str,
        kinds: Mapping[str, str],
    ) -> tuple[StoredBlob, StoredBlob, tuple[StoredBlob, ...]]:
        written = tuple(self._layer(layer) for layer in plans_)
        layers = tuple(StoredBlob(digest=one.digest, size=one.size) for one in written)
        config = self._blob(_json(_config(plan, written, architecture)))
        for blob in (config, *layers):
            self._link(plan.repository, "_layers", blob.digest)
        manifest = {
            "schemaVersion": 2,
            "mediaType": kinds["manifest"],
            "config": _descriptor(config, kinds["config"]),
            "layers": [_descriptor(layer, kinds["layer"]) for layer in layers],
        }
        return self._revision(plan.repository, manifest), config, layers

    def _layer(self, plan: LayerPlan) -> Layer:
        """Write a layer once, however many images share it."""
        if plan not in self._layers:
            scratch = self._root / "layer"
            with scratch.open("wb") as sink:
                layer = write_layer(plan, seed=self._seed, busybox=self._busybox, sink=sink)
            scratch.rename(self._place(layer.digest))
            self._layers[plan] = layer
        return self._layers[plan]

    def _blob(self, data: bytes) -> StoredBlob:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._place(digest).write_bytes(data)
        return StoredBlob(digest=digest, size=len(data))

    def _place(self, digest: str) -> Path:
        place = self._root / blob_path(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _revision(self, repository: str, manifest: Mapping[str, Any]) -> StoredBlob:
        blob = self._blob(_json(manifest))
        self._link(repository, "_manifests/revisions", blob.digest)
        return blob

    def _tag(self, repository: str, tag: str, index: StoredBlob) -> None:
        folder = f"_manifests/tags/{tag}"
        self._link(repository, f"{folder}/index", index.digest)
        current = self._root / "repositories" / repository / folder / "current" / "link"
        current.parent.mkdir()
        current.write_text(index.digest)

    def _link(self, repository: str, folder: str, digest: str) -> None:
        link = self._root / link_path(repository, folder, digest)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)


def blob_path(digest: str) -> Path:
    """Return where a blob's bytes are, below the layout's root.

    >>> blob_path("sha256:abcd")
    PosixPath('blobs/sha256/ab/abcd/data')
    """
    algorithm, _, value = digest.partition(":")
    return Path("blobs", algorithm, value[:2], value, "data")


def link_path(repository: str, folder: str, digest: str) -> Path:
    """Return where a repository's link to a digest is, below the layout's root.

    :param folder: ``_layers`` or ``_manifests/revisions``.
    """
    return Path("repositories", repository, folder, *digest.split(":", 1), "link")


def _descriptor(blob: StoredBlob, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}


def _config(plan: ImagePlan, layers: tuple[Layer, ...], architecture: str) -> dict[str, Any]:
    return {
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["sh"],
            "Labels": {"org.opencontainers.image.title": plan.repository},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": CREATED, "created_by": f"layer {n}"} for n in range(len(layers))],
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=3).encode()
