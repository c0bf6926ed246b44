"""The page docs/accuracy.md and its plots, from what ``bench_ladder.py`` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from figure_style import axes_of
from ladder_results import BITS, CURVES, Point, Results, pareto
from ladder_summary import against_fixed_point, in_short, least_terms
from ladder_text import filled, integer_text, listed, loss_text, quality_text, table

from hwgen.approx.sets import LADDER

__all__ = ["plot", "write_page"]

_STYLES = {
    "frobenius": ("C0", "o", "--"),
    "output": ("C1", "o", "--"),
    "searched frobenius": ("C0", "D", "-"),
    "searched output": ("C1", "D", "-"),
    "fixed point": ("C2", "s", ":"),
    "fixed point, best scale": ("C3", "s", ":"),
}
_MOST_ROWS = 12
_DEEPEST = 12.0
"""Points below the float accuracy that are shown."""

_INTRODUCTION = """\
# Accuracy against additions

Written by `python benchmarks/bench_ladder.py`, which keeps what it measured in
`benchmarks/results/ladder/`; every figure is *measured*. [approximation.md](approximation.md)
explains the words.

* **Terms** are signed powers of two a weight, in canonical form, over all weights of all linear
  layers; a weight of 0 has none. **Additions** are those of the whole network for one image, before
  sharing, biases and scales included. The float network's additions go with as many
  multiplications; no dyadic network has any.
* *Nearest weights* minimises the Frobenius norm, *nearest outputs* the error of each layer's
  output on calibration images. A row of a set uses it in every layer. Nothing is trained again.
* Accuracies are those of the approximated network in floating point: dyadic weights, biases, pools
  and activations, but activations that are not rounded. *Integer* is the accuracy of the network
  that is built, with activations of 8 bits.
* Test images chose nothing. Loss is in points against the float network on the same images, with
  the 95 % score interval for paired decisions in brackets; negative is a gain. Error is the
  root-mean-square difference of the outputs, before Softmax, relative to the float outputs.
* *Searched* mixes are the front of searches with budgets of 0.5 to 4 points on choosing images;
  rows in bold are what a budget of 0.5 or 1 point chose. A search tries 18 recipes a layer, on the
  large networks (resnet20, vgg-cifar10, resnet56, squeezenet) only 5 to 8, and of the fronts of
  these some points only are measured.
* *Fixed point* is what the dyadic sets must beat: k-bit numbers in canonical signed digits, one
  power of two a layer as the scale, or, stronger, the best dyadic scale a filter.
"""


def write_page(found: Mapping[str, Results], docs: Path) -> None:
    """Write ``docs/accuracy.md`` and a plot for each network with classes."""
    sections = [_section(name, results) for name, results in found.items()]
    for name, results in found.items():
        plot(results, docs / "figures" / f"accuracy-{name}.svg")
    page = "\n".join(
        [
            _INTRODUCTION,
            in_short(found),
            least_terms(found),
            against_fixed_point(found),
            *sections,
        ]
    )
    (docs / "accuracy.md").write_text(page, encoding="utf-8")


def _section(name: str, results: Results) -> str:
    parts = [f"\n## {name}\n", _facts(results), f"![{name}](figures/accuracy-{name}.svg)\n"]
    for curve in ("frobenius", "output", "searched frobenius", "searched output"):
        if points := results.of(curve):
            parts.append(f"{CURVES[curve][0].upper()}{CURVES[curve][1:]}:\n")
            parts.append(_points(results, points))
        elif curve in dict(results.failed):
            parts.append(f"{CURVES[curve]}: none. {dict(results.failed)[curve]}.\n")
    parts.append(_unmeasured(results))
    if results.of("fixed point"):
        parts.append(_fixed_point(results))
    return "\n".join(parts)


def _unmeasured(results: Results) -> str:
    """Which sets of the ladder and numbers of bits have no point, in one sentence."""
    texts = []
    for curve, words in CURVES.items():
        if curve.startswith("searched"):
            continue
        names = [f"{k} bits" for k in BITS] if "fixed" in curve else [e.name for e in LADDER]
        missing = [name for name in names if name not in {p.name for p in results.of(curve)}]
        if missing == names:
            texts.append(f"any {words}")
        elif missing:
            texts.append(f"{words.removesuffix(', one set')} with {listed(missing)}")
    return filled(f"Not measured: {'; '.join(texts)}.") if texts else ""


def _facts(results: Results) -> str:
    if results.right is None:
        accuracy = f"No classes; {results.test} images measure the error of the output."
    else:
        share = results.right / results.test
        accuracy = f"Float: {results.right:,} of {results.test:,} test images right, {share:.2%}."
        if not results.decides:
            accuracy += " So few images say nothing about accuracy; the error of the outputs does."
    chosen = ", which also choose" if results.shared else f", {results.choosing:,} choose"
    return (
        f"{accuracy} {results.calibration:,} other images calibrate"
        f"{chosen if results.choosing else ''}. "
        f"{results.weights:,} weights; exact: {results.multiplications:,} multiplications and "
        f"{results.additions:,} additions an image.\n"
    )


def _points(results: Results, points: Sequence[Point]) -> str:
    head = ["", "terms", "additions", "accuracy", "loss", "error"]
    integer = any(point.integer for point in points)
    rows = []
    for point in _thinned(results, points):
        name = f"**{point.name}**" if point.chosen else point.name
        row = [name, f"{point.mean_terms:.3f}", f"{point.additions:,}"]
        if results.right is not None:
            row += [f"{results.accuracy(point):.2%}", loss_text(results, point)]
        row.append(f"{point.error:.2%}")
        rows.append([*row, integer_text(results, point)] if integer else row)
    if results.right is None:
        head = [each for each in head if each not in ("accuracy", "loss")]
    return table([*head, "integer loss"] if integer else head, rows)


def _thinned(results: Results, points: Sequence[Point]) -> list[Point]:
    """Every point of a ladder; of a front those chosen and some others, evenly."""
    if not points[0].curve.startswith("searched"):
        return list(points)
    useful = [p for p in points if p.chosen or not results.decides or _visible(results, p)]
    step = max(1, -(-len(useful) // _MOST_ROWS))
    return [p for index, p in enumerate(useful) if p.chosen or index % step == 0]


def _visible(results: Results, point: Point) -> bool:
    return results.interval(point).loss <= _DEEPEST / 100


def _fixed_point(results: Results) -> str:
    rivals = [curve for curve in _STYLES if "fixed" not in curve and results.of(curve)]
    better = "accuracy" if results.decides else "error"
    head = ["fixed point", "terms", "additions", better, *(CURVES[curve] for curve in rivals)]
    rows = []
    for curve in ("fixed point", "fixed point, best scale"):
        for point in results.of(curve):
            scale = ", best scale" if "best" in curve else ""
            row = [point.name + scale, f"{point.mean_terms:.3f}", f"{point.additions:,}"]
            row.append(quality_text(results, point))
            for rival in rivals:
                cheap = [p for p in results.of(rival) if p.additions <= point.additions]
                best = pareto(results, cheap)
                row.append(_compared(results, point, best[-1]) if best else "none as cheap")
            rows.append(row)
    return (
        f"The best {better} at no more additions than fixed point needs; bold where fixed point "
        "is better:\n\n" + table(head, rows)
    )


def _compared(results: Results, fixed: Point, rival: Point) -> str:
    text = quality_text(results, rival)
    return f"**{text}**" if results.quality(rival) < results.quality(fixed) else text


def plot(results: Results, path: Path) -> None:
    """Accuracy, or the error of the outputs without classes, against terms a weight."""
    with axes_of(path) as axes:
        measured = results.decides
        for curve, (colour, marker, line) in _STYLES.items():
            points = results.of(curve)
            if not points:
                continue
            if curve.startswith("searched"):
                points = pareto(results, points)
            x = [point.mean_terms for point in points]
            y = [100 * (results.accuracy(point) if measured else point.error) for point in points]
            axes.plot(x, y, line, marker=marker, color=colour, label=CURVES[curve], lw=1.0)
        axes.set_xlabel("signed powers of two a weight")
        axes.set_xlim(left=0.0)
        if measured:
            assert results.right is not None
            exact = 100 * results.right / results.test
            axes.axhline(exact, color="black", lw=0.8, label="float")
            axes.axhspan(exact - 0.5, exact, color="black", alpha=0.08, lw=0)
            axes.set_ylabel("accuracy on test images, %")
            depth = min(_DEEPEST, 4 * (100 - exact) + 2)
            axes.set_ylim(exact - depth, exact + depth / 8)
            axes.legend(loc="lower right", fontsize=8)
        else:
            axes.set_yscale("log")
            axes.set_ylabel("error of the outputs, %")
            axes.legend(loc="upper right", fontsize=8)
