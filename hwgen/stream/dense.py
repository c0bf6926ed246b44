"""Convolutions with dyadic codes in memory: shift-add accumulators that take turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer.types import Conv
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.stream.code_memory import code_words
from hwgen.stream.codes import weight_code
from hwgen.stream.common import (
    Registers,
    delayed_flags,
    in_turns,
    lookup,
    next_count,
    pixel_signature,
    range_shape,
    union,
)
from hwgen.stream.lanes import Reader, lane_readers
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.patches import Patches
from hwgen.stream.product import (
    Partial,
    multiple_stages,
    multiples,
    product,
    product_stages,
    select,
    select_stages,
)
from hwgen.stream.scan import Scan
from hwgen.stream.supply import tap_reads
from hwgen.stream.totals import add_up, gather, shift_out
from hwgen.stream.window import Window

__all__ = ["Dense", "dense_cycles", "is_dense", "lanes_for", "takes_turns"]


def is_dense(op: Conv, shape: Shape) -> bool:
    """Whether a convolution covers its whole input (C, H, W), and so is a fully connected layer."""
    return op.kernel == shape[1:] and not any(op.pads)


def dense_cycles(op: Conv, *, lanes: int, abreast: int = 1) -> int:
    """Cycles that :class:`Dense` is busy with an output position."""
    outputs, channels, height, width = op.weight.shape
    return -(-outputs // lanes) * height * width * len(tap_reads(channels, abreast))


def lanes_for(op: Conv, *, interval: int) -> int:
    """Fewest lanes with which an output position takes at most ``interval`` cycles.

    If none suffice, one lane an output, which is the most there can be.
    """
    outputs = op.weight.shape[0]
    batches = max(1, interval // dense_cycles(op, lanes=outputs))
    return -(-outputs // batches)


def takes_turns(op: Conv, *, lanes: int) -> bool:
    """Whether ``lanes`` read the same group at a time, so that channels may come one by one."""
    ranges = [Range(0, 0)] * (op.groups * op.weight.shape[1])
    return len(lane_readers(op.weight.shape[0], lanes, groups=op.groups, ranges=ranges)) == 1


class Dense(wiring.Component):
    """Convolution ``y[o] = bias[o] + sum weight[o, k] * x[k]`` over each patch, exact.

    The newest rows of the input lie in memory (:class:`hwgen.stream.patches.Patches`). ``lanes``
    accumulators compute as many outputs of a position at once, from ``abreast`` channels of a tap a
    cycle, batch after batch; the weights are code words in a memory that is read once a position
    from start to end. A code word chooses, digit by digit, among multiples of its input that all
    lanes share (see :func:`hwgen.stream.codes.weight_code`); what is chosen of all inputs goes
    through one tree of adders to the accumulator. All outputs leave together as one pixel; or, with
    ``serial_out``, one after the other, which needs no register but those of the lanes. With
    ``serial_in`` the channels come in likewise, which saves choosing among them.

    A position keeps the lanes busy for :py:`position_cycles` cycles. If they were idle, the first
    item of its result follows the last pixel that it needs by :py:`latency` cycles. Pixels of the
    next positions, and of the next image, come in meanwhile. A fully connected layer has one
    position an image.

    Parameters
    ----------
    op : :class:`hwgen.integer.types.Conv`
        Any convolution.
    ranges : sequence of Range
        Range of each input channel (C entries).
    shape : (int, int, int)
        Shape (C, H, W) of a frame.
    lanes : int
        Outputs computed at once, from 1 to the number of outputs.
    abreast : int
        Channels read at once, from 1 to those of a group.
    serial_in : bool
        Whether ``i`` carries the channels of a pixel one after the other, a frame
        (1, H * W * C, 1); only if all lanes read the same group at a time (:func:`takes_turns`).
    serial_out : bool
        Whether ``o`` carries the channels likewise, a frame (1, OH * OW * O, 1).

    Attributes
    ----------
    code : :class:`hwgen.stream.codes.WeightCode`
        How a code word stands for a weight.

    Members
    -------
    i : :py:`In(pixel_signature(input_ranges))`
    o : :py:`Out(pixel_signature(output_ranges))`
    """

    def __init__(
        self,
        op: Conv,
        *,
        ranges: Sequence[Range],
        shape: Shape,
        lanes: int,
        abreast: int = 1,
        serial_in: bool = False,
        serial_out: bool = False,
    ) -> None:
        if len(ranges) != shape[0] or op.weight.shape[1] * op.groups != shape[0]:
            raise ValueError(
                f"Input must have {op.weight.shape[1] * op.groups} channels, not {shape[0]}"
            )
        if not 1 <= lanes <= op.weight.shape[0]:
            raise ValueError(f"Lanes must be 1 to {op.weight.shape[0]}, not {lanes!r}")
        if not 1 <= abreast <= op.weight.shape[1]:
            raise ValueError(f"Channels abreast must be 1 to {op.weight.shape[1]}, not {abreast!r}")
        if serial_in and not takes_turns(op, lanes=lanes):
            raise ValueError(
                f"Serial input must be read by one group at a time, not by {lanes} lanes of "
                f"{op.groups} groups"
            )
        self.scan = Scan(shape[1], shape[2], op.kernel, op.strides, op.pads, op.dilations)
        self.op = op
        self.ranges = tuple(ranges)
        self.shape = shape
        self.lanes = lanes
        self.abreast = abreast
        self.serial_in = serial_in
        self.serial_out = serial_out
        width = max(r.width for r in self.ranges)
        self.code = weight_code(self._weights, width=width, sharing=lanes / len(self._readers))
        super().__init__(
            {
                "i": In(pixel_signature(self.input_ranges)),
                "o": Out(pixel_signature(self.output_ranges)),
            }
        )

    @property
    def input_ranges(self) -> tuple[Range, ...]:
        """Range of each field of ``i``."""
        return (union(self.ranges),) if self.serial_in else self.ranges

    @property
    def output_ranges(self) -> tuple[Range, ...]:
        """Range of each field of ``o``."""
        return (union(self.value_ranges),) if self.serial_out else self.value_ranges

    @property
    def value_ranges(self) -> tuple[Range, ...]:
        """Exact range of each output."""
        outputs, per_group = self.op.weight.shape[:2]
        weights = self.op.weight.reshape(outputs, per_group, -1)
        up = np.maximum(weights, 0).sum(axis=2)
        down = np.minimum(weights, 0).sum(axis=2)
        read = [self._padded(r) for r in self.ranges]
        lo = np.array([r.lo for r in read]).reshape(self.op.groups, per_group)
        hi = np.array([r.hi for r in read]).reshape(self.op.groups, per_group)
        group = np.arange(outputs) // (outputs // self.op.groups)
        least = self.op.bias + (up * lo[group] + down * hi[group]).sum(axis=1)
        most = self.op.bias + (up * hi[group] + down * lo[group]).sum(axis=1)
        return tuple(map(Range, least.tolist(), most.tolist()))

    @property
    def batches(self) -> int:
        """Times that each patch is read."""
        return -(-self.op.weight.shape[0] // self.lanes)

    @property
    def position_cycles(self) -> int:
        """Cycles for which a position keeps the lanes busy."""
        return dense_cycles(self.op, lanes=self.lanes, abreast=self.abreast)

    @property
    def cycles(self) -> int:
        """Cycles for which an image keeps the lanes busy."""
        rows, columns = self.scan.out_size
        return rows * columns * self.position_cycles

    @property
    def latency(self) -> int:
        """Cycles from the last pixel that a position needs to its first result, from idle lanes."""
        batches = self.batches if self.serial_out else 1
        cycles = self.position_cycles // batches
        return cycles + self._input_stages + self._product_stages + 2

    @property
    def _product_stages(self) -> int:
        """Cycles from the multiples of the inputs to the sum of their products."""
        return product_stages(self.code, inputs=self.abreast)

    @property
    def _weights(self) -> IntArray:
        """Weights (O, reads, abreast) in the order of reading; 0 where a channel is read again."""
        channels, abreast = self.op.weight.shape[1], self.abreast
        reads = np.array(tap_reads(channels, abreast))
        channel = reads[:, None] + np.arange(abreast)
        fresh = channel >= np.arange(0, channels, abreast)[:, None]
        weights = self.op.weight.transpose(0, 2, 3, 1)[..., channel]
        return np.where(fresh, weights, 0).reshape(len(weights), -1, abreast)

    @property
    def _readers(self) -> tuple[Reader, ...]:
        outputs = self.op.weight.shape[0]
        return lane_readers(outputs, self.lanes, groups=self.op.groups, ranges=self.ranges)

    @property
    def patches(self) -> Patches:
        """The memory of the input and the walk over its patches."""
        per_group = self.op.weight.shape[1]
        groups = self._readers[0].groups
        return Patches(
            self.scan,
            ranges=self.input_ranges,
            channels=per_group,
            batches=self.batches,
            abreast=self.abreast,
            serial=[group * per_group for group in groups] if self.serial_in else (),
            beats=self.shape[0] if self.serial_in else 1,
        )

    def _padded(self, r: Range) -> Range:
        """Range of an input where taps outside the frame are 0."""
        return r.union(Range(0, 0)) if any(self.op.pads) else r

    @property
    def _reads(self) -> tuple[int, ...]:
        """Channel of a group that each input of a lane is chosen from, less that of the first."""
        return (0,) if self.serial_in else tap_reads(self.op.weight.shape[1], self.abreast)

    @property
    def _choices(self) -> int:
        """Groups that a lane chooses from."""
        if self.serial_in:
            return 1
        return max(len(set(reader.groups)) for reader in self._readers)

    @property
    def _select_stages(self) -> int:
        """Cycles from the memory's word to the value chosen, 0 if outside the frame."""
        stages = select_stages(self._choices) + select_stages(len(self._reads))
        return max(1, stages + any(self.op.pads))

    @property
    def _widths(self) -> list[int]:
        """Bits of each lane's accumulator, which is signed."""
        ranges = self.value_ranges
        return [
            max(r.width + (not r.signed) for r in ranges[lane :: self.lanes])
            for lane in range(self.lanes)
        ]

    @property
    def _input_stages(self) -> int:
        """Cycles from the memory's word to the multiples of the chosen value."""
        return self._select_stages + multiple_stages(self.code)

    def model(self, x: IntArray) -> IntArray:
        """Outputs (N, O, OH, OW), or (N, 1, OH * OW * O, 1) if serial, of frames as they come."""
        channels, height, width = self.shape
        if self.serial_in:
            x = x.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
        windows = Window(
            self.shape,
            self.op.kernel,
            self.op.strides,
            self.op.pads,
            self.op.dilations,
            ranges=self.ranges,
        ).model(x)
        bias = self.op.bias.reshape(-1, 1, 1)
        total = np.einsum("nkhw,ko->nohw", windows, conv_matrix(self.op)) + bias
        return in_turns(total) if self.serial_out else total

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ce = Signal()
        registers = Registers(m, ce)
        m.submodules.patches = patches = self.patches
        m.d.comb += [
            patches.i.payload.eq(self.i.payload),
            patches.i.valid.eq(self.i.valid),
            self.i.ready.eq(patches.i.ready),
            patches.ce.eq(ce),
        ]
        inputs = self._inputs(m, registers, patches)

        stages = self._input_stages + self._product_stages + 1
        running = delayed_flags(m, ce, patches.running, stages)
        last = delayed_flags(m, ce, patches.last, stages)
        words = code_words(
            m,
            registers,
            running[self._input_stages - 1],
            weights=self._weights,
            code=self.code,
            lanes=self.lanes,
        )
        products: dict[int, Partial] = {}
        for reader, values in zip(self._readers, inputs, strict=True):
            r = self._padded(reader.range)
            found = [
                multiples(registers, value, r, self.code, name=f"x{reader.lanes[0]}_{k}")
                for k, value in enumerate(values)
            ]
            for lane in reader.lanes:
                products[lane] = product(
                    registers,
                    words[lane],
                    found,
                    r,
                    self.code,
                    width=self._widths[lane],
                    name=f"lane{lane}",
                )

        batch, finished = Signal(range(self.batches)), running[-1] & last[-1]
        with m.If(finished & ce):
            m.d.sync += batch.eq(next_count(batch, self.batches))
        bias = self.op.bias.tolist()
        lanes = range(self.lanes)
        totals = add_up(
            m,
            [products[lane] for lane in lanes],
            arrived=running[-1] & ce,
            finished=finished & ce,
            batch=batch,
            widths=self._widths,
            starts=[bias[lane :: self.lanes] for lane in lanes],
        )
        leave = shift_out if self.serial_out else gather
        room = leave(m, self.o, totals, finished=finished & ce, batch=batch, outputs=len(bias))
        m.d.comb += ce.eq(~finished | room)
        return m

    def _inputs(self, m: Module, registers: Registers, patches: Patches) -> list[list[Value]]:
        """Input values of each reader, ``_select_stages`` stages after the word was read."""
        reads = self._reads
        first, stages = select_stages(len(reads)), self._select_stages
        chosen = registers.register(patches.read, patches.read.shape(), name="read_d")
        batch = registers.delay(patches.batch, 1 + first, name="batch")
        padded = any(self.op.pads)
        inside = registers.delay(patches.inside, stages if padded else 0, name="inside")
        per_group = self.op.weight.shape[1]
        found = []
        for reader in self._readers:
            groups = [0] if self.serial_in else sorted(set(reader.groups))
            table = np.array(
                [groups.index(group) for group in reader.groups] if len(groups) > 1 else [0]
            )
            choice = lookup(m, batch, table, name=f"x{reader.lanes[0]}_group")
            shape = range_shape(reader.range)
            values = []
            for k in range(self.abreast):
                name = f"x{reader.lanes[0]}_{k}"
                fields = [
                    [patches.word[f"c{group * per_group + read + k}"] for read in reads]
                    for group in groups
                ]
                each = [
                    select(registers, some, chosen, shape, name=f"{name}_g{group}")
                    for group, some in zip(groups, fields, strict=True)
                ]
                value = select(registers, each, choice, shape, name=name)
                rest = stages - first - select_stages(len(groups))
                value = registers.delay(value, rest - padded, name=name)
                if padded:
                    inner = range_shape(self._padded(reader.range))
                    value = registers.register(Mux(inside, value, 0), inner, name=f"{name}_inside")
                values.append(value)
            found.append(values)
        return found
