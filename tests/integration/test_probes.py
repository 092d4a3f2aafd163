"""A fresh probe is served by the cache, asks no upstream for anything, and leaves nothing."""

from __future__ import annotations

import http.client
import os
from typing import TYPE_CHECKING

import pytest

from bench.hub import Fault
from vmreg import accesslog, probes, serving, store
from vmreg.stack import owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.hub import Hub
    from tests.integration.conftest import Registry

UNKNOWN = http.client.NOT_FOUND


def given() -> tuple[int, int] | None:
    return owner() if os.geteuid() == 0 else None


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def get(registry: Registry, path: str) -> tuple[int, bytes]:
    port = registry.stack.settings.registry.port
    return serving.get("127.0.0.1", port, f"/v2/{store.PROBE_REPOSITORY}/{path}", timeout_s=10)


@pytest.mark.parametrize("reachable", [True, False])
def test_a_fresh_probe_needs_no_upstream(
    make_registry: Callable[..., Registry], healthy_hub: Hub, *, reachable: bool
) -> None:
    registry = make_registry(repositories="library/*")
    data = registry.stack.state / "data"
    if not reachable:
        healthy_hub.inject(Fault.BLACKHOLE)
    mark = healthy_hub.mark()
    before = files(data), files(registry.stack.state / "fetch")
    probe = probes.fresh()
    assert get(registry, f"manifests/{probe.tag}-absent")[0] == UNKNOWN
    probes.put(data, probe, owner=given())
    try:
        parts = [get(registry, f"manifests/{probe.tag}")]
        parts += [get(registry, f"blobs/{one}") for one in list(probe.sizes_bytes)[1:]]
    finally:
        probes.remove(data, probe.tag)
    image = probe.image
    assert parts == [(http.client.OK, one) for one in (image.manifest, image.config, image.layer)]
    assert list(healthy_hub.requests(mark)) == []
    asked = [one.uri for one in accesslog.edge(registry.log("edge.jsonl"))]
    assert f"/v2/{store.PROBE_REPOSITORY}/manifests/{probe.tag}" in asked
    assert get(registry, f"manifests/{probe.tag}")[0] == UNKNOWN
    assert (files(data), files(registry.stack.state / "fetch")) == before
    assert serving.fault("127.0.0.1", registry.stack.settings.registry.port) == ""
