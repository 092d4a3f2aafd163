"""The containers' shell scripts, in the component images that they are for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.hub import Fault, Hub
from tests.golden.cases import CASES
from tests.integration import alone
from vmreg import images, plan, waiting
from vmreg.stack import owner
from vmreg.store import ROOT, blob_path, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Registry
    from vmreg.engine import Container, Engine

CASE = next(case for case in CASES if case.name == "docker-hub")
DIGEST = f"sha256:{'a' * 64}"
REPOSITORIES = ROOT / "repositories"
NODE = REPOSITORIES / "library/node"
LINKS = (
    NODE / "_layers/sha256" / ("a" * 64) / "link",
    NODE / "_manifests/revisions/sha256" / ("a" * 64) / "link",
    NODE / "_manifests/tags/20/current/link",
    NODE / "_manifests/tags/20/index/sha256" / ("a" * 64) / "link",
)
NOWHERE = "http://127.0.0.1:1/"
HEALTH = "http://127.0.0.1:5000/_health"
LOG_BYTES = 5_000


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for folder in path.parents:
        folder.chmod(0o777)  # whoever the container runs as
        if folder.name == "data":
            break
    return path


@pytest.fixture(scope="module")
def chosen(engine: Engine) -> plan.Images:
    return plan.Images(
        proxy=images.ensure(engine, recipe=images.COMPONENTS, pinned=images.NGINX_PIN),
        storage=images.ensure(engine, recipe=images.COMPONENTS, pinned=images.REGISTRY_PIN),
    )


@pytest.fixture
def parts(chosen: plan.Images, tmp_path: Path) -> tuple[plan.Part, plan.Part]:
    settings = replace(CASE.settings(), home=tmp_path)
    return plan.parts(settings, CASE.facts(owner=owner()), chosen)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "registry" / "data"


def started(engine: Engine, part: plan.Part) -> str:
    """Start storage without an egress, so that the registry gives up, and return its last words."""
    with alone.running(engine, alone.prepare(part)) as made:
        assert alone.ended(engine, made.id).exit_code
        return engine.logs(made.id)


def test_storage_sweeps_uploads_and_short_links_and_keeps_the_rest(
    engine: Engine, parts: tuple[plan.Part, plan.Part], data: Path
) -> None:
    alone.prepare(parts[1])
    kept = [put(data / link, DIGEST.encode()) for link in LINKS]
    kept.append(put(blob_path(data, digest_of(b"x")), b"x"))
    kept.append(put(blob_path(data, digest_of(b"x")).with_name("link"), b"no link of a repository"))
    short = [
        put(data / REPOSITORIES / "library/short" / link.relative_to(NODE), content)
        for link, content in zip(
            LINKS, (b"", DIGEST.encode()[:-1], b"\0" * 40, DIGEST.encode() + b"\n"), strict=True
        )
    ]
    uploads = [
        put(data / REPOSITORIES / name / "_uploads/0b5e/data", b"half")
        for name in ("library/node", "library/short", "me/deep/app")
    ]

    said = started(engine, parts[1])

    assert "egress" in said  # the registry itself was reached
    assert all(path.exists() for path in kept)
    assert not [path for path in short if path.exists()]
    assert not [path for path in uploads if path.parents[1].exists()]
    assert (data / REPOSITORIES / "me/deep/app").is_dir()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b'{"expired'], ids=["empty", "nul", "cut"])
def test_storage_starts_with_a_torn_state_file(
    content: bytes, engine: Engine, parts: tuple[plan.Part, plan.Part], data: Path
) -> None:
    alone.prepare(parts[1])
    state = put(data / "scheduler-state.json", content)
    said = started(engine, parts[1])
    assert "egress" in said
    assert not state.exists() or state.read_bytes() != content


def test_storage_starts_with_nothing(engine: Engine, parts: tuple[plan.Part, plan.Part]) -> None:
    assert "egress" in started(engine, parts[1])


def test_an_image_without_a_registry_says_so(
    engine: Engine, parts: tuple[plan.Part, plan.Part], tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "rm", "find", "mkfifo"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    spec = alone.prepare(parts[1])
    mount = replace(spec.mounts[0], target="/programs", source=str(programs))
    spec = replace(spec, mounts=(*spec.mounts, mount), environment={"PATH": "/programs"})
    with alone.running(engine, spec) as made:
        assert alone.ended(engine, made.id).exit_code == 127
        assert engine.logs(made.id) == "this image carries no registry"


def test_what_failed_its_digest_is_served_to_nobody_again(
    registry: Registry, healthy_hub: Hub
) -> None:
    fetched = registry.stack.state / "fetch/blobs"
    node, ruby = (
        {blob.digest for blob in healthy_hub.images[image].blobs}
        for image in ("library/node:20", "library/ruby:3.3")
    )
    good, bad = min(node), min(ruby - node)
    registry.edge.pull("library/node:20")
    assert files(fetched)
    tags = files(registry.stack.state / "fetch/tags")
    healthy_hub.inject(Fault.WRONG_DIGEST)

    assert digest_of(registry.edge.blob("library/ruby", bad).body) != bad
    waiting.until(
        lambda: None if files(fetched) else True, what="the fetched slices' end", timeout_s=30
    )
    healthy_hub.heal()

    assert digest_of(registry.edge.blob("library/ruby", bad).body) == bad
    assert digest_of(registry.edge.blob("library/node", good).body) == good
    assert tags <= files(registry.stack.state / "fetch/tags")
    assert "content does not match digest" in registry.stack.engine.logs(
        registry.stack.settings.storage_name, tail=200
    )


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def proxy(engine: Engine, parts: tuple[plan.Part, plan.Part]) -> Iterator[Container]:
    """A real nginx, whose health nobody but the test asks for."""
    spec = replace(alone.prepare(parts[0]), environment={"LOG_BYTES": str(LOG_BYTES)})
    with alone.running(engine, spec) as made:
        waiting.until(
            lambda: True if health(engine, made) == 0 else None,
            what="nginx's first answer",
            timeout_s=30,
            evidence=lambda: engine.logs(made.id),
        )
        yield made


def health(engine: Engine, container: Container, url: str = HEALTH, *, log_bytes: str = "") -> int:
    environment = {"LOG_BYTES": log_bytes} if log_bytes else {}
    argv = ["sh", "/etc/vmreg/health.sh", url]
    return engine.exec(container.id, argv, environment=environment).exit_code


def counted(engine: Engine, container: Container) -> int:
    done = engine.exec(container.id, ["sh", "-c", "cat /tmp/failures 2>/dev/null | wc -l"])
    return int(done.output)


def test_failures_are_counted_and_a_success_forgets_them(engine: Engine, proxy: Container) -> None:
    for _ in range(3):  # six failures, never three in a row
        assert [health(engine, proxy, NOWHERE) for _ in range(2)] == [1, 1]
        assert counted(engine, proxy) == 2
        assert health(engine, proxy) == 0
        assert counted(engine, proxy) == 0
    assert engine.inspect(proxy.id).running


def test_the_third_failure_in_a_row_ends_the_main_process(engine: Engine, proxy: Container) -> None:
    script = f"for n in 1 2 3; do sh /etc/vmreg/health.sh {NOWHERE}; done"
    engine.exec(proxy.id, ["sh", "-c", f"({script}) >/dev/null 2>&1 &"])
    assert alone.ended(engine, proxy.id).exit_code == 128 + 9


def test_a_check_that_is_cut_off_counts_too(engine: Engine, proxy: Container) -> None:
    """The engine ends a check that takes too long, so that nothing after it would be reached."""
    script = f"""
    kill -STOP $(cat /tmp/main.pid) $(cat /proc/$(cat /tmp/main.pid)/task/*/children)
    (sh -c 'echo $$ >/tmp/check; exec sh /etc/vmreg/health.sh {HEALTH}'; : >/tmp/done) &
    until grep -qs wget /proc/[0-9]*/comm || [ -e /tmp/done ]; do sleep 0.05; done
    kill -9 $(cat /tmp/check)
    until [ -e /tmp/done ]; do sleep 0.05; done
    """
    engine.exec(proxy.id, ["sh", "-c", script])
    assert counted(engine, proxy) == 1


def test_a_large_log_is_put_aside_and_nginx_goes_on_in_a_new_one(
    engine: Engine, proxy: Container, tmp_path: Path
) -> None:
    logs = tmp_path / "registry/logs"
    edge, aside, origin = (logs / name for name in ("edge.jsonl", "edge.jsonl.1", "origin.jsonl"))
    for round_ in ("first", "second"):
        large = round_.encode() * LOG_BYTES
        edge.write_bytes(large)
        assert health(engine, proxy, log_bytes="0") == 0  # as in storage, which has no such logs
        assert edge.read_bytes() == large
        assert health(engine, proxy) == 0
        assert aside.read_bytes().startswith(large)
        waiting.until(
            lambda: True if asked(engine, proxy) in edge.read_text() else None,
            what="a line in the new log",
            timeout_s=30,
        )
        assert edge.stat().st_size < LOG_BYTES
    assert origin.exists()
    assert not origin.with_name("origin.jsonl.1").exists()


def test_a_log_of_ordinary_size_stays(engine: Engine, proxy: Container, tmp_path: Path) -> None:
    edge = tmp_path / "registry/logs/edge.jsonl"
    edge.write_bytes(b"x" * LOG_BYTES)
    assert health(engine, proxy) == 0
    assert not edge.with_name("edge.jsonl.1").exists()


def asked(engine: Engine, proxy: Container) -> str:
    """Ask nginx for something that it logs, and return what the line holds."""
    engine.exec(proxy.id, ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5000/to-be-logged"])
    return "/to-be-logged"
