"""HTTP to the cache's edge, as a VM's dockerd speaks it: a few connections, kept alive."""

from __future__ import annotations

import http.client
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from vmreg import store
from vmreg.manifests import ACCEPT, DIGEST, LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

OK = http.HTTPStatus.OK
NOT_FOUND = http.HTTPStatus.NOT_FOUND
TOO_MANY = http.HTTPStatus.TOO_MANY_REQUESTS
NO_ANSWER = (http.HTTPStatus.BAD_GATEWAY, http.HTTPStatus.GATEWAY_TIMEOUT)
AGENT = "vmreg-prewarm"
BUFFER_BYTES = 256 * 1024
ERROR_BYTES = 2_000
_HEADERS = {"Accept": ACCEPT, "Accept-Encoding": "identity", "User-Agent": AGENT}


class FetchError(Exception):
    """Why an image cannot be had, in a sentence that a person reads beside the image's name."""


class Edge:
    """Connections to an edge, one for each thread that asks, all of which any thread may cut."""

    def __init__(self, address: str, port: int, *, timeout_s: float) -> None:
        """Name the edge; nothing is sent yet.

        :param timeout_s: seconds of silence after which a request has failed.
        """
        self._place = address, port
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()
        self.is_cut = False

    def digest(self, repository: str, tag: str) -> str:
        """Return what a tag stands for now; the hub does not count the request.

        :raises FetchError: there is no such tag, or no answer.
        """
        answer = self._ask("HEAD", f"/v2/{repository}/manifests/{tag}")
        answer.read()
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not DIGEST.fullmatch(digest):
            raise FetchError(f"the cache says that {tag} stands for {digest!r}")
        return digest

    def manifest(self, repository: str, digest: str) -> bytes:
        """Return a manifest or an index, checked against its digest.

        :raises FetchError: it cannot be had, or is not what its digest says.
        """
        answer = self._ask("GET", f"/v2/{repository}/manifests/{digest}")
        try:
            body = answer.read(LIMIT_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        if answer.length:
            self._drop()
            raise FetchError(f"the manifest {digest} is larger than {LIMIT_BYTES} bytes")
        if store.digest_of(body) != digest:
            raise FetchError(f"the cache sent other bytes than {digest} says")
        return body

    def blob(self, repository: str, digest: str, listener: Callable[[int], None]) -> int:
        """Fetch a blob, check its digest, throw it away, and return its size in bytes.

        :param listener: called with the size of each piece as it comes.
        :raises FetchError: it cannot be had, ended early, or is not what its digest says.
        """
        import hashlib  # noqa: PLC0415 - nothing else here hashes as it goes

        answer = self._ask("GET", f"/v2/{repository}/blobs/{digest}")
        hashed, size_bytes = hashlib.sha256(), 0
        buffer = memoryview(bytearray(BUFFER_BYTES))
        try:
            while got := answer.readinto(buffer):
                hashed.update(buffer[:got])
                size_bytes += got
                listener(got)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        if answer.length:  # readinto() does not tell an early end from a late one
            self._drop()
            raise FetchError(
                f"the transfer of {digest} ended {answer.length} bytes early; try again"
            )
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise FetchError(f"the cache sent other bytes than {digest} says")
        return size_bytes

    def cut(self) -> None:
        """Break every connection off, now and in future; a second call is harmless."""
        with self._lock:
            self.is_cut = True
            connections = tuple(self._open)
        for connection in connections:
            sock = connection.sock
            if sock is None:
                continue
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed in the meantime

    def close(self) -> None:
        """Close the connections, once no thread uses them; a second call is harmless."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            connection.close()

    def _ask(self, method: str, path: str) -> http.client.HTTPResponse:
        reused = getattr(self._local, "connection", None) is not None
        try:
            return self._send(method, path)
        except (OSError, http.client.HTTPException) as error:
            lost = self._lost(error)
            if not reused or self.is_cut:
                raise lost from error
        # The edge closed an idle connection in the meantime: one new connection is fair.
        try:
            return self._send(method, path)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error

    def _send(self, method: str, path: str) -> http.client.HTTPResponse:
        connection: http.client.HTTPConnection | None
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(*self._place, timeout=self._timeout_s)
            connection.connect()
            self._local.connection = connection
            with self._lock:
                self._open.add(connection)
        if self.is_cut:
            raise ConnectionAbortedError("interrupted")
        connection.request(method, path, headers=_HEADERS)
        answer = connection.getresponse()
        if answer.status != OK:
            body = answer.read(ERROR_BYTES)
            self._drop()  # what is left of the body must not meet the next request
            raise FetchError(
                why(
                    answer.status,
                    body,
                    retry_after=answer.headers.get("Retry-After", ""),
                    now=datetime.now(UTC),
                )
            )
        return answer

    def _lost(self, error: Exception) -> FetchError:
        self._drop()
        if self.is_cut:
            return FetchError("interrupted")
        address, port = self._place
        return FetchError(f"the cache at {address}:{port} broke off: {error or repr(error)}")

    def _drop(self) -> None:
        connection: http.client.HTTPConnection | None
        connection = getattr(self._local, "connection", None)
        if connection is None:
            return
        self._local.connection = None
        with self._lock:
            self._open.discard(connection)
        connection.close()


def why(status: int, body: bytes, *, retry_after: str, now: datetime) -> str:
    """Return what an answer other than 200 means for whoever wanted an image.

    >>> why(429, b"", retry_after="60", now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    "429: the upstream's limit on pulls is used up; try again in 60 s, at 03:05:05 UTC"
    """
    if status == NOT_FOUND:
        return "404: the upstream has no such image, or does not show it to everybody"
    if status == TOO_MANY:
        return f"429: the upstream's limit on pulls is used up; {_when(retry_after, now)}"
    if status in NO_ANSWER:
        return f"{status}: it is not in the cache, and the upstream does not answer"
    return f"{status}: {' '.join(body[:200].decode(errors='replace').split())}".rstrip(": ")


def _when(wait: str, now: datetime) -> str:
    try:
        at = now + timedelta(seconds=int(wait)) if wait.isdecimal() else parsedate_to_datetime(wait)
    except (ValueError, TypeError, OverflowError):
        return "it does not say when to try again"
    seconds = max(0, round((at - now).total_seconds()))
    return f"try again in {seconds} s, at {at.astimezone(UTC):%H:%M:%S} UTC"
