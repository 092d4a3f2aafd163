"""A plain HTTP client that pulls an image as dockerd does, and times what it sees.

It asks for a token when challenged, follows the redirect to the blob store, fetches three blobs
at a time, checks every digest and keeps one small buffer per connection, so that dozens of them
fit on a small host beside the registry they measure.
"""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from typing import TYPE_CHECKING

from bench.manifests import Target, expect_ok, resolve
from bench.parallel import at_once
from bench.wire import Wire, WireError
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse

    from vmreg.manifests import Blob

    Listener = Callable[[int, int, int], None]

BUFFER_BYTES = 256 * 1024
PARALLEL_BLOBS = 3  # dockerd's own default
AGENT = "vmreg-bench/"


@dataclass(frozen=True, kw_only=True)
class BlobPull:
    """One blob as one client received it.

    :param started_s: seconds from the start of the client's pull to the request.
    :param first_byte_s: seconds from the request, redirect included, to the body's first byte.
    :param seconds: from the request to the last byte.
    :param matches: whether length and SHA-256 are those that the manifest names.
    """

    digest: str
    size_bytes: int
    started_s: float
    first_byte_s: float
    seconds: float
    matches: bool


@dataclass(frozen=True, kw_only=True)
class ImagePull:
    """One client's pull of one image.

    :param client: the client's number, from 0.
    :param started_s: wall clock, seconds since the epoch.
    :param seconds: from the first request to the last byte.
    :param manifest_digest: what the tag pointed at.
    :param blobs: what arrived whole: the configuration, then the layers in the manifest's order.
    :param body_bytes: bytes of all bodies, manifests included.
    :param abandoned: the client was cut off on purpose.
    """

    client: int
    started_s: float
    seconds: float
    manifest_digest: str
    blobs: tuple[BlobPull, ...]
    body_bytes: int
    abandoned: bool = False

    @property
    def matches(self) -> bool:
        """Whether every blob that arrived is what its digest says."""
        return all(blob.matches for blob in self.blobs)


def name_of(number: int) -> str:
    """Return a client's name: the end of its ``User-Agent``, by which logs tell clients apart."""
    return f"client-{number:02d}"


def ignore(client: int, received_bytes: int, total_bytes: int) -> None:
    """Take a progress report and do nothing with it."""


def pull(
    target: Target,
    *,
    number: int = 0,
    listener: Listener = ignore,
    die_at: float = 0.0,
    midway: threading.Event | None = None,
) -> ImagePull:
    """Pull one image and throw the bytes away.

    :param listener: called with the client's number, the bytes received so far and those of the
        whole image (0 while that is unknown), from several threads.
    :param die_at: cut the client off when its largest layer reaches this fraction; 0 for never.
    :param midway: set when the largest layer's first byte has arrived.
    :raises VmregError: an answer was an error, or a manifest's digest is wrong; a blob that is
        wrong or cut short does not raise, its ``matches`` is false.
    """
    client = _Client(
        target=target,
        number=number,
        listener=listener,
        die_at=die_at,
        midway=midway or threading.Event(),
    )
    started_s = time.time()
    try:
        digest, blobs = client.pull()
    except (WireError, HTTPException, OSError, ValueError) as error:
        if not client.dead.is_set():
            raise VmregError(
                brief=f"client {number} could not pull {target.repository}:{target.reference} "
                f"from {target.endpoint.url}",
                details=str(error) or type(error).__name__,
            ) from error
        digest, blobs = client.manifest_digest, tuple(client.finished)
    finally:
        client.midway.set()
        client.close()
    return ImagePull(
        client=number,
        started_s=started_s,
        seconds=time.monotonic() - client.began,
        manifest_digest=digest,
        blobs=blobs,
        body_bytes=client.body_bytes,
        abandoned=client.dead.is_set(),
    )


def pull_many(
    target: Target, *, clients: int, listener: Listener = ignore, first_dies_at: float = 0.0
) -> tuple[ImagePull, ...]:
    """Let ``clients`` clients pull the same image, all from the same instant on.

    :param first_dies_at: cut client 0 off when its largest layer reaches this fraction; the
        others then start when that layer's first byte reached client 0, so that they join the
        fetch that it began.
    :returns: one result per client, by number.
    :raises VmregError: one of them failed; the others are allowed to end first.
    """
    midway = threading.Event()

    def one(number: int) -> ImagePull:
        if not first_dies_at:
            return pull(target, number=number, listener=listener)
        if number == 0:
            return pull(target, listener=listener, die_at=first_dies_at, midway=midway)
        midway.wait()
        return pull(target, number=number, listener=listener)

    return at_once([partial(one, number) for number in range(clients)], name="client")


@dataclass(kw_only=True)
class _Client:
    """One pull: its clock, its counters, its connections and the trigger of its early death."""

    target: Target
    number: int
    listener: Listener
    die_at: float
    midway: threading.Event
    began: float = field(default_factory=time.monotonic)
    manifest_digest: str = ""
    body_bytes: int = 0
    total_bytes: int = 0
    largest: str = ""
    finished: list[BlobPull] = field(default_factory=list)
    dead: threading.Event = field(default_factory=threading.Event)
    wires: list[Wire] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pull(self) -> tuple[str, tuple[BlobPull, ...]]:
        """Fetch manifests and blobs; return the tag's digest and the blobs in order."""
        first = self._wire("")
        image = resolve(first, self.target)
        self.manifest_digest = image.tag_digest
        self.total_bytes = image.unique_bytes
        self.largest = max(image.blobs, key=lambda blob: blob.size_bytes).digest
        self._count(image.manifest_bytes)
        workers = _Workers(lambda: self._wire(first.token))
        with ThreadPoolExecutor(PARALLEL_BLOBS, thread_name_prefix="layer") as pool:
            futures = [pool.submit(self._fetch, workers, blob) for blob in image.blobs]
        return self.manifest_digest, tuple(future.result() for future in futures)

    def close(self) -> None:
        """Close every connection; a second call is harmless."""
        for wire in self.wires:
            wire.close()

    def _wire(self, token: str) -> Wire:
        agent = AGENT + name_of(self.number)
        made = Wire(self.target.endpoint, scope=self.target.scope, token=token, agent=agent)
        with self.lock:
            self.wires.append(made)
        return made

    def _fetch(self, workers: _Workers, blob: Blob) -> BlobPull:
        wire = workers.mine()
        if self.dead.is_set():
            raise WireError("this client was cut off")
        asked = time.monotonic()
        response = wire.open("GET", f"/v2/{self.target.repository}/blobs/{blob.digest}")
        expect_ok(response, f"blob {blob.digest}")
        received, digest, first_byte = self._drain(response, blob)
        done = BlobPull(
            digest=blob.digest,
            size_bytes=received,
            started_s=asked - self.began,
            first_byte_s=first_byte - asked,
            seconds=time.monotonic() - asked,
            matches=received == blob.size_bytes and digest == blob.digest,
        )
        with self.lock:
            self.finished.append(done)
        return done

    def _drain(self, response: HTTPResponse, blob: Blob) -> tuple[int, str, float]:
        """Read a body to its end; return its length, its digest and when its first byte came."""
        buffer = memoryview(bytearray(BUFFER_BYTES))
        # A short first read, so that the first byte's time is not that of a full buffer.
        got = response.readinto(buffer[:1])
        first_byte = time.monotonic()
        received, hashed = 0, hashlib.sha256()
        limit = int(self.die_at * blob.size_bytes) if blob.digest == self.largest else 0
        if blob.digest == self.largest:
            self.midway.set()
        while got:
            hashed.update(buffer[:got])
            received += got
            self._count(got)
            if limit and received >= limit:
                self._die()
            got = response.readinto(buffer)
        return received, f"sha256:{hashed.hexdigest()}", first_byte

    def _count(self, received: int) -> None:
        with self.lock:
            self.body_bytes += received
        self.listener(self.number, self.body_bytes, self.total_bytes)

    def _die(self) -> None:
        """Reset every connection at once, as the kernel does for a killed process."""
        self.dead.set()
        with self.lock:
            wires = tuple(self.wires)
        for wire in wires:
            wire.reset()
        raise WireError("this client was cut off")


class _Workers:
    """A connection per thread of one pull."""

    def __init__(self, make: Callable[[], Wire]) -> None:
        self._make = make
        self._local = threading.local()

    def mine(self) -> Wire:
        """Return the calling thread's connection."""
        if not hasattr(self._local, "wire"):
            self._local.wire = self._make()
        wire: Wire = self._local.wire
        return wire
