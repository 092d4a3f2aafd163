"""Every byte leaves the hub once, and nobody waits for a whole blob."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.edge import ACCEPT
from vmreg import accesslog, waiting
from vmreg.store import blob_path

if TYPE_CHECKING:
    from bench.hub import Hub
    from bench.hublog import Mark
    from tests.integration.conftest import Registry

IMAGE = "library/node:20"
MOST = 1.01


def ratio(hub: Hub, mark: Mark) -> float:
    return hub.totals(mark).body_bytes / hub.images[IMAGE].unique_bytes


def largest_layer(hub: Hub) -> tuple[str, int]:
    blob = max(hub.images[IMAGE].blobs, key=lambda one: one.size)
    return blob.digest, blob.size


@pytest.mark.parametrize("clients", [1, 10])
def test_cold_pulls_at_once_cost_one(clients: int, registry: Registry, healthy_hub: Hub) -> None:
    mark = healthy_hub.mark()
    pulled: list[int] = []

    def pull() -> None:
        pulled.append(len(registry.edge.pull(IMAGE)))

    threads = [threading.Thread(target=pull) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert pulled == [len(healthy_hub.images[IMAGE].blobs)] * clients
    assert ratio(healthy_hub, mark) <= MOST


def test_pulls_in_a_row_cost_one_and_the_origin_counts_the_same(
    registry: Registry, healthy_hub: Hub
) -> None:
    mark = healthy_hub.mark()
    for _ in range(3):
        registry.edge.pull(IMAGE)
    assert ratio(healthy_hub, mark) <= MOST
    counted = sum(one.received_bytes for one in accesslog.origin(registry.log("origin.jsonl")))
    assert counted == pytest.approx(healthy_hub.totals(mark).body_bytes, rel=0.01)


def test_a_client_that_gives_up_wastes_nothing(registry: Registry, healthy_hub: Hub) -> None:
    healthy_hub.set_bandwidth(4_000_000)
    digest, size = largest_layer(healthy_hub)
    mark = healthy_hub.mark()
    connection = http.client.HTTPConnection("127.0.0.1", registry.edge.port, timeout=30)
    connection.request("GET", f"/v2/library/node/blobs/{digest}")
    answer = connection.getresponse()
    answer.read(size // 2)
    connection.close()

    registry.edge.pull(IMAGE)

    assert ratio(healthy_hub, mark) <= MOST


def test_a_shared_base_layer_is_not_fetched_for_the_next_repository(
    registry: Registry, healthy_hub: Hub
) -> None:
    registry.edge.pull(IMAGE)
    mark = healthy_hub.mark()
    digests = registry.edge.pull("library/python:3.12")
    shared = {one.digest for one in healthy_hub.images[IMAGE].blobs} & set(digests)
    assert shared
    time.sleep(0.3)
    fetched = [one.uri for one in healthy_hub.requests(mark)]
    assert not [uri for uri in fetched for digest in shared if digest in uri]


def test_the_first_byte_comes_long_before_the_last(registry: Registry, healthy_hub: Hub) -> None:
    healthy_hub.set_bandwidth(2_000_000)
    digest, size = largest_layer(healthy_hub)
    assert size > 2_000_000
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", registry.edge.port, timeout=30)
    connection.request("GET", f"/v2/library/node/blobs/{digest}")
    answer = connection.getresponse()
    answer.read(1)
    first_s = time.monotonic() - began
    answer.read()
    connection.close()
    assert first_s < (time.monotonic() - began) / 2


def test_a_warm_tag_check_is_a_free_head_and_then_costs_nothing(
    registry: Registry, healthy_hub: Hub
) -> None:
    registry.edge.pull(IMAGE)
    registry.stack.stop()  # forgets nothing but what is in memory
    registry.stack.start()
    time.sleep(0.3)
    mark = healthy_hub.mark()
    for _ in range(5):
        assert registry.edge.manifest("library/node", "20").status == 200
    time.sleep(0.3)
    counted = [one for one in healthy_hub.requests(mark) if one.role == "registry"]
    assert all(one.method == "HEAD" for one in counted)
    assert len(counted) <= 1


def test_a_ranged_request_gets_its_range(registry: Registry, healthy_hub: Hub) -> None:
    digest, size = largest_layer(healthy_hub)
    registry.edge.pull(IMAGE)
    stored = blob_path(registry.stack.state / "data", digest)
    waiting.until(lambda: stored.exists() or None, what="the blob on disk", timeout_s=10)
    answer = registry.edge.ask(
        f"/v2/library/node/blobs/{digest}", headers={"Range": f"bytes={size - 10}-"}
    )
    assert answer.status == 206
    assert answer.body == stored.read_bytes()[-10:]


def test_manifests_carry_their_type_and_digest(registry: Registry, healthy_hub: Hub) -> None:
    image = healthy_hub.images[IMAGE]
    for method in ("HEAD", "GET"):
        answer = registry.edge.manifest("library/node", "20", method=method)
        assert answer.headers["docker-content-digest"] == image.index_digest
        assert answer.headers["content-type"] in ACCEPT
    assert json.loads(answer.body)["manifests"]
