"""Everything that is read after a run, derived from its ``samples.json`` and from nothing else.

A folder holds one run. Its samples are written once; what is derived from them is written again,
to the same bytes by the same code, whenever somebody asks.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from bench import charts, samples, savings, view
from bench.criteria import judge
from vmreg.errors import HostError
from vmreg.templates import render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from bench.criteria import Verdict

LATEST = "latest"
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
MOST_RUNS_PER_SECOND = 100


def new_folder(reports: Path, *, started_at: datetime, kind: str = "savings") -> Path:
    """Make and return an empty folder for a run, named after its start in UTC.

    Two runs of the same second get folders of their own.

    :raises HostError: the folder cannot be made.
    """
    stamp = started_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, MOST_RUNS_PER_SECOND):
        folder = reports / (f"{stamp}-{kind}" + (f"-{number}" if number > 1 else ""))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise HostError(brief=f"cannot make {folder}", details=str(error)) from error
        return folder
    raise HostError(brief=f"{reports} has {MOST_RUNS_PER_SECOND} runs of {stamp} already")


def render_all(folder: Path) -> Verdict:
    """Derive every report in a run's folder from its ``samples.json`` and return the verdict.

    Writes ``savings.json``, ``savings.html``, ``savings.md``, ``junit.xml`` and each chart as
    SVG and PNG; each file is replaced as a whole. A second call writes the same bytes.

    :raises UsageError: the folder has no valid ``samples.json``.
    """
    taken, sha256 = samples.read(folder / samples.FILE_NAME)
    verdict = judge(taken)
    drawn = charts.draw(taken, source=f"{samples.FILE_NAME} sha256:{sha256[:16]}")
    values = view.values(taken, verdict, folder=folder.resolve().name, sha256=sha256)
    inline = [replace(chart, svg=inline_svg(chart.svg)) for chart in drawn]
    files = {
        "savings.json": savings.to_json(taken, verdict, sha256=sha256),
        "savings.html": render("report.html.j2", charts=inline, **values),
        "savings.md": render("report.md.j2", charts=inline, **values),
        "junit.xml": savings.to_junit(taken, verdict, sha256=sha256),
        **{f"{chart.name}.svg": chart.svg for chart in drawn},
    }
    for name, text in files.items():
        _write(folder / name, text.encode())
    for chart in drawn:
        _write(folder / f"{chart.name}.png", chart.png)
    return verdict


def publish(folder: Path, *, environment: Mapping[str, str]) -> Verdict:
    """Render a run that has just been measured, make it the latest and tell the CI job.

    The Markdown report is appended to the file that ``GITHUB_STEP_SUMMARY`` names, if it names
    one. Call it once per run: a second call appends a second time.

    :param environment: usually ``os.environ``.
    :raises UsageError: the folder has no valid ``samples.json``.
    """
    verdict = render_all(folder)
    point_latest(folder)
    summary = environment.get(SUMMARY_VARIABLE)
    if summary:
        text = (folder / "savings.md").read_text(encoding="utf-8")
        with open(summary, "a", encoding="utf-8") as stream:  # noqa: PTH123 - a name, not a path
            stream.write(text)
    return verdict


def point_latest(folder: Path) -> None:
    """Make ``latest``, beside the folder, a link to it; it never points nowhere in between.

    :raises HostError: something that is not a link has that name.
    """
    link = folder.parent / LATEST
    if link.exists() and not link.is_symlink():
        raise HostError(
            brief=f"{link} is not a link", resolution="Move it away and render the report again."
        )
    scratch = folder.parent / f".{LATEST}-{os.getpid()}"
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(folder.name, target_is_directory=True)
    scratch.replace(link)


def inline_svg(document: str) -> str:
    """Return an SVG document without what only a file of its own needs: prologue and size.

    The page's style sheet sets the size, and no document type points at another host.
    """
    svg = document[document.index("<svg") :].rstrip()
    head, rest = svg.split(">", maxsplit=1)
    return re.sub(r' (?:width|height)="[^"]*"', "", head) + ">" + rest


def _write(target: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as scratch:
        scratch.write(content)
        os.fchmod(scratch.fileno(), 0o644)
    os.replace(scratch.name, target)  # noqa: PTH105 - a name, not a path
