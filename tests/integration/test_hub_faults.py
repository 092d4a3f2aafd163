"""Every way in which the embedded hub misbehaves, as its clients see it."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bench.hub import FOREIGN_HOST, HUB_HOSTS, Fault, Hub
from bench.hubd.options import CDN_HOST, REGISTRY_HOST
from tests.integration.hubs import NODE, largest_address, logged, sha256
from vmreg import waiting
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.hubclient import Connection


@pytest.fixture
def hub(hub_alone: Hub) -> Hub:
    return hub_alone


@pytest.fixture
def kept_open(hub: Hub) -> Iterator[Connection]:
    """A connection to the registry that has answered once before."""
    connection = hub.client(timeout_s=1).connect(REGISTRY_HOST)
    assert connection.ask("GET", "/v2/").status == 401
    yield connection
    connection.close()


class TestFaults:
    def test_black_hole(self, hub: Hub, kept_open: Connection) -> None:
        hub.inject(Fault.BLACKHOLE)
        with pytest.raises(TimeoutError):
            hub.client(timeout_s=0.5).ask(REGISTRY_HOST, "/v2/")
        with pytest.raises(TimeoutError):
            kept_open.ask("GET", "/v2/")
        hub.heal()
        assert hub.client().ask(REGISTRY_HOST, "/v2/").status == 401

    def test_refuse(self, hub: Hub, kept_open: Connection) -> None:
        hub.inject(Fault.REFUSE)
        with pytest.raises(ConnectionRefusedError):
            hub.client().ask(REGISTRY_HOST, "/v2/")
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            kept_open.ask("GET", "/v2/")
        hub.heal()
        assert hub.client().ask(REGISTRY_HOST, "/v2/").status == 401

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_rate_limit(self, hub: Hub, method: str) -> None:
        hub.inject(Fault.RATE_LIMIT)
        answer = hub.client().manifest(NODE, "20", method=method)
        assert answer.status == 429
        assert answer.headers["ratelimit-remaining"] == "0;w=21600"
        assert int(answer.headers["retry-after"]) > 0
        assert largest_address(hub)[0]
        hub.heal()
        assert hub.client().manifest(NODE, "20", method=method).status == 200

    def test_server_error(self, hub: Hub, kept_open: Connection) -> None:
        hub.inject(Fault.SERVER_ERROR)
        assert [hub.client().ask(host, "/v2/").status for host in HUB_HOSTS] == [503] * 3
        assert kept_open.ask("GET", "/v2/").status == 503
        hub.heal()
        assert kept_open.ask("GET", "/v2/").status == 401

    def test_stall(self, hub: Hub) -> None:
        address, size = largest_address(hub)
        token = hub.client().token(NODE)
        hub.inject(Fault.STALL)
        client = hub.client(timeout_s=0.5)
        with pytest.raises(TimeoutError):
            client.manifest(NODE, "20", method="HEAD", token=token)
        with pytest.raises(TimeoutError):
            client.fetch(address, method="HEAD")
        parts, received = urlsplit(address), 0
        connection = client.connect(parts.netloc)
        connection.request("GET", f"{parts.path}?{parts.query}")
        body = connection.getresponse()
        while received < size // 2:
            received += len(body.read1(65536))
        with pytest.raises(TimeoutError):
            body.read1(1)
        connection.close()
        hub.heal()
        assert len(hub.client().fetch(address).body) == size

    def test_truncate(self, hub: Hub) -> None:
        address, size = largest_address(hub)
        hub.inject(Fault.TRUNCATE)
        with pytest.raises(http.client.IncompleteRead) as caught:
            hub.client().fetch(address)
        assert len(caught.value.partial) == size // 2
        hub.heal()
        assert len(hub.client().fetch(address).body) == size

    def test_wrong_digest_of_a_blob(self, hub: Hub) -> None:
        address, size = largest_address(hub)
        right = hub.client().fetch(address).body
        hub.inject(Fault.WRONG_DIGEST)
        wrong = hub.client().fetch(address).body
        assert [at for at in range(size) if right[at] != wrong[at]] == [size // 2]
        middle = f"bytes={size // 2 - 10}-{size // 2 + 9}"
        part = hub.client().fetch(address, headers={"Range": middle})
        assert part.status == 206
        assert part.body == wrong[size // 2 - 10 : size // 2 + 10]

    def test_wrong_digest_of_a_manifest(self, hub: Hub) -> None:
        digest = hub.images[f"{NODE}:20"].index_digest
        right = hub.client().manifest(NODE, digest)
        hub.inject(Fault.WRONG_DIGEST)
        for reference in (digest, "20"):
            wrong = hub.client().manifest(NODE, reference)
            assert len(wrong.body) == len(right.body)
            assert wrong.headers["docker-content-digest"] == digest != sha256(wrong.body)
            assert json.loads(wrong.body)["manifests"]

    def test_self_signed(self, hub: Hub, kept_open: Connection) -> None:
        hub.inject(Fault.SELF_SIGNED)
        with pytest.raises(ssl.SSLCertVerificationError):
            hub.client().ask(REGISTRY_HOST, "/v2/")

        def closed() -> bool | None:
            try:
                kept_open.ask("GET", "/v2/")
            except ssl.SSLCertVerificationError:
                return True  # closed by the hub, and http.client opened it again
            except (ConnectionError, http.client.HTTPException):
                kept_open.close()
            return None

        waiting.until(closed, what="the end of the old connection", timeout_s=2)
        hub.heal()
        assert hub.client().ask(REGISTRY_HOST, "/v2/").status == 401

    def test_hostile_realm(self, hub: Hub, kept_open: Connection) -> None:
        hub.inject(Fault.HOSTILE_REALM)
        challenge = kept_open.ask("GET", "/v2/").headers["www-authenticate"]
        assert f'realm="https://{FOREIGN_HOST}/token"' in challenge
        mark = hub.mark()
        assert hub.client().ask(FOREIGN_HOST, "/token").status == 200
        logged(hub, mark, 1)
        assert [request.role for request in hub.requests(mark)] == ["foreign"]

    def test_bad_redirect(self, hub: Hub) -> None:
        hub.inject(Fault.BAD_REDIRECT)
        addresses = [urlsplit(largest_address(hub)[0]) for _ in range(2)]
        assert {(one.scheme, one.netloc) for one in addresses} == {
            ("http", CDN_HOST),
            ("https", FOREIGN_HOST),
        }

    def test_following_a_bad_redirect_is_seen(self, hub: Hub) -> None:
        hub.inject(Fault.BAD_REDIRECT)
        address = next(
            found
            for found in (largest_address(hub)[0] for _ in range(2))
            if found.startswith("http://")
        )
        mark, parts = hub.mark(), urlsplit(address)
        plain = http.client.HTTPConnection(hub.address, timeout=5)
        plain.request("GET", f"{parts.path}?{parts.query}", headers={"Host": CDN_HOST})
        assert plain.getresponse().status == 200
        plain.close()
        logged(hub, mark, 1)
        assert [request.role for request in hub.requests(mark)] == ["foreign"]


def test_a_moved_tag_names_another_image_until_it_is_put_back(hub: Hub) -> None:
    node, python = hub.images[f"{NODE}:20"], hub.images["library/python:3.12"]
    client = hub.client()
    hub.move_tag(node.reference, python.reference)
    try:
        moved = client.manifest(NODE, "20")
        assert moved.headers["docker-content-digest"] == python.index_digest
        assert client.manifest(NODE, python.manifest_digest).status == 200
        assert client.blob_address(NODE, python.blobs[-1].digest)
    finally:
        hub.move_tag(node.reference, node.reference)
    assert client.manifest(NODE, "20").headers["docker-content-digest"] == node.index_digest


def test_a_tag_cannot_move_to_nowhere(hub: Hub) -> None:
    with pytest.raises(VmregError, match="no such tag"):
        hub.move_tag("library/node:20", "library/node:99")
