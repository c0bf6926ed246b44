"""Combinations of maps in powers of two, and what they cost and save."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hwgen.approx.filters import approximate_filters
from hwgen.approx.moments import Moments
from hwgen.approx.recipes import Recipe
from hwgen.approx.sets import terms_set
from hwgen.network.types import Conv, Network
from hwgen.numeric import Dyadic, IntArray
from hwgen.slim.features import Combination, fold, materialise
from hwgen.slim.objectives import MACS

__all__ = [
    "CombinationCost",
    "Form",
    "combination_cost",
    "combination_terms",
    "dyadic_combination",
]

Form = Literal["folded", "materialised"]

_EXPONENTS = (-6, 0)
_CONSTANT_BITS = 16


def dyadic_combination(
    combination: Combination, terms: int, *, moments: Moments | None = None
) -> Combination:
    """The combination with coefficients of at most ``terms`` signed powers of two each.

    A dropped map's coefficients span seven octaves; the position of these is the best for the map.
    A source that would count less than that gets none.

    Parameters
    ----------
    combination
        With any coefficients.
    terms
        At least 1.
    moments
        Moments of the tensor's channels, to which the coefficients are fitted again, for the least
        error of the map instead of the least change of the coefficients. No map gets a new source.

    Raises
    ------
    ValueError
        If ``terms`` is below 1, or so many that the set of coefficients is too large.
    """
    recipe = Recipe(terms_set(terms, *_EXPONENTS))
    coefficients = np.zeros_like(combination.coefficients)
    constant = np.zeros_like(combination.constant)
    for j, column in enumerate(combination.coefficients.T):
        at = np.flatnonzero(column)
        row = Conv(column[at][None, :, None, None], combination.constant[[j]])
        if len(at):
            channels = [combination.kept[i] for i in at]
            seen = moments and _of_map(moments, channels, combination, j)
            filters = approximate_filters(
                row, recipe, scale_terms=1, bias_bits=_CONSTANT_BITS, moments=seen
            )
            row = Conv(filters.weight, filters.bias)
        coefficients[at, j] = row.weight.reshape(-1)
        constant[j] = row.bias[0]
    return replace(combination, coefficients=coefficients, constant=constant)


def _of_map(moments: Moments, channels: list[int], combination: Combination, j: int) -> Moments:
    """Moments of the layer that makes the dropped map number j of ``channels``.

    Without a constant they are about 0: then the mean is part of the error.
    """
    d = combination.dropped[j]
    mean, wanted = moments.mean[:, channels], moments.output_mean[[d]]
    second = moments.second[:, :, channels][..., channels]
    cross, variance = moments.cross[[d]][:, channels], moments.output_variance[[d]]
    if not combination.constant[j]:
        second, cross = second + mean.T @ mean, cross + wanted * mean
        variance = variance + wanted**2
        mean, wanted = np.zeros_like(mean), np.zeros_like(wanted)
    return Moments(moments.count, second, cross, mean, wanted, variance)


def combination_terms(combination: Combination) -> IntArray:
    """Signed powers of two of each dropped map (len(dropped),), its constant counted as one.

    One more than the additions that it takes, unless it is 0. Of coefficients that are not of few
    terms each binary digit counts.
    """
    terms = np.vectorize(lambda c: Dyadic.exact(float(c)).terms, otypes=[np.int64])
    found = np.zeros(len(combination.dropped), dtype=np.int64)
    if combination.coefficients.size:
        found += terms(combination.coefficients).sum(axis=0)
    found += combination.constant != 0
    return found


@dataclass(frozen=True)
class CombinationCost:
    """What the maps of a combination cost an image, and what they save.

    Attributes
    ----------
    additions
        Two-input additions that make the maps of the others, with shifts for the powers of two.
    macs
        Multiplications that do the same with multipliers, one for each source of a map.
    before, after
        Multiplications of all linear layers (:data:`~hwgen.slim.objectives.MACS`) without and with
        the combination, ``macs`` included.
    """

    additions: int
    macs: int
    before: float
    after: float


def combination_cost(
    network: Network, tensor: str, combination: Combination, form: Form
) -> CombinationCost:
    """Cost of a combination of maps of ``tensor``.

    A folded one costs nothing, and the layers that read the tensor save what they did with the
    dropped maps; where every layer is dense, N maps made by K * K kernels of Cin maps each become
    k * Cin * K * K multiplications a pixel, and the next layer's Cin falls from N to k. A
    materialised one costs the sources of its maps, (N - k) * s, and the next layer saves nothing.

    Raises
    ------
    ValueError
        If it is to be folded and cannot be.
    """
    before = MACS.total(network)
    if form == "folded":
        return CombinationCost(0, 0, before, MACS.total(fold(network, tensor, combination)))
    pixels = math.prod(network.shape(tensor)[1:])
    additions = int(np.maximum(combination_terms(combination) - 1, 0).sum()) * pixels
    sources = int(combination.sources.sum()) * pixels
    after = MACS.total(materialise(network, tensor, combination))
    return CombinationCost(additions, sources, before, after)
