"""One benchmark run from its options to its samples; whatever it starts is gone afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench import provenance, scenarios, upstream
from bench.criteria import check_skips
from bench.manifests import Target, describe
from bench.place import Place, cache_folder, open_place, prepare, site
from bench.runner import Runner
from bench.samples import Meta, Samples
from vmreg.errors import UsageError
from vmreg.vms.docker import DockerProvider

if TYPE_CHECKING:
    from bench.progress import Progress
    from bench.upstream import Upstream


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
    with open_place(progress, keep=options.keep) as place:
        prepare(place.engine, progress, embedded=options.upstream == "embedded")
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


def _runner(
    place: Place, opened: Upstream, target: Target, reference: str, progress: Progress
) -> Runner:
    return Runner(
        site=site(place, opened),
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
