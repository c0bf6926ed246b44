"""Plots of the approximation as inline SVG, small and the same for equal data."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hwgen.approx.types import ApproxNetwork
from hwgen.integer.types import IntegerNetwork
from hwgen.network.execute import apply
from hwgen.network.types import Activation, Conv, FloatArray, PiecewiseLinear
from hwgen.report.pipeline import shorten

__all__ = [
    "DYADIC",
    "EXACT",
    "INK",
    "STYLE",
    "activation_plots",
    "as_svg",
    "error_plot",
    "weight_plots",
]

INK = "#010203"
"""Stands for the colour of the page's text."""
EXACT, DYADIC = "#8a93a3", "#2f7fd6"
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_MOST_FILTERS = 9
_BINS = 61
_POINTS = 241
_NAME = 16


def error_plot(layers: Sequence[Mapping[str, Any]]) -> str:
    """Relative errors of every layer: of its weights, and of its output; empty if none is known."""
    known = [layer for layer in layers if layer["output_error"] is not None]
    if not known:
        return ""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.7 + 0.26 * len(known)), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(known))
        for key, offset, colour, label in (
            ("weight_error", -0.19, EXACT, "weights"),
            ("output_error", 0.19, DYADIC, "output"),
        ):
            values = [100 * (layer[key] or 0.0) for layer in known]
            axes.barh(rows + offset, values, 0.34, color=colour, label=label)
        axes.set_yticks(rows, [shorten(layer["name"], _NAME) for layer in known])
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_xlabel("root-mean-square error relative to the float network, %")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="best")
        return as_svg(figure, "errors", "Relative error of each layer's weights and output")


def weight_plots(approx: ApproxNetwork) -> tuple[str, int]:
    """Weights before and after, of the layers with most weights, and how many layers were left out.

    Each weight is divided by the scale of its filter, so that the dyadic levels of all filters
    coincide.
    """
    filters = dict(approx.filters)
    linear = [(node, op) for node, op in approx.network.convs() if np.any(op.weight)]
    largest = sorted(linear, key=lambda pair: -pair[1].weight.size)[:_MOST_FILTERS]
    chosen = [pair for pair in linear if pair in largest]
    if not chosen:
        return "", 0
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.75 * rows), layout="constrained")
        for index, (node, op) in enumerate(chosen):
            dyadic = filters[node.name]
            axes = figure.add_subplot(rows, columns, index + 1)
            _weights(axes, op, dyadic.codes, dyadic.frac, [float(s) for s in dyadic.scale])
            axes.set_title(f"{shorten(node.name, _NAME)}: {dyadic.recipe}")
        svg = as_svg(figure, "weights", "Weights before and after the approximation")
    return svg, len(linear) - len(chosen)


def _weights(
    axes: Any, op: Conv, codes: np.ndarray[Any, Any], frac: int, scale: Sequence[float]
) -> None:
    used = op.weight.reshape(len(scale), -1)
    exact = (used / np.array(scale)[:, np.newaxis])[used != 0]
    after = np.ldexp(codes.reshape(len(scale), -1).astype(np.float64), -frac)[used != 0]
    reach = float(np.quantile(np.abs(exact), 0.998)) if exact.size else 1.0
    reach = max(reach, float(np.max(np.abs(after), initial=0.0))) * 1.04 or 1.0
    shares, edges = np.histogram(exact, bins=_BINS, range=(-reach, reach))
    axes.stairs(100 * shares / exact.size, edges, fill=True, color=EXACT, alpha=0.55, label="float")
    levels, counts = np.unique(after, return_counts=True)
    axes.vlines(levels, 0, 100 * counts / exact.size, color=DYADIC, lw=1.1)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("% of weights", fontsize=7.5)


def activation_plots(approx: ApproxNetwork, integer: IntegerNetwork) -> str:
    """Each curved activation beside its replacement, over all inputs that can occur."""
    groups: dict[str, list[str]] = {}
    curves: dict[str, tuple[Activation, PiecewiseLinear]] = {}
    ops = {node.name: node.op for node in approx.network.nodes}
    for name, pieces in approx.activations:
        op = ops[name]
        if isinstance(op, Activation) and pieces.breakpoints.size:
            arrays = (*op.parameters, pieces.breakpoints, pieces.slopes, pieces.offsets)
            key = f"{op.kind} {op.pre!r} {op.post!r} {[a.tobytes() for a in arrays]}"
            groups.setdefault(key, []).append(name)
            curves[key] = (op, pieces)
    if not groups:
        return ""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 2.3 * len(groups)), layout="constrained")
        for row, (key, names) in enumerate(groups.items()):
            left = figure.add_subplot(len(groups), 2, 2 * row + 1)
            right = figure.add_subplot(len(groups), 2, 2 * row + 2)
            _curve(left, right, *curves[key], _domain(integer, names))
            shown = ", ".join(shorten(name, _NAME) for name in names[:3])
            left.set_title(shown + (f" and {len(names) - 3} more" if len(names) > 3 else ""))
        return as_svg(figure, "activations", "Activations and their piecewise linear replacements")


def _domain(integer: IntegerNetwork, names: Sequence[str]) -> FloatArray:
    """Points (n,) from the least to the greatest real input of the activations ``names``."""
    sources = [integer.node(name).inputs[0] for name in names]
    pairs = [
        pair for s in sources for pair in zip(integer.ranges(s), integer.scale(s), strict=True)
    ]
    return np.linspace(
        min(r.lo * unit for r, unit in pairs), max(r.hi * unit for r, unit in pairs), _POINTS
    )


def _curve(left: Any, right: Any, op: Activation, pieces: PiecewiseLinear, x: FloatArray) -> None:
    exact, after = _values(op, x), _values(pieces, x)
    corners = pieces.breakpoints[0]
    corners = corners[(corners >= x[0]) & (corners <= x[-1])]
    left.plot(x, exact, color=EXACT, lw=3.2, alpha=0.6, label=op.kind.replace("_", " "))
    left.plot(x, after, color=DYADIC, lw=1.1, label=f"{pieces.slopes.shape[1]} segments")
    left.plot(corners, _values(pieces, corners), ".", color=DYADIC, ms=4)
    left.legend(loc="upper left", handlelength=1.2)
    right.plot(x, after - exact, color=DYADIC, lw=1.0)
    right.axhline(0, color=INK, lw=0.5)
    right.set_title(f"error, at most {np.max(np.abs(after - exact)):.4f}")


def _values(op: Activation | PiecewiseLinear, x: FloatArray) -> FloatArray:
    """The function of channel 0 at the points ``x`` (n,)."""
    arrays = op.parameters if isinstance(op, Activation) else (op.slopes,)
    channels = max((len(array) for array in arrays), default=1)
    image = np.broadcast_to(x, (1, channels, 1, len(x))).astype(np.float64)
    values: FloatArray = np.asarray(apply(op, [image]))[0, 0, 0]
    return values


def as_svg(figure: Figure, salt: str, title: str) -> str:
    """The figure as an SVG element that takes its ink from the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| version="1.1"', "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace(INK, "currentColor").replace("xlink:href", "href")
    return "\n".join(_rounded(svg, title))


def _rounded(svg: str, title: str) -> Iterator[str]:
    """Lines of ``svg`` with a name for screen readers, and coordinates of two decimals.

    Numbers that are text have at most four.
    """
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*pt"', "", head)
    yield f'{head} class="plot" role="img" aria-label="{title}">'
    for line in rest.splitlines():
        if line.strip():
            yield re.sub(r"(\d+\.\d{2})\d{3,}", r"\1", line)
