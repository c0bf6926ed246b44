"""Measure one network: every set of the ladder, fixed point, and mixes that a search finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from ladder_results import BITS, Point, Results

from hwgen.approx.approximate import Objective, Settings, approximate, assemble
from hwgen.approx.budget import search
from hwgen.approx.candidates import Option, layer_options
from hwgen.approx.complexity import Operations, count_operations
from hwgen.approx.costs import term_adders
from hwgen.approx.front import Check, pareto
from hwgen.approx.measure import decide, mean_terms, without_decision
from hwgen.approx.moments import Moments, layer_moments
from hwgen.approx.recipes import Recipe, mix_name
from hwgen.approx.sets import LADDER, DyadicSet, parse_set
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.errors import BudgetError
from hwgen.flow.accuracy import integer_outputs
from hwgen.flow.data import Images, Splits
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.execute import Tensor, run
from hwgen.network.types import Activation, Conv, FloatArray, Network

__all__ = ["BUDGETS", "Bench", "Report"]

BUDGETS = (0.005, 0.01)
_OBJECTIVES: tuple[Objective, ...] = ("frobenius", "output")
_FORMAT_IMAGES = 256
_USEFUL = 0.12
"""Greatest loss on the choosing images, a share of 1, of a point worth measuring, or two images."""

_POWERS_OF_TWO = Settings(scale_terms=1, scale_bits=0)

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Bench:
    """One network and its images; ``network`` is the whole one, a final Softmax included.

    ``candidates`` are the recipes that a search tries for every layer, ``explored`` its budgets.
    ``fed_forward``: a search fits every layer of every mix behind the approximated layers before
    it, as ``hwgen approximate`` does. If not, it uses filters that were fitted to the float
    network's tensors once, which saves hours on large networks; the mixes that it ends with are
    fitted anew. ``integer``: run the integer networks of the mixes that a budget chose. ``most``:
    points of a front that are measured on test images, beside those.
    """

    network: Network
    splits: Splits
    candidates: tuple[Recipe, ...]
    explored: tuple[float, ...]
    fed_forward: bool
    integer: bool
    most: int

    @cached_property
    def exact(self) -> Network:
        """The network up to its logits."""
        return without_decision(self.network)

    @cached_property
    def reference(self) -> Tensor:
        """Its outputs for the test images."""
        return run(self.exact, self.splits.test.x, batch=64)

    @cached_property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Least and greatest value of every tensor."""
        samples = calibrate(self.exact, self.splits.calibration.x[:_FORMAT_IMAGES]).samples
        return {name: (float(s[0]), float(s[-1])) for name, s in samples.items()}

    def empty(self) -> Results:
        """Results without points."""
        right = self._right(self.reference)
        counted = count_operations(self._approximated(Recipe(LADDER[0]), "frobenius")).exact
        return Results(
            self.network.name,
            sum(op.weight.size for _, op in self.exact.convs()),
            len(self.splits.test),
            None if right is None else int(right.sum()),
            len(self.splits.calibration),
            len(self.splits.choosing),
            counted.multiplications,
            counted.additions,
        )

    def ladder(self, known: Results, sets: Mapping[str, tuple[str, ...]]) -> Iterator[Point]:
        """Points of the ladder and of fixed point that ``known`` does not have.

        ``sets`` names, for each objective, the sets to try.
        """
        done = {(point.curve, point.name) for point in known.points}
        for objective in _OBJECTIVES:
            for name in sets[objective]:
                if (objective, name) not in done:
                    approx = self._approximated(Recipe(parse_set(name)), objective)
                    yield self._point(objective, name, name, approx)
        for bits in BITS:
            numbers = _fixed(bits)
            for curve, recipe, settings in (
                ("fixed point", Recipe(numbers, scale="layer"), _POWERS_OF_TWO),
                ("fixed point, best scale", Recipe(numbers), Settings()),
            ):
                if (curve, f"{bits} bits") not in done:
                    approx = approximate(
                        self.exact, recipes=recipe, ranges=self.ranges, settings=settings
                    )
                    yield self._point(curve, f"{bits} bits", f"{bits} bits", approx)

    def searched(self, objective: Objective, report: Report) -> list[Point]:
        """Front of searches with several budgets, fewest terms first.

        Raises
        ------
        BudgetError
            If nothing keeps even the largest.
        """
        maker = _Maker(self, objective)
        options = maker.options(report)
        checks: dict[str, Check] = {}
        cautious: dict[str, list[float]] = {}
        for budget in self.explored:
            try:
                found = search(
                    self.exact,
                    self.splits.choosing.x,
                    self.splits.choosing.y,
                    budget=budget,
                    options=options,
                    realise=maker.realise,
                    cost=_cost,
                    execute=maker.execute,
                    progress=lambda what, share: report(f"{objective}: {what}, {share:.0%}"),
                )
            except BudgetError:
                if budget == self.explored[-1]:
                    raise
                continue
            checks |= {check.mix: check for check in found.checks}
            if budget in BUDGETS:
                mix = found.front.point(found.front.chosen).mix
                cautious.setdefault(mix, []).append(budget)
        by_loss: dict[str, list[float]] = {}
        for budget in BUDGETS:
            within = [check for check in checks.values() if check.loss <= budget + 1e-9]
            if within:
                least = min(within, key=lambda check: (check.mean_terms, check.error))
                by_loss.setdefault(least.mix, []).append(budget)
        worst = max(_USEFUL, 2 / len(self.splits.choosing))
        useful = [check for check in checks.values() if check.loss <= worst]
        front = [point.mix for point in pareto(useful)]
        thinned = front[:: -(-len(front) // self.most)] if front else []
        kept = {*thinned, *front[-1:]} | cautious.keys() | by_loss.keys()
        ordered = sorted((checks[mix] for mix in kept), key=lambda check: check.cost)
        points = []
        for number, check in enumerate(ordered, 1):
            chosen = check.mix in cautious or check.mix in by_loss
            approx = maker.final(check.mix) if chosen else maker.made(check.mix)
            point = self._point(f"searched {objective}", f"p{number}", check.mix, approx)
            point = replace(
                point,
                choosing_loss=check.loss,
                cautious=tuple(cautious.get(check.mix, ())),
                by_loss=tuple(by_loss.get(check.mix, ())),
                integer=self._integer(approx) if chosen and self.integer else None,
            )
            points.append(point)
            report(f"{objective}: {point.name} of {len(ordered)}")
        return points

    def _approximated(
        self, recipes: Recipe | Mapping[str, Recipe], objective: Objective
    ) -> ApproxNetwork:
        return approximate(
            self.exact,
            recipes=recipes,
            images=self.splits.calibration.x,
            objective=objective,
            ranges=self.ranges,
        )

    def _point(self, curve: str, name: str, mix: str, approx: ApproxNetwork) -> Point:
        output = run(approx.to_network(), self.splits.test.x, batch=64)
        error = float(np.linalg.norm(output - self.reference) / np.linalg.norm(self.reference))
        counted: Operations = count_operations(approx).approximated
        point = Point(curve, name, mix, mean_terms(approx), counted.additions, error)
        discordant = self._discordant(output)
        if discordant is None:
            return point
        return replace(point, spoiled=discordant[0], gained=discordant[1])

    def _integer(self, approx: ApproxNetwork) -> tuple[int, int] | None:
        images = self.splits.calibration.x[:_FORMAT_IMAGES]
        network = quantise(approx, calibrate(approx.to_network(), images), activation_bits=8)
        return self._discordant(integer_outputs(network, self.splits.test.x))

    def _discordant(self, output: Tensor | FloatArray) -> tuple[int, int] | None:
        """Numbers of test images that are right before only, and after only."""
        before, after = self._right(self.reference), self._right(output)
        if before is None or after is None:
            return None
        return int((before & ~after).sum()), int((after & ~before).sum())

    def _right(self, output: Tensor | FloatArray) -> npt.NDArray[np.bool_] | None:
        last = self.exact.node(self.exact.output).op
        probability = isinstance(last, Activation) and "sigmoid" in last.kind
        decided = decide(output, probability=probability)
        if decided is None or self.splits.test.y is None:
            return None
        return np.asarray(decided == self.splits.test.y)


class _Maker:
    """Makes the network of a mix, and its output on the choosing split, once."""

    def __init__(self, bench: Bench, objective: Objective) -> None:
        self._bench, self._objective = bench, objective
        self._filters: dict[tuple[str, str], DyadicFilters] = {}
        self._networks: dict[str, ApproxNetwork] = {}
        self._recipes: dict[str, Mapping[str, Recipe]] = {}
        self._outputs: dict[tuple[str, ...], Tensor] = {}

    def options(self, report: Report) -> dict[str, tuple[Option, ...]]:
        """Options of every layer, fitted to the float network's tensors."""
        bench = self._bench
        moments: Mapping[str, Moments] = {}
        if self._objective == "output":
            moments = layer_moments(bench.exact, bench.splits.calibration.x)

        def fit(layer: str, op: Conv, recipe: Recipe) -> DyadicFilters:
            report(f"{self._objective}: {layer}, {recipe.name}")
            filters = Settings().filters(op, recipe, moments.get(layer))
            self._filters[layer, recipe.name] = filters
            return filters

        def error(layer: str, op: Conv, filters: DyadicFilters) -> float:
            seen = moments[layer]
            power = float(seen.output_variance.sum())
            return max(0.0, float(seen.errors(filters.weight).sum())) / power if power else 0.0

        return layer_options(
            bench.exact,
            bench.candidates,
            fit=fit,
            cost=_cost,
            error=error if moments else None,
        )

    def realise(self, mix: Mapping[str, Recipe]) -> ApproxNetwork:
        """The network that the search checks."""
        name = mix_name(mix)
        if name not in self._networks:
            self._recipes[name] = dict(mix)
            self._networks[name] = (
                self.final(name) if self._bench.fed_forward else self._assembled(mix)
            )
        return self._networks[name]

    def made(self, name: str) -> ApproxNetwork:
        """The network that the search checked under the name of its mix."""
        return self._networks[name]

    def final(self, name: str) -> ApproxNetwork:
        """The network of a mix, each layer fitted behind those before it."""
        return self._bench._approximated(self._recipes[name], self._objective)

    def _assembled(self, mix: Mapping[str, Recipe]) -> ApproxNetwork:
        filters = {layer: self._filters[layer, recipe.name] for layer, recipe in mix.items()}
        return assemble(self._bench.exact, filters, ranges=self._bench.ranges)

    def execute(self, approx: ApproxNetwork, x: Tensor) -> Tensor:
        """Output for the choosing split."""
        mix = tuple(filters.recipe for _, filters in approx.filters)
        if mix not in self._outputs:
            self._outputs[mix] = run(approx.to_network(), x, batch=64)
        return self._outputs[mix]


def _cost(layer: str, op: Conv, filters: DyadicFilters) -> float:
    del layer
    return term_adders(op, filters)


def _fixed(bits: int) -> DyadicSet:
    """Symmetric fixed-point numbers of ``bits`` bits, the sign among them."""
    unit = 1 << (bits - 1)
    return parse_set("{" + ",".join(f"{n}/{unit}" for n in range(unit)) + "}")


def divided(data: Images, test: Images | None, calibration: int, choosing: int) -> Splits:
    """Splits for a measurement.

    Without ``test`` images those of ``data`` that do not calibrate test, and those that calibrate
    choose too, at most ``choosing``.
    """
    order = np.random.default_rng(0).permutation(len(data))
    first, rest = data.take(order[:calibration]), data.take(order[calibration:])
    if test is None:
        return Splits(first, first.take(np.arange(min(choosing, len(first)))), rest)
    return Splits(first, rest.take(np.arange(min(choosing, len(rest)))), test)
