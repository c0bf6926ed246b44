"""The page docs/accuracy.md and its plots, from what ``bench_ladder.py`` measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from figure_style import axes_of
from ladder_results import CURVES, Point, Results, pareto

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
* *Searched* mixes are the front of searches with budgets of 0.5, 1, 2 and 4 points on choosing
  images; rows in bold are what a budget of 0.5 or 1 point chose.
* *Fixed point* is what the dyadic sets must beat: k-bit numbers in canonical signed digits, one
  power of two a layer as the scale, or, stronger, the best dyadic scale a filter.
"""

_RULES = """\
What a budget in points chose by the choosing images, and what this loses on the test images. By the
*cautious* rule, that of `hwgen approximate`, not only the loss must keep the budget: so must the
right decisions that are spoiled, or nearly so, whatever wrong ones become right. *By loss* takes
the least terms whose loss keeps the budget, out of the same checks. The published CIFAR-10 networks
and the digit networks were trained on images like the choosing ones, so that they lose less there
than on the test images.
"""

_USEFUL = 0.05
_FEWEST_IMAGES = 100
_MATCHED = """\
How many k-bit fixed-point networks, of those that lose at most 5 points, a dyadic one equals or
beats in accuracy on the test images with no more additions. The sections below have each pair. A
front of many points has more chances to be lucky than a ladder of eleven.
"""


def write_page(found: Mapping[str, Results], docs: Path) -> None:
    """Write ``docs/accuracy.md`` and a plot for each network with classes."""
    sections = [_section(name, results) for name, results in found.items()]
    for name, results in found.items():
        plot(results, docs / "figures" / f"accuracy-{name}.svg")
    page = "\n".join([_INTRODUCTION, _least(found), _against(found), *sections])
    (docs / "accuracy.md").write_text(page, encoding="utf-8")


def _least(found: Mapping[str, Results]) -> str:
    rows = []
    for name, results in found.items():
        for curve in ("searched frobenius", "searched output"):
            if curve in dict(results.failed):
                rows.append([name, CURVES[curve].split(",")[0], "none", *[""] * 6])
            for budget in (0.005, 0.01):
                for point in results.of(curve):
                    rules = {"cautious": point.cautious, "by loss": point.by_loss}
                    for rule in (rule for rule, budgets in rules.items() if budget in budgets):
                        rows.append(
                            [
                                name,
                                CURVES[curve].split(",")[0],
                                f"{100 * budget:g}, {rule}",
                                f"{point.mean_terms:.3f}",
                                f"{point.additions:,}",
                                f"{100 * (point.choosing_loss or 0.0):.2f}",
                                _loss(results, point),
                                _integer(results, point),
                            ]
                        )
    head = ("network", "objective", "budget", "terms", "additions", "loss, choosing", "loss, test")
    return f"\n## The least terms within a budget\n\n{_RULES}\n" + _table(
        (*head, "loss, test, integer"), rows
    )


def _against(found: Mapping[str, Results]) -> str:
    rivals = [curve for curve in _STYLES if "fixed" not in curve]
    rows = []
    for name, results in found.items():
        if results.right is None or results.test < _FEWEST_IMAGES:
            continue
        for curve in ("fixed point", "fixed point, best scale"):
            useful = [p for p in results.of(curve) if results.interval(p).loss <= _USEFUL]
            if not useful:
                continue
            row = [name, CURVES[curve].removeprefix("k-bit fixed point in ")]
            row.append(", ".join(p.name.removesuffix(" bits") for p in useful))
            for rival in rivals:
                matched = [p for p in useful if _matched(results, p, results.of(rival))]
                row.append(f"{len(matched)} of {len(useful)}" if results.of(rival) else "")
            rows.append(row)
    head = ["network", "fixed point", "k", *(CURVES[rival] for rival in rivals)]
    return f"\n## Against fixed point\n\n{_MATCHED}\n" + _table(head, rows)


def _matched(results: Results, fixed: Point, rivals: Sequence[Point]) -> bool:
    return any(
        rival.additions <= fixed.additions and results.accuracy(rival) >= results.accuracy(fixed)
        for rival in rivals
    )


def _section(name: str, results: Results) -> str:
    parts = [f"\n## {name}\n", _facts(results), f"![{name}](figures/accuracy-{name}.svg)\n"]
    for curve in ("frobenius", "output", "searched frobenius", "searched output"):
        if points := results.of(curve):
            parts.append(f"{CURVES[curve][0].upper()}{CURVES[curve][1:]}:\n")
            parts.append(_points(results, points))
        elif curve in dict(results.failed):
            parts.append(f"{CURVES[curve]}: none. {dict(results.failed)[curve]}.\n")
    parts.append(_fixed_point(results))
    return "\n".join(parts)


def _facts(results: Results) -> str:
    if results.right is None:
        accuracy = f"No classes; {results.test} images measure the error of the output."
    else:
        share = results.right / results.test
        accuracy = f"Float: {results.right:,} of {results.test:,} test images right, {share:.2%}."
        if results.test < _FEWEST_IMAGES:
            accuracy += " So few images say nothing about accuracy; the error of the outputs does."
    chosen = f", {results.choosing:,} choose" if results.choosing else ""
    return (
        f"{accuracy} {results.calibration:,} other images calibrate{chosen}. "
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
            row += [f"{results.accuracy(point):.2%}", _loss(results, point)]
        row.append(f"{point.error:.2%}")
        rows.append([*row, _integer(results, point)] if integer else row)
    if results.right is None:
        head = [each for each in head if each not in ("accuracy", "loss")]
    return _table([*head, "integer loss"] if integer else head, rows)


def _thinned(results: Results, points: Sequence[Point]) -> list[Point]:
    """Every point of a ladder; of a front those chosen and some others, evenly."""
    if not points[0].curve.startswith("searched"):
        return list(points)
    useful = [p for p in points if p.chosen or results.interval(p).loss <= _DEEPEST / 100]
    step = max(1, -(-len(useful) // _MOST_ROWS))
    return [p for index, p in enumerate(useful) if p.chosen or index % step == 0]


def _fixed_point(results: Results) -> str:
    rivals = [curve for curve in _STYLES if "fixed" not in curve and results.of(curve)]
    better = "accuracy" if results.right is not None else "error"
    head = ["fixed point", "terms", "additions", better, *(CURVES[curve] for curve in rivals)]
    rows = []
    for curve in ("fixed point", "fixed point, best scale"):
        for point in results.of(curve):
            scale = ", best scale" if "best" in curve else ""
            row = [point.name + scale, f"{point.mean_terms:.3f}", f"{point.additions:,}"]
            row.append(_quality(results, point))
            for rival in rivals:
                cheap = [p for p in results.of(rival) if p.additions <= point.additions]
                best = pareto(results, cheap)
                row.append(_compared(results, point, best[-1]) if best else "none as cheap")
            rows.append(row)
    return (
        f"The best {better} at no more additions than fixed point needs; bold where fixed point "
        "is better:\n\n" + _table(head, rows)
    )


def _compared(results: Results, fixed: Point, rival: Point) -> str:
    text = _quality(results, rival)
    if results.right is None:
        return f"**{text}**" if rival.error > fixed.error else text
    return f"**{text}**" if results.accuracy(rival) < results.accuracy(fixed) else text


def _quality(results: Results, point: Point) -> str:
    return f"{point.error:.2%}" if results.right is None else f"{results.accuracy(point):.2%}"


def _loss(results: Results, point: Point) -> str:
    if results.right is None:
        return ""
    found = results.interval(point)
    return f"{100 * found.loss:.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def _integer(results: Results, point: Point) -> str:
    if point.integer is None:
        return ""
    return f"{100 * (point.integer[0] - point.integer[1]) / results.test:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plot(results: Results, path: Path) -> None:
    """Accuracy, or the error of the outputs without classes, against terms a weight."""
    with axes_of(path) as axes:
        measured = results.right is not None and results.test >= _FEWEST_IMAGES
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
