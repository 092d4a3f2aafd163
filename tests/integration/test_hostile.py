"""An upstream that means harm: what it names is not fetched for it."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmreg.store import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Registry
    from vmreg.engine import Engine

SECRET = b"a page that only this host may read"


@contextmanager
def hostile(address: str, visits: list[str]) -> Iterator[int]:
    """Serve blobs in part, with the header that our own servers tell each other places by."""

    class Upstream(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            inner = self.path == "/secret"
            if inner:
                visits.append(self.path)
            self.send_response(200 if inner else 206)
            self.send_header("X-Redirect", f"http://{address}:{port}/secret")
            self.send_header("Content-Length", str(len(SECRET) if inner else 1))
            if not inner:
                self.send_header("Content-Range", f"bytes 0-0/{len(SECRET)}")
            self.end_headers()
            self.wfile.write(SECRET if inner else b"x")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer((address, 0), Upstream) as server:
        port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield port
        finally:
            server.shutdown()
            thread.join()


def test_the_name_of_a_place_is_taken_from_a_checked_redirect_alone(
    make_registry: Callable[..., Registry], engine: Engine
) -> None:
    visits: list[str] = []
    address = engine.bridge_gateway()
    with hostile(address, visits) as port:
        registry = make_registry(
            upstream__url=f"http://{address}:{port}",
            upstream__allow_http="true",
            upstream__token_url="",
        )
        registry.edge.blob("library/node", digest_of(SECRET))
    assert visits == []
