"""The plain HTTP client against a real registry in a container."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
import uuid
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bench.manifests import Target, describe
from bench.puller import pull, pull_many
from bench.wire import Endpoint
from vmreg.engine import ContainerSpec, Engine, PublishedPort
from vmreg.errors import VmregError
from vmreg.images import COMPONENTS, ensure
from vmreg.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = (3_000_000, 700_000, 40)
CONFIG = b"""\
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}
http: {addr: ":5000"}
"""
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


class Registry:
    """A registry with one image in it: ``library/tiny:1``, a multi-arch index."""

    def __init__(self, url: str) -> None:
        self.url = url
        rng = random.Random(7)  # noqa: S311 - the same bytes in every run
        self.layers = [rng.randbytes(size) for size in LAYERS]
        self.config = b'{"architecture":"amd64","os":"linux"}'

    def push(self) -> None:
        for blob in (self.config, *self.layers):
            self._push_blob(blob)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(self.config, "application/vnd.docker.container.image.v1+json"),
            "layers": [
                _descriptor(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")
                for layer in self.layers
            ],
        }
        self.manifest = text = json.dumps(manifest).encode()
        self._put_manifest(_digest(text), text, MANIFEST)
        entry = {
            **_descriptor(text, MANIFEST),
            "platform": {"architecture": "amd64", "os": "linux"},
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        self.index = json.dumps(index).encode()
        self._put_manifest("1", self.index, INDEX)

    def _push_blob(self, blob: bytes) -> None:
        location = _send("POST", f"{self.url}/v2/library/tiny/blobs/uploads/")
        _send("PUT", f"{location}&digest={_digest(blob)}", blob, "application/octet-stream")

    def _put_manifest(self, reference: str, text: bytes, kind: str) -> None:
        _send("PUT", f"{self.url}/v2/library/tiny/manifests/{reference}", text, kind)


def _send(method: str, url: str, body: bytes = b"", kind: str = "") -> str:
    """Send a request and return the ``Location`` that the answer names."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request(method, path, body=body, headers={"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status < 300, text
    return answer.headers.get("Location", "")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(data: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": _digest(data)}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine.connect(owner=f"test-puller-{uuid.uuid4().hex[:8]}")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def registry(engine: Engine) -> Iterator[Registry]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    name = f"{engine.owner}-registry"
    engine.create(
        ContainerSpec(
            name=name,
            image=ensure(engine, recipe=COMPONENTS),
            command=("docker-registry", "serve", "/etc/docker/registry/config.yml"),
            ports=(PublishedPort(container=5000, host=port),),
        )
    )
    try:
        engine.put_file(name, "/etc/docker/registry/config.yml", CONFIG)
        engine.start(name)
        made = Registry(f"http://127.0.0.1:{port}")
        until(
            lambda: _answers(made.url),
            what="an answer of the registry",
            timeout_s=20,
            evidence=lambda: engine.logs(name),
        )
        made.push()
        yield made
    finally:
        engine.remove(name)


def _answers(url: str) -> bool | None:
    try:
        _send("GET", f"{url}/v2/")
    except (OSError, HTTPException):
        return None
    return True


def _target(registry: Registry, reference: str = "1") -> Target:
    return Target(
        endpoint=Endpoint(url=registry.url), repository="library/tiny", reference=reference
    )


def test_pull_reads_every_blob_and_checks_it(registry: Registry) -> None:
    heard: list[tuple[int, int, int]] = []
    done = pull(_target(registry), listener=lambda *report: heard.append(report))
    wanted = [registry.config, *registry.layers]
    assert [blob.digest for blob in done.blobs] == [_digest(blob) for blob in wanted]
    assert [blob.size_bytes for blob in done.blobs] == [len(blob) for blob in wanted]
    assert done.matches
    assert done.manifest_digest == _digest(registry.index)
    assert all(0 < blob.first_byte_s <= blob.seconds <= done.seconds for blob in done.blobs)
    image_bytes = sum(len(blob) for blob in wanted)
    everything = image_bytes + len(registry.index) + len(registry.manifest)
    assert done.body_bytes == everything
    assert max(heard) == (0, everything, everything)


def test_many_clients_get_one_result_each(registry: Registry) -> None:
    results = pull_many(_target(registry), clients=5)
    assert [one.client for one in results] == [0, 1, 2, 3, 4]
    assert all(one.matches and len(one.blobs) == 4 and not one.abandoned for one in results)


def test_the_first_client_dies_and_the_others_finish(registry: Registry) -> None:
    results = pull_many(_target(registry), clients=3, first_dies_at=0.5)
    first, *others = results
    assert first.abandoned
    assert _digest(registry.layers[0]) not in {blob.digest for blob in first.blobs}
    assert first.body_bytes >= LAYERS[0] // 2
    assert all(one.matches and len(one.blobs) == 4 and not one.abandoned for one in others)


def test_an_absent_tag_is_an_error_that_names_it(registry: Registry) -> None:
    with pytest.raises(VmregError) as caught:
        pull(_target(registry, "absent"))
    assert "library/tiny:absent" in caught.value.brief
    assert "status 404" in caught.value.details


def test_a_corrupt_blob_does_not_match(registry: Registry, engine: Engine) -> None:
    digest = _digest(registry.layers[2]).removeprefix("sha256:")
    path = f"/var/lib/docker-registry/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
    name = f"{engine.owner}-registry"
    engine.put_file(name, path, b"x" * LAYERS[2])
    try:
        done = pull(_target(registry))
    finally:
        engine.put_file(name, path, registry.layers[2])
    assert [blob.matches for blob in done.blobs] == [True, True, True, False]
    assert not done.matches


def test_a_failed_client_does_not_keep_the_others_from_ending(registry: Registry) -> None:
    seen = threading.Event()
    with pytest.raises(VmregError):
        pull_many(_target(registry, "absent"), clients=3, listener=lambda *_: seen.set())
    assert not seen.is_set()


def test_a_closed_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    target = Target(
        endpoint=Endpoint(url=f"http://127.0.0.1:{port}"), repository="a/b", reference="1"
    )
    with pytest.raises(VmregError) as caught:
        pull(target)
    assert "refused" in caught.value.details


def test_describe_adds_every_size_once(registry: Registry) -> None:
    image = describe(_target(registry))
    blobs = [registry.config, *registry.layers]
    assert [blob.size_bytes for blob in image.blobs] == [len(blob) for blob in blobs]
    assert image.tag_digest == _digest(registry.index)
    assert image.config_digest == _digest(registry.config)
    assert image.unique_bytes == len(registry.index) + len(registry.manifest) + sum(
        len(blob) for blob in blobs
    )
