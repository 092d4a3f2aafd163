"""The images that the hub serves: their layers' sizes and how they share them.

The sizes of ``node:20`` are those of the real image for amd64; the first four of its layers are
the base that the other language images share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.hubd.layers import LayerPlan

MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """What an image is to be.

    :param repository: with its first part, such as ``library/node``.
    :param tags: every tag that names it.
    :param layers: for amd64, the base first.
    :param form: ``docker`` and ``oci`` give an image index with amd64 and arm64 in those media
        types, ``single`` one Docker manifest without an index.
    """

    repository: str
    tags: tuple[str, ...]
    layers: tuple[LayerPlan, ...]
    form: Literal["docker", "oci", "single"]


def _layer(name: str, packed_mb: float, unpacked_mb: float, files: int) -> LayerPlan:
    return LayerPlan(
        name=name,
        packed_bytes=round(packed_mb * MB),
        unpacked_bytes=round(unpacked_mb * MB),
        files=files,
    )


BASE = (
    LayerPlan(
        name="debian",
        packed_bytes=round(48.5 * MB),
        unpacked_bytes=117 * MB,
        files=6000,
        root=True,
    ),
    _layer("curl", 24, 48, 900),
    _layer("scm", 64, 177, 3500),
    _layer("buildpack", 211, 590, 7500),
)
BUSYBOX = LayerPlan(name="busybox", packed_bytes=1, unpacked_bytes=1, files=1, root=True)
# Never scaled: they are what they are at every scale.
TINY = _layer("probe", 0.0004, 0.001, 1)
PRIVATE = _layer("private", 0.004, 0.02, 3)
FOREIGN = _layer("arm64", 0.002, 0.01, 2)
PRIVATE_REPOSITORY = "acme/private"


def plans(scale: float) -> tuple[ImagePlan, ...]:
    """Return every image with its layers scaled, in the order in which they are written."""
    base = tuple(layer.scaled(scale) for layer in BASE)
    node = (
        _layer("node-user", 0.003, 0.01, 4),
        _layer("node", 47, 150, 5300).scaled(scale),
        _layer("yarn", 1.3, 5.3, 40).scaled(scale),
        _layer("node-entrypoint", 0.0005, 0.0012, 1),
    )
    python = (
        _layer("python-libs", 6.2, 18, 300).scaled(scale),
        _layer("python", 23.5, 70, 2300).scaled(scale),
    )
    ruby = (_layer("ruby", 39, 105, 2900).scaled(scale),)
    return (
        ImagePlan(repository="library/node", tags=("20",), layers=base + node, form="docker"),
        ImagePlan(repository="library/python", tags=("3.12",), layers=base + python, form="oci"),
        ImagePlan(repository="library/ruby", tags=("3.3",), layers=base + ruby, form="docker"),
        ImagePlan(
            repository="library/busybox", tags=("1", "latest"), layers=(BUSYBOX,), form="oci"
        ),
        ImagePlan(
            repository="library/hello-probe", tags=("latest",), layers=(TINY,), form="single"
        ),
        ImagePlan(
            repository=PRIVATE_REPOSITORY, tags=("latest",), layers=(PRIVATE,), form="docker"
        ),
    )
