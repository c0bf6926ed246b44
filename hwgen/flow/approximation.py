"""The approximation stage: dyadic constants and integer formats inside one accuracy budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hwgen.approx.approximate import approximate
from hwgen.approx.budget import SearchResult, choose_sets
from hwgen.approx.complexity import Complexity, count_operations
from hwgen.approx.recipes import parse_mix
from hwgen.approx.types import ApproxNetwork
from hwgen.flow.accuracy import Comparison, compare, integer_outputs
from hwgen.flow.data import Splits
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import Progress
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Network

__all__ = ["Approximation", "search"]


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

    The budget holds for the integer network, rounding of the activations included.

    Raises
    ------
    BudgetError
        If no choice of sets keeps the loss on the choosing split within the budget.
    """
    progress("Calibration", 0.0)
    samples = calibrate(network, splits.calibration.x).samples
    ranges = {name: (float(s[0]), float(s[-1])) for name, s in samples.items()}
    progress("Calibration", 1.0)

    def integer_form(approx: ApproxNetwork) -> IntegerNetwork:
        calibration = calibrate(approx.to_network(), splits.calibration.x)
        return quantise(approx, calibration, activation_bits=options.bits)

    if options.dyadic_set is None:
        approx, chosen = choose_sets(
            network,
            splits.choosing.x,
            splits.choosing.y,
            budget=options.budget,
            ranges=ranges,
            execute=lambda trial, x: integer_outputs(integer_form(trial), x),
            progress=progress,
        )
    else:
        chosen = None
        mix = parse_mix(options.dyadic_set, [node.name for node, _ in network.convs()])
        approx = approximate(network, recipes=mix, ranges=ranges)
    integer = integer_form(approx)
    progress("Accuracy", 0.0)
    choosing, test = (
        compare(network, approx.to_network(), integer, images)
        for images in (splits.choosing, splits.test)
    )
    progress("Accuracy", 1.0)
    return Approximation(approx, integer, count_operations(approx), chosen, choosing, test)
