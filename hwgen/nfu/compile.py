"""Compiler from an integer network to a program and its memory.

:mod:`hwgen.nfu.layers` says what each operator is on an NFU, :mod:`hwgen.nfu.order` which channels
share a tile, :mod:`hwgen.nfu.layout` where tensors lie, :mod:`hwgen.nfu.rows` and
:mod:`hwgen.nfu.finish` what weights and scales become, :mod:`hwgen.nfu.tiling` how a layer can be
cut, and :mod:`hwgen.nfu.runs` what the runs of each cut load. The cycle model chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hwgen.errors import ResourceError, UnsupportedError
from hwgen.integer.types import ArgMax, IntegerNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.finish import Finish, finishes
from hwgen.nfu.isa import Instruction
from hwgen.nfu.layers import Layer, lower
from hwgen.nfu.layout import FeatureMap, place
from hwgen.nfu.memory import MemoryImage, pack_rows
from hwgen.nfu.order import channel_orders
from hwgen.nfu.planes import image_planes
from hwgen.nfu.rows import TapRow, check_weights, filter_twos, tap_rows
from hwgen.nfu.runs import Buffers, Placed, layer_runs, work_of
from hwgen.nfu.tiling import Chunk, Tiling, candidates, pitch
from hwgen.nfu.timing import Timing
from hwgen.numeric import IntArray, Range

__all__ = [
    "CompiledLayer",
    "CompiledNetwork",
    "check_network",
    "compile_network",
    "rows_cycles",
]

_TIMING = Timing(latency=4)  # of the memory for which tilings are chosen


@dataclass(frozen=True, eq=False)
class CompiledLayer:
    """A layer and its instructions, those of the program [from, to); the last has the end."""

    layer: Layer
    part: tuple[int, int]


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """A program for one image, its memory without the image, and where image and output lie.

    ``decides`` says that the network ends in an ArgMax over what lies in ``output``; ``layers`` are
    in the order of the program.
    """

    program: tuple[Instruction, ...]
    memory: MemoryImage
    input: FeatureMap
    output: FeatureMap
    decides: bool
    layers: tuple[CompiledLayer, ...]

    def with_image(self, image: IntArray) -> MemoryImage:
        """Memory with the integer ``image`` (C, H, W) in it."""
        activations = self.memory.activations.copy()
        self.input.write(activations, image)
        return MemoryImage(self.memory.rows, self.memory.tables, activations)

    def result(self, activations: IntArray) -> IntArray:
        """The network's output (C, H, W) from memory after the program."""
        values = self.output.read(activations)
        return np.argmax(values, axis=0, keepdims=True) if self.decides else values


def compile_network(network: IntegerNetwork, config: NfuConfig) -> CompiledNetwork:
    """Program and memory for ``network``.

    Raises
    ------
    UnsupportedError
        If an operator, a range or a constant is not one that the NFU with ``config`` has.
    ResourceError
        If a layer does not fit the buffers.
    """
    planes = image_planes(network, config)
    layers, output = lower(network, planes=planes)
    orders = channel_orders(network, layers, config, output)
    maps, activations = place(network, layers, config, orders, planes=planes)
    emitter = _Emitter(config)
    ends = [0]
    for layer in layers:
        prepared = _prepare(config, layer, maps)
        try:
            emitter.add(prepared)
        except ResourceError as error:
            raise ResourceError(f"Layer {layer.node.name!r}: {error}") from None
        ends.append(len(emitter.program))
    ends[-1] += 1
    memory = MemoryImage(tuple(emitter.rows), tuple(emitter.tables), activations)
    program = (*emitter.program, Instruction(cp_end=1))
    decides = any(n.name == network.output and isinstance(n.op, ArgMax) for n in network.nodes)
    return CompiledNetwork(
        program,
        memory,
        maps[network.input_name],
        maps[output],
        decides,
        tuple(CompiledLayer(*each) for each in zip(layers, pairwise(ends), strict=True)),
    )


def check_network(network: IntegerNetwork, config: NfuConfig) -> None:
    """Raise what :func:`compile_network` would for any size of the buffers.

    Raises
    ------
    UnsupportedError
        If an operator, a range or a constant is not one that the NFU with ``config`` has.
    """
    planes = image_planes(network, config)
    layers, _ = lower(network, planes=planes)
    maps, _ = place(network, layers, config, {}, planes=planes)
    for layer in layers:
        _checked(config, layer, maps)


def rows_cycles(network: IntegerNetwork, config: NfuConfig) -> int:
    """Cycles in which the rows of all layers are issued, which no tiling makes fewer.

    Raises
    ------
    UnsupportedError
        As :func:`check_network` does.
    """
    planes = image_planes(network, config)
    layers, output = lower(network, planes=planes)
    orders = channel_orders(network, layers, config, output)
    maps, _ = place(network, layers, config, orders, planes=planes)
    cycles = 0
    for layer in layers:
        _, height, width = layer.node.shape
        rows = _prepare(config, layer, maps).rows
        cycles += height * width * sum(max(len(group), config.turns) for group in rows)
    return cycles


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A layer, what it reads and writes, what NFU-3 does, and its rows by output group."""

    layer: Layer
    sources: Sequence[FeatureMap]
    target: FeatureMap
    finishes: tuple[Finish, ...]
    rows: Sequence[Sequence[TapRow]]


def _prepare(config: NfuConfig, layer: Layer, maps: Mapping[str, FeatureMap]) -> _Prepared:
    sources = [maps[addend.tensor] for addend in layer.addends]
    target = maps[layer.output]
    found, twos = _checked(config, layer, maps)
    rows = tap_rows(config, layer, sources, target, twos)
    return _Prepared(layer, sources, target, found, rows)


def _checked(
    config: NfuConfig, layer: Layer, maps: Mapping[str, FeatureMap]
) -> tuple[tuple[Finish, ...], IntArray]:
    """What NFU-3 does for a layer that the NFU can run, and the powers of two that it takes."""
    sources = [maps[addend.tensor] for addend in layer.addends]
    try:
        if layer.maximum and not config.maximum:
            raise UnsupportedError("The maximum is missing in NFU-2; set the parameter 'maximum'")
        for source in sources:
            _check_activations(config, source)
        order, twos = np.argsort(maps[layer.output].slots), filter_twos(config, layer, sources)
        found = finishes(config, layer, order, twos)
        check_weights(config, layer, sources, twos)
    except UnsupportedError as error:
        raise UnsupportedError(f"Layer {layer.node.name!r}: {error}") from None
    return found, twos


class _Emitter:
    """The program and the memory as far as they are made."""

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        self.program: list[Instruction] = []
        self.rows: list[int] = []
        self.tables: list[int] = []
        self.buffers = Buffers(config)

    def add(self, prepared: _Prepared) -> None:
        """Append the instructions, rows and scales of a layer."""
        config, layer, rows = self.config, prepared.layer, prepared.rows
        sources, target = prepared.sources, prepared.target
        tiling = self._choose(prepared)
        packed = {
            (groups, chunk): self._pack(layer, sources, rows, tiling, groups, chunk)
            for groups, chunks in tiling.tiles
            for chunk in chunks
        }
        zeros = len(self.rows)
        if len(prepared.finishes) > 1:
            self.rows.extend(_zero_rows(config, max(end - k for (k, end), _ in tiling.tiles)))
        tables = []
        for finish in prepared.finishes:
            tables.append(len(self.tables))
            self.tables.extend(finish.words)
        placed = Placed(layer, sources, target, prepared.finishes, packed, zeros, tables)
        for fields in layer_runs(self.buffers, placed, tiling):
            self.program.append(Instruction(**fields))

    def _choose(self, prepared: _Prepared) -> Tiling:
        """The tiling that takes the fewest cycles, the first of equals."""
        config, layer, sources = self.config, prepared.layer, prepared.sources
        counts = _row_counts(config, layer, sources, prepared.rows)
        each = max(finish.each for finish in prepared.finishes)
        best: tuple[int, Tiling] | None = None
        for tiling in candidates(config, layer, sources, counts, scales=each):
            sizes = {}
            for groups, chunks in tiling.tiles:
                for chunk in chunks:
                    needs = np.maximum(chunk.count(counts)[slice(*groups)], config.turns)
                    sizes[groups, chunk] = (0, int(needs.sum()))
            tables = [0] * len(prepared.finishes)
            placed = Placed(layer, sources, prepared.target, prepared.finishes, sizes, 0, tables)
            runs = list(layer_runs(Buffers(config), placed, tiling))
            cycles = count_cycles(config, work_of(runs), _TIMING).total
            if best is None or cycles < best[0]:
                best = cycles, tiling
        if best is None:
            raise ResourceError(
                "One kernel row of one block of channels does not fit the buffers; make them deeper"
            )
        return best[1]

    def _pack(
        self,
        layer: Layer,
        sources: Sequence[FeatureMap],
        rows: Sequence[Sequence[TapRow]],
        tiling: Tiling,
        groups: tuple[int, int],
        chunk: Chunk,
    ) -> tuple[int, int]:
        """Put the rows of a tile into memory; where they begin, and how many they are."""
        config, band = self.config, chunk.band
        op = layer.addends[band.addend].op
        across = pitch(layer, sources[band.addend], tiling, band.addend)
        blocks = band.blocks[1] - band.blocks[0]
        nothing = np.zeros((config.tn, config.ti, config.lane.operands), dtype=np.int64)
        filler = TapRow(band.addend, chunk.taps[0], 0, chunk.blocks[0], nothing)
        terms, offsets, last = [], [], []
        for group in rows[slice(*groups)]:
            inside = [row for row in group if chunk.holds(row)]
            # a group without a term has an output to write, which takes NFU-3 its turns
            spare = max(0, config.turns - len(inside))
            for row in inside + [filler] * spare:
                y, x = (row.ky - band.taps[0]) * op.dilations[0], row.kx * op.dilations[1]
                offsets.append((y * across + x) * blocks + row.block - band.blocks[0])
                terms.append(row.terms)
                last.append(False)
            last[-1] = True
        begin = len(self.rows)
        self.rows.extend(pack_rows(config, np.array(terms), offsets, last))
        return begin, len(terms)


def _row_counts(
    config: NfuConfig,
    layer: Layer,
    sources: Sequence[FeatureMap],
    rows: Sequence[Sequence[TapRow]],
) -> list[IntArray]:
    """Rows of each (group, kernel row, block), an array an addend."""
    counts = []
    for addend, source in zip(layer.addends, sources, strict=True):
        blocks = (source.span[1] - source.span[0]) // config.ti
        counts.append(np.zeros((len(rows), addend.op.kernel[0], blocks), dtype=np.int64))
    for group, found in enumerate(rows):
        for row in found:
            counts[row.addend][group, row.ky, row.block] += 1
    return counts


def _check_activations(config: NfuConfig, source: FeatureMap) -> None:
    half = 1 << (config.activation_width - 1)
    held = Range(-half, half - 1) if source.signed else Range(0, 2 * half - 1)
    for r in source.ranges:
        if r.lo not in held or r.hi not in held:
            raise UnsupportedError(
                f"Input reaches from {r.lo} to {r.hi}, and activations of "
                f"{config.activation_width} bits hold {held.lo} to {held.hi}"
            )


def _zero_rows(config: NfuConfig, groups: int) -> tuple[int, ...]:
    count = groups * config.turns
    terms = np.zeros((count, config.tn, config.ti, config.lane.operands), dtype=np.int64)
    last = np.arange(1, count + 1) % config.turns == 0
    return pack_rows(config, terms, np.zeros(count), last)
