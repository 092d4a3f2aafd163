"""From a tag to the blobs of one platform, as dockerd goes: HEAD, index, manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.wire import Endpoint, Wire, WireError
from vmreg.errors import VmregError
from vmreg.manifests import ACCEPT, LIMIT_BYTES, Blob, Index, Manifest, parse
from vmreg.store import digest_of

if TYPE_CHECKING:
    from http.client import HTTPResponse

OK = 200


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is pulled and from where.

    :param repository: such as ``library/node``.
    :param reference: a tag or a digest.
    :param architecture: which manifest of a multi-arch index.
    """

    endpoint: Endpoint
    repository: str
    reference: str
    architecture: str = "amd64"

    @property
    def scope(self) -> str:
        """What a token is asked for."""
        return f"repository:{self.repository}:pull"


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a tag stands for on one platform.

    :param tag_digest: digest of what the tag names: an index, or the manifest itself.
    :param config_digest: the configuration's, which is also dockerd's id of the image.
    :param blobs: the configuration, then the layers in the manifest's order, each once.
    :param manifest_bytes: size of the index and the manifest together.
    """

    tag_digest: str
    config_digest: str
    blobs: tuple[Blob, ...]
    manifest_bytes: int

    @property
    def unique_bytes(self) -> int:
        """Size of index, manifest, configuration and layers, each counted once."""
        return self.manifest_bytes + sum(blob.size_bytes for blob in self.blobs)


def describe(target: Target) -> Image:
    """Return what a tag stands for now, without fetching a blob.

    It costs what a pull costs of the hub's limit: one request for each manifest.

    :raises VmregError: the registry does not answer, or has no such image.
    """
    wire = Wire(target.endpoint, scope=target.scope)
    try:
        return resolve(wire, target)
    except WireError as error:
        raise VmregError(
            brief=f"cannot read {target.repository}:{target.reference} at {target.endpoint.url}",
            details=str(error),
        ) from error
    finally:
        wire.close()


def resolve(wire: Wire, target: Target) -> Image:
    """Return what a tag stands for, over an open connection.

    :raises WireError: an answer was missing or an error.
    :raises VmregError: no manifest for the architecture, or one that is not what its digest says.
    """
    wire.open("GET", "/v2/").read()  # dockerd asks for this before anything else
    head = wire.open("HEAD", _path(target, target.reference), {"Accept": ACCEPT})
    head.read()
    expect_ok(head, f"manifest {target.reference}")
    tag_digest = head.headers.get("Docker-Content-Digest", target.reference)
    body = _fetch(wire, target, tag_digest)
    total, manifest = len(body), _parse(body)
    if isinstance(manifest, Index):
        body = _fetch(wire, target, _choose(manifest, target))
        total, manifest = total + len(body), _parse(body)
    if isinstance(manifest, Index):
        raise WireError(f"{target.repository}:{target.reference} is an index of indexes")
    return Image(
        tag_digest=tag_digest,
        config_digest=manifest.config.digest,
        blobs=manifest.blobs,
        manifest_bytes=total,
    )


def expect_ok(response: HTTPResponse, what: str) -> None:
    """Return when an answer's status is 200.

    :raises WireError: it is another one; with the beginning of the body.
    """
    if response.status != OK:
        body = "" if response.closed else response.read(2000).decode(errors="replace")
        raise WireError(f"{what}: status {response.status} {body}".strip())


def _path(target: Target, reference: str) -> str:
    return f"/v2/{target.repository}/manifests/{reference}"


def _fetch(wire: Wire, target: Target, digest: str) -> bytes:
    response = wire.open("GET", _path(target, digest), {"Accept": ACCEPT})
    expect_ok(response, f"manifest {digest}")
    body = response.read(LIMIT_BYTES)
    if digest_of(body) != digest:
        raise VmregError(
            brief=f"{target.endpoint.url} sent a manifest of {target.repository} that is not "
            f"{digest}"
        )
    return body


def _parse(body: bytes) -> Index | Manifest:
    try:
        return parse(body)
    except ValueError as error:
        raise WireError(f"a manifest cannot be read: {error}") from error


def _choose(index: Index, target: Target) -> str:
    for entry in index.entries:
        if entry.platform.architecture == target.architecture:
            return entry.manifest.digest
    raise VmregError(
        brief=f"{target.repository}:{target.reference} has no manifest for {target.architecture}"
    )
