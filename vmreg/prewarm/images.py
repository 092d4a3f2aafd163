"""From a reference to what has to be fetched for it: manifests first, as dockerd goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import UsageError
from vmreg.manifests import (
    Blob,
    Entry,
    Index,
    Manifest,
    Platform,
    host_platform,
    parse,
    parse_platform,
)
from vmreg.prewarm.edge import FetchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmreg.prewarm.edge import Edge
    from vmreg.prewarm.references import Reference

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The platforms that are wanted.

    :param platforms: each once; empty with ``every``.
    :param every: whether all that an image has are wanted.
    """

    platforms: tuple[Platform, ...] = ()
    every: bool = False

    def __str__(self) -> str:
        """Return the platforms as a person reads them."""
        return "all platforms" if self.every else ", ".join(str(one) for one in self.platforms)

    def __or__(self, other: Choice) -> Choice:
        """Return what either of the two wants."""
        if self.every or other.every:
            return Choice(every=True)
        return Choice(platforms=tuple(dict.fromkeys((*self.platforms, *other.platforms))))


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a reference stands for on the wanted platforms.

    :param digest: of the index, or of the manifest itself.
    :param platforms: in the order of the wish; empty when the manifest alone does not say.
    :param blobs: configurations and layers, each once.
    :param manifest_bytes: size of the index and the manifests.
    :param config: the configuration that tells the platform of an image without an index.
    """

    digest: str
    platforms: tuple[Platform, ...]
    blobs: tuple[Blob, ...]
    manifest_bytes: int
    config: Blob | None = None


def choose(texts: Sequence[str]) -> Choice:
    """Return the choice that ``--platform``, given any number of times, makes; none: this host's.

    :raises UsageError: a text is neither ``all`` nor a platform.
    """
    if ALL in texts:
        return Choice(every=True)
    try:
        return Choice(
            platforms=tuple(dict.fromkeys(map(parse_platform, texts))) or (host_platform(),)
        )
    except ValueError as error:
        raise UsageError(
            brief=str(error),
            resolution="Write --platform linux/amd64, several of them, or --platform all.",
        ) from error


def find(edge: Edge, reference: Reference, choice: Choice) -> Found:
    """Fetch a reference's manifests for the chosen platforms; they are in the cache then.

    :raises FetchError: one cannot be had or read, or there is none for a platform.
    """
    repository = reference.repository
    digest = reference.digest or edge.digest(repository, reference.tag)
    body = edge.manifest(repository, digest)
    top = _read(body, digest)
    if isinstance(top, Manifest):
        return Found(
            digest=digest,
            platforms=(),
            blobs=top.blobs,
            manifest_bytes=len(body),
            config=top.config,
        )
    total, blobs, entries = len(body), dict[Blob, None](), _chosen(top, choice)
    for one in dict.fromkeys(entry.manifest.digest for entry in entries):
        body = edge.manifest(repository, one)
        manifest = _read(body, one)
        if isinstance(manifest, Index):
            raise FetchError(f"{one} is an index inside an index")
        total += len(body)
        blobs.update(dict.fromkeys(manifest.blobs))
    return Found(
        digest=digest,
        platforms=tuple(entry.platform for entry in entries),
        blobs=tuple(blobs),
        manifest_bytes=total,
    )


def _read(body: bytes, digest: str) -> Index | Manifest:
    try:
        return parse(body)
    except ValueError as error:
        raise FetchError(f"the manifest {digest} cannot be used: {error}") from error


def _chosen(index: Index, choice: Choice) -> tuple[Entry, ...]:
    if choice.every and index.entries:
        return index.entries
    found = {platform: _best(index, platform) for platform in choice.platforms}
    missing = [str(platform) for platform, entry in found.items() if entry is None]
    if missing or choice.every:
        there = ", ".join(str(entry.platform) for entry in index.entries)
        raise FetchError(
            f"there is none for {', '.join(missing) or ALL}; there is {there or 'nothing'}"
        )
    return tuple(dict.fromkeys(entry for entry in found.values() if entry is not None))


def _best(index: Index, wanted: Platform) -> Entry | None:
    """Return the entry for a platform; without a variant in the wish, any is good enough."""
    exact = [one for one in index.entries if one.platform.means(wanted)]
    close = [
        one
        for one in index.entries
        if not wanted.variant
        and (one.platform.system, one.platform.architecture) == (wanted.system, wanted.architecture)
    ]
    return next(iter((*exact, *close)), None)
