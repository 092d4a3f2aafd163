"""Charts of one run as SVG and PNG; the same samples always give the same bytes.

Arms differ in colour, marker and line style, in colours that colour-blind people can tell apart
(Okabe and Ito's).
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.figures import (
    ARM_NAMES,
    PATTERN_NAMES,
    cumulative_bytes,
    label,
    size,
    upstream_bytes,
    waits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.samples import ArmRun, Samples

COLOURS = {"direct": "#D55E00", "registry2": "#0072B2", "vmreg": "#009E73"}
MARKERS = {"direct": "s", "registry2": "^", "vmreg": "o"}
LINES = {"direct": "--", "registry2": "-.", "vmreg": "-"}
OFFSETS = {"direct": -0.22, "registry2": 0.0, "vmreg": 0.22}
GREY = "#555555"
WIDTH_IN, HEIGHT_IN = 8.4, 4.0
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "path",
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One drawn chart.

    :param name: stem of its file names.
    :param title: heading.
    :param caption: what it shows, for those who cannot see it too.
    :param svg: a whole SVG document.
    :param png: the same as a PNG image.
    """

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def draw(samples: Samples, *, source: str) -> tuple[Chart, ...]:
    """Return the charts that the samples have data for.

    :param source: names the input file at the foot of each chart.
    """
    charts = [
        _chart(
            "upstream-bytes",
            "What leaves the hub as VMs are added",
            "Left: bytes that the hub sent after 1, 2, ... N pulls, for each arm; the dotted line"
            " is each unique byte sent once. Right: the share saved against pulling directly;"
            " the dotted curve is the most that N identical pulls can save, 1 - 1/N.",
            lambda figure: _upstream(figure, samples.runs),
            source,
        ),
        _chart(
            "pull-time",
            "How long each client's pull took",
            "One mark for each client, in the order in which they were started.",
            lambda figure: _pull_times(figure, samples.runs),
            source,
        ),
    ]
    if any(waits(run) for run in samples.runs):
        charts.append(
            _chart(
                "first-byte",
                "How long a client waits for a blob's first byte",
                "Share of all blob requests whose first byte had come after so many seconds.",
                lambda figure: _first_bytes(figure, samples.runs),
                source,
            )
        )
    return tuple(charts)


def _chart(
    name: str, title: str, caption: str, paint: Callable[[Figure], None], source: str
) -> Chart:
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and only reports need it
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - as above

    settings: Any = {**STYLE, "svg.hashsalt": name}
    with mpl.rc_context(settings):
        layout = ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97))
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout=layout)
        FigureCanvasAgg(figure)
        paint(figure)
        figure.text(0.995, 0.005, source, ha="right", va="bottom", fontsize=6, color=GREY)
        svg, png = io.BytesIO(), io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=nothing)
        figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Chart(
        name=name, title=title, caption=caption, svg=svg.getvalue().decode(), png=png.getvalue()
    )


def _upstream(figure: Figure, runs: Sequence[ArmRun]) -> None:
    total, saved = figure.subplots(1, 2)
    curves = {run.arm: cumulative_bytes(run) for run in _longest_sequential(runs)}
    for arm, curve in curves.items():
        _line(total, arm, range(1, len(curve) + 1), curve)
        direct = curves.get("direct", ())
        if arm != "direct" and direct:
            shares = [1 - mine / theirs for mine, theirs in zip(curve, direct, strict=False)]
            _line(saved, arm, range(1, len(shares) + 1), shares)
    for run in runs:
        if run.pattern != "sequential" or not cumulative_bytes(run):
            total.plot(
                run.vms,
                upstream_bytes(run),
                MARKERS[run.arm],
                color=COLOURS[run.arm],
                markerfacecolor="none",
                markersize=9,
            )
    most = max(run.vms for run in runs)
    longest = max((len(curve) for curve in curves.values()), default=most)
    total.axhline(runs[0].unique_bytes, color=GREY, linestyle=":", label="each byte once")
    bound = range(1, longest + 1)
    saved.plot(bound, [1 - 1 / n for n in bound], ":", color=GREY, label="bound: 1 - 1/N")
    _dress_upstream(total, saved, most=most, longest=longest)


def _dress_upstream(total: Axes, saved: Axes, *, most: int, longest: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter  # noqa: PLC0415 - slow

    for axes, count in ((total, most), (saved, longest)):
        axes.set_xlabel("clients that have pulled (N)")
        axes.set_xlim(0.6, count + 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=min(count, 10), integer=True))
    total.set_title("Bytes sent by the hub (hollow: all at once)")
    total.set_ylim(bottom=0)
    total.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _round_size(value)))
    total.legend()
    saved.set_title("Saved against direct, one after another")
    saved.axhline(0.8, color="#CC79A7", linewidth=1, label="criterion: 80 %")
    saved.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    saved.set_ylim(top=1.03)
    saved.legend(loc="lower right")


def _round_size(count_bytes: float) -> str:
    """Return a tick's size without trailing zeros: ``2.5 GB``."""
    number, _, unit = size(count_bytes).partition(" ")
    return f"{float(number):g} {unit}" if count_bytes else "0"


def _line(axes: Axes, arm: str, numbers: Sequence[int], values: Sequence[float]) -> None:
    axes.plot(
        numbers,
        values,
        color=COLOURS[arm],
        marker=MARKERS[arm],
        linestyle=LINES[arm],
        markersize=4,
        label=ARM_NAMES[arm],
    )


def _longest_sequential(runs: Sequence[ArmRun]) -> list[ArmRun]:
    """Return, for each arm, the run that was one after another with the most clients."""
    best: dict[str, ArmRun] = {}
    for run in runs:
        if cumulative_bytes(run) and (run.arm not in best or run.vms > best[run.arm].vms):
            best[run.arm] = run
    return [best[arm] for arm in COLOURS if arm in best]


def _pull_times(figure: Figure, runs: Sequence[ArmRun]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - slow, only reports need it

    patterns = [pattern for pattern in PATTERN_NAMES if any(run.pattern == pattern for run in runs)]
    panels = figure.subplots(1, len(patterns), sharey=True, squeeze=False)[0]
    for axes, pattern in zip(panels, patterns, strict=True):
        for run in runs:
            if run.pattern == pattern:
                _dots(axes, run)
        axes.set_title(PATTERN_NAMES[pattern].replace(", ", ",\n").replace(" (", "\n("))
        axes.set_xlabel("client")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    slowest_s = max((client.pull_s for run in runs for client in run.clients), default=1.0)
    panels[0].set_ylim(0, slowest_s * 1.08)
    panels[0].set_ylabel("seconds")
    _legend(figure, runs)


def _dots(axes: Axes, run: ArmRun) -> None:
    shift = OFFSETS[run.arm]  # arms that took equally long stay visible beside each other
    for number, client in enumerate(run.clients, start=1):
        axes.plot(
            number + shift,
            client.pull_s,
            "x" if client.killed else MARKERS[run.arm],
            color=COLOURS[run.arm],
            markersize=4.5,
        )


def _legend(figure: Figure, runs: Sequence[ArmRun]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow import, only reports need it

    handles = [
        Line2D([], [], linestyle="", marker=MARKERS[arm], color=COLOURS[arm], label=name)
        for arm, name in ARM_NAMES.items()
        if any(run.arm == arm for run in runs)
    ]
    if any(client.killed for run in runs for client in run.clients):
        handles.append(Line2D([], [], linestyle="", marker="x", color=GREY, label="killed"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))


def _first_bytes(figure: Figure, runs: Sequence[ArmRun]) -> None:
    axes = figure.subplots()
    styles = {arm: itertools.cycle(("-", "--", "-.", ":")) for arm in COLOURS}
    for run in runs:
        ordered = sorted(waits(run))
        if ordered:
            shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
            axes.step(
                ordered,
                shares,
                where="post",
                color=COLOURS[run.arm],
                linestyle=next(styles[run.arm]),
                linewidth=1.8,
                label=label(run),
            )
    _dress_first_bytes(axes)
    figure.legend(loc="outside lower center", ncols=2)


def _dress_first_bytes(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415 - slow, only reports need it

    axes.axvline(1.0, color=GREY, linestyle=":", linewidth=1)
    axes.annotate("1 s", (1.0, 0.02), xytext=(3, 0), textcoords="offset points", color=GREY)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_xlabel("seconds from the request")
    axes.set_title("Blob requests that had their first byte")
