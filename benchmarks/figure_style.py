"""How the plots of the documentation look: small SVG files, equal for equal data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["axes_of", "figure_of", "plt"]

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "svg.hashsalt": "hwgen",  # identifiers that do not change from run to run
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 9.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "path.simplify_threshold": 0.5,
}


@contextmanager
def axes_of(path: Path, *, width: float = 6.0, height: float = 3.6) -> Iterator[Axes]:
    """Axes of one plot, ``width`` by ``height`` inches, which is written to ``path`` in the end."""
    with figure_of(path, width=width, height=height) as figure:
        yield figure.subplots()


@contextmanager
def figure_of(path: Path, *, width: float, height: float) -> Iterator[Figure]:
    """A figure, ``width`` by ``height`` inches, which is written to ``path`` in the end."""
    with plt.rc_context(_STYLE):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
