"""The approximation stages: search recipes inside an accuracy budget, and build one mix of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from hwgen.approx.approximate import Approximator, Settings
from hwgen.approx.budget import SearchResult
from hwgen.approx.budget import search as search_recipes
from hwgen.approx.candidates import LayerCost, layer_options, recipes_for
from hwgen.approx.complexity import Complexity, count_operations
from hwgen.approx.costs import COSTS
from hwgen.approx.filters import EXACT
from hwgen.approx.front import Check
from hwgen.approx.moments import Moments, layer_moments
from hwgen.approx.recipes import Recipe, parse_mix
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.finetune.finetune import finetune
from hwgen.flow.accuracy import Comparison, compare, integer_outputs
from hwgen.flow.data import Splits
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import Progress, silent
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Conv, Network

__all__ = ["Approximation", "build_mix", "layer_cost", "search", "settings_of"]

_FORMAT_IMAGES = 256
"""Calibration images that the number formats need at most; the others serve the outputs' error."""

_FITTED_WEIGHTS = 4096
"""Most weights of a layer whose candidates are fitted to its outputs one by one."""

_SERIAL = frozenset({"slots"})
"""Costs in cycles, which every output pixel takes again; adders and memory exist once."""


@dataclass(frozen=True)
class Approximation:
    """A mix, built: the two networks, their cost, and accuracies.

    ``choosing`` compares the networks on the images that may have chosen the mix, ``test`` on
    images that did nothing else.
    """

    approx: ApproxNetwork
    integer: IntegerNetwork
    complexity: Complexity
    choosing: Comparison
    test: Comparison

    def record(self) -> dict[str, object]:
        """Plain form of what is not stored elsewhere, for ``results/approximate.json``."""
        return {
            "accuracy": asdict(self.test),
            "choosing": asdict(self.choosing),
            "operations": {
                "exact": asdict(self.complexity.exact),
                "approximated": asdict(self.complexity.approximated),
            },
        }


def search(
    network: Network,
    splits: Splits,
    options: ApproximateOptions,
    progress: Progress,
    *,
    reference: Network | None = None,
    known: Mapping[str, Check] | None = None,
    keep: Callable[[Check], None] | None = None,
) -> SearchResult:
    """Search recipes for ``network`` as ``options`` say; ``splits.test`` plays no part.

    The budget holds for the integer network, rounding of the activations included.

    Parameters
    ----------
    reference
        The network that ``network`` was slimmed from, if it was: the budget is for what is lost
        against it.
    known, keep
        Checks of an interrupted search of the same kind, by mix; and what takes each new one.

    Raises
    ------
    BudgetError
        If no choice of recipes keeps the loss on the choosing split within the budget.
    """
    settings = settings_of(options)
    maker = _Maker(network, splits, options, settings, progress)
    cost = layer_cost(network, options.cost)
    moments = maker.moments()

    def fit(layer: str, op: Conv, recipe: Recipe) -> DyadicFilters:
        # fitting all candidates of a large layer to its outputs would take longer than the search;
        # it is the differences between them that count, and the checks of all layers do fit
        if op.weight.size <= _FITTED_WEIGHTS:
            return settings.filters(op, recipe, moments.get(layer))
        filters = settings.filters(op, recipe)
        if layer in moments and filters.recipe != EXACT:
            return replace(filters, bias=moments[layer].bias(filters.weight))
        return filters

    def error(layer: str, op: Conv, filters: DyadicFilters) -> float:
        seen = moments[layer]
        power = float(seen.output_variance.sum())
        return max(0.0, float(seen.errors(filters.weight).sum())) / power if power else 0.0

    candidates = layer_options(
        network,
        recipes_for(options.cost),
        fit=fit,
        cost=cost,
        error=error if moments else None,
        progress=progress,
    )
    return search_recipes(
        network,
        splits.choosing.x,
        splits.choosing.y,
        budget=options.budget,
        options=candidates,
        realise=maker.approximated,
        cost=cost,
        cost_name=options.cost,
        reference=reference,
        execute=lambda trial, x: integer_outputs(maker.integer(trial), x),
        known=known,
        keep=keep,
        progress=progress,
    )


def build_mix(
    network: Network,
    splits: Splits,
    mix: str,
    options: ApproximateOptions,
    progress: Progress,
    *,
    reference: Network | None = None,
) -> Approximation:
    """Approximate ``network`` by ``mix``, which is read by its text, and measure the result.

    If ``network`` was slimmed, ``reference`` is the one that it was made of: accuracies, losses and
    operations of the float network are its, and fine-tuning follows its outputs.

    Raises
    ------
    DataError
        If the mix is not one of this network's layers.
    ToolNotFoundError
        If it is to be fine-tuned and PyTorch is not installed.
    """
    recipes = parse_mix(mix, [node.name for node, _ in network.convs()])
    settings = settings_of(options)
    maker = _Maker(network, splits, options, settings, progress)
    approx = maker.approximated(recipes, progress)
    if options.finetune:
        given = splits.calibration.join(splits.choosing)
        approx = finetune(
            reference or network,
            approx,
            given.x,
            given.y,
            epochs=options.finetune,
            seed=options.seed,
            progress=progress,
        )
    integer = maker.integer(approx)
    progress("Accuracy", 0.0)
    choosing, test = (
        compare(reference or network, approx.to_network(), integer, images)
        for images in (splits.choosing, splits.test)
    )
    progress("Accuracy", 1.0)
    return Approximation(
        approx, integer, count_operations(approx, original=reference), choosing, test
    )


def settings_of(options: ApproximateOptions) -> Settings:
    """How everything but weights is made dyadic, in a search as in what is built from it."""
    return Settings(activation=options.activation, prescale=options.prescale)


def layer_cost(network: Network, name: str) -> LayerCost:
    """The cost called ``name`` of a layer of ``network``; one of time, for all its pixels."""
    cost = COSTS[name]
    pixels = {node.name: node.shape[1] * node.shape[2] for node, _ in network.convs()}

    def of_layer(layer: str, op: Conv, filters: DyadicFilters) -> float:
        return cost(op, filters) * (pixels[layer] if name in _SERIAL else 1)

    return of_layer


class _Maker:
    """Makes the approximated and the integer network of a mix, always in the same way."""

    def __init__(
        self,
        network: Network,
        splits: Splits,
        options: ApproximateOptions,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._network, self._options = network, options
        self._images = splits.calibration.x
        progress("Calibration", 0.0)
        samples = calibrate(network, self._images[:_FORMAT_IMAGES]).samples
        self._approximator = Approximator(
            network,
            images=self._images,
            objective=options.objective,
            ranges={name: (float(s[0]), float(s[-1])) for name, s in samples.items()},
            settings=settings,
        )
        progress("Calibration", 1.0)

    def moments(self) -> Mapping[str, Moments]:
        """Of every layer in the float network, if the outputs' error counts; else none."""
        if self._options.objective == "frobenius":
            return {}
        return layer_moments(self._network, self._images)

    def approximated(self, mix: Mapping[str, Recipe], progress: Progress = silent) -> ApproxNetwork:
        def report(what: str, share: float) -> None:
            progress("Approximation", share)

        return self._approximator.approximate(mix, report)

    def integer(self, approx: ApproxNetwork) -> IntegerNetwork:
        calibration = calibrate(approx.to_network(), self._images[:_FORMAT_IMAGES])
        return quantise(approx, calibration, activation_bits=self._options.bits)
