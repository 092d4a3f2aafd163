"""A misbehaving upstream: what was pulled stays quick, what was not fails clearly, then heals."""

from __future__ import annotations

import time
from http.client import HTTPException
from typing import TYPE_CHECKING

import pytest

from bench.hub import Fault, Hub
from vmreg.store import blob_path, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Registry

WARM, COLD = "library/node:20", "library/ruby:3.3"
FAULTS = (
    Fault.BLACKHOLE,
    Fault.REFUSE,
    Fault.RATE_LIMIT,
    Fault.SERVER_ERROR,
    Fault.STALL,
    Fault.TRUNCATE,
    Fault.WRONG_DIGEST,
    Fault.BAD_REDIRECT,
)


def stored_blobs_are_right(registry: Registry) -> bool:
    shards = (registry.stack.state / "data/docker/registry/v2/blobs/sha256").glob("*/*/data")
    return all(digest_of(data.read_bytes()) == f"sha256:{data.parent.name}" for data in shards)


@pytest.mark.parametrize("fault", FAULTS)
def test_warm_pulls_are_quick_and_cold_ones_fail_clearly_and_heal(
    fault: Fault, make_registry: Callable[..., Registry], healthy_hub: Hub
) -> None:
    registry = make_registry(tag_freshness="1s")
    registry.edge.pull(WARM)
    time.sleep(1.2)  # the tag is to be asked for again
    healthy_hub.inject(fault)

    began = time.monotonic()
    warm = registry.edge.manifest("library/node", "20")
    assert warm.status == 200
    assert time.monotonic() - began < 1
    blobs = registry.edge.pull(WARM)

    began = time.monotonic()
    with pytest.raises((AssertionError, OSError, HTTPException)):
        registry.edge.pull(COLD)
    assert time.monotonic() - began < 10
    assert all(blob_path(registry.stack.state / "data", digest).exists() for digest in blobs)
    assert stored_blobs_are_right(registry)

    healthy_hub.heal()
    time.sleep(2.2)  # longer than an error is remembered
    registry.edge.pull(COLD)
    assert stored_blobs_are_right(registry)


def test_a_self_signed_upstream_is_refused(
    make_registry: Callable[..., Registry], healthy_hub: Hub
) -> None:
    healthy_hub.inject(Fault.SELF_SIGNED)
    registry = make_registry()

    assert registry.edge.manifest("library/node", "20").status in {502, 504}
    assert "certificate verify error" in registry.stack.engine.logs(
        registry.stack.settings.proxy_name, tail=200
    )


def test_a_hostile_realm_gets_no_credentials(
    make_registry: Callable[..., Registry], healthy_hub: Hub
) -> None:
    healthy_hub.inject(Fault.HOSTILE_REALM)
    mark = healthy_hub.mark()
    registry = make_registry()

    registry.edge.pull(COLD)  # the challenge that storage sees is the egress's own

    assert not [one for one in healthy_hub.requests(mark) if one.role == "foreign"]


def test_a_moved_tag_is_noticed_after_the_freshness_time(
    make_registry: Callable[..., Registry], healthy_hub: Hub
) -> None:
    registry = make_registry(tag_freshness="1s")
    before = registry.edge.manifest("library/node", "20").headers["docker-content-digest"]
    healthy_hub.move_tag("library/node:20", "library/python:3.12")
    time.sleep(1)

    def now() -> str:
        return registry.edge.manifest("library/node", "20").headers["docker-content-digest"]

    assert now() in {before, healthy_hub.images["library/python:3.12"].index_digest}
    deadline = time.monotonic() + 10
    while now() == before and time.monotonic() < deadline:
        time.sleep(1)
    assert now() == healthy_hub.images["library/python:3.12"].index_digest
