"""One image on its way into the cache: what it needs, how far it is, how it ended."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmreg.plan import glob_pattern
from vmreg.prewarm.images import Choice
from vmreg.prewarm.results import Image, Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmreg.manifests import Platform
    from vmreg.prewarm.images import Found
    from vmreg.prewarm.references import Named, Reference


@dataclass(kw_only=True)
class Job:
    """An image to fetch; everything below ``named_in`` changes under the fetcher's lock.

    :param waiting: digests of the blobs that are not known to be in the cache yet.
    :param done_bytes: what has passed or was there, manifests included.
    """

    reference: Reference
    choice: Choice
    named_in: tuple[str, ...]
    began: float = field(default_factory=time.monotonic)
    found: Found | None = None
    platforms: tuple[Platform, ...] = ()
    waiting: set[str] = field(default_factory=set)
    done_bytes: int = 0
    fetched_bytes: int = 0
    seconds: float = 0
    error: str = ""
    is_over: bool = False

    @property
    def name(self) -> str:
        """The reference as people write it."""
        return str(self.reference)

    @property
    def total_bytes(self) -> int:
        """Size of manifests and blobs; 0 while unknown."""
        if self.found is None:
            return 0
        return self.found.manifest_bytes + sum(blob.size_bytes for blob in self.found.blobs)

    def result(self) -> Image:
        """Return how it went."""
        return Image(
            reference=self.name,
            platforms=tuple(str(one) for one in self.platforms),
            digest=self.found.digest if self.found else self.reference.digest,
            total_bytes=self.total_bytes,
            fetched_bytes=self.fetched_bytes,
            seconds=self.seconds,
            named_in=self.named_in,
            error=self.error,
        )


def sort(
    wanted: Sequence[Named], choice: Choice, *, allowed: Sequence[str]
) -> tuple[tuple[Job, ...], tuple[Skipped, ...]]:
    """Return a job for each image that the cache serves, and the images that it does not.

    An image that is named several times is one job, for all platforms that are asked for.

    :param choice: the platforms for images that are named without one.
    :param allowed: ``docker_registry.repositories``; empty when everything is served.
    """
    patterns = [re.compile(glob_pattern(glob)) for glob in allowed]
    groups: dict[Reference, list[Named]] = {}
    for one in wanted:
        groups.setdefault(one.reference, []).append(one)
    jobs, skipped = [], []
    for reference, group in groups.items():
        named_in = tuple(dict.fromkeys(one.where for one in group))
        reason = _reason(reference, patterns)
        if reason:
            skipped.append(Skipped(reference=str(reference), reason=reason, named_in=named_in))
        else:
            jobs.append(Job(reference=reference, choice=_union(group, choice), named_in=named_in))
    return tuple(jobs), tuple(skipped)


def _union(group: Sequence[Named], choice: Choice) -> Choice:
    """Return all that is wanted of one image: what stands beside its name, else the choice."""
    union = Choice()
    for one in group:
        union |= choice if one.platform is None else Choice(platforms=(one.platform,))
    return union


def _reason(reference: Reference, patterns: Sequence[re.Pattern[str]]) -> str:
    if not reference.is_cached:
        return f"it is from {reference.registry}; Docker asks a mirror for Docker Hub's images only"
    if patterns and not any(pattern.match(reference.repository) for pattern in patterns):
        return f"docker_registry.repositories does not allow {reference.repository}"
    return ""
