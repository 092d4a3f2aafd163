"""``bench.*``: the benchmarks as Invoke tasks that parse, call and print."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection

from vmreg.cli.common import Table, command, print_table, say
from vmreg.errors import CriterionError, UsageError, VmregError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from bench.criteria import Criterion, Verdict
    from bench.samples import Samples

REPORTS = "reports"
SHOWN_FINDINGS = 20
MOST_CLIENTS = 32
MOST_VMS = 200
QUIETLY = "Timings need a host that does nothing else: run it again then."


@command(
    help={
        "vms": "how many VMs pull in each pattern (1 to 32)",
        "image": "what they pull, as docker pull takes it",
        "upstream": "embedded (a stand-in that needs no internet) or docker.io",
        "profile": "quick (under 10 minutes on two cores) or full (under 45)",
        "output": "folder for the run's own folder",
        "keep": "leave the containers of the failed, or the last, step for debugging",
        "allow_skip": "a criterion that may be skipped without failing the run; repeatable",
    },
    iterable=["allow_skip"],
)
def savings(  # noqa: PLR0917 - Invoke makes options of them
    context: Context,
    vms: int = 10,
    image: str = "node:20",
    upstream: str = "embedded",
    profile: str = "quick",
    output: str = REPORTS,
    keep: bool = False,  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    allow_skip: list[str] | None = None,
) -> None:
    """Measure what the cache saves against no mirror and against a plain registry:2.

    Exits with 0 when every criterion passed, 6 when one was missed, and 1 when the counts
    disagree, a VM went around its mirror, or a pull failed.
    """
    del context  # nothing here runs a command
    from bench import progress, report, samples  # noqa: PLC0415 - start-up time
    from bench.measure import Options, measure  # noqa: PLC0415 - as above

    options = Options(
        vms=vms,
        image=image,
        upstream=upstream,
        profile=profile,
        keep=keep,
        allowed_skips=tuple(allow_skip or ()),
        arguments=(
            "bench.savings",
            *_words(vms, image, upstream, profile, keep=keep),
            *(f"--allow-skip={name}" for name in allow_skip or ()),
        ),
    )
    with progress.choose() as shown:
        taken = measure(options, shown)
    from datetime import datetime  # noqa: PLC0415 - start-up time

    folder = report.new_folder(
        Path(output), started_at=datetime.fromisoformat(taken.meta.started_at)
    )
    say(f"samples: {samples.write(folder, taken)}")
    verdict = report.publish(folder, environment=os.environ)
    _show(verdict, folder)
    _judge(taken, verdict, folder)


@command(
    help={
        "rounds": "how often each server is asked, in turn",
        "clients": "how many clients ask at once",
        "output": "folder for the run's own folder",
    }
)
def throughput(context: Context, rounds: int = 9, clients: int = 4, output: str = REPORTS) -> None:
    """Measure how fast warm blobs come, against a static nginx and a plain registry:2.

    Takes a minute or two. Exits with 0 when both criteria passed, else with 6.
    """
    del context
    from bench import progress  # noqa: PLC0415 - start-up time
    from bench import throughput as subject  # noqa: PLC0415 - as above

    if rounds < 1 or not 1 <= clients <= MOST_CLIENTS:
        raise UsageError(
            brief=f"--rounds {rounds} --clients {clients} cannot be measured",
            resolution=f"At least 1 round, and 1 to {MOST_CLIENTS} clients.",
        )
    with progress.choose() as shown:
        seen = subject.measure(rounds=rounds, clients=clients, scale=subject.SCALE, progress=shown)
    _publish(subject.judge(seen), subject.to_json(seen), output, kind="throughput")


@command(
    help={
        "rounds": "how often each command is run",
        "listed": "how many VMs there are while the list is timed",
        "output": "folder for the run's own folder",
    }
)
def vms(context: Context, rounds: int = 5, listed: int = 50, output: str = REPORTS) -> None:
    """Measure how long the vm command takes: help, a list, a new VM against a bare container.

    Takes a minute or two. Exits with 0 when all criteria passed, else with 6.
    """
    del context
    from bench import progress  # noqa: PLC0415 - start-up time
    from bench import vms as subject  # noqa: PLC0415 - as above

    if rounds < 1 or not 1 <= listed <= MOST_VMS:
        raise UsageError(
            brief=f"--rounds {rounds} --listed {listed} cannot be measured",
            resolution=f"At least 1 round, and 1 to {MOST_VMS} VMs.",
        )
    with progress.choose() as shown:
        seen = subject.measure(rounds=rounds, listed=listed, progress=shown)
    _publish(subject.judge(seen), subject.to_json(seen), output, kind="vms")


def _publish(criteria: Sequence[Criterion], text: str, output: str, *, kind: str) -> None:
    """Write a benchmark's JSON into a folder of its own, print the criteria and judge them.

    :raises CriterionError: one was missed.
    """
    from datetime import UTC, datetime  # noqa: PLC0415 - start-up time

    from bench import report  # noqa: PLC0415 - as above

    folder = report.new_folder(Path(output), started_at=datetime.now(UTC), kind=kind)
    path = folder / f"{kind}.json"
    path.write_text(text, encoding="utf-8")
    _print(criteria)
    say(f"report: {path.resolve()}")
    missed = [one.id for one in criteria if one.status != "pass"]
    if missed:
        raise CriterionError(brief=f"not met: {', '.join(missed)}", resolution=QUIETLY)


@command(
    help={
        "stop": "stop it",
        "scale": "sizes of its images: 1 is as large as the real ones",
    }
)
def hub(context: Context, stop: bool = False, scale: float = 0.1) -> None:  # noqa: FBT001, FBT002 - Invoke reads flags from the signature
    """Run the stand-in for Docker Hub, to try the cache without internet; prints what to set."""
    del context
    from bench import standin  # noqa: PLC0415 - start-up time

    if stop:
        say("stopped" if standin.stop() else "it was not running")
        return
    variables, images = standin.start(scale=scale, progress=say)
    print(standin.exports(variables))  # noqa: T201 - the data of this command
    say(f"it has {', '.join(images)}")
    say("next: vm registry start, with these variables; at the end: bench.hub --stop")


@command(positional=["run"], help={"run": "a run's folder, such as reports/latest"})
def render(context: Context, run: str = f"{REPORTS}/latest") -> None:
    """Render a run's reports again from its samples, and print the criteria."""
    del context
    from bench import report, samples  # noqa: PLC0415 - start-up time

    folder = Path(run)
    verdict = report.render_all(folder)
    _show(verdict, folder)
    _judge(samples.read(folder / samples.FILE_NAME)[0], verdict, folder)


def _words(vms: int, image: str, upstream: str, profile: str, *, keep: bool) -> Sequence[str]:
    given = (f"--vms={vms}", f"--image={image}", f"--upstream={upstream}", f"--profile={profile}")
    return (*given, "--keep") if keep else given


def _show(verdict: Verdict, folder: Path) -> None:
    _print(verdict.criteria)
    sys.stdout.flush()
    say(verdict.summary)
    say(f"report: {(folder / 'savings.html').resolve()}")


def _print(criteria: Sequence[Criterion]) -> None:
    rows = tuple(
        (
            one.id,
            one.status,
            "" if one.measured is None else f"{one.measured:.4g}",
            f"{one.threshold:g} {one.unit}",
            one.evidence,
        )
        for one in criteria
    )
    columns = ("criterion", "status", "measured", "threshold", "evidence")
    print_table(Table(columns=columns, rows=rows))


def _judge(taken: Samples, verdict: Verdict, folder: Path) -> None:
    """Raise what the verdict comes to.

    :raises VmregError: the counts disagree, or a client went around its mirror.
    :raises CriterionError: a criterion was missed.
    """
    from bench.crosscheck import bypasses, disagreements  # noqa: PLC0415 - start-up time

    findings = (*bypasses(taken), *disagreements(taken))
    if findings:
        raise VmregError(
            brief=f"the run proves nothing: {len(findings)} counts disagree or went uncounted",
            details="\n".join(findings[:SHOWN_FINDINGS]),
            resolution=f"The samples are kept: {folder / 'samples.json'}",
        )
    if verdict.exit_code:
        raise CriterionError(
            brief=verdict.summary,
            resolution=f"Read the evidence in {folder / 'savings.html'}. {QUIETLY}",
        )


ns = Collection("bench", savings, throughput, vms, hub)
ns.add_task(render, name="report")
