"""The HTTP service behind nginx: plumbing around the decisions, and the bodies of faults."""

from __future__ import annotations

import re
import socketserver
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from bench.hubd.answers import Answer, Request
from bench.hubd.options import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from bench.hubd.decisions import Decider

SOCKET = "/run/hub/service.sock"
CHUNK_BYTES = 1 << 16
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Faults:
    """The fault that is on, and a way to wait until it is over."""

    def __init__(self) -> None:
        """Begin without a fault."""
        self._changed = threading.Condition()
        self._fault = Fault.NONE

    def current(self) -> Fault:
        """Return the fault that is on."""
        return self._fault

    def set(self, fault: Fault) -> None:
        """Turn a fault on, or all of them off with ``Fault.NONE``."""
        with self._changed:
            self._fault = fault
            self._changed.notify_all()

    def wait_over(self, fault: Fault) -> None:
        """Block until another fault, or none, is on."""
        with self._changed:
            self._changed.wait_for(lambda: self._fault is not fault)


@dataclass(frozen=True, kw_only=True)
class Span:
    """The bytes of a file that a request asks for: the first, and the one after the last."""

    start: int
    end: int
    partial: bool

    @classmethod
    def of(cls, header: str, size: int) -> Span:
        """Read a ``Range`` header; what is not understood means the whole file.

        >>> Span.of("bytes=2-5", 10)
        Span(start=2, end=6, partial=True)
        """
        found = RANGE.fullmatch(header)
        if found is None or found.groups() == ("", ""):
            return cls(start=0, end=size, partial=False)
        first, last = found.groups()
        if not first:
            return cls(start=max(0, size - int(last)), end=size, partial=True)
        return cls(
            start=min(size, int(first)),
            end=min(size, int(last) + 1) if last else size,
            partial=True,
        )


class Service(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves on the socket that nginx asks, one thread per connection."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, decider: Decider, faults: Faults) -> None:
        """Listen at once; :meth:`serve_forever` answers."""
        self.decider = decider
        self.faults = faults
        super().__init__(SOCKET, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    wbufsize = CHUNK_BYTES

    def do_GET(self) -> None:  # the base class looks for these names
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            role=self.headers.get("X-Role", ""),
            path=path,
            query=query,
            authorization=self.headers.get("Authorization", ""),
            client=self.headers.get("X-Client", ""),
            range=self.headers.get("Range", ""),
        )
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.decider.decide(request)
        if answer.hang:
            self._hang(self.server.faults.current())
        elif answer.spoiled is not None:
            self._spoil(answer, request, answer.spoiled)
        else:
            self._send(answer)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as above

    def log_message(self, *_: object) -> None:
        """Say nothing: nginx keeps the log."""

    def _hang(self, fault: Fault) -> None:
        self.wfile.flush()
        self.server.faults.wait_over(fault)
        self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.hand_over:
            self.send_header("X-Accel-Redirect", answer.hand_over)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _spoil(self, answer: Answer, request: Request, file: Path) -> None:
        """Send a body that stops, ends early, or has one byte changed in its file's middle."""
        size = file.stat().st_size
        span = Span.of(request.range, size)
        self.send_response(206 if span.partial else 200)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if span.partial:
            self.send_header("Content-Range", f"bytes {span.start}-{span.end - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(span.end - span.start))
        self.end_headers()
        whole = answer.fault is Fault.WRONG_DIGEST
        end = span.end if whole else (span.start + span.end) // 2
        self._copy(file, span.start, end, flip_at=size // 2 if whole else -1)
        if answer.fault is Fault.STALL:
            self._hang(answer.fault)
        self.close_connection = not whole

    def _copy(self, file: Path, start: int, end: int, *, flip_at: int) -> None:
        with file.open("rb") as source:
            source.seek(start)
            while start < end:
                chunk = bytearray(source.read(min(CHUNK_BYTES, end - start)))
                if start <= flip_at < start + len(chunk):
                    chunk[flip_at - start] ^= 0xFF
                self.wfile.write(chunk)
                start += len(chunk)
