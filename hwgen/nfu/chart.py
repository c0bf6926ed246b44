"""Charts: the units and buffers of an NFU over cycles."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import CAUSES, Schedule, Span
from hwgen.nfu.isa import Instruction
from hwgen.nfu.metrics import LayerMetrics
from hwgen.nfu.occupancy import BUFFERS, Use, uses
from hwgen.nfu.timing import LOADS

__all__ = ["PICTURES", "STALL_COLOURS", "draw_roofline", "draw_trace", "render", "save"]

_UNITS = (*LOADS, "run", "store")
_NAMES = {"sb": "SB", "nbin": "NBin", "table": "table", "nbout": "NBout"}
_WORK = ("#5b7fa6", "#93b1cf")  # instructions of even and of odd number
_USES = {"load": "#e3b23c", "read": "#5b7fa6", "write": "#5b7fa6", "store": "#e3b23c"}
STALL_COLOURS = dict(
    zip(
        CAUSES,
        ("#b8b8b8", "#c0392b", "#e67e22", "#8e5a2b", "#8e44ad", "#d81b90", "#1a1a1a", "#7f8c8d"),
        strict=True,
    )
)
"""Colour of each cause of a stall."""

PICTURES = (".png", ".svg", ".pdf")
"""Suffixes of pictures."""

_DATES = {".svg": "Date", ".pdf": "CreationDate"}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nfu",
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
}


def draw_trace(
    config: NfuConfig,
    program: Sequence[Instruction],
    rows: Sequence[int],
    schedule: Schedule,
    *,
    window: tuple[int, int] | None = None,
) -> Figure:
    """Chart of what the units and the words of the buffers do in the cycles of ``window``.

    The rows of the first axes are the units: loads, rows issued, stores, each with the number of
    its instruction; between the runs are the stalls, coloured by cause. Below, a chart a buffer
    shows which words are loaded, read, written and stored.

    Parameters
    ----------
    config : NfuConfig
        Parameters.
    program : sequence of Instruction
        The program.
    rows : sequence of int
        SB rows in memory.
    schedule : Schedule
        Its cycles.
    window : (int, int)
        Cycles [from, to); all by default.
    """
    begin, end = window or (0, schedule.total + 1)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11, 7.5), layout="constrained")
        axes = figure.subplots(1 + len(BUFFERS), 1, sharex=True, height_ratios=[1.6, 1, 1, 1])
        spans = [s for s in schedule.spans() if s.end >= begin and s.begin < end]
        _draw_units(axes[0], spans, (begin, end))
        found = [
            use
            for use in uses(config, program, rows, schedule)
            if use.end >= begin and use.begin < end
        ]
        depths = {"sb": config.sb_depth, "nbin": config.nbin_depth, "nbout": config.nbout_depth}
        for axis, buffer in zip(axes[1:], BUFFERS, strict=True):
            _draw_buffer(axis, [use for use in found if use.buffer == buffer], depths[buffer])
            axis.set_ylabel(f"{_NAMES[buffer]} words")
        axes[-1].set_xlabel("cycle")
        axes[-1].set_xlim(begin, end)
        causes = [cause for cause in CAUSES if any(span.cause == cause for span in spans)]
        handles = [Patch(color=_WORK[0], label="works"), Patch(color=_USES["load"], label="memory")]
        handles += [Patch(color=STALL_COLOURS[c], label=f"stall: {c}") for c in causes]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def draw_roofline(
    layers: Sequence[LayerMetrics], *, bytes_a_cycle: float, clock_hz: float
) -> Figure:
    """Layers under the roofline: operations a second against operations a byte moved."""
    slots = max(layer.slots for layer in layers)
    peak = max(2 * layer.effort.effectual / layer.ideal for layer in layers) * clock_hz / 1e9
    memory = bytes_a_cycle * clock_hz / 1e9
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        found = [layer.intensity for layer in layers]
        x = np.geomspace(min(found) / 2, max(2 * peak / memory, 2 * max(found)), 200)
        axes.plot(x, np.minimum(peak, memory * x), color=STALL_COLOURS["start"], linewidth=1)
        for layer in layers:
            speed = 2 * layer.effort.effectual / layer.cycles * clock_hz / 1e9
            marker = "o" if layer.slots == slots else "s"
            axes.plot(layer.intensity, speed, marker, color=_WORK[0], markersize=5)
            axes.annotate(
                layer.name, (layer.intensity, speed), xytext=(4, -8), textcoords="offset points"
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations a byte moved")
        axes.set_ylabel("10\u2079 operations a second")
    return figure


def render(figure: Figure, suffix: str) -> bytes:
    """A figure in the format of a suffix, equal for equal figures.

    Raises
    ------
    ValueError
        If the suffix is not one of :data:`PICTURES`.
    """
    form = suffix.lower()
    if form not in PICTURES:
        raise ValueError(f"Suffix of a picture must be .png, .svg or .pdf, not {suffix!r}")
    metadata = {_DATES[form]: None} if form in _DATES else {}
    content = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(content, format=form.removeprefix("."), dpi=150, metadata=metadata)
    return content.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write what :func:`render` gives for the path's suffix; errors are as there."""
    path.write_bytes(render(figure, path.suffix))


def _draw_units(axes: Axes, spans: Sequence[Span], window: tuple[int, int]) -> None:
    for row, unit in enumerate(_UNITS):
        mine = [span for span in spans if span.unit == unit]
        bars = [(span.begin, span.end + 1 - span.begin) for span in mine]
        colours = [STALL_COLOURS[s.cause] if s.cause else _WORK[s.instruction % 2] for s in mine]
        axes.broken_barh(bars, (row - 0.4, 0.8), facecolors=colours, linewidth=0)
        for span, (left, width) in zip(mine, bars, strict=True):
            middle = left + width / 2
            wide = width > 0.006 * len(str(span.instruction)) * (window[1] - window[0])
            if wide and not span.cause and window[0] <= middle < window[1]:
                axes.text(
                    middle, row, str(span.instruction), ha="center", va="center", color="white"
                )
    names = [f"load {_NAMES[unit]}" if unit in LOADS else unit for unit in _UNITS]
    axes.set_yticks(range(len(_UNITS)), names)
    axes.set_ylim(len(_UNITS) - 0.5, -0.5)


def _draw_buffer(axes: Axes, found: Iterable[Use], depth: int) -> None:
    """Words against cycles: those loaded or written so far, those a run uses, those to store."""
    shapes: list[list[tuple[float, float]]] = []
    colours = []
    for use in found:
        left, right = use.begin, use.end + 1
        for wrap in (0, -depth):
            low, high = use.first + wrap, use.first + use.words + wrap
            if high <= 0 or low >= depth:
                continue
            shapes.append(_shape(use.what, (left, right), (low, high)))
            colours.append(_USES[use.what])
    edged = PolyCollection(shapes, facecolors=colours, edgecolors=colours, linewidths=0.7)
    edged.set_alpha(0.7)
    axes.add_collection(edged)
    axes.set_ylim(0, depth)


def _shape(
    what: str, cycles: tuple[float, float], words: tuple[float, float]
) -> list[tuple[float, float]]:
    (left, right), (low, high) = cycles, words
    if what == "read":
        return [(left, low), (right, low), (right, high), (left, high)]
    if what == "store":
        return [(left, low), (right, high), (left, high)]
    return [(left, low), (right, low), (right, high)]
