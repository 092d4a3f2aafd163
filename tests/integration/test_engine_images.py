"""What the engine says of images that it cannot have."""

from __future__ import annotations

import http.server
import json
import threading
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmreg.engine import Engine


@pytest.fixture
def name() -> str:
    return f"test-engine-{uuid.uuid4().hex[:12]}"


def test_a_pull_from_a_port_that_refuses_fails(engine: Engine) -> None:
    with pytest.raises(VmregError, match=r"pull 127\.0\.0\.1:1/absent:1") as caught:
        engine.pull_image("127.0.0.1:1/absent:1")
    assert "connection refused" in caught.value.details
    assert engine.image_id("127.0.0.1:1/absent:1") is None


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 2,
            "digest": "sha256:" + "a" * 64,
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": 100,
                "digest": "sha256:" + "b" * 64,
            }
        ],
    }
).encode()


class _NoBlobs(http.server.BaseHTTPRequestHandler):
    """A registry that has a manifest and none of the blobs that it names."""

    def do_GET(self) -> None:
        found = self.path == "/v2/" or "/manifests/" in self.path
        body = MANIFEST if "/manifests/" in self.path else b"{}"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", json.loads(MANIFEST)["mediaType"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name is the base class's

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _registry_without_blobs() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NoBlobs)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_error_in_the_middle_of_a_pull_is_an_error(engine: Engine) -> None:
    with _registry_without_blobs() as address:
        reference = f"{address}/broken:1"
        with pytest.raises(VmregError, match=f"pulling {reference} failed") as caught:
            engine.pull_image(reference)
    assert caught.value.details
    assert engine.image_id(reference) is None


def test_what_is_no_archive_is_not_imported(engine: Engine, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(b"this is no tar file" * 100)
    with pytest.raises(VmregError, match="import"):
        engine.import_image(archive, reference=f"vmreg-test/{name}:1")
    assert engine.image_id(f"vmreg-test/{name}:1") is None
