"""What a dyadic layer costs, in the unit of the hardware that it is meant for.

Each cost is a function ``cost(op, filters)`` of a float layer and its dyadic filters, for one
output pixel of all channels; :data:`COSTS` has them by name. None counts the bias or the
activation, which are the same for all dyadic filters of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from hwgen.approx.filters import EXACT
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.sharing import shared_sums
from hwgen.approx.types import DyadicFilters, code_terms
from hwgen.network.types import Conv
from hwgen.numeric import Dyadic, IntArray

__all__ = [
    "COSTS",
    "Cost",
    "code_width",
    "factored_kernels",
    "filter_adders",
    "memory_bits",
    "scale_adders",
    "shared_adders",
    "term_adders",
    "term_slots",
]

Cost = Callable[[Conv, DyadicFilters], float]
"""Cost of the dyadic filters of a layer; 0 for a layer of zeros, but for :func:`memory_bits`."""


def filter_adders(filters: DyadicFilters) -> int:
    """Two-input adders of a layer for one output pixel, without bias and without sharing.

    For each filter one less than the signed powers of two in its codes, and one less than those in
    its scale; none for a filter of zeros. A kernel with a factor of its own takes what is cheaper:
    the canonical form of its codes, which are products, or its numbers of the set first and the
    factor then.
    """
    direct, factored = _kernel_terms(filters)
    terms = np.minimum(direct, factored).sum(axis=1)
    return int(np.maximum(terms - 1, 0).sum()) + scale_adders(filters)


def factored_kernels(filters: DyadicFilters) -> npt.NDArray[np.bool_]:
    """Kernels (O, I / groups) that are cheaper as numbers of the set first and the factor then."""
    direct, factored = _kernel_terms(filters)
    return np.asarray(factored < direct)


def _kernel_terms(filters: DyadicFilters) -> tuple[IntArray, IntArray]:
    """Terms of each kernel, adders of its factor included: of the products, and factored."""
    direct = np.asarray(code_terms(filters.codes).sum(axis=(2, 3)))
    if filters.factors is None:
        return direct, direct
    numbers = filters.codes // filters.factors[:, :, None, None]
    plain = code_terms(numbers).sum(axis=(2, 3))
    return direct, np.where(plain > 0, plain + code_terms(filters.factors) - 1, 0)


def scale_adders(filters: DyadicFilters) -> int:
    """Adders of the scales of all filters that are not zero: one less than their terms each."""
    used = np.asarray(filters.codes.reshape(len(filters.scale), -1).any(axis=1))
    terms = np.array([s.terms for s in filters.scale])
    return int(np.maximum(terms - 1, 0)[used].sum())


def term_adders(op: Conv, filters: DyadicFilters) -> float:
    """``terms``: adders before sharing (:func:`filter_adders`), as the paper counts additions."""
    del op
    return float(filter_adders(filters))


def shared_adders(op: Conv, filters: DyadicFilters) -> float:
    """``shared``: adders after sharing (:func:`~hwgen.approx.sharing.shared_sums`) and of scales.

    What a datapath of adder graphs needs, up to the blocks of a large layer. Takes seconds on a
    layer of tens of thousands of weights.
    """
    return float(shared_sums(op, filters).adders + scale_adders(filters))


def term_slots(op: Conv, filters: DyadicFilters, *, tn: int = 16, ti: int = 16) -> float:
    """``slots``: cycles of a term-serial NFU of ``tn`` filters by ``ti`` input channels.

    A row is one tap of up to ``tn`` filters and up to ``ti`` channels that they read; all its
    weights execute at once, a signed power of two a cycle, so that it takes as many cycles as its
    longest weight has terms. A row of zeros is skipped. Filters of different groups read different
    channels and are not in one row.
    """
    terms = code_terms(filters.codes)
    outputs, inputs, height, width = terms.shape
    per_group = outputs // op.groups
    rows = terms.reshape(op.groups, per_group, inputs, height, width)
    padding = ((0, 0), (0, -per_group % tn), (0, -inputs % ti), (0, 0), (0, 0))
    tiles = np.pad(rows, padding).reshape(op.groups, -(-per_group // tn), tn, -1, ti, height, width)
    return float(tiles.max(axis=(2, 4)).sum())


def memory_bits(op: Conv, filters: DyadicFilters) -> float:
    """``bits``: memory of a layer's weights, scales and biases, in bits.

    Every weight, 0 or not, takes a code (:func:`code_width`). Kernel factors, scales and biases
    take words of one width each, scales and biases a mantissa, a sign if one is negative and an
    exponent; scales that are all equal take one word.
    """
    del op
    factors = (
        () if filters.factors is None else [Dyadic(int(f), 0) for f in filters.factors.ravel()]
    )
    scales = filters.scale if len(set(filters.scale)) > 1 else filters.scale[:1]
    biases = [Dyadic.exact(float(b)) for b in filters.bias]
    return float(
        filters.codes.size * code_width(filters) + sum(map(_word_bits, (factors, scales, biases)))
    )


def code_width(filters: DyadicFilters) -> int:
    """Bits of a code that tells the numbers of the layer's set apart.

    For a layer that is kept exactly: the numbers that occur.
    """
    if filters.recipe == EXACT:
        return _index_bits(len(np.unique(filters.codes)))
    return parse_recipe(filters.recipe).dyadic_set.code_width


def _index_bits(count: int) -> int:
    """Bits that tell ``count`` things apart."""
    return max(0, count - 1).bit_length()


def _word_bits(numbers: Sequence[Dyadic]) -> int:
    """Bits of all ``numbers`` as mantissa, sign and exponent, each field as wide as it must be."""
    present = [n for n in numbers if n.mantissa]
    if not present:
        return 0
    mantissa = max(abs(n.mantissa).bit_length() for n in present)
    exponents = [n.exponent for n in present]
    sign = any(n.mantissa < 0 for n in present)
    return len(numbers) * (mantissa + sign + _index_bits(max(exponents) - min(exponents) + 1))


COSTS: Mapping[str, Cost] = MappingProxyType(
    {
        "terms": term_adders,
        "shared": shared_adders,
        "slots": term_slots,
        "bits": memory_bits,
    }
)
"""Every cost by its name."""
