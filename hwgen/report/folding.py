"""The plot of what a network takes of a board over the images a second that it then does."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from hwgen.report.plots import DYADIC, EXACT, INK, STYLE

__all__ = ["folding_plot"]


def folding_plot(result: Mapping[str, Any]) -> str:
    """SVG file of the points of a plan: LUTs over images a second, and the one that was chosen.

    ``result`` is what ``hwgen plan`` leaves in ``folding.json``.
    """
    style = {key: value for key, value in STYLE.items() if value != INK}
    with matplotlib.rc_context(style | {"figure.facecolor": "white", "svg.hashsalt": "folding"}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        curve = result["curve"]
        rates = [point["images_per_second"] for point in curve]
        axes.plot(rates, [p["luts"] for p in curve], ".-", color=EXACT, lw=0.8, label="streaming")
        for system in result["systems"]:
            axes.plot(system["images_per_second"], system["luts"], "s", color=EXACT, ms=4)
            axes.annotate(
                system["name"],
                (system["images_per_second"], system["luts"]),
                textcoords="offset points",
                xytext=(5, -9),
            )
        chosen = result["predicted"]
        luts = chosen["total"]["luts"] if "total" in chosen else chosen["luts"]
        axes.plot(result["images_per_second"], luts, "o", color=DYADIC, ms=7, label="chosen")
        axes.axhline(result["capacity"]["luts"], color=DYADIC, lw=0.8, ls="--", label="board")
        if result["rate"]:
            axes.axvline(result["rate"], color=EXACT, lw=0.8, ls=":", label="asked for")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"images a second at the clock of {result['board']}")
        axes.set_ylabel("LUTs, predicted")
        axes.legend(loc="best")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
