"""Make every plot of approximation.md, shift-add.md and slim.md.

    python docs/figures.py

Computed from the networks in models/, but for the front, which comes from what
benchmarks/bench_ladder.py measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from figure_style import axes_of, figure_of
from ladder_results import CURVES, load, pareto

from hwgen.approx.approximate import approximate
from hwgen.approx.complexity import count_operations
from hwgen.approx.costs import filter_adders
from hwgen.approx.filters import approximate_filters, squared_error
from hwgen.approx.knapsack import solve
from hwgen.approx.minimax import Tail, approximate_callable
from hwgen.approx.moments import layer_moments
from hwgen.approx.paper_activations import PAPER_ACTIVATIONS
from hwgen.approx.piecewise import evaluate
from hwgen.approx.recipes import Granularity, Recipe, parse_recipe
from hwgen.approx.scale import best_scale, magnitudes, nearest_codes
from hwgen.approx.sets import LADDER, distinct, parse_set
from hwgen.approx.zero_one import Block, Limit, ZeroOneProgram
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Conv, FloatArray, Network
from hwgen.numeric import csd_weight
from hwgen.shiftadd import csd_graph
from hwgen.shiftadd._greedy import Rule, greedy
from hwgen.shiftadd.drawing import draw
from hwgen.shiftadd.exact import optimal_graph
from hwgen.slim.kernels import reduce_kernels, size_chain
from hwgen.slim.objectives import MACS
from hwgen.slim.search import FAMILIES, search

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
P4 = parse_set("P4")


def main() -> None:
    figures: tuple[Callable[[], None], ...] = (
        ladder,
        scale,
        granularity,
        hull,
        activations,
        output_aware,
        front,
        sharing,
        shift_add,
        slim_kernels,
        slim_steps,
    )
    for figure in figures:
        figure()
        print(f"{figure.__name__}.svg")


def network(name: str) -> Network:
    return import_onnx(ROOT / "models" / name / f"{name}.onnx")


def layer(name: str, node: str) -> Conv:
    return next(op for each, op in network(name).convs() if each.name == node)


def ladder() -> None:
    """Error of the weights against terms for every distinct set, trained and Gaussian weights."""
    rng = np.random.default_rng(0)
    trained = [op.weight.reshape(len(op.weight), -1) for _, op in network("digits-large").convs()]
    kinds = {"trained (digits-large)": trained, "Gaussian 5x5": [rng.normal(size=(2000, 25))]}
    with axes_of(FIGURES / "ladder.svg") as axes:
        for marker, (label, rows) in zip("os", kinds.items(), strict=True):
            energy = sum(float((row**2).sum()) for row in rows)
            points = []
            for each in distinct(LADDER):
                found = [best_scale(row, each) for row in rows]
                codes = np.concatenate([f.codes.ravel() for f in found])
                terms = np.array([csd_weight(int(n)) for n in magnitudes(each)])
                positions = np.searchsorted(magnitudes(each), np.abs(codes))
                error = sum(float(f.error.sum()) for f in found) / energy
                points.append((float(terms[positions].mean()), error, each.name))
            axes.plot(*zip(*[p[:2] for p in points], strict=True), marker, ls=":", label=label)
            for x, y, name in points if marker == "o" else ():
                axes.annotate(name, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
        axes.set_yscale("log")
        axes.set_xlabel("signed powers of two a weight")
        axes.set_ylabel("relative squared error of the weights")
        axes.legend()


def scale() -> None:
    """Error of one filter over the scale, with the break-points where a code changes."""
    weights = layer("face", "c1").weight[:1].reshape(1, -1)
    best = best_scale(weights, P4)
    levels = magnitudes(P4) * 2.0**-P4.frac
    midpoints = (levels[1:] + levels[:-1]) / 2
    breaks = np.unique(np.abs(weights[weights != 0])[:, None] / midpoints)
    scales = np.geomspace(0.4, 2.5, 3000) * float(best.scale[0])
    with axes_of(FIGURES / "scale.svg") as axes:
        axes.plot(1000 * scales, [_error(weights, s) for s in scales], color="C0", lw=1.2)
        inside = breaks[(breaks > scales[0]) & (breaks < scales[-1])]
        axes.vlines(1000 * inside, 0, 0.012, color="C7", lw=0.7, label="break-points")
        axes.plot(
            1000 * best.scale, best.error / (weights**2).sum(), "o", color="C3", label="optimum"
        )
        axes.set_ylim(0, 0.22)
        axes.set_xlabel("scale, thousandths")
        axes.set_ylabel("relative squared error")
        axes.legend()


def _error(weights: FloatArray, scale: float) -> float:
    codes = nearest_codes(weights, np.array([scale]), P4)
    return float(((weights - scale * codes * 2.0**-P4.frac) ** 2).sum() / (weights**2).sum())


def granularity() -> None:
    """Error against adders with one scale a layer, a filter and a kernel."""
    op = layer("convnetjs", "conv2")
    names: tuple[Granularity, ...] = ("layer", "filter", "kernel")
    with axes_of(FIGURES / "granularity.svg") as axes:
        for marker, name in zip("^os", names, strict=True):
            made = [
                approximate_filters(op, Recipe(each, scale=name)) for each in distinct(LADDER[:8])
            ]
            x = [filter_adders(each) / op.weight.size for each in made]
            y = [squared_error(op, each) for each in made]
            order = np.argsort(x)
            axes.plot(
                np.array(x)[order], np.array(y)[order], marker, ls=":", label=f"a scale a {name}"
            )
        axes.set_yscale("log")
        axes.set_xlabel("adders a weight, those of the scales included")
        axes.set_ylabel("relative squared error of the weights")
        axes.legend()


def hull() -> None:
    """Least error over the limit on terms, and the Lagrangian bound below it."""
    weights = layer("face", "c2").weight[:2].ravel()
    block = Block(
        weights, float(best_scale(weights[None], parse_set("P8")).scale[0]), parse_set("P8")
    )
    limits = range(31)
    found = [solve(ZeroOneProgram((block,), (Limit("terms", most),))) for most in limits]
    energy = float((weights**2).sum())
    with axes_of(FIGURES / "hull.svg") as axes:
        axes.step(
            limits, [f.error / energy for f in found], where="post", label="optimum", color="C0"
        )
        axes.plot(
            limits,
            [f.relaxation / energy for f in found],
            "--",
            color="C1",
            label="Lagrangian bound",
            lw=1,
        )
        axes.set_yscale("log")
        axes.set_xlabel("most signed powers of two in both filters together")
        axes.set_ylabel("relative squared error")
        axes.legend()


def activations() -> None:
    """Errors of the paper's functions against tanh(x / 2), and of a minimax one."""
    x = np.linspace(0, 8, 1601)
    exact = np.tanh(x / 2)
    fit = approximate_callable(
        lambda z: np.tanh(z / 2),
        segments=7,
        left=Tail(offset=-1.0),
        right=Tail(offset=1.0),
        symmetry="point",
    )
    with axes_of(FIGURES / "activations.svg") as axes:
        for each in PAPER_ACTIVATIONS:
            label = each.name + ("" if each.multiplierless else " (squarer)")
            style = "-" if each.multiplierless else "--"
            axes.plot(x, each(x) - exact, style, lw=1, label=label)
        axes.plot(
            x, evaluate(fit.function, x) - exact, "k", lw=1.5, label="minimax, 7 segments as PLAN"
        )
        axes.set_xlabel("x")
        axes.set_ylabel("error against tanh(x / 2)")
        axes.legend(fontsize=8, ncols=2)


def output_aware() -> None:
    """Error of a layer's output at equal terms, nearest weights against nearest outputs."""
    exact = network("convnetjs")
    with np.load(ROOT / "models" / "convnetjs" / "data.npz") as data:
        images = data["x"][::2]
    with np.load(ROOT / "models" / "convnetjs" / "test.npz") as data:
        others = data["x"]
    fitted, seen = layer_moments(exact, images), layer_moments(exact, others)
    limits = (0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.6)
    with axes_of(FIGURES / "output-aware.svg") as axes:
        for colour, (node, op) in zip(("C0", "C1", "C2"), list(exact.convs())[-3:], strict=True):
            power = float(seen[node.name].output_variance.sum())
            for moments, style in ((None, "o--"), (fitted[node.name], "o-")):
                recipes = [parse_recipe(f"terms(2,-6,0)@{limit}") for limit in limits]
                made = [approximate_filters(op, recipe, moments=moments) for recipe in recipes]
                errors = [float(seen[node.name].errors(f.weight).sum()) / power for f in made]
                what = "weights" if moments is None else "outputs"
                label = f"{node.name}, nearest {what}"
                axes.plot(limits, errors, style, color=colour, lw=1, label=label)
        axes.set_yscale("log")
        axes.set_xlabel("most signed powers of two a weight")
        axes.set_ylabel("relative squared error of the output, test images")
        axes.legend(fontsize=8)


def front() -> None:
    """What searches found for one network, with the intervals of the losses."""
    results = load(ROOT / "benchmarks" / "results" / "ladder" / "convnetjs.json")
    if results is None:
        raise SystemExit("run benchmarks/bench_ladder.py --networks convnetjs first")
    with axes_of(FIGURES / "front.svg") as axes:
        for colour, curve in (("C0", "searched frobenius"), ("C1", "searched output")):
            points = [p for p in pareto(results, results.of(curve)) if p.mean_terms < 2.0]
            losses = [results.interval(point) for point in points]
            middle = np.array([100 * each.loss for each in losses])
            limits = 100 * np.array([[each.low, each.high] for each in losses]).T
            axes.errorbar(
                [point.mean_terms for point in points],
                middle,
                yerr=np.abs(limits - middle),
                fmt="o-",
                color=colour,
                lw=1,
                elinewidth=0.7,
                capsize=2,
                label=CURVES[curve],
            )
        axes.axhline(0, color="black", lw=0.8)
        axes.set_ylim(-3, 12)
        axes.set_xlabel("signed powers of two a weight")
        axes.set_ylabel(f"points lost on {results.test:,} test images")
        axes.legend()


def sharing() -> None:
    """Additions of one output before and after sharing, for every layer of the face network."""
    recipes: dict[str, list[int]] = {name: [] for name in ("P2", "P4", "P7", "P8")}
    for name, found in recipes.items():
        approx = approximate(network("face"), recipes=parse_recipe(name))
        counted = count_operations(approx, shared=True)
        found += [counted.per_output(form).additions for form in ("approximated", "shared")]
    exact = counted.per_output("exact")
    with axes_of(FIGURES / "sharing.svg", height=3.0) as axes:
        x = np.arange(len(recipes))
        axes.bar(x - 0.2, [pair[0] for pair in recipes.values()], 0.38, label="before sharing")
        axes.bar(x + 0.2, [pair[1] for pair in recipes.values()], 0.38, label="after sharing")
        label = f"exact, with {exact.multiplications:,} multiplications besides"
        axes.axhline(exact.additions, color="black", lw=0.8, label=label)
        axes.set_xticks(x, recipes)
        axes.set_ylabel("additions of one output of all layers")
        axes.legend(fontsize=8)


def shift_add() -> None:
    """One matrix without sharing, after greedy elimination, and with the fewest adders."""
    matrix = [[14, 10, 11], [2, 15, 15]]
    alone = csd_graph(matrix)
    shared = greedy(matrix, alone.inputs, alone.depth, Rule())
    fewest = optimal_graph(matrix, at_most=alone.adders, time_limit=60).graph
    assert shared is not None
    assert fewest is not None
    graphs = {"digits alone": alone, "patterns shared": shared, "fewest, proved": fewest}
    with figure_of(FIGURES / "shift-add.svg", width=7.5, height=6.5) as figure:
        rows = figure.subplots(len(graphs), 1, height_ratios=[5, 4.5, 3.5])
        for axes, (title, graph) in zip(rows, graphs.items(), strict=True):
            draw(graph, axes)
            axes.set_title(f"{title}: {graph.adders} adders", fontsize=9, loc="left")


def slim_kernels() -> None:
    """Error of a layer's output on other images when all its kernels are reduced alike."""
    exact = network("digits")
    images, others = split_of("digits", 256)
    fitted, seen = layer_moments(exact, images), layer_moments(exact, others)
    with axes_of(FIGURES / "slim-kernels.svg") as axes:
        for colour, name in (("C0", "conv1"), ("C1", "conv2"), ("C2", "dense1")):
            op = layer("digits", name)
            power = float(seen[name].output_variance.sum())
            sizes = size_chain(op.kernel)[:-1]
            for moments, style, how in ((None, "o--", "cropped"), (fitted[name], "o-", "fitted")):
                made = [reduce_kernels(op, range(len(op.weight)), size, moments) for size in sizes]
                errors = [float(seen[name].errors(m.weight).sum()) / power for m in made]
                taps = [
                    100 * height * width / (sizes[0][0] * sizes[0][1]) for height, width in sizes
                ]
                label = f"{name}, {sizes[0][0]}x{sizes[0][1]}, {how}"
                axes.plot(taps[1:], errors[1:], style, color=colour, lw=1, label=label)
        axes.set_yscale("log")
        axes.set_xlabel("% of the taps left")
        axes.set_ylabel("relative squared error of the output")
        axes.legend(fontsize=8)


def slim_steps() -> None:
    """Trajectories of searches by the moves that they may take, for the digit network."""
    exact = network("digits")
    images, others = split_of("digits", 256)
    with np.load(ROOT / "models" / "digits" / "data.npz") as data:
        labels = data["y"][256:]
    with axes_of(FIGURES / "slim-steps.svg") as axes:
        for name, families in (
            ("kernels", ("kernels",)),
            ("features", ("features",)),
            ("both", FAMILIES),
        ):
            found = search(
                exact, images, others, labels, budget=0.02, objective=MACS, families=families
            )
            costs = [step.cost / found.steps[0].cost * 100 for step in found.steps]
            axes.plot(costs, [100 * step.loss for step in found.steps], "o-", lw=1, label=name)
        axes.set_xlim(0, 105)
        axes.set_xlabel("% of the multiplications left")
        axes.set_ylabel(f"points lost on the {len(others):,} images that choose")
        axes.legend()


def split_of(name: str, count: int) -> tuple[FloatArray, FloatArray]:
    """The first ``count`` images of a network's data, and the others."""
    with np.load(ROOT / "models" / name / "data.npz") as data:
        x: FloatArray = data["x"].astype(np.float64)
    return x[:count], x[count:]


if __name__ == "__main__":
    main()
