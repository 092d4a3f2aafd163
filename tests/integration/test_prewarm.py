"""Prewarming against the real cache and the embedded hub: once, checked, and of use offline."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bench.hub import Fault, Hub
from bench.manifests import Target
from bench.puller import pull as pull_like_dockerd
from bench.wire import Endpoint
from vmreg.errors import NotRunningError, VmregError
from vmreg.prewarm.fetching import pull
from vmreg.prewarm.images import choose
from vmreg.prewarm.progress import Bars, Lines, Silent
from vmreg.prewarm.references import from_command_line
from vmreg.store import blob_path, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Registry
    from vmreg.prewarm.results import Image, Prewarmed

NODE, PYTHON = "library/node:20", "library/python:3.12"
AMD64 = choose(["linux/amd64"])


def prewarm(registry: Registry, *names: str, platforms: tuple[str, ...] = ()) -> Prewarmed:
    choice = choose(platforms) if platforms else AMD64
    return pull(registry.stack, from_command_line(names), choice=choice)


def of(done: Prewarmed, reference: str) -> Image:
    return next(one for one in done.images if one.reference == reference)


def blobs_of(hub: Hub, *references: str) -> dict[str, int]:
    return {blob.digest: blob.size for name in references for blob in hub.images[name].blobs}


def test_images_that_share_layers_come_once_and_then_serve_without_the_hub(
    registry: Registry, healthy_hub: Hub
) -> None:
    wanted = blobs_of(healthy_hub, NODE, PYTHON)
    mark = healthy_hub.mark()

    first = prewarm(registry, "node:20", "python:3.12")

    first.raise_failures()
    assert first.fetched_bytes == sum(wanted.values())
    # The cache asks for each blob's size with a slice of one byte.
    assert healthy_hub.totals(mark).blob_bytes == sum(wanted.values()) + len(wanted)
    for name, known in (("node:20", NODE), ("python:3.12", PYTHON)):
        assert of(first, name).digest == healthy_hub.images[known].index_digest
        assert of(first, name).total_bytes == healthy_hub.images[known].unique_bytes
        assert of(first, name).platforms == ("linux/amd64",)
    data = registry.stack.state / "data"
    assert all(blob_path(data, digest).stat().st_size == size for digest, size in wanted.items())

    mark = healthy_hub.mark()
    second = prewarm(registry, "node:20", "python:3.12")

    second.raise_failures()
    assert second.fetched_bytes == 0
    assert healthy_hub.totals(mark).blob_bytes == 0
    assert healthy_hub.totals(mark).quota_requests == 0
    assert second.quota.before is not None
    assert second.quota.after is not None
    assert second.quota.before.remaining == second.quota.after.remaining

    healthy_hub.inject(Fault.REFUSE)
    endpoint = Endpoint(url=f"http://127.0.0.1:{registry.edge.port}")
    for repository, tag in (name.split(":") for name in (NODE, PYTHON)):
        target = Target(endpoint=endpoint, repository=repository, reference=tag)
        pulled = pull_like_dockerd(target)
        assert pulled.matches
        assert {blob.digest for blob in pulled.blobs} <= set(wanted)


def test_the_quota_is_told_before_and_after(registry: Registry, healthy_hub: Hub) -> None:
    mark = healthy_hub.mark()

    done = prewarm(registry, "busybox:1", "ruby:3.3")

    done.raise_failures()
    spent = healthy_hub.totals(mark).quota_requests
    assert spent == 4  # two images, an index and a manifest each
    assert done.quota.before is not None
    assert done.quota.after is not None
    assert (done.quota.before.remaining or 0) - (done.quota.after.remaining or 0) == spent


def test_platforms_are_chosen(registry: Registry, healthy_hub: Hub) -> None:
    amd64 = set(blobs_of(healthy_hub, NODE))
    data = registry.stack.state / "data"

    foreign = prewarm(registry, "node:20", platforms=("linux/arm64",))

    foreign.raise_failures()
    assert of(foreign, "node:20").platforms == ("linux/arm64",)
    assert not any(blob_path(data, digest).exists() for digest in amd64)

    every = prewarm(registry, "node:20", platforms=("all",))

    every.raise_failures()
    assert of(every, "node:20").platforms == ("linux/amd64", "linux/arm64")
    assert all(blob_path(data, digest).exists() for digest in amd64)

    none = prewarm(registry, "node:20", "hello-probe", platforms=("linux/s390x",))

    assert of(none, "node:20").error == (
        "there is none for linux/s390x; there is linux/amd64, linux/arm64"
    )
    assert (
        of(none, "hello-probe:latest").error == "it is for linux/amd64 alone, not for linux/s390x"
    )


def test_an_image_without_an_index_and_one_by_digest(registry: Registry, healthy_hub: Hub) -> None:
    digest = healthy_hub.images["library/ruby:3.3"].index_digest

    done = prewarm(registry, "hello-probe", f"ruby@{digest}")

    done.raise_failures()
    assert of(done, "hello-probe:latest").platforms == ("linux/amd64",)
    assert of(done, "hello-probe:latest").fetched_bytes == sum(
        blobs_of(healthy_hub, "library/hello-probe:latest").values()
    )
    assert of(done, f"ruby@{digest}").digest == digest
    assert done.fetched_bytes == sum(one.fetched_bytes for one in done.images)


def test_one_wrong_image_stops_no_other(
    make_registry: Callable[..., Registry], healthy_hub: Hub
) -> None:
    registry = make_registry(repositories="library/*")
    assert healthy_hub.images

    done = prewarm(registry, "nonesuch:1", "ghcr.io/acme/tool:2", "busybox:1", "acme/private")

    assert of(done, "busybox:1").error == ""
    assert of(done, "busybox:1").fetched_bytes > 0
    assert [one.reference for one in done.skipped] == ["ghcr.io/acme/tool:2", "acme/private:latest"]
    assert "ghcr.io" in done.skipped[0].reason
    assert "docker_registry.repositories" in done.skipped[1].reason
    with pytest.raises(VmregError) as caught:
        done.raise_failures()
    assert caught.value.brief == "1 of 2 images could not be fetched"
    assert caught.value.details.startswith("  nonesuch:1: 404: ")


def test_a_used_up_limit_says_when_to_try_again(registry: Registry, healthy_hub: Hub) -> None:
    prewarm(registry, "busybox:1").raise_failures()
    healthy_hub.inject(Fault.RATE_LIMIT)

    done = prewarm(registry, "node:20", "busybox:1")

    assert of(done, "node:20").error.startswith("429: ")
    assert "try again in 60 s, at " in of(done, "node:20").error
    assert of(done, "busybox:1").error == ""


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.TRUNCATE, Fault.WRONG_DIGEST])
def test_a_broken_transfer_is_told_and_the_next_call_heals(
    fault: Fault, registry: Registry, healthy_hub: Hub
) -> None:
    prewarm(registry, "hello-probe").raise_failures()  # the hub is healthy so far
    healthy_hub.inject(fault)

    broken = prewarm(registry, "ruby:3.3", "hello-probe")

    assert of(broken, "ruby:3.3").error
    assert of(broken, "hello-probe:latest").error == ""
    healthy_hub.heal()
    time.sleep(2.2)  # longer than an error is remembered
    healed = prewarm(registry, "ruby:3.3")
    healed.raise_failures()
    data = registry.stack.state / "data"
    for digest, size in blobs_of(healthy_hub, "library/ruby:3.3").items():
        content = blob_path(data, digest).read_bytes()
        assert (digest_of(content), len(content)) == (digest, size)


def test_a_silent_upstream_is_named(registry: Registry, healthy_hub: Hub) -> None:
    healthy_hub.inject(Fault.BLACKHOLE)

    done = prewarm(registry, "node:20")

    assert of(done, "node:20").error.startswith("504: ")


def test_a_cache_that_does_not_run_says_how_to_start_it(registry: Registry) -> None:
    registry.stack.stop()

    with pytest.raises(NotRunningError) as caught:
        prewarm(registry, "node:20")

    assert caught.value.resolution == "Start it: vm registry start"


class Interrupting(Silent):
    """Sends the process the signal of Ctrl-C when the first bytes of a blob are there."""

    def __init__(self) -> None:
        self.at = 0.0
        self._seen = threading.Event()

    def advance(self, reference: str, *, done_bytes: int) -> None:
        if reference and done_bytes > 100_000 and not self._seen.is_set():
            self._seen.set()
            self.at = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_it_at_once_and_the_next_call_completes(
    registry: Registry, healthy_hub: Hub
) -> None:
    healthy_hub.set_bandwidth(500_000)  # 8 MB: a quarter of a minute
    events = Interrupting()

    with pytest.raises(KeyboardInterrupt):
        pull(registry.stack, from_command_line(["node:20"]), choice=AMD64, events=events)

    assert time.monotonic() - events.at < 8  # at this speed the rest takes twice as long
    assert not [one for one in threading.enumerate() if one.name.startswith("prewarm")]
    healthy_hub.set_bandwidth(None)
    prewarm(registry, "node:20").raise_failures()


def test_progress_reaches_the_end(registry: Registry) -> None:
    told = io.StringIO()

    pull(
        registry.stack,
        from_command_line(["node:20", "nonesuch"]),
        choice=AMD64,
        events=Lines(told),
    )

    lines = told.getvalue().splitlines()
    assert "node:20: 75 %" in lines
    assert any(line.startswith("node:20: fetched ") for line in lines)
    assert any(line.startswith("nonesuch:latest: failed: 404: ") for line in lines)
    drawn = io.StringIO()
    pull(registry.stack, from_command_line(["node:20"]), choice=AMD64, events=Bars(drawn))
    assert "was in the cache already" in " ".join(drawn.getvalue().split())
