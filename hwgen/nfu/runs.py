"""The runs of a layer: what each finds in the buffers, and what it loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import Work
from hwgen.nfu.finish import Finish
from hwgen.nfu.isa import Nfu1, Nfu2, Nfu2In
from hwgen.nfu.layers import Layer
from hwgen.nfu.layout import FeatureMap
from hwgen.nfu.tiling import Chunk, Step, Tiling, band_height, pitch, steps
from hwgen.numeric import IntArray

__all__ = ["Buffers", "Fields", "Placed", "layer_runs", "work_of"]

Fields = dict[str, int]
"""Some fields of an instruction; the others are 0."""


class _Ring:
    """What lies in a circular buffer, filled from one end.

    Addresses count on without wrapping. What the run before reads begins at ``busy``; nothing may
    be written over it without an instruction in between.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.end = 0
        self.busy = 0
        self.held: dict[object, int] = {}

    def take(self, key: object, size: int, *, align: int = 1) -> tuple[int, bool, bool]:
        """Address of what ``key`` names, whether it must be loaded, and whether to wait first."""
        load = key not in self.held
        wait = load and self._extend(-(-self.end // align) * align + size)
        if load:
            self.held[key] = self.end - size
        self.busy = self.held[key]
        return self.busy % self.depth, load, wait

    def _extend(self, end: int) -> bool:
        wait = end - self.depth > self.busy
        self.end = end
        while self.held:
            oldest = next(iter(self.held))  # what came first lies first
            if self.held[oldest] >= end - self.depth:
                break
            del self.held[oldest]
        return wait


class _BandRing(_Ring):
    """NBin: input rows of one band, of which those that are there are not loaded again."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self.key: object = None
        self.rows = (0, 0)  # that are there, [from, to)
        self.origin = 0  # where row 0 would lie

    def take_rows(
        self, key: object, row_words: int, top: int, height: int
    ) -> tuple[int, tuple[int, int], bool]:
        """Address of input row ``top``, the rows [from, to) to be loaded, and whether to wait."""
        if key != self.key or not self.rows[0] <= top < self.rows[1]:
            self.key, self.rows = key, (top, top)
            self.origin = self.end - top * row_words
        first, loaded = self.rows
        bottom = max(loaded, top + height)
        wait = bottom > loaded and self._extend(self.origin + bottom * row_words)
        kept = -(-(self.end - self.depth - self.origin) // row_words)
        self.rows = (max(first, kept), bottom)
        self.busy = self.origin + top * row_words
        return self.busy % self.depth, (loaded, bottom), wait


@dataclass
class Buffers:
    """What the buffers hold between two instructions."""

    config: NfuConfig
    sb: _Ring = field(init=False)
    table: _Ring = field(init=False)
    nbin: _BandRing = field(init=False)
    nbout: _Ring = field(init=False)

    def __post_init__(self) -> None:
        self.sb = _Ring(self.config.sb_depth)
        self.table = _Ring(self.config.table_depth)
        self.nbin = _BandRing(self.config.nbin_depth)
        self.nbout = _Ring(self.config.nbout_depth)


@dataclass(frozen=True, eq=False)
class Placed:
    """Where what a layer needs lies in memory.

    Parameters
    ----------
    layer : Layer
        The layer.
    sources, target : FeatureMap
        What its addends read, and what it writes.
    finishes : tuple of Finish
        What NFU-3 does to its sums.
    rows : mapping
        For each chunk of a tile, its first SB row and their number.
    zeros : int
        First of as many rows of zeros as the longest tile has groups times turns.
    tables : sequence of int
        First word of each finish.
    """

    layer: Layer
    sources: Sequence[FeatureMap]
    target: FeatureMap
    finishes: tuple[Finish, ...]
    rows: Mapping[tuple[tuple[int, int], Chunk], tuple[int, int]]
    zeros: int
    tables: Sequence[int]


def layer_runs(buffers: Buffers, placed: Placed, tiling: Tiling) -> Iterator[Fields]:
    """Fields of the instructions of a layer.

    A second finish takes what the first left in NBout, and rows of zeros.
    """
    layer = placed.layer
    _, height, width = layer.node.shape
    combine = Nfu2.MAX if layer.maximum else Nfu2.ADD
    fence = 1
    for step in steps(tiling, height, width):
        passes = range(len(placed.finishes) if step.last else 1)
        for number in passes:
            values: Fields = {"nfu_op": Nfu1.MULT, "nfu_combine": combine}
            wait = _rows(buffers, placed, step, values, second=number > 0)
            wait |= _scales(buffers, placed, step, values, number)
            size = step.columns * (step.groups[1] - step.groups[0])
            key = (layer.output, step.groups, step.y, step.x)
            values["nbout_address"], _, wait_out = buffers.nbout.take(key, size)
            if number or not step.first:
                values["nfu_in"] = Nfu2In.NBOUT
            if step.last:
                values |= placed.finishes[number].fields
            if step.last and number == passes[-1]:
                values |= _store(buffers.config, placed.target, step)
            loads, wait_in = _input(buffers, placed, tiling, step, values)
            if wait_in or (not loads and (wait or wait_out)):
                loads.insert(0, {})  # by the instruction after it the run before has read
            instructions = [*loads, values]
            instructions[0]["cp_fence"] = fence
            fence = 0
            yield from instructions


def _rows(buffers: Buffers, placed: Placed, step: Step, values: Fields, *, second: bool) -> bool:
    """Give a run its SB rows; whether it must wait."""
    groups = step.groups[1] - step.groups[0]
    key: object = (placed.layer.output, step.groups, step.chunk)
    source, count = placed.rows[step.groups, step.chunk]
    if second:
        key = (placed.layer.output, groups)
        source, count = placed.zeros, groups * buffers.config.turns
    address, load, wait = buffers.sb.take(key, count)
    values |= {"sb_address": address, "sb_rows": count, "nbout_groups": groups}
    if load:
        values |= {"sb_source": source, "sb_target": address, "sb_size": count}
    return wait


def _scales(buffers: Buffers, placed: Placed, step: Step, values: Fields, number: int) -> bool:
    """Give a run its words of the table; whether it must wait."""
    finish, source = placed.finishes[number], placed.tables[number]
    key: object = (placed.layer.output, number)
    size = len(finish.words)
    if finish.each:
        begin, end = step.groups
        key = (placed.layer.output, number, step.groups)
        source += begin * finish.each
        size = (end - begin) * finish.each
    address, load, wait = buffers.table.take(key, size, align=finish.align)
    values["table_address"] = address
    if load:
        values |= {"table_source": source, "table_target": address, "table_size": size}
    return wait


def _store(config: NfuConfig, target: FeatureMap, step: Step) -> Fields:
    return {
        "nbout_store": 1,
        "nbout_target": target.element(step.y, step.x) // config.tn + step.groups[0],
        "nbout_stride": target.channels // config.tn,
    }


def _input(
    buffers: Buffers, placed: Placed, tiling: Tiling, step: Step, values: Fields
) -> tuple[list[Fields], bool]:
    """Give a run its input fields.

    Returns instructions for all loads but the last, which is the run's own, and whether they must
    wait.
    """
    config, layer, band = buffers.config, placed.layer, step.chunk.band
    op, source = layer.addends[band.addend].op, placed.sources[band.addend]
    begin, end = band.blocks
    blocks = end - begin
    across = pitch(layer, source, tiling, band.addend)
    top = step.y * op.strides[0] - op.pads[0] + band.taps[0] * op.dilations[0]
    left = step.x * op.strides[1] - op.pads[1]
    key = (layer.output, band, step.x)
    row_words = across * blocks
    height = band_height(layer, band)
    base, (first, last), wait = buffers.nbin.take_rows(key, row_words, top, height)
    corner = -source.border[1] if tiling.wide else left  # the first pixel of each row in NBin
    values |= {
        "nbin_address": (base + (left - corner) * blocks) % config.nbin_depth,
        "nbin_stride": op.strides[1] * blocks,
        "nbin_positions": step.columns,
        "nbin_signed": int(source.signed),
    }
    across = min(across, source.width - source.border[1] - corner)
    if blocks * config.ti < source.channels:
        pieces = [(y, x, blocks) for y in range(first, last) for x in range(across)]
    elif across == source.width:
        pieces = [(first, 0, (last - first) * row_words)]
    else:
        pieces = [(y, 0, across * blocks) for y in range(first, last)]
    loads = [
        {
            "nbin_source": source.element(y, corner + x) // config.ti + begin,
            "nbin_target": (base + (y - top) * row_words + x * blocks) % config.nbin_depth,
            "nbin_size": size,
        }
        for y, x, size in pieces
        if size
    ]
    if loads:
        values |= loads.pop()
    return loads, wait


def work_of(instructions: Sequence[Fields]) -> Work:
    """What the cycle model needs of instructions."""

    def column(name: str) -> IntArray:
        return np.array([one.get(name, 0) for one in instructions], dtype=np.int64)

    return Work.from_columns(column)
