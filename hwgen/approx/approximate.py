"""From the float network to the approximated network, in which no constant needs a multiplier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hwgen.approx.activations import approximate_activation, is_saturation
from hwgen.approx.filters import approximate_filters
from hwgen.approx.pools import pool_coefficients
from hwgen.approx.recipes import Recipe
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.approx.verify import verify
from hwgen.errors import HwgenError, UnsupportedError
from hwgen.network.types import Activation, AveragePool, Conv, Network, Node, PiecewiseLinear

__all__ = ["Settings", "approximate", "assemble"]

_ANYWHERE = (-math.inf, math.inf)
_MARGIN = 0.25
"""Part of a range that is added at both ends: new images, and what the other layers change."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How each constant that is not a weight is made dyadic.

    ``scale_terms`` and ``scale_bits``: signed powers of two and precision of a filter's scale;
    ``bias_bits``: significant bits of a bias; ``pool_terms``: signed powers of two in what replaces
    a pool's divisor; ``activation_terms``: those in a slope; ``activation_error``: largest error of
    a curved activation relative to its amplitude.
    """

    scale_terms: int = 3
    scale_bits: int = 8
    bias_bits: int = 16
    pool_terms: int = 4
    activation_terms: int = 2
    activation_error: float = 1 / 128

    def filters(self, op: Conv, recipe: Recipe) -> DyadicFilters:
        """Dyadic filters of one layer."""
        return approximate_filters(
            op,
            recipe,
            scale_terms=self.scale_terms,
            scale_bits=self.scale_bits,
            bias_bits=self.bias_bits,
        )


def approximate(
    network: Network,
    *,
    recipes: Recipe | Mapping[str, Recipe],
    ranges: Mapping[str, tuple[float, float]] | None = None,
    settings: Settings | None = None,
) -> ApproxNetwork:
    """Replace every constant of ``network`` by a dyadic one.

    Parameters
    ----------
    network
        Float network.
    recipes
        The recipe of every linear layer, or one for each by its node name.
    ranges
        Smallest and greatest value of tensors, by name. A curved activation whose input is named
        gets segments for this range, with a quarter of it added at both ends; the others hold on
        the whole line.
    settings
        Everything else.

    Raises
    ------
    ValueError
        If ``recipes`` leaves out a linear layer or names something else.
    UnsupportedError
        If an activation has no dyadic form.
    """
    settings = settings or Settings()
    layers = [node.name for node, _ in network.convs()]
    mix = dict.fromkeys(layers, recipes) if isinstance(recipes, Recipe) else recipes
    if odd := sorted(set(layers) ^ mix.keys()):
        raise ValueError(f"Recipes must name each linear layer and nothing else, see {odd[0]!r}")
    filters = {node.name: settings.filters(op, mix[node.name]) for node, op in network.convs()}
    return assemble(network, filters, ranges=ranges, settings=settings)


def assemble(
    network: Network,
    filters: Mapping[str, DyadicFilters],
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    settings: Settings | None = None,
) -> ApproxNetwork:
    """Approximated network with the given ``filters`` of each linear layer; else the same."""
    settings = settings or Settings()
    activations = [
        (node.name, _activation(node, node.op, ranges or {}, settings))
        for node in network.nodes
        if isinstance(node.op, Activation) and not is_saturation(node.op)
    ]
    pools = [
        (
            node.name,
            pool_coefficients(node.op, network.shape(node.inputs[0]), terms=settings.pool_terms),
        )
        for node in network.nodes
        if isinstance(node.op, AveragePool)
    ]
    return verify(
        ApproxNetwork(
            network,
            tuple((node.name, filters[node.name]) for node, _ in network.convs()),
            tuple(activations),
            tuple(pools),
        )
    )


def _activation(
    node: Node, op: Activation, ranges: Mapping[str, tuple[float, float]], settings: Settings
) -> PiecewiseLinear:
    lo, hi = ranges.get(node.inputs[0], _ANYWHERE)
    if not lo < hi:
        lo, hi = _ANYWHERE
    elif math.isfinite(hi - lo):
        lo, hi = lo - _MARGIN * (hi - lo), hi + _MARGIN * (hi - lo)
    try:
        return approximate_activation(
            op,
            lo,
            hi,
            max_error=settings.activation_error * abs(op.post) or None,
            terms=settings.activation_terms,
        )
    except (HwgenError, ValueError) as error:
        raise UnsupportedError(f"Activation {node.name!r}: {error}") from None
