"""Looks things up in the content, as the registry would, and lets tags point elsewhere."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.hubd.content import LAYOUT, blob_path, link_path

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A manifest's repository and reference as the registry knows them."""

    repository: str
    reference: str


class Store:
    """The content below one folder, read-only; moved tags live in memory alone."""

    def __init__(self, content: Path) -> None:
        """Read from ``content``, a folder that the generator wrote."""
        self._root = content / LAYOUT
        self._lock = threading.Lock()
        self._moved: dict[Place, Place] = {}

    def has_repository(self, name: str) -> bool:
        """Return whether there is such a repository."""
        return (
            bool(NAME.fullmatch(name))
            and (self._root / "repositories" / name / "_manifests").is_dir()
        )

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether a repository links a blob, by way of a moved tag too."""
        return bool(DIGEST.fullmatch(digest)) and any(
            (self._root / link_path(name, "_layers", digest)).exists()
            for name in (repository, *self._sources(repository))
        )

    def manifest(self, repository: str, reference: str) -> Place | None:
        """Return where the registry has a manifest, or ``None`` when it has none."""
        if not DIGEST.fullmatch(reference):
            with self._lock:
                asked = Place(repository=repository, reference=reference)
                place = self._moved.get(asked, asked)
            return place if self._tag(place).exists() else None
        for name in (repository, *self._sources(repository)):
            if (self._root / link_path(name, "_manifests/revisions", reference)).exists():
                return Place(repository=name, reference=reference)
        return None

    def manifest_body(self, place: Place) -> tuple[str, str, bytes]:
        """Return a manifest's digest, its media type and its bytes."""
        reference = place.reference
        digest = reference if DIGEST.fullmatch(reference) else self._tag(place).read_text()
        body = self.blob(digest).read_bytes()
        return digest, str(json.loads(body)["mediaType"]), body

    def blob(self, digest: str) -> Path:
        """Return the file that holds a blob."""
        return self._root / blob_path(digest)

    def move(self, source: Place, target: Place) -> None:
        """Let the tag ``source`` name what the tag ``target`` names on disk.

        Moving a tag to itself puts it back. What the target's manifests refer to can then be
        read through the source's repository as well.

        :raises ValueError: there is no such target.
        """
        if not self._tag(target).exists():
            raise ValueError(f"no such tag: {target.repository}:{target.reference}")
        with self._lock:
            self._moved[source] = target

    def _sources(self, repository: str) -> list[str]:
        with self._lock:
            return [
                target.repository
                for source, target in self._moved.items()
                if source.repository == repository
            ]

    def _tag(self, place: Place) -> Path:
        folder = self._root / "repositories" / place.repository / "_manifests" / "tags"
        return folder / place.reference / "current" / "link"
