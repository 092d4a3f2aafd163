"""Probe images of fresh content, put into the cache by hand to see whether a pull comes through.

Nobody can have pulled such an image before, and no other registry has it: whoever gets it got it
from this cache, and asked for it just now.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg import store

if TYPE_CHECKING:
    from pathlib import Path

LEFT_OVER_S = 600
_CONTENT_BYTES = 4096
_TAG = re.compile(r"fresh-([0-9]{10})-[0-9a-f]{32}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FreshProbe:
    """An image of three blobs that exists once.

    :param tag: its name in the probe repository, with the second in which it was made; no other
        probe ever has it.
    """

    tag: str
    image: store.Probe

    @property
    def reference(self) -> str:
        """What a VM pulls: a name that its dockerd looks up in its mirrors for Docker Hub."""
        return f"docker.io/{store.PROBE_REPOSITORY}:{self.tag}"

    @property
    def sizes_bytes(self) -> dict[str, int]:
        """Digest to size of the manifest, the configuration and the layer, in this order."""
        parts = (self.image.manifest, self.image.config, self.image.layer)
        return {store.digest_of(part): len(part) for part in parts}


def fresh(*, architecture: str = "amd64") -> FreshProbe:
    """Return a new image with one layer of random content; nothing is written.

    :param architecture: in Go's words; the containerd image store takes no other than the VM's.
    """
    content = os.urandom(_CONTENT_BYTES)
    archive = _archive(content)
    layer = gzip.compress(archive, mtime=0)
    config = store.config_json(architecture=architecture, diff_id=store.digest_of(archive))
    manifest = store.manifest_json(config=config, layer=layer)
    image = store.Probe(manifest=manifest, config=config, layer=layer)
    tag = f"fresh-{time.time():010.0f}-{content[:16].hex()}"
    return FreshProbe(tag=tag, image=image)


def is_left_over(tag: str) -> bool:
    """Return whether a tag is that of a probe that was made more than ten minutes ago.

    >>> is_left_over("fresh-1000000000-" + 32 * "0"), is_left_over("latest")
    (True, False)
    """
    found = _TAG.fullmatch(tag)
    return found is not None and int(found[1]) < time.time() - LEFT_OVER_S


def put(data: Path, probe: FreshProbe, *, owner: tuple[int, int] | None = None) -> None:
    """Write an image into the registry's data folder, its tag last; also while it runs.

    What a killed process left there more than ten minutes ago is removed. A second call is
    harmless.

    :param owner: user and group that the files are given to, when the caller may do so.
    :raises OSError: the folder cannot be written.
    """
    for tag in _left_over(data):
        remove(data, tag)
    store.put_image(data, probe.image, owner=owner)
    store.put_tag(data, probe.tag, probe.image.manifest_digest, owner=owner)


def remove(data: Path, tag: str) -> None:
    """Remove a fresh probe with its blobs, its tag first; one that is not there is fine.

    :raises ValueError: it is not the tag of a fresh probe.
    :raises OSError: the folder cannot be written.
    """
    if not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not the tag of a fresh probe")
    folder = store.tags_folder(data) / tag
    digests = _digests(data, folder)
    _remove(folder)
    for digest in digests:
        for link in store.link_folders(data, digest):
            _remove(link)
        _remove(store.blob_path(data, digest).parent)


def _archive(content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("probe")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def _left_over(data: Path) -> list[str]:
    try:
        return [one.name for one in store.tags_folder(data).iterdir() if is_left_over(one.name)]
    except FileNotFoundError:
        return []


def _digests(data: Path, tag: Path) -> tuple[str, ...]:
    """Return the digests of all that a tag leads to; of what is lost or damaged there are none."""
    try:
        manifest = (tag / "current" / "link").read_text()
        document = json.loads(store.blob_path(data, _checked(manifest)).read_bytes())
        parts = (document["config"], *document["layers"])
        return (*(_checked(part["digest"]) for part in parts), manifest)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ()


def _checked(digest: str) -> str:
    """Return a digest that is one, for it becomes a path.

    :raises ValueError: it is none.
    """
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a digest")
    return digest


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
