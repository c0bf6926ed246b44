# amaranth: UnusedElaboratable=no
"""Streams of a pipeline under construction: which tensor comes from where, and who reads it how.

A tensor that is read more than once is forked, and one whose pixels pass one channel a beat is
collected before readers that need whole pixels. Queues cut chains of ready signals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hwgen.integer.types import (
    Add,
    Conv,
    IntegerNetwork,
    IntNode,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.network.types import Shape
from hwgen.numeric import Range, csd_weight
from hwgen.stream.blocks import Stage, component
from hwgen.stream.dense import dense_cycles, is_dense, takes_turns
from hwgen.stream.forms import LayerForm, form_of
from hwgen.stream.serial_pool import pool_scan
from hwgen.stream.supply import tap_reads

__all__ = ["Read", "Wiring", "lanes_of"]


Read = tuple[str, Shape, tuple[Range, ...]]
"""A stream to read: its source, its shape and its ranges."""

_CHEAP_TERMS = 32


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor comes out: its stage, its shape and its ranges; forks have several ports.

    ``values`` are the ranges of the channels if pixels pass one channel a beat. ``shape`` is then
    that of the frames that pass.
    """

    sources: tuple[str, ...]
    shape: Shape
    ranges: tuple[Range, ...]
    values: tuple[Range, ...] = ()


@dataclass
class Wiring:
    """The stages so far, and the streams of the tensors that they give.

    ``nodes`` are those of the network that its output needs, in order.
    """

    network: IntegerNetwork
    folding: Mapping[str, LayerForm]
    nodes: tuple[IntNode, ...] = ()
    stages: list[Stage] = field(default_factory=list)
    tensors: dict[str, _Tensor] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)

    def _provide(
        self,
        name: str,
        layer: str,
        source: str,
        shape: Shape,
        ranges: tuple[Range, ...],
        values: tuple[Range, ...] = (),
    ) -> None:
        """Make a tensor known; fork it if it is read more than once.

        Pixels that pass one channel a beat are collected here if no reader takes them so, and
        else before each reader that does not.
        """
        readers = self._readers(name)
        is_output = name == self.network.output
        uses = len(readers) + is_output
        tensor = _Tensor((source,), shape, ranges, values)
        if values and (is_output or not any(map(self._takes_turns, readers))):
            tensor = self._gathered(tensor, name, layer)
        self.tensors[name] = tensor
        if uses > 1:
            fork = self._append(
                name=self._name(layer, "fork"),
                form="fork",
                node=name,
                layer=layer,
                inputs=[(tensor.sources[0], tensor.shape, tensor.ranges)],
                depth=uses,
            )
            sources = tuple(f"{fork}.{k}" for k in range(uses))
            self.tensors[name] = replace(tensor, sources=sources)
        self.reads[name] = 0

    def _gathered(self, tensor: _Tensor, name: str, layer: str) -> _Tensor:
        """A tensor that passes one channel a beat, as whole pixels."""
        shape = self.network.shape(name)
        source = self._append(
            name=self._name(layer, "gather"),
            form="gather",
            node=name,
            layer=layer,
            inputs=[(tensor.sources[0], tensor.shape, tensor.ranges)],
            output_shape=shape,
            values=tensor.values,
        )
        return _Tensor((source,), shape, tensor.values)

    def _readers(self, name: str) -> list[IntNode]:
        """The nodes that read a tensor, each as often as it does."""
        return [node for node in self.nodes for read in node.inputs if read == name]

    def _only_reader(self, name: str) -> IntNode | None:
        """The node that reads a tensor, if there is but one and the output is another tensor."""
        readers = self._readers(name)
        return readers[0] if len(readers) == 1 and name != self.network.output else None

    def _takes_turns(self, node: IntNode) -> bool:
        """Whether a node takes pixels one channel a beat, if its inputs come so."""
        match node.op:
            case Requantise():
                return True
            case PiecewiseLinear() as op:
                return len(op.slopes) == 1
            case Conv() as op:
                form = form_of(self.folding, node.origin)
                lanes, _ = lanes_of(op, form) if form else (op.weight.shape[0], 1)
                return self._in_memory(node, op) and takes_turns(op, lanes=lanes)
            case MaxPool(pixels=pixels) if pixels > 1:
                return False
            case MaxPool() | SumPool() as op:
                scan = pool_scan(op, self.network.shape(node.inputs[0]))
                return all(scan.inside(axis).any(axis=0).all() for axis in (0, 1))
            case Add():
                return all(map(self._gives_turns, node.inputs))
            case _:
                return False

    def _gives_turns(self, name: str) -> bool:
        """Whether a tensor passes one channel a beat; only known if the folding decides it."""
        node = next((node for node in self.nodes if node.name == name), None)
        if node is None or name == self.network.output:
            return False
        if isinstance(node.op, Conv):
            form = form_of(self.folding, node.origin)
            if form is None or not self._in_memory(node, node.op):
                return False
            return self._may_give_turns(node, node.op, *lanes_of(node.op, form))
        return self._takes_turns(node) and all(map(self._gives_turns, node.inputs))

    def _may_give_turns(self, node: IntNode, op: Conv, lanes: int, abreast: int) -> bool:
        """Whether a convolution gives one channel a beat, which must cost no time."""
        outputs = op.weight.shape[0]
        batch = dense_cycles(op, lanes=outputs, abreast=abreast)
        return self._is_requantised(node) and 1 < outputs and lanes <= batch

    def _in_memory(self, node: IntNode, op: Conv) -> bool:
        """Whether accumulators that take turns compute a convolution."""
        form = form_of(self.folding, node.origin)
        if form is None:
            return _is_shared(op, self.network.shape(node.inputs[0]))
        return form.kind == "memory"

    def _is_requantised(self, node: IntNode) -> bool:
        """Whether the one consumer is a requantisation."""
        reader = self._only_reader(node.name)
        return reader is not None and isinstance(reader.op, Requantise)

    def _turns(self, node: IntNode, name: str) -> tuple[Range, ...]:
        """Range of each channel of a tensor that a node reads one channel a beat; else none."""
        return self.tensors[name].values if self._takes_turns(node) else ()

    def _read(self, node: IntNode, name: str) -> Read:
        """Next unused port of a tensor, which is collected if the node needs whole pixels."""
        tensor = self.tensors[name]
        port = replace(tensor, sources=tensor.sources[self.reads[name] :][:1])
        self.reads[name] += 1
        if tensor.values and not self._turns(node, name):
            port = self._gathered(port, name, node.origin)
        return (port.sources[0], port.shape, port.ranges)

    def _queued(self, node: IntNode, name: str, *, suffix: str = "fifo") -> Read:
        """The tensor behind a queue of two items, which cuts the chain of ready signals.

        What comes a digit at a time needs none: its last register waits by itself.
        """
        read = self._read(node, name)
        forms = {stage.name: stage.form for stage in self.stages}
        if forms.get(read[0]) == "digit_adders":
            return read
        return self._buffered(node, read, suffix=suffix)

    def _buffered(self, node: IntNode, read: Read, *, suffix: str) -> Read:
        """What is read, behind a queue of two items if it is no input."""
        source, shape, ranges = read
        if source == "":
            return read
        queue = self._append(
            name=self._name(node.origin, suffix),
            form="buffer",
            node=node.name,
            layer=node.origin,
            inputs=[(source, shape, ranges)],
            depth=2,
        )
        return queue, shape, ranges

    def _name(self, layer: str, suffix: str) -> str:
        """A Verilog identifier that no other stage has."""
        base = re.sub(r"\W", "_", layer, flags=re.ASCII)
        base = base if base[:1].isalpha() else f"n{base}"
        taken = {stage.name for stage in self.stages}
        names = (f"{base}_{suffix}{k or ''}" for k in range(len(taken) + 1))
        return next(name for name in names if name not in taken)

    def _append(
        self,
        *,
        name: str,
        form: str,
        node: str,
        layer: str,
        inputs: Sequence[Read],
        output_shape: Shape | None = None,
        output_ranges: tuple[Range, ...] | None = None,
        **parameters: Any,
    ) -> str:
        _, shape, ranges = inputs[0]
        stage = Stage(
            name=name,
            form=form,
            node=node,
            layer=layer,
            sources=tuple(source for source, _, _ in inputs),
            shape=shape,
            ranges=tuple(ranges for _, _, ranges in inputs),
            output_shape=output_shape or shape,
            output_ranges=output_ranges or ranges,
            **parameters,
        )
        if output_ranges is None and form not in ("buffer", "fork"):
            block: Any = component(stage)
            stage = replace(stage, output_ranges=block.output_ranges)
        self.stages.append(stage)
        return name


def lanes_of(op: Conv, form: LayerForm) -> tuple[int, int]:
    """Lanes of a form in memory, no more than outputs; and the channels that they take at once.

    These are the fewest that need no more cycles.
    """
    outputs, channels = op.weight.shape[:2]
    reads = len(tap_reads(channels, min(form.abreast, channels)))
    return min(form.size, outputs), -(-channels // reads)


def _is_shared(op: Conv, shape: Shape) -> bool:
    """Whether accumulators that take turns are to compute a convolution."""
    return is_dense(op, shape) and not _is_cheap(op, shape)


def _is_cheap(op: Conv, shape: Shape) -> bool:
    """Whether adders of its own are cheaper for a fully connected layer than a shared lane.

    They need all inputs at once, so only for frames of one pixel; and a term costs some 14 LUTs,
    a lane with its memory, its counters and the choice of its input as much as 32 terms.
    """
    terms = sum(map(csd_weight, op.weight.ravel().tolist()))
    return shape[1:] == (1, 1) and terms <= _CHEAP_TERMS
