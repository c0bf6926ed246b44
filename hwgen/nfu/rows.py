"""Weights as SB rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.integer.types import Conv
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layers import Addend, Layer
from hwgen.nfu.layout import FeatureMap
from hwgen.numeric import IntArray

__all__ = ["TapRow", "check_weights", "filter_twos", "tap_rows"]


@dataclass(frozen=True, eq=False)
class TapRow:
    """Terms (Tn, Ti, operands) of an SB row: an addend, its tap (ky, kx), a block of Ti inputs."""

    addend: int
    ky: int
    kx: int
    block: int
    terms: IntArray


def tap_rows(
    config: NfuConfig,
    layer: Layer,
    sources: Sequence[FeatureMap],
    target: FeatureMap,
    twos: IntArray,
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
    twos : int64 array
        (C,): what :func:`filter_twos` says, which the rows leave out.

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
            op = replace(addend.op, weight=_lane_weights(layer, addend, source, twos))
            rows.extend(_addend_rows(config, number, op, source, filters))
        result.append(rows)
    return result


def check_weights(
    config: NfuConfig, layer: Layer, sources: Sequence[FeatureMap], twos: IntArray
) -> None:
    """Raise what :func:`tap_rows` would, which depends on nothing but the values of weights."""
    for addend, source in zip(layer.addends, sources, strict=True):
        values = np.unique(_lane_weights(layer, addend, source, twos))
        config.lane.split(values[np.newaxis])


def filter_twos(config: NfuConfig, layer: Layer, sources: Sequence[FeatureMap]) -> IntArray:
    """Exponent (C,) of the power of two that each filter's weights leave to its scale.

    It is what the lane cannot take, as far as all of a filter's weights have it in common.
    """
    pairs = zip(layer.addends, sources, strict=True)
    weights = [np.abs(_stored_weights(layer, addend, source)) for addend, source in pairs]
    largest = np.max([w.max(axis=(1, 2, 3)) for w in weights], axis=0)
    bits = np.bitwise_or.reduce([np.bitwise_or.reduce(w, axis=(1, 2, 3)) for w in weights])
    return np.array(
        [
            min(config.lane.excess(most), (ored & -ored).bit_length() - 1) if most else 0
            for most, ored in zip(largest.tolist(), bits.tolist(), strict=True)
        ],
        dtype=np.int64,
    )


def _lane_weights(layer: Layer, addend: Addend, source: FeatureMap, twos: IntArray) -> IntArray:
    """Stored weights (filters, channels of a group, KH, KW) without what the scales take."""
    weights = _stored_weights(layer, addend, source)
    return weights >> twos.reshape(-1, 1, 1, 1)


def _stored_weights(layer: Layer, addend: Addend, source: FeatureMap) -> IntArray:
    """Weights (filters, channels of a group, KH, KW) of what is stored, shifts taken in."""
    op = addend.op
    if layer.keeps_shifts:
        return op.weight
    count, per_group = op.weight.shape[:2]
    first = np.arange(count) // (count // op.groups) * per_group
    shifts = source.shifts[first[:, None] + np.arange(per_group)]
    return op.weight << shifts[:, :, None, None]


def _addend_rows(
    config: NfuConfig,
    addend: int,
    op: Conv,
    source: FeatureMap,
    filters: Sequence[int | None],
) -> Iterator[TapRow]:
    tn, ti = config.tn, config.ti
    per_group = op.weight.shape[1]
    places: dict[int, IntArray] = {}  # elements of the span by lane
    kernels: dict[int, IntArray] = {}
    for lane, filter_ in enumerate(filters):
        if filter_ is not None:
            first = filter_ // (len(op.weight) // op.groups) * per_group
            places[lane] = source.slots[first : first + per_group] - source.span[0]
            kernels[lane] = op.weight[filter_]
    blocks = np.unique(np.concatenate([at // ti for at in places.values()]))
    weights = np.zeros((tn, len(blocks), ti, *op.kernel), dtype=np.int64)
    for lane, at in places.items():
        weights[lane, np.searchsorted(blocks, at // ti), at % ti] = kernels[lane]
    # (Tn, blocks, Ti, KH, KW) to (KH, KW, blocks, parts, Tn, Ti, operands)
    split = config.lane.split(weights.transpose(3, 4, 1, 0, 2))
    alive = split.any(axis=(4, 5, 6))
    for ky, kx, block, part in np.argwhere(alive).tolist():
        yield TapRow(addend, ky, kx, int(blocks[block]), split[ky, kx, block, part])
