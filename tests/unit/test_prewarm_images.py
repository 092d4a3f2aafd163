"""Manifests, platforms and jobs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg.errors import UsageError
from vmreg.manifests import (
    Index,
    Manifest,
    Platform,
    host_platform,
    parse,
    parse_platform,
    platform_of_config,
)
from vmreg.prewarm import jobs
from vmreg.prewarm.edge import FetchError, why
from vmreg.prewarm.images import Choice, _chosen, choose
from vmreg.prewarm.references import Named
from vmreg.prewarm.references import parse as parse_reference

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def blob(number: int, size: int = 5, **more: object) -> dict[str, Any]:
    return {"digest": digest(number), "size": size, **more}


def index(*platforms: str) -> Index:
    entries = []
    for number, text in enumerate(platforms):
        parts = dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))
        entries.append(blob(number, platform=parts))
    found = parse(json.dumps({"manifests": entries}).encode())
    assert isinstance(found, Index)
    return found


def test_a_manifest_names_each_blob_once_and_leaves_out_what_is_elsewhere() -> None:
    told = {
        "config": blob(1),
        "layers": [blob(2), blob(3), blob(2), blob(4, urls=["https://x"]),
                   blob(5, mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar")],
    }  # fmt: skip

    found = parse(json.dumps(told).encode())

    assert isinstance(found, Manifest)
    assert found.config.digest == digest(1)
    assert [one.digest for one in found.blobs] == [digest(1), digest(2), digest(3)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schemaVersion": 1, "fsLayers": []}',
        b'{"config": {}, "layers": []}',
        b'{"config": 1, "layers": []}',
        b'{"manifests": 5}',
        b'{"manifests": [{"digest": "../../x", "size": 1}]}',
        json.dumps({"config": blob(1, -1), "layers": []}).encode(),
        json.dumps({"config": blob(1), "layers": [None]}).encode(),
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(body)


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(max_size=3),
       lambda inner: st.dictionaries(st.sampled_from(["config", "layers", "manifests", "digest",
       "size", "platform", "os"]), inner) | st.lists(inner, max_size=3), max_leaves=9)
       .map(lambda tree: json.dumps(tree).encode()))  # fmt: skip
def test_any_bytes_are_a_manifest_or_refused(body: bytes) -> None:
    try:
        parse(body)
    except ValueError:
        return


def test_attestations_are_left_out() -> None:
    found = index("linux/amd64", "unknown/unknown")
    assert [str(entry.platform) for entry in found.entries] == ["linux/amd64"]


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/amd64", ("linux/arm64", "linux/amd64"), ["linux/amd64"]),
        ("linux/arm64", ("linux/arm64/v8",), ["linux/arm64/v8"]),
        ("linux/arm64/v8", ("linux/arm64",), ["linux/arm64"]),
        ("linux/arm", ("linux/arm/v6", "linux/arm/v7"), ["linux/arm/v7"]),
        ("linux/arm", ("linux/arm/v5",), ["linux/arm/v5"]),
        ("linux/amd64", ("windows/amd64", "linux/amd64"), ["linux/amd64"]),
        ("all", ("linux/arm64", "linux/amd64"), ["linux/arm64", "linux/amd64"]),
    ],
)
def test_a_platform_is_chosen(wanted: str, there: tuple[str, ...], chosen: list[str]) -> None:
    found = _chosen(index(*there), choose([wanted]))
    assert [str(entry.platform) for entry in found] == chosen


@pytest.mark.parametrize("wanted", ["linux/s390x", "linux/arm/v7"])
def test_a_platform_that_is_not_there_is_told_with_those_that_are(wanted: str) -> None:
    with pytest.raises(FetchError, match=f"none for {wanted}; there is linux/amd64, linux/arm/v6"):
        _chosen(index("linux/amd64", "linux/arm/v6"), choose(["linux/amd64", wanted]))


def test_an_index_of_nothing_holds_nothing() -> None:
    with pytest.raises(FetchError, match="none for all; there is nothing"):
        _chosen(index("unknown/unknown"), Choice(every=True))


def test_platforms_on_a_command_line() -> None:
    assert choose(()) == Choice(platforms=(host_platform(),))
    assert choose(["linux/amd64", "LINUX/amd64", "linux/arm/v7"]) == Choice(
        platforms=(parse_platform("linux/amd64"), parse_platform("linux/arm/v7"))
    )
    assert choose(["linux/amd64", "all"]).every
    for wrong in ("amd64", "linux/", "linux/a/b/c", ""):
        with pytest.raises(UsageError):
            choose([wrong])


def test_a_configuration_tells_its_platform() -> None:
    told = b'{"os": "linux", "architecture": "arm", "variant": "v7", "x": 1}'
    assert platform_of_config(told) == Platform(system="linux", architecture="arm", variant="v7")
    for wrong in (b"{}", b"[1]", b"x"):
        with pytest.raises(ValueError, match=r"."):
            platform_of_config(wrong)


def named(text: str, where: str = "command line", platform: str = "") -> Named:
    return Named(
        reference=parse_reference(text),
        where=where,
        platform=parse_platform(platform) if platform else None,
    )


def test_an_image_that_is_named_often_is_one_job_for_all_its_platforms() -> None:
    (one, other), skipped = jobs.sort(
        [
            named("node:20", "a:1", "linux/s390x"),
            named("docker.io/library/node:20", "b:2"),
            named("node:20", "a:1"),
            named("node:21", "a:9", "linux/arm64"),
        ],
        choose(["linux/amd64"]),
        allowed=(),
    )

    assert one.named_in == ("a:1", "b:2")
    assert [str(platform) for platform in one.choice.platforms] == ["linux/s390x", "linux/amd64"]
    assert [str(platform) for platform in other.choice.platforms] == ["linux/arm64"]
    assert skipped == ()


def test_what_the_cache_does_not_serve_is_skipped_with_a_reason() -> None:
    todo, skipped = jobs.sort(
        [named("ghcr.io/a/b"), named("acme/x"), named("node"), named("acme/deep/x")],
        choose(()),
        allowed=["library/*", "acme/y"],
    )

    assert [job.name for job in todo] == ["node:latest"]
    assert [(one.reference, one.reason) for one in skipped] == [
        (
            "ghcr.io/a/b:latest",
            "it is from ghcr.io; Docker asks a mirror for Docker Hub's images only",
        ),
        ("acme/x:latest", "docker_registry.repositories does not allow acme/x"),
        ("acme/deep/x:latest", "docker_registry.repositories does not allow acme/deep/x"),
    ]


@pytest.mark.parametrize(
    ("status", "retry_after", "told"),
    [
        (404, "", "404: the upstream has no such image, or does not show it to everybody"),
        (
            429,
            "90",
            "429: the upstream's limit on pulls is used up; try again in 90 s, at 03:05:35 UTC",
        ),
        (
            429,
            "Fri, 02 Jan 2026 03:05:05 GMT",
            "429: the upstream's limit on pulls is used up; try again in 60 s, at 03:05:05 UTC",
        ),
        (
            429,
            "soon",
            "429: the upstream's limit on pulls is used up; it does not say when to try again",
        ),
        (504, "", "504: it is not in the cache, and the upstream does not answer"),
        (403, "", "403: no way"),
    ],
)
def test_an_answer_is_explained(status: int, retry_after: str, told: str) -> None:
    assert why(status, b"no\n way", retry_after=retry_after, now=NOW) == told


def test_an_endless_retry_is_not_believed() -> None:
    assert why(429, b"", retry_after="9" * 30, now=NOW).endswith("when to try again")
