"""Image references as people write them, and what Docker reads in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import UsageError
from vmreg.manifests import DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmreg.manifests import Platform

HUB = "docker.io"
COMMAND_LINE = "command line"
_HUB_NAMES = frozenset({HUB, "index.docker.io"})  # Docker asks mirrors for these alone
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?|\[[0-9a-f:.]+\](?::[0-9]+)?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST = 255


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image's name.

    :param registry: the host that Docker asks, ``docker.io`` for the hub.
    :param repository: the whole path, such as ``library/node``.
    :param tag: empty beside a digest alone.
    :param digest: ``sha256:…``, or empty; it decides where both are given, as for Docker.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def is_cached(self) -> bool:
        """Whether a VM's dockerd asks the cache for it: mirrors stand for the hub alone."""
        return self.registry == HUB

    @property
    def asked(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        """Return the name as people write it, ``docker.io`` and ``library`` left out."""
        name = self.repository
        if self.registry != HUB:
            name = f"{self.registry}/{name}"
        elif name.count("/") == 1:
            name = name.removeprefix("library/")
        tag = f":{self.tag}" if self.tag else ""
        return name + tag + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Return the reference that a text stands for.

    :raises ValueError: it is none; the message completes "NAME ...".

    >>> parse("node")
    Reference(registry='docker.io', repository='library/node', tag='latest', digest='')
    >>> str(parse("docker.io/library/node:20")), parse("ghcr.io/acme/tool").registry
    ('node:20', 'ghcr.io')
    """
    name, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise ValueError("has a digest that is not sha256: and 64 hexadecimal digits")
    registry, path = _split(name)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(f"has a tag, {tag!r}, that no image can have")
    if registry == HUB and "/" not in path:
        path = f"library/{path}"
    if not _REPOSITORY.fullmatch(path) or len(path) > _LONGEST:
        raise ValueError("is not the name of an image")
    return Reference(
        registry=registry,
        repository=path,
        tag=tag or ("" if digest else "latest"),
        digest=digest,
    )


def _split(name: str) -> tuple[str, str]:
    """Return the registry and the rest, told apart as Docker does it."""
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and (
        "." in first or ":" in first or first == "localhost" or first.lower() != first
    )
    if not is_host:
        return HUB, name
    if not _DOMAIN.fullmatch(first):
        raise ValueError(f"names a registry, {first!r}, that cannot be")
    return (HUB if first in _HUB_NAMES else first), rest


@dataclass(frozen=True, kw_only=True)
class Named:
    """An image, and where it is named.

    :param where: ``command line``, or a file and a line such as ``compose.yaml:12``.
    :param platform: the one that is asked for there; ``None`` for the caller's choice.
    """

    reference: Reference
    where: str
    platform: Platform | None = None


def from_command_line(texts: Sequence[str]) -> tuple[Named, ...]:
    """Return the images that a command line names.

    :raises UsageError: some are no references; each is listed.
    """
    found, faults = [], []
    for text in texts:
        try:
            found.append(Named(reference=parse(text), where=COMMAND_LINE))
        except ValueError as error:
            faults.append(f"{text!r} {error}")
    if faults:
        raise UsageError(
            brief="\n".join(faults), resolution="Write names such as node:20 or acme/tool:1.2."
        )
    return tuple(found)
