"""The promises of the cache as numbers with thresholds, judged from raw samples alone.

A criterion passes, fails, or is skipped when the run cannot show it either way. A skip is not a
pass: the exit code is 0 only when everything passed, save for the skips that the run was
explicitly allowed (``allowed_skips`` in its metadata).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Literal, get_args

from bench.crosscheck import bypasses, disagreements
from bench.figures import label, lags, percent, seconds, size, upstream_bytes, work
from vmreg.errors import CriterionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.samples import ArmRun, Samples

CriterionId = Literal[
    "hub-bytes-saved",
    "exactly-once-sequential",
    "exactly-once-concurrent",
    "nothing-silent",
    "digests-match",
    "cold-pull-overhead",
    "first-byte-streamed",
    "concurrent-pull-overhead",
]
Status = Literal["pass", "fail", "skip"]

SAVED_SHARE = 0.80
ENOUGH_VMS = 6  # five save at most 80.0 %, and their manifests already cost more than that
EXACTLY_ONCE = 1.01
COLD_OVERHEAD = 1.05
FIRST_BYTE_LAG_S = 1.0
CONCURRENT_OVERHEAD = 1.25
SHOWN_FINDINGS = 5


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One judged promise; the fields are those of ``criteria`` in ``savings.json``.

    :param id: stable name that scripts look for.
    :param title: the promise, threshold and direction included.
    :param status: a skip is not a pass.
    :param measured: in ``unit``; ``None`` when it was skipped.
    :param threshold: in ``unit``.
    :param unit: ``share`` (of 1), ``ratio``, ``seconds``, or what is counted.
    :param evidence: the figures it follows from and who counted them, or the reason of a skip.
    """

    id: str
    title: str
    status: Status
    measured: float | None
    threshold: float
    unit: str
    evidence: str

    def judged(self, *, measured: float, passed: bool, evidence: str) -> Criterion:
        """Return this criterion with its verdict."""
        status: Status = "pass" if passed else "fail"
        return replace(self, status=status, measured=measured, evidence=evidence)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run came to.

    :param criteria: all of them, always in the same order.
    :param exit_code: 0, or 6 when one of them neither passed nor was allowed to be skipped.
    :param summary: one sentence for the last line of a command.
    """

    criteria: tuple[Criterion, ...]
    exit_code: int
    summary: str


def judge(samples: Samples) -> Verdict:
    """Return the verdict on a run; the same samples always give the same one."""
    criteria = (
        _hub_bytes_saved(samples.runs),
        _exactly_once(samples.runs, "exactly-once-sequential", ("sequential",)),
        _exactly_once(
            samples.runs,
            "exactly-once-concurrent",
            ("concurrent", "concurrent-http", "first-killed"),
        ),
        _nothing_silent(samples),
        _digests_match(samples.runs),
        _cold_pull_overhead(samples.runs),
        _first_byte_streamed(samples.runs),
        _concurrent_pull_overhead(samples.runs),
    )
    missed = unmet(criteria, samples.meta.allowed_skips)
    return Verdict(
        criteria=criteria,
        exit_code=CriterionError.exit_code if missed else 0,
        summary=_summary(criteria, missed),
    )


def check_skips(names: Sequence[str]) -> None:
    """Make sure that there are such criteria.

    :raises UsageError: one of them is unknown.
    """
    known = get_args(CriterionId)
    if unknown := sorted(set(names) - set(known)):
        raise UsageError(
            brief=f"--allow-skip {unknown[0]} is no criterion",
            resolution=f"Choose from {', '.join(known)}.",
        )


def unmet(criteria: Iterable[Criterion], allowed_skips: Sequence[str]) -> tuple[Criterion, ...]:
    """Return the criteria that keep a run from succeeding: failed, or skipped without leave."""
    return tuple(
        criterion
        for criterion in criteria
        if criterion.status == "fail"
        or (criterion.status == "skip" and criterion.id not in allowed_skips)
    )


def _summary(criteria: Sequence[Criterion], missed: Sequence[Criterion]) -> str:
    counts = [
        f"{count} {word}"
        for status, word in (("pass", "passed"), ("fail", "failed"), ("skip", "skipped"))
        if (count := sum(criterion.status == status for criterion in criteria))
    ]
    text = f"{len(criteria)} criteria: {', '.join(counts)}"
    if missed:
        text += f"; not met: {', '.join(criterion.id for criterion in missed)}"
    if any(criterion.status == "skip" for criterion in missed):
        text += " (a skip is not a pass)"
    return text


def _hub_bytes_saved(runs: Sequence[ArmRun]) -> Criterion:
    skipped = Criterion(
        id="hub-bytes-saved",
        title="At least 80 % of the hub's bytes are saved",
        status="skip",
        measured=None,
        threshold=SAVED_SHARE,
        unit="share",
        evidence="no pattern was run both direct and through vmreg with as many VMs",
    )
    pairs = [
        (cached, direct)
        for cached in runs
        for direct in runs
        if (cached.arm, direct.arm) == ("vmreg", "direct")
        and (cached.pattern, cached.vms) == (direct.pattern, direct.vms)
    ]
    telling = [pair for pair in pairs if pair[0].vms >= ENOUGH_VMS]
    if pairs and not telling:
        most = max(cached.vms for cached, _ in pairs)
        return replace(
            skipped,
            evidence=f"{most} identical pulls can save at most {percent(1 - 1 / most)}"
            f" (1 - 1/N); run it with {ENOUGH_VMS} VMs or more",
        )
    if not telling:
        return skipped
    saved, cached, direct = min(
        ((_saved(*pair), *pair) for pair in telling), key=lambda entry: entry[0]
    )
    return skipped.judged(
        measured=saved,
        passed=saved >= SAVED_SHARE,
        evidence=f"{_worst_of(len(telling), 'comparison')}{work(cached)}"
        f": the hub sent {size(upstream_bytes(cached))} with vmreg"
        f" and {size(upstream_bytes(direct))} without: {percent(saved)} saved of at most"
        f" {percent(1 - 1 / cached.vms)} ({_counted(cached)})",
    )


def _saved(cached: ArmRun, direct: ArmRun) -> float:
    without = upstream_bytes(direct)
    return 1 - upstream_bytes(cached) / without if without else 0.0


def _exactly_once(
    runs: Sequence[ArmRun], criterion_id: CriterionId, patterns: tuple[str, ...]
) -> Criterion:
    when = "one after another" if patterns == ("sequential",) else "all at once"
    skipped = Criterion(
        id=criterion_id,
        title=f"Each byte leaves the hub once, {when} (at most 1.01 of the unique bytes)",
        status="skip",
        measured=None,
        threshold=EXACTLY_ONCE,
        unit="ratio",
        evidence=f"vmreg was not run {when}",
    )
    chosen = [run for run in runs if run.arm == "vmreg" and run.pattern in patterns]
    if not chosen:
        return skipped
    worst = max(chosen, key=lambda run: abs(_ratio(run) - 1))
    ratio = _ratio(worst)
    evidence = (
        f"{_worst_of(len(chosen), 'run')}{label(worst)}: {size(upstream_bytes(worst))} from the hub"
        f" for {size(worst.unique_bytes)} of unique content, {ratio:.4f} times"
        f" ({_counted(worst)})"
    )
    if ratio < 2 - EXACTLY_ONCE:
        evidence += "; less than once means that the cache was not cold or bytes went uncounted"
    return skipped.judged(
        measured=ratio, passed=2 - EXACTLY_ONCE <= ratio <= EXACTLY_ONCE, evidence=evidence
    )


def _ratio(run: ArmRun) -> float:
    return upstream_bytes(run) / run.unique_bytes


def _nothing_silent(samples: Samples) -> Criterion:
    skipped = Criterion(
        id="nothing-silent",
        title="No VM goes around the mirror, and all counts agree within 1 %",
        status="skip",
        measured=None,
        threshold=0,
        unit="findings",
        evidence="vmreg was not run",
    )
    if not any(run.arm == "vmreg" for run in samples.runs):
        return skipped
    findings = (*bypasses(samples), *disagreements(samples))
    clients = sum(run.vms for run in samples.runs)
    asked = (
        "the hub's log names no client of a mirror"
        if all(run.counted_by == "hub" for run in samples.runs)
        else "what the edge sent is what each VM received"
    )
    return skipped.judged(
        measured=len(findings),
        passed=not findings,
        evidence=_shorten(findings)
        or f"{len(samples.runs)} runs, {clients} clients: {asked}, and the counts of the upstream,"
        " the egress, the edge and the clients agree",
    )


def _digests_match(runs: Sequence[ArmRun]) -> Criterion:
    skipped = Criterion(
        id="digests-match",
        title="Every client has exactly the bytes that the digests name",
        status="skip",
        measured=None,
        threshold=0,
        unit="clients",
        evidence="no client ran to its end",
    )
    checked = [(run, client) for run in runs for client in run.clients if not client.killed]
    if not checked:
        return skipped
    wrong = [
        f"{label(run)}: {client.name}"
        + (" was not checked" if client.digests_ok is None else " has other bytes")
        for run, client in checked
        if not client.digests_ok
    ]
    return skipped.judged(
        measured=len(wrong),
        passed=not wrong,
        evidence=_shorten(wrong) or f"all {len(checked)} clients of all arms were checked",
    )


def _cold_pull_overhead(runs: Sequence[ArmRun]) -> Criterion:
    skipped = Criterion(
        id="cold-pull-overhead",
        title="A cold pull through vmreg takes at most 1.05 times as long as a direct one",
        status="skip",
        measured=None,
        threshold=COLD_OVERHEAD,
        unit="ratio",
        evidence="needs vmreg and direct, both one after another",
    )
    sequential = [run for run in runs if run.pattern == "sequential"]
    # Pulls of one VM by itself come in pairs, so that a host that grows slower slows both arms.
    alone = [run for run in sequential if run.vms == 1]
    paired = alone if {"vmreg", "direct"} <= {run.arm for run in alone} else sequential
    cold = [run.clients[0].pull_s for run in paired if run.arm == "vmreg"]
    direct = [c.pull_s for run in paired if run.arm == "direct" for c in run.clients]
    if not cold or not direct or median(direct) <= 0:
        return skipped
    ratio = median(cold) / median(direct)
    return skipped.judged(
        measured=ratio,
        passed=ratio <= COLD_OVERHEAD,
        evidence=f"{_spread(cold)} through an empty cache, {_spread(direct)} direct,"
        " each pull alone on the host, measured around the client's pull",
    )


def _first_byte_streamed(runs: Sequence[ArmRun]) -> Criterion:
    skipped = Criterion(
        id="first-byte-streamed",
        title="All at once, each blob's first byte comes within 1 s of the hub's own",
        status="skip",
        measured=None,
        threshold=FIRST_BYTE_LAG_S,
        unit="seconds",
        evidence="no HTTP clients at once pulled through vmreg from a hub that logs first bytes",
    )
    chosen = [(lag, run) for run in _crowds(runs) for lag in lags(run)]
    if not chosen:
        return skipped
    worst_s, run = max(chosen, key=lambda one: one[0])
    return skipped.judged(
        measured=worst_s,
        passed=worst_s <= FIRST_BYTE_LAG_S,
        evidence=f"slowest of {len(chosen)} first bytes, in {label(run)}: {seconds(worst_s)} after"
        " the hub began to send that blob, or after the request when that came later",
    )


def _concurrent_pull_overhead(runs: Sequence[ArmRun]) -> Criterion:
    skipped = Criterion(
        id="concurrent-pull-overhead",
        title="All at once, the last client is done within 1.25 times one direct pull",
        status="skip",
        measured=None,
        threshold=CONCURRENT_OVERHEAD,
        unit="ratio",
        evidence="needs several HTTP clients through vmreg and one direct",
    )
    chosen = _crowds(runs)
    http = [run for run in runs if run.pattern == "concurrent-http"]
    direct = [run.clients[0].pull_s for run in http if (run.arm, run.vms) == ("direct", 1)]
    if not chosen or not direct or median(direct) <= 0:
        return skipped
    last_s, run = max(((_last_done_s(run), run) for run in chosen), key=lambda one: one[0])
    ratio = last_s / median(direct)
    return skipped.judged(
        measured=ratio,
        passed=ratio <= CONCURRENT_OVERHEAD,
        evidence=f"{label(run)}: the last one done after {seconds(last_s)}; one direct pull at the"
        f" same bandwidth took {_spread(direct)}; nothing is unpacked",
    )


def _crowds(runs: Sequence[ArmRun]) -> list[ArmRun]:
    """Return the runs whose timing is judged: HTTP clients at once, as many as there were VMs.

    More clients than that are there to count bytes: the host's cores limit them, not the cache.
    """
    most = max((run.vms for run in runs if run.pattern in {"sequential", "concurrent"}), default=0)
    return [
        run
        for run in runs
        if (run.arm, run.pattern) == ("vmreg", "concurrent-http") and 1 < run.vms <= most
    ]


def _last_done_s(run: ArmRun) -> float:
    return max(one.finished_s for one in run.clients) - min(one.started_s for one in run.clients)


def _worst_of(count: int, what: str) -> str:
    return f"worst of {count} {what}s, " if count > 1 else ""


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{seconds(values[0])} (one pull)"
    return (
        f"{seconds(median(values))} (median of {len(values)},"
        f" {seconds(min(values))} to {seconds(max(values))})"
    )


def _counted(run: ArmRun) -> str:
    return {
        "hub": "counted in the hub's access log",
        "egress": "counted in the egress's access log",
        "network": "counted at the network interfaces",
    }[run.counted_by]


def _shorten(findings: Sequence[str]) -> str:
    shown = "; ".join(findings[:SHOWN_FINDINGS])
    more = len(findings) - SHOWN_FINDINGS
    return f"{shown}; and {more} more" if more > 0 else shown
