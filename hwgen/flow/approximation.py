"""The approximation stage: dyadic constants and integer formats inside one accuracy budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from hwgen.approx.approximate import approximate
from hwgen.approx.budget import SearchResult, choose_sets
from hwgen.approx.complexity import Complexity, count_operations
from hwgen.approx.sets import parse_set
from hwgen.approx.types import ApproxNetwork
from hwgen.errors import BudgetError
from hwgen.flow.accuracy import Comparison, compare
from hwgen.flow.data import Splits
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import Progress
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Network

__all__ = ["Approximation", "search"]

_ROUNDS = 4


@dataclass(frozen=True)
class Approximation:
    """What the stage found: the two networks, their cost, and accuracies.

    ``chosen`` tells how the sets were chosen, None if the user fixed them; ``choosing`` compares
    the networks on the images that chose, ``test`` on images that did nothing else.
    """

    approx: ApproxNetwork
    integer: IntegerNetwork
    complexity: Complexity
    chosen: SearchResult | None
    choosing: Comparison
    test: Comparison

    def record(self) -> dict[str, object]:
        """Plain form of what is not stored elsewhere, for ``results/approximate.json``."""
        return {
            "accuracy": asdict(self.test),
            "choosing": asdict(self.choosing),
            "chosen": asdict(self.chosen) if self.chosen is not None else None,
            "operations": {
                "exact": asdict(self.complexity.exact),
                "approximated": asdict(self.complexity.approximated),
            },
        }


def search(
    network: Network, splits: Splits, options: ApproximateOptions, progress: Progress
) -> Approximation:
    """Approximate ``network`` as ``options`` say.

    The budget holds for the integer network: when rounding the activations costs part of it, the
    dyadic sets are chosen again with what is left.

    Raises
    ------
    BudgetError
        If no choice of sets keeps the loss on the choosing split within the budget.
    """
    progress("Calibration", 0.0)
    samples = calibrate(network, splits.calibration.x).samples
    ranges = {name: (float(s[0]), float(s[-1])) for name, s in samples.items()}
    progress("Calibration", 1.0)
    budget, worst = options.budget, 0.0
    for _ in range(_ROUNDS):
        approx, chosen = _choose(network, splits, options, ranges, budget, progress)
        calibration = calibrate(approx.to_network(), splits.calibration.x)
        integer = quantise(approx, calibration, activation_bits=options.bits)
        choosing = compare(network, approx.to_network(), integer, splits.choosing)
        worst = _loss(choosing)
        if chosen is None or worst <= options.budget:
            break
        budget = min(budget, chosen.loss) - (worst - options.budget)
        if budget < 0:
            raise _over_budget(options, worst)
    else:
        raise _over_budget(options, worst)
    progress("Accuracy", 0.0)
    test = compare(network, approx.to_network(), integer, splits.test)
    progress("Accuracy", 1.0)
    return Approximation(approx, integer, count_operations(approx), chosen, choosing, test)


def _choose(
    network: Network,
    splits: Splits,
    options: ApproximateOptions,
    ranges: Mapping[str, tuple[float, float]],
    budget: float,
    progress: Progress,
) -> tuple[ApproxNetwork, SearchResult | None]:
    if options.dyadic_set is not None:
        return approximate(network, sets=parse_set(options.dyadic_set), ranges=ranges), None
    images = splits.choosing
    return choose_sets(network, images.x, images.y, budget=budget, ranges=ranges, progress=progress)


def _loss(comparison: Comparison) -> float:
    """Loss of the integer network in the terms of the budget."""
    exact, integer = comparison.float_network, comparison.integer
    if exact.accuracy is not None and integer.accuracy is not None:
        return exact.accuracy - integer.accuracy
    if integer.agreement is not None:
        return 1.0 - integer.agreement
    return integer.error


def _over_budget(options: ApproximateOptions, loss: float) -> BudgetError:
    return BudgetError(
        f"With {options.bits}-bit activations the loss on the choosing images is {loss:.2%}, more "
        f"than the budget of {options.budget:.2%}; allow a larger budget or more bits (--bits)"
    )
