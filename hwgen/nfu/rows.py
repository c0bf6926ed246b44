"""Weights as SB rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.integer.types import Conv
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layers import Layer
from hwgen.nfu.layout import FeatureMap
from hwgen.numeric import IntArray

__all__ = ["TapRow", "tap_rows"]


@dataclass(frozen=True, eq=False)
class TapRow:
    """Terms (Tn, Ti, operands) of an SB row: an addend, its tap (ky, kx), a block of Ti inputs."""

    addend: int
    ky: int
    kx: int
    block: int
    terms: IntArray


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
