"""What each linear layer may become: its recipes, their cost and their error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwgen.approx.filters import EXACT, squared_error
from hwgen.approx.recipes import Recipe
from hwgen.approx.sets import LADDER, distinct, terms_set
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Conv, Network

__all__ = ["CANDIDATES", "Fit", "LayerCost", "LayerError", "Option", "layer_options", "recipes_for"]

Fit = Callable[[str, Conv, Recipe], DyadicFilters]
"""Dyadic filters of a layer, given by name and operator, by a recipe."""

LayerCost = Callable[[str, Conv, DyadicFilters], float]
"""Cost of the dyadic filters of a layer."""

LayerError = Callable[[str, Conv, DyadicFilters], float]
"""Squared error of the dyadic filters of a layer by themselves, relative."""

_LIMITS = (0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.6)

CANDIDATES: tuple[Recipe, ...] = (
    *map(Recipe, distinct(LADDER)),
    *(Recipe(terms_set(2, -6, 0), limit) for limit in _LIMITS),
)
"""The ladder, each set once, and two terms a weight with ever tighter limits on their mean."""


def recipes_for(cost: str) -> tuple[Recipe, ...]:
    """Candidates that can pay for the cost called ``cost``.

    A memory holds a code of fixed width for every weight, so that limits on terms save nothing
    there, and one scale a layer instead of one a filter does.
    """
    if cost == "bits":
        sets = distinct(LADDER)
        return (*map(Recipe, sets), *(Recipe(each, scale="layer") for each in sets))
    return CANDIDATES


@dataclass(frozen=True, eq=False)
class Option:
    """A recipe for a layer: the ``filters`` it gives, their ``cost`` and squared ``error``."""

    recipe: Recipe
    filters: DyadicFilters
    cost: float
    error: float


def layer_options(
    network: Network,
    candidates: Sequence[Recipe],
    *,
    fit: Fit,
    cost: LayerCost,
    error: LayerError | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, tuple[Option, ...]]:
    """Options of every linear layer, from fine to coarse, none worse than another in both respects.

    Parameters
    ----------
    network
        Float network.
    candidates
        Recipes to try.
    fit, cost, error
        Make the filters of one layer, and rate them; the error is that of the weights by default.
    progress
        Called with what is being done and the share done, 0 to 1.

    Raises
    ------
    ValueError
        If there are no candidates.
    """
    if not candidates:
        raise ValueError("There must be at least one candidate recipe")
    rate = error or _weight_error
    layers = list(network.convs())
    found = {}
    for number, (node, op) in enumerate(layers):
        options = []
        for index, recipe in enumerate(candidates):
            if progress is not None:
                done = number + index / len(candidates)
                progress("Approximate the filters", done / len(layers))
            filters = fit(node.name, op, recipe)
            made = Option(
                recipe, filters, cost(node.name, op, filters), rate(node.name, op, filters)
            )
            options.append(made)
            if filters.recipe == EXACT:
                break
        found[node.name] = _undominated(options)
    if progress is not None:
        progress("Approximate the filters", 1.0)
    return found


def _weight_error(name: str, op: Conv, filters: DyadicFilters) -> float:
    del name
    return squared_error(op, filters)


def _undominated(options: Sequence[Option]) -> tuple[Option, ...]:
    kept: list[Option] = []
    for option in sorted(options, key=lambda option: (option.error, option.cost)):
        if not kept or option.cost < kept[-1].cost:
            kept.append(option)
    return tuple(kept)
