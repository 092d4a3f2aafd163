"""``registry.pull``: fill the cache before anybody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg.cli.common import Table, check_format, command, is_dry, open_stack, say, show
from vmreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from vmreg.prewarm.references import Named
    from vmreg.prewarm.results import Prewarmed, Skipped
    from vmreg.status import RateLimit


@command(
    help={
        "images": "an image, as docker pull takes it; repeat it for each",
        "for": "all that this vm.yaml, and the compose files and Dockerfiles beside it, name",
        "platform": "for this platform, such as linux/arm64, or all; repeatable; else this host's",
        "format": "table, json or yaml",
    },
    iterable=["images", "platform"],
)
def pull(
    context: Context,
    images: list[str] | None = None,
    for_: str = "",
    platform: list[str] | None = None,
    format_: str = "table",
) -> None:
    """Fetch images into the cache before any VM asks for them.

    Each blob leaves the hub once; what the cache has already is not fetched again.
    """
    check_format(format_)
    from vmreg.prewarm import fetching, jobs, progress  # noqa: PLC0415 - start-up time of --help
    from vmreg.prewarm.images import choose  # noqa: PLC0415 - as above

    choice = choose(tuple(platform or ()))
    wanted = _wanted(images or [], for_)
    if is_dry(context):
        from vmreg.config import load  # noqa: PLC0415 - as above

        todo, skipped = jobs.sort(wanted, choice, allowed=load().registry.repositories)
        for job in todo:
            say(f"fetch {job.name} for {job.choice} ({', '.join(job.named_in)})")
        _say_skipped(skipped)
        return
    with open_stack() as stack:
        done = fetching.pull(stack, wanted, choice=choice, events=progress.choose())
    show(format_, table=lambda: _as_table(done), document=done.to_json)
    _say_skipped(done.skipped)
    say(f"the hub's limit: {_limit(done.quota.before)} before, {_limit(done.quota.after)} after")
    done.raise_failures()
    say("next: vm create NAME")


def _wanted(images: Sequence[str], project: str) -> tuple[Named, ...]:
    """Return what is asked for, on the command line first.

    :raises UsageError: nothing is.
    :raises ConfigError: the project's files have faults.
    """
    from pathlib import Path  # noqa: PLC0415 - start-up time of --help

    from vmreg.prewarm.references import from_command_line  # noqa: PLC0415 - as above
    from vmreg.prewarm.sources import named_in  # noqa: PLC0415 - as above

    found = (*from_command_line(images), *(named_in(Path(project)) if project else ()))
    if not found:
        raise UsageError(
            brief=f"{project} and the files beside it name no image" if project else "no image",
            resolution="Name one: vm registry pull node:20; or a project: --for vm.yaml",
        )
    return found


def _as_table(done: Prewarmed) -> Table:
    from vmreg.prewarm.progress import outcome  # noqa: PLC0415 - start-up time of --help

    return Table(
        columns=("image", "platforms", "digest", "outcome", "named in"),
        rows=tuple(
            (
                one.reference,
                ", ".join(one.platforms),
                one.digest,
                outcome(one.fetched_bytes, one.seconds, one.error),
                ", ".join(one.named_in),
            )
            for one in done.images
        ),
    )


def _say_skipped(skipped: Sequence[Skipped]) -> None:
    for one in skipped:
        say(f"skipped {one.reference} ({', '.join(one.named_in)}): {one.reason}")


def _limit(seen: RateLimit | None) -> str:
    return "not told" if seen is None else f"{seen.remaining} of {seen.limit} pulls left"
