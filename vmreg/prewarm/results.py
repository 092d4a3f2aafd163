"""What a prewarming did, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from vmreg.status import RateLimit


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image.

    :param reference: as people write it, such as ``node:20``.
    :param platforms: those that were fetched, such as ``linux/amd64``.
    :param digest: what the reference stands for; empty when that could not be found out.
    :param total_bytes: size of manifests, configurations and layers, each counted once; 0 when
        unknown.
    :param fetched_bytes: size of the blobs that were fetched for it now, and were not in the
        cache before; one that several images share counts for the first of them.
    :param seconds: from its first request to its last byte.
    :param named_in: where it was asked for: ``command line``, ``compose.yaml:12``, ...
    :param error: why it is not in the cache; empty when it is.
    """

    reference: str
    platforms: tuple[str, ...]
    digest: str
    total_bytes: int
    fetched_bytes: int
    seconds: float
    named_in: tuple[str, ...]
    error: str


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An image that the cache does not serve, and why."""

    reference: str
    reason: str
    named_in: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Quota:
    """The hub's word on pulls left, before and after; ``None`` when it said none."""

    before: RateLimit | None
    after: RateLimit | None


@dataclass(frozen=True, kw_only=True)
class Prewarmed:
    """A whole run; images in the order in which they were asked for.

    :param fetched_bytes: size of all blobs that were fetched.
    :param seconds: how long it all took.
    """

    images: tuple[Image, ...]
    skipped: tuple[Skipped, ...]
    quota: Quota
    fetched_bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON-ready values, sizes in bytes and times in seconds."""
        return asdict(self)

    def raise_failures(self) -> None:
        """Return when every image is in the cache.

        :raises VmregError: some are not; the details say why for each.
        """
        failed = [one for one in self.images if one.error]
        if not failed:
            return
        raise VmregError(
            brief=f"{len(failed)} of {len(self.images)} images could not be fetched",
            details="\n".join(f"  {one.reference}: {one.error}" for one in failed),
            resolution="Run the command again for these"
            + ("." if len(failed) == len(self.images) else "; the others are in the cache."),
        )
