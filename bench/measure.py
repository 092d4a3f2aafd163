"""One benchmark run from its options to its samples; whatever it starts is gone afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import provenance, scenarios, upstream
from bench.arms import Site
from bench.criteria import check_skips
from bench.hub import RECIPE
from bench.keeping import KeepingEngine
from bench.manifests import Target, describe
from bench.parallel import at_once
from bench.runner import Runner
from bench.samples import Meta, Samples
from vmreg import images
from vmreg.errors import UsageError
from vmreg.vms.docker import DockerProvider
from vmreg.vms.image import ensure_vm_image
from vmreg.vms.interrupts import unwinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.progress import Progress
    from bench.upstream import Upstream
    from vmreg.engine import Engine

OWNER = "vmreg-bench"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for.

    :param image: as ``docker pull`` takes it.
    :param upstream: ``embedded`` or ``docker.io``.
    :param keep: leave what the failed, or the last, step started.
    :param allowed_skips: criteria that may be skipped without failing the run.
    :param arguments: the command line, for the record.
    """

    vms: int
    image: str
    upstream: str
    profile: str
    keep: bool
    allowed_skips: tuple[str, ...]
    arguments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a run takes place: an engine, a name that is its own, a scratch folder."""

    engine: KeepingEngine
    name: str
    folder: Path


def measure(options: Options, progress: Progress) -> Samples:
    """Take every step of a run and return its samples.

    :raises UsageError: an option is wrong; nothing was started.
    :raises VmregError: something did not start, or a client could not pull.
    """
    check_skips(options.allowed_skips)
    chosen = scenarios.profile(options.profile)
    plan = scenarios.steps(chosen, vms=options.vms)
    repository, tag = parse_image(options.image)
    started_at = datetime.now(UTC)
    with _place(options, progress) as place:
        _prepare(options, place.engine, progress)
        hub = upstream.open_upstream(
            options.upstream,
            place.engine,
            name=place.name,
            folder=place.folder,
            cache=cache_folder() / "hub",
            scale=chosen.scale,
            progress=progress.say,
        )
        with hub as opened, place.engine.holding_at_end(last=False):
            target = Target(endpoint=opened.endpoint, repository=repository, reference=tag)
            runner = _runner(place, opened, target, options.image, progress)
            opened.set_bandwidth(chosen.bandwidth_bytes_s)
            runs = []
            for number, step in enumerate(plan, start=1):
                progress.begin(step.title, number=number, of=len(plan))
                runs.append(runner.take(step, last=number == len(plan)))
        meta = _meta(options, chosen, started_at, docker=place.engine.version())
    return Samples(meta=meta, runs=tuple(runs))


def parse_image(text: str) -> tuple[str, str]:
    """Return the repository on Docker Hub, its first part included, and the tag.

    >>> parse_image("node:20")
    ('library/node', '20')
    >>> parse_image("grafana/grafana")
    ('grafana/grafana', 'latest')

    :raises UsageError: it names a digest, another registry, or nothing.
    """
    name, _, tag = text.removeprefix("docker.io/").partition(":")
    first, slash, _ = name.partition("/")
    if not name or "@" in text or (slash and ("." in first or first == "localhost")) or "/" in tag:
        raise UsageError(
            brief=f"--image {text} is not an image of Docker Hub with a tag",
            resolution="Write it as docker pull takes it, such as node:20 or org/name:1.0",
        )
    return (name if slash else f"library/{name}"), tag or "latest"


def cache_folder() -> Path:
    """Return where generated images are kept from run to run: below ``XDG_CACHE_HOME``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vmreg"


@contextmanager
def _place(options: Options, progress: Progress) -> Iterator[_Place]:
    """Yield where a run can take place, and remove all that is left there at the end."""
    engine = KeepingEngine.connect(owner=OWNER)
    engine.wanted = options.keep
    name = f"bench-{uuid.uuid4().hex[:6]}"
    cache_folder().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache_folder()))
    with unwinding() as interrupts:
        _mention_leftovers(engine, progress)
        try:
            yield _Place(engine=engine, name=name, folder=folder)
        finally:
            interrupts.hold()
            if engine.holding:
                progress.say(
                    f"kept, with the logs in {folder}; to remove it later: "
                    f"{engine.how_to_remove()}; rm -r {folder}"
                )
            else:
                _sweep(engine, name)
                shutil.rmtree(folder, ignore_errors=True)
            engine.close()


def _mention_leftovers(engine: Engine, progress: Progress) -> None:
    others = engine.list()
    if others:
        progress.say(
            f"{len(others)} containers of another run are there ({others[0].name}, ...); if none "
            f"is running: docker rm --force --volumes {' '.join(one.name for one in others)}"
        )


def _sweep(engine: Engine, name: str) -> None:
    """Remove what an interrupted teardown left; normally there is nothing."""
    for container in engine.list():
        if name in container.name:
            engine.remove(container.id)
    for network in (f"{name}-net", f"{name}-cache", f"{name}-cache-inside"):
        engine.remove_network(network)


def _prepare(options: Options, engine: Engine, progress: Progress) -> None:
    """Make sure of all images before anything is timed; builds keep one core each busy."""
    say = progress.say

    def components() -> None:
        for pin in (images.REGISTRY_PIN, images.NGINX_PIN):
            images.ensure(engine, recipe=images.COMPONENTS, pinned=pin, progress=say)

    jobs: list[Callable[[], object]] = [partial(ensure_vm_image, engine, progress=say), components]
    if options.upstream == "embedded":
        jobs.append(partial(images.ensure, engine, recipe=RECIPE, pull=False, progress=say))
    at_once(jobs, name="image")


def _runner(
    place: _Place, opened: Upstream, target: Target, reference: str, progress: Progress
) -> Runner:
    site = Site(
        engine=place.engine,
        name=place.name,
        folder=place.folder,
        network=opened.network,
        ca_file=opened.ca_file,
        upstream=opened.endpoint,
    )
    return Runner(
        site=site,
        upstream=opened,
        provider=DockerProvider(place.engine),
        reference=reference,
        target=target,
        image=describe(target),
        progress=progress,
    )


def _meta(
    options: Options, chosen: scenarios.Profile, started_at: datetime, *, docker: str
) -> Meta:
    commit, dirty = provenance.commit()
    embedded = options.upstream == "embedded"
    return Meta(
        commit=commit,
        dirty=dirty,
        host=provenance.host(docker=docker),
        started_at=started_at.isoformat(),
        arguments=options.arguments,
        upstream="embedded" if embedded else "docker.io",
        profile=options.profile,
        bandwidth_bytes_s=chosen.bandwidth_bytes_s if embedded else None,
        image=options.image,
        scale=chosen.scale if embedded else 1.0,
        allowed_skips=options.allowed_skips,
    )
