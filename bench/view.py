"""What the templates show: every value already a text, so that they only place it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.figures import (
    PATTERN_NAMES,
    figures,
    lags,
    percent,
    seconds,
    size,
    upstream_bytes,
    work,
)
from bench.samples import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.criteria import Criterion, Verdict
    from bench.samples import ArmRun, Meta, Samples

NOTHING = "–"  # noqa: RUF001 - a dash for an empty cell
WORDS = {"pass": "passed", "fail": "FAILED", "skip": "skipped"}


@dataclass(frozen=True, kw_only=True)
class CriterionRow:
    """A criterion as it is shown."""

    id: str
    title: str
    status: str
    word: str
    measured: str
    threshold: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class ArmRow:
    """A run as it is shown; ``cells`` are in the order of :data:`ARM_HEADINGS`."""

    arm: str
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A headline figure: a number, and the words that say what it is."""

    value: str
    text: str


METHOD = (
    (
        "The arms: direct is without a mirror, registry2 has a plain registry:2 as the mirror, and"
        " vmreg is this project."
    ),
    (
        "Received bytes are the VM's interface counter less the headers of its packets, or the"
        " bodies that a plain HTTP client read."
    ),
    (
        "A difference of over 1 % between two counts of the same bytes fails the run, as does a"
        " client of a mirror whose address is in the hub's log."
    ),
    "Unique content is every manifest, configuration and layer of one platform, once.",
    "A pull's time includes unpacking where a Docker engine pulled.",
    (
        "A skipped criterion is not a passed one: the command ends with exit code 6 unless the"
        " skip was allowed on its command line."
    ),
)
ARM_HEADINGS = (
    "arm",
    "pattern",
    "clients",
    "from the hub",
    "times unique",
    "requests",
    "of quota",
    "pull, median",
    "pull, slowest",
    "all done after",
    "first byte, slowest",
    "behind the hub, slowest",
    "received by clients",
)


def values(samples: Samples, verdict: Verdict, *, folder: str, sha256: str) -> dict[str, Any]:
    """Return the values that ``report.html.j2`` and ``report.md.j2`` use.

    :param folder: name of the run's folder.
    :param sha256: of the samples' file, in hexadecimal.
    """
    return {
        "run": folder,
        "source": FILE_NAME,
        "sha256": sha256,
        "summary": verdict.summary,
        "succeeded": verdict.exit_code == 0,
        "tiles": _tiles(samples.runs),
        "criteria": [_criterion(criterion) for criterion in verdict.criteria],
        "headings": ARM_HEADINGS,
        "arms": [_arm(run) for run in samples.runs],
        "conditions": _conditions(samples.meta, samples.runs),
        "method": _method(samples),
    }


def _criterion(criterion: Criterion) -> CriterionRow:
    return CriterionRow(
        id=criterion.id,
        title=criterion.title,
        status=criterion.status,
        word=WORDS[criterion.status],
        measured=quantity(criterion.measured, criterion.unit),
        threshold=quantity(criterion.threshold, criterion.unit),
        evidence=criterion.evidence,
    )


def quantity(value: float | None, unit: str) -> str:
    """Return a criterion's number with its unit.

    >>> quantity(0.9, "share"), quantity(1.0003, "ratio"), quantity(0, "clients")
    ('90.0 %', '1.0003 ×', '0 clients')
    """  # noqa: RUF002 - the multiplication sign is meant
    if value is None:
        return NOTHING
    if unit == "share":
        return percent(value)
    if unit == "seconds":
        return seconds(value)
    return f"{value:.4f} ×" if unit == "ratio" else f"{value:g} {unit}"  # noqa: RUF001 - as above


def _arm(run: ArmRun) -> ArmRow:
    row = figures(run)
    done_s = max((c.finished_s for c in run.clients), default=0.0) - min(
        (c.started_s for c in run.clients), default=0.0
    )
    cells = (
        run.arm,
        PATTERN_NAMES[run.pattern],
        str(run.vms),
        size(row.upstream_bytes),
        f"{row.upstream_bytes / row.unique_bytes:.3f}",
        _count(row.upstream_requests),
        _count(row.quota_requests),
        seconds(median(row.pull_s)) if row.pull_s else NOTHING,
        _slowest(row.pull_s),
        seconds(done_s),
        _slowest(row.first_byte_s),
        _slowest(lags(run)),
        size(row.client_bytes) if row.client_bytes is not None else NOTHING,
    )
    return ArmRow(arm=run.arm, cells=cells)


def _slowest(durations_s: Sequence[float]) -> str:
    return seconds(max(durations_s)) if durations_s else NOTHING


def _count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _tiles(runs: Sequence[ArmRun]) -> list[Tile]:
    """Return what the largest run of ``vmreg`` came to, beside the same work without it."""
    cached = [run for run in runs if run.arm == "vmreg"]
    if not cached:
        return []
    chosen = max(cached, key=lambda run: (_has_direct(run, runs), run.vms))
    sent = upstream_bytes(chosen)
    tiles = [
        Tile(
            value=size(sent),
            text=f"left the hub for {work(chosen)}; the image has {size(chosen.unique_bytes)}",
        )
    ]
    for arm, text in (("direct", "without a mirror"), ("registry2", "with plain registry:2")):
        for run in runs:
            if (run.arm, run.pattern, run.vms) == (arm, chosen.pattern, chosen.vms):
                tiles.append(Tile(value=size(upstream_bytes(run)), text=f"for the same {text}"))
                break
    direct = _has_direct(chosen, runs)
    if direct:
        saved = 1 - sent / direct
        tiles.insert(0, Tile(value=percent(saved), text="of the hub's bytes saved"))
    return tiles


def _has_direct(cached: ArmRun, runs: Sequence[ArmRun]) -> int:
    """Return the bytes of the direct run of the same pattern and size, 0 when there is none."""
    return max(
        (
            upstream_bytes(run)
            for run in runs
            if (run.arm, run.pattern, run.vms) == ("direct", cached.pattern, cached.vms)
        ),
        default=0,
    )


def _conditions(meta: Meta, runs: Sequence[ArmRun]) -> list[tuple[str, str]]:
    cap = meta.bandwidth_bytes_s
    unique = sorted({run.unique_bytes for run in runs})
    host = meta.host
    return [
        ("Started", meta.started_at),
        ("Commit", meta.commit + (" with local changes" if meta.dirty else "")),
        ("Command line", " ".join(meta.arguments) or NOTHING),
        ("Upstream", meta.upstream),
        ("Upstream's bandwidth", f"{size(cap)} per second in all" if cap else "not capped"),
        ("Profile", meta.profile),
        ("Image", f"{meta.image} at scale {meta.scale:g}"),
        ("Unique content", ", ".join(size(count) for count in unique)),
        ("Processor", f"{host.cpu}, {host.cores} cores"),
        ("Memory", size(host.memory_bytes)),
        ("Kernel", host.kernel),
        ("Docker", host.docker),
        ("Skips allowed", ", ".join(meta.allowed_skips) or "none"),
    ]


def _method(samples: Samples) -> list[str]:
    counted = {run.counted_by for run in samples.runs}
    sources = {
        "hub": "Bytes from the hub are the bodies of all answers in the embedded hub's own access"
        " log: manifests, blobs, tokens and redirects; heads and TLS are not in it.",
        "egress": "Bytes from the hub are the bodies that the egress received, by its access log.",
        "network": "Where nothing logs the upstream's answers, its bytes are what the interface"
        " received less the packet headers; heads and TLS records are still in them.",
    }
    return [
        "Every run starts with an empty cache and with clients that have nothing of the image.",
        *(text for key, text in sources.items() if key in counted),
        *METHOD,
    ]
