"""Values as Markdown, for the page docs/accuracy.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ladder_results import Point, Results

__all__ = ["filled", "integer_text", "listed", "loss_text", "quality_text", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(text: str) -> str:
    """A paragraph with lines of the usual length."""
    lines = textwrap.wrap(text, 100, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    *first, last = names or ("none",)
    return f"{', '.join(first)} and {last}" if first else last


def loss_text(results: Results, point: Point) -> str:
    """Loss on the test images in points, with its interval; empty without classes."""
    if results.right is None:
        return ""
    found = results.interval(point)
    return f"{100 * found.loss:.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def integer_text(results: Results, point: Point) -> str:
    """Loss of the integer network in points; empty if it was not run."""
    if point.integer is None:
        return ""
    return f"{100 * (point.integer[0] - point.integer[1]) / results.test:.2f}"


def quality_text(results: Results, point: Point) -> str:
    """Accuracy, or the error of the outputs where test images are too few."""
    return f"{results.accuracy(point):.2%}" if results.decides else f"{point.error:.2%}"
