"""What slimming did, as a table, in sentences and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from hwgen.report.facts import OBJECTIVE_LABELS, number, slim_lost, slim_saved
from hwgen.report.front import METRIC_LABELS
from hwgen.report.plots import DYADIC, EXACT, STYLE, as_svg
from hwgen.report.tables import Table

__all__ = ["slim_facts", "slim_plot", "slim_table"]

_Group = Mapping[str, Any]

_MEMORY = {
    "parameters": "of parameters",
    "running": "with all tensors of an image",
    "peak": "with those alive at once, 32 bits a number",
}
_MOST_SIZES = 3
_ARROW = " \u2192 "


def slim_table(slim: _Group) -> Table:
    """A row a linear layer, before and after, and one of all."""
    columns = ["Layer", "Kernels", "Filters", "MACs", "Parameters"]
    keys = ["filters", "macs", "parameters"]
    if slim["objective"] != "macs":
        label = OBJECTIVE_LABELS[slim["objective"]]
        columns.append(label[0].upper() + label[1:])
        keys.append("cost")
    rows = [
        (layer["name"], _kernels(layer["kernels"]), *(_change(layer[key]) for key in keys))
        for layer in slim["layers"]
    ]
    total = slim["total"]
    rows.append(("All layers", "", *(_change(total[key]) for key in keys)))
    return Table(tuple(columns), tuple(rows), texts=2)


def slim_facts(slim: _Group) -> list[tuple[str, str]]:
    """Pairs of a subject and a line: what was saved, what it costs, and what it took."""
    effort, steps = slim["effort"], len(slim["steps"]) - 1
    lines = [("saved", slim_saved(slim).removeprefix("saved "))]
    lines += [
        (subject, slim_lost(slim[key], which))
        for subject, key, which in (
            ("lost", "test", "test images, which chose nothing"),
            ("choosing", "choosing", "images that chose"),
        )
        if slim[key] is not None
    ]
    memory = (f"{_change(slim['memory'][key])} {what}" for key, what in _MEMORY.items())
    lines.append(("bytes", "; ".join(memory)))
    parts = (
        slim["search"],
        _counted(steps, "step"),
        f"{_counted(effort['trials'], 'move')} tried",
        f"{_counted(effort['checks'], 'network')} checked",
    )
    return [*lines, ("search", ", ".join(parts))]


def slim_plot(slim: _Group) -> str:
    """SVG of the loss over the cost along the steps of the search; empty if there is none."""
    steps: Sequence[_Group] = slim["steps"]
    if len(steps) < 2:
        return ""
    label, cost = METRIC_LABELS[slim["metric"]], OBJECTIVE_LABELS[slim["objective"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, key, name in ((left, "loss", label), (right, "error", "output error")):
            values = [100 * step[key] for step in steps]
            axes.plot([step["cost"] for step in steps], values, ".-", color=EXACT, lw=0.8, ms=5)
            axes.plot([steps[-1]["cost"]], values[-1:], "o", color=DYADIC, ms=7)
            axes.set_xlabel(cost)
            axes.set_ylabel(f"{name}, % of {slim['choosing']['images']} images")
            axes.set_xlim(left=0)
        left.axhline(100 * slim["budget"], color=DYADIC, lw=0.8, ls="--", label="budget")
        left.legend(loc="lower left")
        return as_svg(figure, "slim", "Loss and output error over cost, step by step")


def _change(pair: Sequence[float]) -> str:
    before, after = map(number, pair)
    return before if before == after else before + _ARROW + after


def _kernels(pair: Sequence[_Group]) -> str:
    before, after = map(_sizes, pair)
    return before if before == after else before + _ARROW + after


def _sizes(sizes: _Group) -> str:
    """How many kernels of which sizes; those of the sizes that are rarest in one number."""
    common = sorted(sizes, key=lambda size: -sizes[size])[:_MOST_SIZES]
    parts = [f"{number(sizes[size])} of {size}" for size in sizes if size in common]
    others = sum(count for size, count in sizes.items() if size not in common)
    return ", ".join([*parts, *([_counted(others, "other")] if others else [])]) or "none"


def _counted(count: int, thing: str) -> str:
    return f"{number(count)} {thing}{'s' * (count != 1)}"
