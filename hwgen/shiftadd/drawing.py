"""Drawing of an adder graph: levels from left to right, shifts and signs on the edges."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hwgen.shiftadd.graph import AdderGraph, Operand

__all__ = ["draw", "graph_svg", "linear_form"]

_LABELLED = 64
"""Values up to which each shows its linear form, and edges their shifts."""

_TERMS = 4
_INPUT, _ADDER, _OUTPUT, _EDGE = "#8a93a3", "#2f7fd6", "#3a9a5b", "#5b6472"
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "svg.hashsalt": "hwgen",  # identifiers that do not change from run to run
    "font.family": "sans-serif",
    "font.size": 8.0,
    "text.parse_math": False,
}
_SWEEPS = 8


def graph_svg(graph: AdderGraph) -> str:
    """SVG of a graph; equal text for equal graphs."""
    places, outputs = _layout(graph)
    points = np.array([*places, *outputs])
    width, height = np.ptp(points, axis=0)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.5 * width + 1.5, 0.36 * height + 0.6), layout="constrained")
        draw(graph, figure.add_subplot())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def draw(graph: AdderGraph, axes: Axes) -> None:
    """Draw a graph onto ``axes``.

    Inputs are grey, adders blue, outputs green. Beside an edge is what it does to the value:
    ``<<2`` a shift, ``-`` a subtraction. Graphs of few values show the linear form of each.
    """
    places, outputs = _layout(graph)
    count = len(graph.inputs)
    small = len(places) <= _LABELLED
    for index, node in enumerate(graph.nodes, start=count):
        bend = 0.12 if node.left.source == node.right.source else 0.0
        for operand, by in ((node.left, bend), (node.right, -bend)):
            _edge(axes, places[operand.source], places[index], operand, small, by)
    for output, place in zip(graph.outputs, outputs, strict=True):
        if output is not None:
            _edge(axes, places[output.source], place, output, small, 0.0)
    for value, place in enumerate(places):
        colour = _INPUT if value < count else _ADDER
        if small:
            text = f"x{value}" if value < count else linear_form(graph, value)
            _box(axes, place, text, colour)
        else:
            axes.plot(*place, "o", color=colour, markersize=3)
    for index, place in enumerate(outputs):
        if small:
            zero = " = 0" if graph.outputs[index] is None else ""
            _box(axes, place, f"y{index}{zero}", _OUTPUT)
        else:
            axes.plot(*place, "s", color=_OUTPUT, markersize=3)
    axes.set_axis_off()
    axes.margins(0.08, 0.08)


def linear_form(graph: AdderGraph, value: int) -> str:
    """A value as text, such as ``3x0 - x2``; of many terms the first few."""
    inputs = len(graph.inputs)
    shown = AdderGraph(graph.inputs, graph.nodes[: max(0, value - inputs + 1)], (Operand(value),))
    terms = [(int(c), k) for k, c in enumerate(shown.matrix[:, 0]) if c]
    text = ""
    for number, (coefficient, k) in enumerate(terms[:_TERMS]):
        sign = "-" if coefficient < 0 else "+"
        joint = ("-" if coefficient < 0 else "") if number == 0 else f" {sign} "
        size = abs(coefficient)
        text += f"{joint}{'' if size == 1 else size}x{k}"
    return text + (" + ..." if len(terms) > _TERMS else "") or "0"


def _layout(graph: AdderGraph) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Places of the values and of the outputs.

    Levels are columns; in each, values lie in the order of the mean place of their neighbours, so
    that few edges cross (barycentre heuristic; Sugiyama, Tagawa and Toda, "Methods for visual
    understanding of hierarchical system structures", 1981).
    """
    count = len(graph.inputs)
    size = len(graph.ranges)
    last = max(graph.depths, default=0) + 1
    column = [*graph.depths, *[last] * len(graph.outputs)]
    near: list[list[int]] = [[] for _ in column]
    pairs = [
        (operand.source, index)
        for index, node in enumerate(graph.nodes, start=count)
        for operand in (node.left, node.right)
    ]
    pairs += [(o.source, size + k) for k, o in enumerate(graph.outputs) if o is not None]
    for a, b in pairs:
        near[a].append(b)
        near[b].append(a)
    levels: list[list[int]] = [[] for _ in range(last + 1)]
    for item, level in enumerate(column):
        levels[level].append(item)
    height = np.zeros(len(column))

    def settle(members: list[int]) -> None:
        for row, item in enumerate(members):
            height[item] = row - (len(members) - 1) / 2

    for members in levels:
        settle(members)
    for sweep in range(_SWEEPS):
        for members in levels[1:-1] if sweep % 2 == 0 else levels[-2:0:-1]:
            members.sort(key=lambda item: float(np.mean([height[k] for k in near[item]] or [0])))
            settle(members)
    settle(levels[0])
    settle(levels[-1])
    points = [(float(c), -float(h)) for c, h in zip(column, height, strict=True)]
    return points[:size], points[size:]


def _edge(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    operand: Operand,
    labelled: bool,
    bend: float,
) -> None:
    """An arrow; ``bend`` keeps apart two edges between the same values."""
    axes.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>" if labelled else "-",
            "color": _EDGE,
            "linewidth": 0.7 if labelled else 0.3,
            "connectionstyle": f"arc3,rad={bend}",
            "shrinkA": 10 if labelled else 0,
            "shrinkB": 14 if labelled else 0,
        },
    )
    shift = operand.shift
    text = "-" if operand.negate else ""
    text += f"<<{shift}" if shift > 0 else f">>{-shift}" if shift < 0 else ""
    if labelled and text:
        x, y = 0.4 * start[0] + 0.6 * end[0], 0.4 * start[1] + 0.6 * end[1]
        axes.annotate(text, (x, y - 2 * bend), ha="center", va="bottom", color=_EDGE, fontsize=7)


def _box(axes: Axes, place: tuple[float, float], text: str, colour: str) -> None:
    style = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour}
    axes.annotate(text, place, ha="center", va="center", color="black", bbox=style, zorder=3)
    axes.plot(*place, alpha=0)  # annotations do not count in the limits of the axes
