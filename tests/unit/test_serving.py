"""The proof that a cache serves, against servers that do and that do not."""

from __future__ import annotations

import http.client
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from vmreg import serving, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROBE = store.probe()
REPOSITORY = f"/v2/{store.PROBE_REPOSITORY}"
MANIFEST = f"{REPOSITORY}/manifests/{PROBE.manifest_digest}"
BLOB = f"{REPOSITORY}/blobs/{PROBE.layer_digest}"
HANG = b"(no answer)"


def ok(body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


SOUND = {MANIFEST: ok(PROBE.manifest), BLOB: ok(PROBE.layer)}


class Server(socketserver.ThreadingTCPServer):
    """Answers each path with the bytes that it was given for it."""

    daemon_threads = True

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ended = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        path = self.rfile.readline().decode().split()[1]
        server.asked.append((path, dict(http.client.parse_headers(self.rfile))))
        answer = server.answers[path]
        if answer == HANG:
            server.ended.wait()
        else:
            self.wfile.write(answer)


@contextmanager
def answering(changes: Mapping[str, bytes]) -> Iterator[Server]:
    with Server({**SOUND, **changes}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()


def test_a_cache_that_serves_the_probe_has_no_fault() -> None:
    with answering({}) as server:
        assert serving.fault("127.0.0.1", server.port) == ""
    assert [path for path, _ in server.asked] == [MANIFEST, BLOB]
    assert server.asked[0][1]["Accept"] == store.MANIFEST_TYPE


@pytest.mark.parametrize("path", [MANIFEST, BLOB], ids=["manifest", "blob"])
@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (
            b"HTTP/1.1 504 Gateway Time-out\r\nContent-Length: 4\r\n\r\nwhy\xff",
            lambda port, path: f"127.0.0.1:{port}{path} answered 504: why\ufffd",
        ),
        (
            b"HTTP/1.1 500 No\r\nContent-Length: 300\r\n\r\n" + b"x" * 300,
            lambda port, path: f"127.0.0.1:{port}{path} answered 500: {'x' * 200}",
        ),
        (
            ok(b""),
            lambda port, path: (
                f"127.0.0.1:{port}{path} answered with other bytes than its digest says"
            ),
        ),
        (HANG, lambda port, _: f"127.0.0.1:{port} does not answer: timed out"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            lambda port, _: (
                f"127.0.0.1:{port} does not answer: IncompleteRead(5 bytes read, 4 more expected)"
            ),
        ),
        (b"SSH-2.0-OpenSSH\r\n", lambda port, _: f"127.0.0.1:{port} does not answer: SSH-2.0-O"),
        (b"", lambda port, _: f"127.0.0.1:{port} does not answer: Remote end closed"),
    ],
    ids=["status", "long", "empty", "hang", "short", "foreign", "closed"],
)
def test_each_fault_is_told(path: str, answer: bytes, fault: Callable[[int, str], str]) -> None:
    with answering({path: answer}) as server:
        # Time enough for an answer that comes; the one that never comes ends it.
        found = serving.fault("127.0.0.1", server.port, timeout_s=0.3 if answer == HANG else 30)
    assert found.startswith(fault(server.port, path))
    assert len(found) <= len(f"127.0.0.1:{server.port}{path} answered 500: ") + 200


def test_where_nobody_listens_nothing_answers() -> None:
    with answering({}) as server:
        pass
    found = serving.fault("127.0.0.1", server.port)
    assert found.startswith(f"127.0.0.1:{server.port} does not answer: ")
    assert "refused" in found


def test_get_returns_whatever_the_status_is() -> None:
    with answering({"/x": b"HTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\nno"}) as server:
        found = serving.get(
            "127.0.0.1", server.port, "/x", timeout_s=30, headers={"Accept": "a/b", "Range": "r"}
        )
    assert found == (429, b"no")
    ((_, headers),) = server.asked
    assert (headers["Accept"], headers["Range"]) == ("a/b", "r")


def test_get_raises_when_nothing_comes() -> None:
    with answering({"/x": HANG}) as server, pytest.raises(TimeoutError):
        serving.get("127.0.0.1", server.port, "/x", timeout_s=0.2)
    with answering({"/x": b"?"}) as server, pytest.raises(http.client.HTTPException):
        serving.get("127.0.0.1", server.port, "/x", timeout_s=30)
