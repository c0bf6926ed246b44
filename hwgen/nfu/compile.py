"""Compiler from an integer network to a program and its memory.

Takes convolutions of any strides, padding, dilation and groups, fully connected layers among them,
each with the requantisation that follows it. Groups need no rule of their own: where they do not
read, there are no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hwgen.errors import ResourceError, UnsupportedError
from hwgen.integer.types import Conv, IntegerNetwork, IntNode, Requantise
from hwgen.network.types import Pads
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import Instruction, Nfu1, Nfu2In, Nfu2Out
from hwgen.nfu.layout import FeatureMap
from hwgen.nfu.memory import MemoryImage, pack_rows, pack_scales
from hwgen.nfu.rows import Scaling, TapRow, layer_scaling, tap_rows
from hwgen.nfu.tiling import Chunk, Step, Tiling, choose_tiling, steps
from hwgen.numeric import IntArray, Range

__all__ = ["CompiledNetwork", "compile_network"]


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """A program for one image, its memory without the image, and where image and output lie."""

    program: tuple[Instruction, ...]
    memory: MemoryImage
    input: FeatureMap
    output: FeatureMap

    def with_image(self, image: IntArray) -> MemoryImage:
        """Memory with the integer ``image`` (C, H, W) in it."""
        activations = self.memory.activations.copy()
        self.input.write(activations, image)
        return MemoryImage(self.memory.rows, self.memory.tables, activations)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution and its requantisation, which writes tensor ``output``."""

    node: IntNode
    op: Conv
    scale: Requantise | None
    output: IntNode


def compile_network(network: IntegerNetwork, config: NfuConfig) -> CompiledNetwork:
    """Program and memory for ``network``.

    Raises
    ------
    UnsupportedError
        If an operator, a range or a constant is not one that the NFU with ``config`` has.
    ResourceError
        If a layer does not fit the buffers.
    """
    layers = _layers(network)
    maps = _place(network, config, layers)
    emitter = _Emitter(config)
    for layer in layers:
        try:
            _check_ranges(network, config, layer)
            _compile_layer(emitter, layer, maps, _is_signed(network, layer.node.inputs[0]))
        except (UnsupportedError, ResourceError) as error:
            raise type(error)(f"Layer {layer.node.name!r}: {error}") from None
    size = max(fm.address + fm.size for fm in maps.values())
    memory = MemoryImage(tuple(emitter.rows), tuple(emitter.tables), np.zeros(size, dtype=np.int64))
    program = (*emitter.program, Instruction(cp_end=1))
    return CompiledNetwork(program, memory, maps[network.input_name], maps[network.output])


def _layers(network: IntegerNetwork) -> list[_Layer]:
    layers = []
    for node in network.nodes:
        consumers = network.consumers(node.name)
        if isinstance(node.op, Conv):
            if len(consumers) == 1 and isinstance(consumers[0].op, Requantise):
                layers.append(_Layer(node, node.op, consumers[0].op, consumers[0]))
            else:
                layers.append(_Layer(node, node.op, None, node))
        elif not isinstance(node.op, Requantise) or not isinstance(
            network.node(node.inputs[0]).op, Conv
        ):
            kind = type(node.op).__name__
            raise UnsupportedError(f"Layer {node.name!r}: the NFU's compiler has no {kind} yet")
    return layers


def _is_signed(network: IntegerNetwork, tensor: str) -> bool:
    return any(r.lo < 0 for r in network.ranges(tensor))


def _check_ranges(network: IntegerNetwork, config: NfuConfig, layer: _Layer) -> None:
    tensor = layer.node.inputs[0]
    signed = _is_signed(network, tensor)
    half = 1 << (config.activation_width - 1)
    held = Range(-half, half - 1) if signed else Range(0, 2 * half - 1)
    for r in network.ranges(tensor):
        if r.lo not in held or r.hi not in held:
            raise UnsupportedError(
                f"Input reaches from {r.lo} to {r.hi}, and activations of "
                f"{config.activation_width} bits hold {held.lo} to {held.hi}"
            )
    for r, bias in zip(layer.node.ranges, layer.op.bias.tolist(), strict=True):
        width = max(r.width + 1, Range(r.lo - bias, r.hi - bias).width + 1)
        if width > config.accumulator_width:
            raise UnsupportedError(
                f"Sums need {width} bits, and the accumulator has {config.accumulator_width}"
            )


def _place(
    network: IntegerNetwork, config: NfuConfig, layers: Sequence[_Layer]
) -> dict[str, FeatureMap]:
    """Every tensor that a layer reads or writes, with the border that its readers need."""
    names = [network.input_name, *(layer.output.name for layer in layers)]
    maps: dict[str, FeatureMap] = {}
    address = 0
    for name in names:
        border: Pads = (0, 0, 0, 0)
        for layer in layers:
            if layer.node.inputs[0] == name:
                a, b, c, d = (max(pair) for pair in zip(border, layer.op.pads, strict=True))
                border = (a, b, c, d)
        maps[name] = FeatureMap.place(address, network.shape(name), border, config)
        address += maps[name].size
    return maps


@dataclass
class _Slots:
    """The two halves of a buffer and what lies in each."""

    depth: int
    keys: list[object] = field(default_factory=lambda: [None, None])
    used: int = 1  # the half that the instruction before reads

    def take(self, key: object) -> tuple[int, bool]:
        """Where the half for ``key`` begins, and whether it has still to be loaded."""
        if key not in self.keys:
            self.used = 1 - self.used
            self.keys[self.used] = key
            return self.used * (self.depth // 2), True
        self.used = self.keys.index(key)
        return self.used * (self.depth // 2), False


class _Emitter:
    """The program and the memory as far as they are made."""

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        self.program: list[Instruction] = []
        self.rows: list[int] = []
        self.tables: list[int] = []
        self.sb = _Slots(config.sb_depth)
        self.nbin = _Slots(config.nbin_depth)
        self.table = _Slots(config.table_depth)
        self.nbout_half = 0


def _compile_layer(
    emitter: _Emitter, layer: _Layer, maps: dict[str, FeatureMap], signed: bool
) -> None:
    config, op = emitter.config, layer.op
    source, target = maps[layer.node.inputs[0]], maps[layer.output.name]
    rows = tap_rows(config, op, source.channels)
    scaling = layer_scaling(config, op, layer.scale)
    _check_products(config, layer, scaling)
    tiling = choose_tiling(config, op, source, layer.node.shape, rows)
    tables_at = len(emitter.tables)
    emitter.tables.extend(_scale_words(config, scaling, len(rows)))
    pitch = _pitch(op, source, tiling)
    packed = {
        (groups, chunk): _pack(emitter, rows, op, groups, chunk, pitch)
        for groups in tiling.groups
        for chunk in tiling.chunks
    }
    common: dict[str, int] = {"nfu_op": Nfu1.MULT, "nbin_signed": int(signed)}
    finish: dict[str, int] = {"nbout_store": 1, "nfu_out": Nfu2Out.NFU3, "nfu_shift": scaling.shift}
    if scaling.bounds is not None:
        low, high = scaling.bounds
        finish |= {"nfu_saturate": 1, "nfu_low": low, "nfu_high": high}
    words = target.channels // config.tn
    fence = 1
    for step in steps(tiling, layer.node.shape):
        groups = step.groups[1] - step.groups[0]
        sb_source, count = packed[step.groups, step.chunk]
        values = _input(emitter, layer, source, step, pitch, fence)
        values |= common | {"sb_rows": count, "nbin_positions": step.columns}
        values["sb_address"], load = emitter.sb.take((layer.node.name, step.groups, step.chunk))
        if load:
            values |= {"sb_source": sb_source, "sb_target": values["sb_address"]}
            values["sb_size"] = count
        table, load = emitter.table.take((layer.node.name, step.groups))
        if load:
            first = tables_at + step.groups[0] * config.turns
            values |= {"table_source": first, "table_target": table}
            values["table_size"] = groups * config.turns
        values |= {"nbout_groups": groups, "table_address": table}
        values["nbout_address"] = emitter.nbout_half * (config.nbout_depth // 2)
        values["nfu_in"] = Nfu2In.RESET if step.first else Nfu2In.NBOUT
        if step.last:
            values |= finish
            at = target.element(step.y, step.x) // config.tn + step.groups[0]
            values |= {"nbout_target": at, "nbout_stride": words}
            emitter.nbout_half = 1 - emitter.nbout_half
        emitter.program.append(Instruction(**values))
        fence = 0


def _check_products(config: NfuConfig, layer: _Layer, scaling: Scaling) -> None:
    for r, bias, terms, constant in zip(
        layer.node.ranges,
        layer.op.bias.tolist(),
        scaling.terms.tolist(),
        scaling.constants.tolist(),
        strict=True,
    ):
        sums = Range(r.lo - bias, r.hi - bias)
        product = sums.scale(sum(terms)) + Range(constant, constant)
        if product.width + 1 > config.product_width:
            raise UnsupportedError(
                f"Scaled sums need {product.width + 1} bits, and NFU-3 has {config.product_width}"
            )


def _scale_words(config: NfuConfig, scaling: Scaling, groups: int) -> tuple[int, ...]:
    spare = groups * config.tn - len(scaling.constants)
    terms = np.pad(scaling.terms, ((0, spare), (0, 0)))
    constants = np.pad(scaling.constants, (0, spare))
    lanes = config.nfu3_lanes
    return pack_scales(
        config,
        terms.reshape(-1, lanes, config.scale_terms),
        constants.reshape(-1, lanes),
    )


def _pitch(op: Conv, source: FeatureMap, tiling: Tiling) -> int:
    """Pixels from one input row to the next in NBin."""
    return (tiling.columns - 1) * op.strides[1] + (op.kernel[1] - 1) * op.dilations[1] + 1


def _pack(
    emitter: _Emitter,
    rows: Sequence[Sequence[TapRow]],
    op: Conv,
    groups: tuple[int, int],
    chunk: Chunk,
    pitch: int,
) -> tuple[int, int]:
    """Put the rows of a tile into memory; where they begin, and how many they are."""
    config = emitter.config
    blocks = chunk.blocks[1] - chunk.blocks[0]
    nothing = np.zeros((config.tn, config.ti, config.lane.terms), dtype=np.int64)
    terms, offsets, last = [], [], []
    for group in rows[groups[0] : groups[1]]:
        inside = [row for row in group if chunk.holds(row)]
        # a group without a term has an output to write, which takes NFU-3 its turns
        spare = max(0, config.turns - len(inside))
        for row in inside + [TapRow(chunk.taps[0], 0, chunk.blocks[0], nothing)] * spare:
            pixel = (row.ky - chunk.taps[0]) * op.dilations[0] * pitch + row.kx * op.dilations[1]
            offsets.append(pixel * blocks + row.block - chunk.blocks[0])
            terms.append(row.terms)
            last.append(False)
        last[-1] = True
    begin = len(emitter.rows)
    emitter.rows.extend(pack_rows(config, np.array(terms), offsets, last))
    return begin, len(terms)


def _input(
    emitter: _Emitter, layer: _Layer, source: FeatureMap, step: Step, pitch: int, fence: int
) -> dict[str, int]:
    """Fields for the input of a run; loads of more than one piece get instructions of their own."""
    config, op = emitter.config, layer.op
    taps = step.chunk.taps
    begin, end = step.chunk.blocks
    blocks = end - begin
    base, load = emitter.nbin.take((layer.node.name, step.y, step.x, step.chunk))
    values = {"cp_fence": fence, "nbin_address": base, "nbin_stride": op.strides[1] * blocks}
    if not load:
        return values
    height = (taps[1] - taps[0] - 1) * op.dilations[0] + 1
    width = (step.columns - 1) * op.strides[1] + (op.kernel[1] - 1) * op.dilations[1] + 1
    top = step.y * op.strides[0] - op.pads[0] + taps[0] * op.dilations[0]
    left = step.x * op.strides[1] - op.pads[1]
    whole = blocks * config.ti == source.channels
    if whole and width == pitch == source.width:
        pieces = [(top, left, 0, height * width * blocks)]
    elif whole:
        pieces = [(top + k, left, k * pitch * blocks, width * blocks) for k in range(height)]
    else:
        pieces = [
            (top + k, left + n, (k * pitch + n) * blocks, blocks)
            for k in range(height)
            for n in range(width)
        ]
    for k, (y, x, at, size) in enumerate(pieces):
        first = source.element(y, x) // config.ti + begin
        piece = {"nbin_source": first, "nbin_size": size}
        piece["nbin_target"] = base + at
        if k < len(pieces) - 1:
            emitter.program.append(Instruction(cp_fence=values["cp_fence"], **piece))
            values["cp_fence"] = 0
        else:
            values |= piece
    return values
