"""From the float network to the approximated network, in which no constant needs a multiplier."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hwgen.approx.activations import amplitude, approximate_activation, is_saturation
from hwgen.approx.filters import approximate_filters, output_aware_filters
from hwgen.approx.moments import Moments
from hwgen.approx.paper_activations import PaperName, Prescale, substitute
from hwgen.approx.pools import pool_coefficients
from hwgen.approx.recipes import Recipe
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.approx.verify import verify
from hwgen.approx.walk import FilterMemory, Walk
from hwgen.errors import DataError, HwgenError, UnsupportedError
from hwgen.network.execute import Tensor
from hwgen.network.types import Activation, AveragePool, Conv, Network, Node, PiecewiseLinear

__all__ = ["ActivationStyle", "Approximator", "Objective", "Settings", "approximate", "assemble"]

ActivationStyle = Literal["minimax"] | PaperName
"""What replaces a tanh or sigmoid: the best piecewise-linear function, or one of the paper's."""

Objective = Literal["frobenius", "output"]
"""Whose error is least: that of the weights, or that of the layers' outputs."""

Progress = Callable[[str, float], None]

_ANYWHERE = (-math.inf, math.inf)
_MARGIN = 0.25
"""Part of a range that is added at both ends: new images, and what the other layers change."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How each constant that is not a weight is made dyadic.

    ``scale_terms`` and ``scale_bits``: signed powers of two and precision of a filter's scale;
    ``bias_bits``: significant bits of a bias; ``pool_terms``: signed powers of two in what replaces
    a pool's divisor; ``activation_terms``: those in a slope; ``activation_error``: largest error of
    a curved activation relative to its amplitude. ``activation`` puts one of the paper's functions
    in place of every tanh and sigmoid, whatever its error, and ``prescale`` says whether their
    input is scaled to meet the trained function.
    """

    scale_terms: int = 3
    scale_bits: int = 8
    bias_bits: int = 16
    pool_terms: int = 4
    activation_terms: int = 2
    activation_error: float = 1 / 128
    activation: ActivationStyle = "minimax"
    prescale: Prescale = "match"

    def filters(self, op: Conv, recipe: Recipe, moments: Moments | None = None) -> DyadicFilters:
        """Dyadic filters of one layer, nearest in weights or, with ``moments``, in output."""
        return approximate_filters(
            op,
            recipe,
            scale_terms=self.scale_terms,
            scale_bits=self.scale_bits,
            bias_bits=self.bias_bits,
            moments=moments,
        )

    def improved(
        self, op: Conv, nearest: DyadicFilters, recipe: Recipe, moments: Moments
    ) -> DyadicFilters:
        """What :meth:`filters` makes with ``moments``, from what it makes without them."""
        return output_aware_filters(
            op,
            nearest,
            recipe,
            moments,
            scale_terms=self.scale_terms,
            scale_bits=self.scale_bits,
            bias_bits=self.bias_bits,
        )


def approximate(
    network: Network,
    *,
    recipes: Recipe | Mapping[str, Recipe],
    images: Tensor | None = None,
    objective: Objective = "frobenius",
    ranges: Mapping[str, tuple[float, float]] | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> ApproxNetwork:
    """Replace every constant of ``network`` by a dyadic one.

    Parameters
    ----------
    network
        Float network.
    recipes
        The recipe of every linear layer, or one for each by its node name.
    images
        Calibration images (N, C, H, W) for the objective ``output``. All tensors that are still
        needed are kept for all of them, in float32, of the float and the approximated network.
    objective
        ``frobenius``: the weights nearest to the float ones. ``output``: the weights and biases
        whose outputs are nearest to the float network's on ``images``, layer after layer; each
        layer is fitted to what it reads behind the approximated layers before it, so that it makes
        up for their errors where it can.
    ranges
        Smallest and greatest value of tensors, by name. A curved activation whose input is named
        gets segments for this range, with a quarter of it added at both ends; the others hold on
        the whole line.
    settings
        Everything else.
    progress
        Called with the layer that is worked on and the share of layers done, 0 to 1.

    Raises
    ------
    DataError
        If the objective needs images and there are none, or they do not fit the network.
    ValueError
        If ``recipes`` leaves out a linear layer or names something else, or the objective is
        unknown.
    UnsupportedError
        If an activation has no dyadic form.
    """
    maker = Approximator(
        network,
        images=images,
        objective=objective,
        ranges=ranges,
        settings=settings,
    )
    return maker.approximate(recipes, progress)


class Approximator:
    """Makes approximations of one network by many recipes; what they share is done only once.

    Each is what :func:`approximate`, whose parameters these are, makes.
    """

    def __init__(
        self,
        network: Network,
        *,
        images: Tensor | None = None,
        objective: Objective = "frobenius",
        ranges: Mapping[str, tuple[float, float]] | None = None,
        settings: Settings | None = None,
    ) -> None:
        if objective not in get_args(Objective):
            known = " or ".join(get_args(Objective))
            raise ValueError(f"Objective must be {known}, not {objective!r}")
        if objective == "output" and (images is None or not len(images)):
            raise DataError("Objective 'output' must have calibration images, at least one")
        self._network, self._ranges = network, ranges
        self._settings = settings or Settings()
        self._images = images if objective == "output" else None
        self._nearest = FilterMemory[tuple[str, Recipe]]()
        self._first: ApproxNetwork | None = None
        self._walk: Walk | None = None

    def approximate(
        self, recipes: Recipe | Mapping[str, Recipe], progress: Progress | None = None
    ) -> ApproxNetwork:
        """The approximation by ``recipes``; ``progress`` is told which layer is worked on."""
        layers = [node.name for node, _ in self._network.convs()]
        mix = dict.fromkeys(layers, recipes) if isinstance(recipes, Recipe) else recipes
        if odd := sorted(set(layers) ^ mix.keys()):
            raise ValueError(
                f"Recipes must name each linear layer and nothing else, see {odd[0]!r}"
            )
        nearest = [
            (node.name, self._near(node.name, op, mix[node.name]))
            for node, op in self._network.convs()
        ]
        if self._first is None:
            self._first = assemble(
                self._network, dict(nearest), ranges=self._ranges, settings=self._settings
            )
        if self._images is None:
            return verify(replace(self._first, filters=tuple(nearest)))
        if self._walk is None:
            others = self._first.to_network()
            self._walk = Walk(self._network, others, self._images, self._improved)
        return verify(replace(self._first, filters=self._walk.filters(mix, progress or _silent)))

    def _near(self, layer: str, op: Conv, recipe: Recipe) -> DyadicFilters:
        filters = self._nearest.get((layer, recipe))
        if filters is None:
            filters = self._settings.filters(op, recipe)
            self._nearest.put((layer, recipe), filters)
        return filters

    def _improved(self, layer: str, op: Conv, recipe: Recipe, moments: Moments) -> DyadicFilters:
        return self._settings.improved(op, self._near(layer, op, recipe), recipe, moments)


def _silent(what: str, share: float) -> None:
    pass


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
        if settings.activation != "minimax" and op.kind in {"tanh", "sigmoid"}:
            return substitute(
                op,
                settings.activation,
                prescale=settings.prescale,
                terms=settings.activation_terms,
            )
        return approximate_activation(
            op,
            lo,
            hi,
            max_error=settings.activation_error * amplitude(op, lo, hi) or None,
            terms=settings.activation_terms,
        )
    except (HwgenError, ValueError) as error:
        raise UnsupportedError(f"Activation {node.name!r}: {error}") from None
