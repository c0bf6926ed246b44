"""The Pareto front as a table, as CSV and as a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.figure import Figure

from hwgen.approx.front import Front, Point
from hwgen.report.facts import number, percent
from hwgen.report.plots import DYADIC, EXACT, INK, STYLE, as_svg
from hwgen.report.tables import Table

__all__ = ["COST_LABELS", "METRIC_LABELS", "front_csv", "front_plot", "front_png", "front_table"]

COST_LABELS: Mapping[str, str] = {
    "terms": "adders an output pixel, before sharing",
    "shared": "adders an output pixel, after sharing",
    "slots": "cycles of the NFU an image",
    "bits": "bits of weight memory",
}
"""What the costs are, by name."""

METRIC_LABELS: Mapping[str, str] = {
    "accuracy": "accuracy lost",
    "agreement": "decisions changed",
    "error": "output error",
}
"""What a loss is, by metric."""

_COLUMNS = ("name", "cost", "mean_terms", "loss", "spoiled", "error", "chosen", "mix")


def front_csv(front: Front) -> str:
    """A row a point: name, cost, mean terms, loss, spoiled decisions, output error, chosen, mix."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for point in front.points:
        chosen = int(point.name == front.chosen)
        numbers = (point.cost, point.mean_terms, point.loss, point.spoiled, point.error)
        writer.writerow((point.name, *map(repr, numbers), chosen, point.mix))
    return buffer.getvalue()


def front_table(front: Front, built: str | None = None) -> Table:
    """A row a point; the one that is built, or else chosen, is marked."""
    marked = built or front.chosen
    columns = ("Point", "Cost", "Terms a weight", "Loss", "Spoiled", "Output error")
    rows = [
        (
            f"{point.name} \u25c0" if point.name == marked else point.name,
            number(point.cost),
            number(point.mean_terms, 2),
            percent(point.loss, 2),
            percent(point.spoiled, 2),
            percent(point.error, 2),
        )
        for point in front.points
    ]
    return Table(columns, tuple(rows), texts=1)


def front_plot(front: Front, built: str | None = None) -> str:
    """SVG of loss and output error over the cost; the point that is built, or chosen, is marked."""
    with matplotlib.rc_context(STYLE):
        figure = _figure(front, built or front.chosen)
        return as_svg(figure, "front", "Loss and output error over cost, of every point")


def front_png(front: Front, built: str | None = None) -> bytes:
    """The same plot as a PNG file."""
    buffer = io.BytesIO()
    style = {key: value for key, value in STYLE.items() if value != INK}
    with matplotlib.rc_context(style | {"figure.facecolor": "white"}):
        figure = _figure(front, built or front.chosen)
        figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    return buffer.getvalue()


def _figure(front: Front, marked: str) -> Figure:
    figure = Figure(figsize=(8.6, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    points = front.points
    label = METRIC_LABELS[front.metric]
    for axes, values, name in (
        (left, [100 * point.loss for point in points], f"{label}, %"),
        (right, [100 * point.error for point in points], "output error, %"),
    ):
        axes.plot([p.cost for p in points], values, ".-", color=EXACT, lw=0.8, ms=5)
        _mark(axes, points, values, marked)
        if points[0].cost > 0:
            axes.set_xscale("log")
            _ticks(axes.xaxis)
        axes.set_xlabel(COST_LABELS.get(front.cost, front.cost))
        axes.set_ylabel(f"{name} of {front.images} images")
    left.axhline(100 * front.budget, color=DYADIC, lw=0.8, ls="--", label="budget")
    left.legend(loc="upper right")
    if min(point.error for point in points) > 0:
        right.set_yscale("log")
        _ticks(right.yaxis)
    return figure


def _mark(axes: Any, points: Sequence[Point], values: Sequence[float], marked: str) -> None:
    for point, value in zip(points, values, strict=True):
        if point.name == marked:
            axes.plot([point.cost], [value], "o", color=DYADIC, ms=7)
            axes.annotate(
                point.name, (point.cost, value), textcoords="offset points", xytext=(6, 6)
            )


def _ticks(axis: Any) -> None:
    """Plain numbers along a logarithmic axis, few enough not to overlap."""
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
