"""Weights as SB rows, and requantisations as words of NFU-3's table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.integer.types import Conv
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.dyadic import signed_digits
from hwgen.nfu.layers import Layer
from hwgen.nfu.layout import FeatureMap
from hwgen.numeric import IntArray, odd_part

__all__ = ["Scaling", "TapRow", "layer_scaling", "tap_rows"]


@dataclass(frozen=True, eq=False)
class TapRow:
    """Terms (Tn, Ti, operands) of an SB row: an addend, its tap (ky, kx), a block of Ti inputs."""

    addend: int
    ky: int
    kx: int
    block: int
    terms: IntArray


@dataclass(frozen=True, eq=False)
class Scaling:
    """NFU-3 of a layer: terms (C, terms of a scale), constants (C,), the shift, bounds or None."""

    terms: IntArray
    constants: IntArray
    shift: int
    bounds: tuple[int, int] | None


def tap_rows(
    config: NfuConfig, layer: Layer, sources: Sequence[FeatureMap], target: FeatureMap
) -> list[list[TapRow]]:
    """Surviving rows of each output group (Tn filters), by addend and then in the order of taps.

    Parameters
    ----------
    config : NfuConfig
        Parameters.
    layer : Layer
        The layer.
    sources : sequence of FeatureMap
        What each addend reads.
    target : FeatureMap
        What the layer writes.

    Raises
    ------
    UnsupportedError
        If the lane has not what a weight needs.
    """
    result = []
    for group in range(-(-target.shape[0] // config.tn)):
        filters = target.channels_at(group * config.tn, config.tn)
        rows: list[TapRow] = []
        for number, (addend, source) in enumerate(zip(layer.addends, sources, strict=True)):
            shifts = np.zeros_like(source.shifts) if layer.keeps_shifts else source.shifts
            rows.extend(_addend_rows(config, number, addend.op, source, shifts, filters))
        result.append(rows)
    return result


def _addend_rows(
    config: NfuConfig,
    addend: int,
    op: Conv,
    source: FeatureMap,
    shifts: IntArray,
    filters: Sequence[int | None],
) -> Iterator[TapRow]:
    tn, ti = config.tn, config.ti
    per_group = op.weight.shape[1]
    places: dict[int, tuple[int, IntArray]] = {}  # by lane: first channel, elements of the span
    kernels: dict[int, IntArray] = {}
    for lane, filter_ in enumerate(filters):
        if filter_ is not None:
            first = filter_ // (len(op.weight) // op.groups) * per_group
            places[lane] = first, source.slots[first : first + per_group] - source.span[0]
            kernels[lane] = op.weight[filter_]
    blocks = np.unique(np.concatenate([at // ti for _, at in places.values()]))
    weights = np.zeros((tn, len(blocks), ti, *op.kernel), dtype=np.int64)
    for lane, (first, at) in places.items():
        shift = shifts[first : first + per_group].reshape(-1, 1, 1)
        weights[lane, np.searchsorted(blocks, at // ti), at % ti] = kernels[lane] << shift
    # (Tn, blocks, Ti, KH, KW) to (KH, KW, blocks, parts, Tn, Ti, operands)
    split = config.lane.split(weights.transpose(3, 4, 1, 0, 2))
    alive = split.any(axis=(4, 5, 6))
    for ky, kx, block, part in np.argwhere(alive).tolist():
        yield TapRow(addend, ky, kx, int(blocks[block]), split[ky, kx, block, part])


def layer_scaling(config: NfuConfig, layer: Layer) -> Scaling:
    """NFU-3 for a layer's sums, or for sums that are stored as they are but for their bias.

    A channel whose output is the same for all sums has multiplier 0, so that it needs no exponent.

    Raises
    ------
    UnsupportedError
        If a multiplier depends on the position or does not fit the table.
    """
    bias, scale = layer.bias, layer.scale
    count = len(bias)
    if scale is None:
        multipliers, shifts, bounds = np.ones(count, np.int64), np.zeros(count, np.int64), None
    else:
        if scale.multiplier[0].size > 1 or scale.shift[0].size > 1:
            raise UnsupportedError("Multipliers that depend on the position do not fit the table")
        multipliers = np.broadcast_to(scale.multiplier.ravel(), count)
        shifts = np.broadcast_to(scale.shift.ravel(), count)
        bounds = (scale.lo, scale.hi)
    factors, downs, constants = [], [], []
    for multiplier, shift, added, sums in zip(
        multipliers.tolist(), shifts.tolist(), bias.tolist(), layer.node.ranges, strict=True
    ):
        odd, twos = odd_part(multiplier) if multiplier else (0, shift)
        down, up = max(0, shift - twos), max(0, twos - shift)
        ends = sums.scale(odd << up)
        half = 1 << down >> 1
        lo, hi = ((end + half) >> down for end in (ends.lo, ends.hi))
        if bounds is not None:
            lo, hi = (min(max(y, bounds[0]), bounds[1]) for y in (lo, hi))
        if scale is not None and lo == hi:
            factors.append(0)
            downs.append(0)
            constants.append(lo)
        else:
            factors.append(odd << up)
            downs.append(down)
            constants.append((added * odd << up) + half)
    most = max(downs)
    together = [f << (most - down) for f, down in zip(factors, downs, strict=True)]
    widened = [c << (most - down) for c, down in zip(constants, downs, strict=True)]
    digits = signed_digits(np.array(together, dtype=np.int64))
    if digits.shape[1] > config.scale_terms:
        raise UnsupportedError(
            f"Scales have up to {digits.shape[1]} terms, and NFU-3 has {config.scale_terms}; "
            "give it more"
        )
    if np.abs(digits).max() >= 1 << config.scale_exponents:
        raise UnsupportedError(
            f"Scales have exponents up to {int(np.abs(digits).max()).bit_length() - 1}, and NFU-3 "
            f"has {config.scale_exponents}; give it more"
        )
    terms = np.pad(digits, ((0, 0), (0, config.scale_terms - digits.shape[1])))
    return Scaling(terms, np.array(widened, dtype=np.int64), most, bounds)
