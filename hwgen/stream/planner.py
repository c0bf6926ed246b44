# amaranth: UnusedElaboratable=no
"""The walk over an integer network that finds the stages of its pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.integer.types import (
    Add,
    ArgMax,
    Concat,
    Conv,
    IntegerNetwork,
    IntNode,
    IntOp,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.numeric import IntArray, Range
from hwgen.stream.blocks import Stage, component
from hwgen.stream.chain import row_matrix
from hwgen.stream.column import Column
from hwgen.stream.dense import Dense, lanes_for
from hwgen.stream.digit_window import window_flags
from hwgen.stream.digits import digit_ranges
from hwgen.stream.forms import LayerForm, form_of
from hwgen.stream.matrix import conv_matrix, linear_ranges
from hwgen.stream.pool import pool_fields, pool_window, sum_matrix
from hwgen.stream.requantise import Requantise as RequantiseBlock
from hwgen.stream.scan import Scan
from hwgen.stream.serial import SerialRequantise
from hwgen.stream.serial_pool import SerialPool, pool_scan
from hwgen.stream.window import Window
from hwgen.stream.wiring import Read, Wiring, lanes_of

__all__ = ["Planner", "fixed_interval"]


@dataclass
class Planner(Wiring):
    """Walks over the network and appends the stages of each node."""

    adders_per_stage: int = 1
    matrices: dict[str, IntArray] = field(default_factory=dict)
    biases: dict[str, IntArray] = field(default_factory=dict)
    done: dict[str, Stage] = field(default_factory=dict)

    def run(self) -> str:
        """Plan all that the output needs; where the output comes from."""
        network = self.network
        live = {network.output}
        for node in reversed(network.nodes):
            if node.name in live:
                live.update(node.inputs)
        self.nodes = tuple(node for node in network.nodes if node.name in live)
        if not self.nodes:
            raise UnsupportedError(f"Network {network.name!r} has no operator to build")
        name = network.input_name
        self._provide(name, name, "", network.input_shape, network.ranges(name))
        for node in self.nodes:
            self._node(node)
        return self._queued(self.nodes[-1], network.output, suffix="output")[0]

    def _node(self, node: IntNode) -> None:
        if node.name in self.done:
            last = self.done[node.name]
            self._provide(node.name, node.origin, last.name, last.output_shape, last.output_ranges)
            return
        match node.op:
            case Conv() as op:
                source = self._conv(node, op)
            case MaxPool() | SumPool() as op if self._turns(node, node.inputs[0]):
                source = self._pool_in_turns(node, op)
            case MaxPool() as op:
                source = self._max_pool(node, op)
            case SumPool() as op:
                source = self._sum_pool(node, op)
            case Requantise() as op:
                bias = tuple(self.biases.get(node.inputs[0], np.zeros(0)).astype(int).tolist())
                source = self._stage(node, "requantise", node.inputs, op=op, bias=bias)
            case PiecewiseLinear() as op:
                source = self._stage(node, "piecewise", node.inputs, op=op)
            case ArgMax():
                source = self._stage(node, "argmax", node.inputs)
            case Add() as op:
                source = self._join(node, "add", op)
            case Concat() as op:
                source = self._join(node, "concat", op)
            case _:
                assert_never(node.op)
        last = self.stages[-1]
        self.stages[-1] = replace(last, gives=node.name not in self.biases)
        values = _value_ranges(last) if last.serial_out else ()
        self._provide(node.name, node.origin, source, last.output_shape, last.output_ranges, values)

    def _stage(
        self,
        node: IntNode,
        form: str,
        inputs: Sequence[str],
        *,
        op: IntOp | None = None,
        bias: tuple[int, ...] = (),
    ) -> str:
        """A stage that works on pixels as they come, or on their channels in turns.

        It has a queue behind a fork, and behind stages whose clock enable reaches so many
        registers that a chain of such enables would set the clock of the whole design.
        """
        source = self.tensors[inputs[0]].sources[0]
        values = self._turns(node, inputs[0])
        before = {stage.name: stage.form for stage in self.stages}.get(source, "fork")
        queued = before in ("fork", "adders", "chain", "requantise")
        read = self._queued(node, inputs[0]) if queued else self._read(node, inputs[0])
        return self._append(
            name=self._name(node.origin, form),
            form=form,
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=read[1] if values else node.shape,
            values=values,
            op=op,
            bias=bias,
        )

    def _join(self, node: IntNode, form: str, op: Add | Concat) -> str:
        values = self._turns(node, node.inputs[0])
        inputs = [
            self._buffered(node, self._read(node, name), suffix=f"buffer{k}")
            for k, name in enumerate(node.inputs)
        ]
        return self._append(
            name=self._name(node.origin, form),
            form=form,
            node=node.name,
            layer=node.origin,
            inputs=inputs,
            output_shape=inputs[0][1] if values else node.shape,
            values=values,
            op=op,
        )

    def _conv(self, node: IntNode, op: Conv) -> str:
        values = self._turns(node, node.inputs[0])
        read = self._queued(node, node.inputs[0])
        if self._in_memory(node, op):
            return self._dense(node, op, read, values)
        window = Window(read[1], op.kernel, op.strides, op.pads, op.dilations, ranges=read[2])
        form = form_of(self.folding, node.origin)
        if form is not None and form.kind == "rows" and op.kernel[1] > 1:
            return self._rows(node, op, read, window.scan)
        if form is not None and form.kind == "serial":
            return self._digits(node, op, read, window, form.size)
        after = self._windowed(node, read, window)
        return self._adders(node, after, conv_matrix(op), self._unfolded(node, op.bias))

    def _digits(self, node: IntNode, op: Conv, read: Read, window: Window, digit: int) -> str:
        """The same a digit at a time, with the requantisation of its sums if nothing else reads.

        How many digits a word has is known once the adder graph is.
        """
        layer: dict[str, Any] = {"node": node.name, "layer": node.origin, "digit": digit}
        source = self._append(
            name=self._name(node.origin, "serialise"),
            form="serialise",
            inputs=[read],
            output_ranges=digit_ranges(len(read[2]), digit),
            **layer,
        )
        flags = 0 if _is_pointwise(window) else window_flags(window.scan, read[2])
        if not _is_pointwise(window):
            source = self._append(
                name=self._name(node.origin, "window"),
                form="digit_window",
                inputs=[(source, read[1], digit_ranges(len(read[2]), digit))],
                output_shape=window.output_shape,
                output_ranges=digit_ranges(window.output_shape[0], digit, flags=flags),
                values=read[2],
                scan=window.scan,
                **layer,
            )
        matrix = conv_matrix(op)
        ranges = linear_ranges(matrix, window.output_ranges, ())
        reader = self._only_reader(node.name)
        scaling: Requantise | None = None
        if reader is not None and isinstance(reader.op, Requantise) and _is_uniform(reader.op):
            scaling, bias = reader.op, tuple(op.bias.tolist())
            block = RequantiseBlock(scaling, ranges=ranges, shape=node.shape, offset=bias)
            ranges = block.output_ranges
            layer["node"] = reader.name
        else:
            bias = self._unfolded(node, op.bias)
            ranges = linear_ranges(matrix, window.output_ranges, bias)
        name = self._name(node.origin, "adders")
        self.matrices[name] = matrix
        self._append(
            name=name,
            form="digit_adders",
            inputs=[(source, window.output_shape, window.output_ranges)],
            output_shape=node.shape,
            output_ranges=ranges,
            bias=bias,
            op=scaling,
            depth=flags,
            **layer,
        )
        if reader is not None and scaling is not None:
            self.done[reader.name] = self.stages[-1]
        return name

    def _dense(self, node: IntNode, op: Conv, read: Read, values: tuple[Range, ...]) -> str:
        """Accumulators that take turns, and give their sums in turns if that costs no time."""
        form = form_of(self.folding, node.origin)
        chosen, abreast = lanes_of(op, form) if form else (0, 1)
        interval = fixed_interval(self.network, self.stages, self.folding)
        lanes = chosen or lanes_for(op, interval=interval)
        _, height, width = self.network.shape(node.inputs[0])
        scan = Scan(height, width, op.kernel, op.strides, op.pads, op.dilations)
        shape = node.shape
        if self._may_give_turns(node, op, lanes, abreast):
            self._unfolded(node, op.bias)
            op = replace(op, bias=np.zeros_like(op.bias))
            shape = (1, math.prod(shape), 1)
        return self._append(
            name=self._name(node.origin, "dense"),
            form="dense",
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=shape,
            values=values,
            op=op,
            scan=scan,
            lanes=chosen or 1,
            abreast=abreast,
        )

    def _rows(self, node: IntNode, op: Conv, read: Read, scan: Scan) -> str:
        """Columns, their products with all columns of the kernel, and the chains behind."""
        bias = self._unfolded(node, op.bias)
        column = Column(read[1], scan, ranges=read[2])
        name = self._append(
            name=self._name(node.origin, "column"),
            form="column",
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=column.output_shape,
            scan=scan,
        )
        turned = row_matrix(conv_matrix(op), scan)
        first = bias + (0,) * (turned.shape[1] - len(bias)) if bias else ()
        columns = (name, column.output_shape, column.output_ranges)
        products = self._adders(node, columns, turned, first)
        return self._append(
            name=self._name(node.origin, "chain"),
            form="chain",
            node=node.name,
            layer=node.origin,
            inputs=[(products, self.stages[-1].output_shape, self.stages[-1].output_ranges)],
            output_shape=node.shape,
            scan=scan,
            bias=bias,
        )

    def _unfolded(self, node: IntNode, bias: IntArray) -> tuple[int, ...]:
        """The bias that the adders add: none if the one consumer is a requantisation."""
        if not bias.any():
            return ()
        if self._is_requantised(node):
            self.biases[node.name] = bias
            return ()
        return tuple(bias.tolist())

    def _pool_in_turns(self, node: IntNode, op: MaxPool | SumPool) -> str:
        """A pool of pixels that come and go one channel a beat."""
        return self._append(
            name=self._name(node.origin, "pool"),
            form="pool",
            node=node.name,
            layer=node.origin,
            inputs=[self._queued(node, node.inputs[0])],
            output_shape=(1, math.prod(node.shape), 1),
            values=self._turns(node, node.inputs[0]),
            op=op,
            scan=pool_scan(op, self.network.shape(node.inputs[0])),
        )

    def _max_pool(self, node: IntNode, op: MaxPool) -> str:
        read = self._queued(node, node.inputs[0])
        window = pool_window(op, ranges=read[2], shape=read[1])
        return self._append(
            name=self._name(node.origin, "max"),
            form="max",
            node=node.name,
            layer=node.origin,
            inputs=[self._windowed(node, read, window)],
            output_shape=node.shape,
            fields=pool_fields(op, read[1]),
        )

    def _sum_pool(self, node: IntNode, op: SumPool) -> str:
        read = self._queued(node, node.inputs[0])
        if op.kernel == read[1][1:] and not any(op.pads):
            return self._append(
                name=self._name(node.origin, "sum"),
                form="accumulate",
                node=node.name,
                layer=node.origin,
                inputs=[read],
                output_shape=node.shape,
                op=op,
            )
        window = pool_window(op, ranges=read[2], shape=read[1])
        return self._adders(
            node, self._windowed(node, read, window), sum_matrix(op, read[1][0]), ()
        )

    def _windowed(self, node: IntNode, read: Read, window: Window) -> Read:
        """The windows of a tensor; the tensor itself if they are its pixels."""
        if _is_pointwise(window):
            return read
        name = self._append(
            name=self._name(node.origin, "window"),
            form="window",
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=window.output_shape,
            scan=window.scan,
            fill=window.fill,
        )
        return name, window.output_shape, window.output_ranges

    def _adders(self, node: IntNode, read: Read, matrix: IntArray, bias: tuple[int, ...]) -> str:
        name = self._name(node.origin, "adders")
        self.matrices[name] = matrix
        return self._append(
            name=name,
            form="adders",
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=(matrix.shape[1], *read[1][1:]),
            output_ranges=linear_ranges(matrix, read[2], bias),
            bias=bias,
            depth=self.adders_per_stage,
        )


def fixed_interval(
    network: IntegerNetwork, stages: Sequence[Stage], folding: Mapping[str, LayerForm]
) -> int:
    """Cycles an image of the slowest stage whose speed cannot be chosen."""
    fixed = [s for s in stages if s.form != "dense" or form_of(folding, s.layer) is not None]
    busy = [stage.cycles for stage in fixed if stage.scan is not None or stage.digit]
    return max(network.input_shape[1] * network.input_shape[2], *busy, 1)


def _is_pointwise(window: Window) -> bool:
    """Whether the windows of a tensor are its pixels."""
    scan = window.scan
    return scan.kernel == scan.strides == (1, 1) and not any(scan.pads)


def _is_uniform(op: Requantise) -> bool:
    """Whether a requantisation is the same at every position."""
    return max(op.multiplier[0].size, op.shift[0].size) == 1


def _value_ranges(stage: Stage) -> tuple[Range, ...]:
    """Range of each channel of pixels that a stage gives one channel a beat."""
    block = component(stage)
    if isinstance(block, Dense | SerialPool | SerialRequantise):
        return block.value_ranges
    return stage.output_ranges * len(stage.values)
