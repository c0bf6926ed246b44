# amaranth: UnusedElaboratable=no
"""The plan of a streaming pipeline: every block, its parameters and its timing, as pure data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np
from joblib import Parallel, delayed

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
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range, csd_weight
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.optimise import optimize
from hwgen.stream.blocks import Stage, component
from hwgen.stream.cycles import Timing, balance, predict
from hwgen.stream.dense import is_dense, lanes_for
from hwgen.stream.pool import pool_window, sum_matrix
from hwgen.stream.window import Window

__all__ = ["PipelinePlan", "conv_matrix", "plan_pipeline"]


@dataclass(frozen=True)
class PipelinePlan:
    """A streaming network before elaboration: its stages in topological order, and its timing.

    ``output`` is where the network's output comes from, in the form of :attr:`Stage.sources`.
    """

    name: str
    input_name: str
    input_shape: Shape
    input_ranges: tuple[Range, ...]
    stages: tuple[Stage, ...]
    output: str
    timing: Timing

    @property
    def output_stage(self) -> Stage:
        """The stage at the output."""
        name = self.output.partition(".")[0]
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(dict.fromkeys(stage.layer for stage in self.stages))

    @property
    def adders(self) -> int:
        """Adders in all adder graphs."""
        return sum(stage.graph.adders for stage in self.stages if stage.graph is not None)


def conv_matrix(op: Conv) -> IntArray:
    """Matrix (I * KH * KW, O) of a convolution's window, the groups expanded to all channels."""
    outputs, group_channels, kh, kw = op.weight.shape
    per_group = outputs // op.groups
    weight = np.zeros((outputs, group_channels * op.groups, kh, kw), dtype=np.int64)
    for group in range(op.groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        channels = slice(group * group_channels, (group + 1) * group_channels)
        weight[rows, channels] = op.weight[rows]
    return weight.reshape(outputs, -1).T


_Read = tuple[str, Shape, tuple[Range, ...]]
"""A stream to read: its source, its shape and its ranges."""

_CHEAP_TERMS = 32


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor comes out: its stage, its shape and its ranges; forks have several ports."""

    sources: tuple[str, ...]
    shape: Shape
    ranges: tuple[Range, ...]


@dataclass
class _Planner:
    """Walks over the network and appends the stages of each node."""

    network: IntegerNetwork
    adders_per_stage: int
    stages: list[Stage] = field(default_factory=list)
    matrices: dict[str, IntArray] = field(default_factory=dict)
    tensors: dict[str, _Tensor] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    biases: dict[str, IntArray] = field(default_factory=dict)

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
        match node.op:
            case Conv() as op:
                source = self._conv(node, op)
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
        self._provide(node.name, node.origin, source, last.output_shape, last.output_ranges)

    # -- tensors ---------------------------------------------------------------------------------

    def _provide(
        self, name: str, layer: str, source: str, shape: Shape, ranges: tuple[Range, ...]
    ) -> None:
        """Make a tensor known; fork it if it is read more than once."""
        uses = sum(node.inputs.count(name) for node in self.nodes)
        uses += name == self.network.output
        self.tensors[name] = _Tensor((source,), shape, ranges)
        if uses > 1:
            fork = self._append(
                name=self._name(layer, "fork"),
                form="fork",
                node=name,
                layer=layer,
                inputs=[(source, shape, ranges)],
                depth=uses,
            )
            self.tensors[name] = _Tensor(tuple(f"{fork}.{k}" for k in range(uses)), shape, ranges)
        self.reads[name] = 0

    def _read(self, name: str) -> _Read:
        """Next unused port of a tensor."""
        tensor = self.tensors[name]
        port = self.reads[name]
        self.reads[name] += 1
        return (tensor.sources[port], tensor.shape, tensor.ranges)

    def _queued(self, node: IntNode, name: str, *, suffix: str = "fifo") -> _Read:
        """The tensor behind a queue of two pixels, which cuts the chain of ready signals."""
        source, shape, ranges = self._read(name)
        if source == "":
            return source, shape, ranges
        queue = self._append(
            name=self._name(node.origin, suffix),
            form="buffer",
            node=node.name,
            layer=node.origin,
            inputs=[(source, shape, ranges)],
            depth=2,
        )
        return queue, shape, ranges

    # -- operators -------------------------------------------------------------------------------

    def _stage(
        self,
        node: IntNode,
        form: str,
        inputs: Sequence[str],
        *,
        op: IntOp | None = None,
        bias: tuple[int, ...] = (),
    ) -> str:
        """A stage that works on pixels as they come.

        It has a queue behind a fork, and behind stages whose clock enable reaches so many
        registers that a chain of such enables would set the clock of the whole design.
        """
        source = self.tensors[inputs[0]].sources[0]
        before = {stage.name: stage.form for stage in self.stages}.get(source, "fork")
        queued = before in ("fork", "adders", "requantise")
        read = self._queued(node, inputs[0]) if queued else self._read(inputs[0])
        return self._append(
            name=self._name(node.origin, form),
            form=form,
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=node.shape,
            op=op,
            bias=bias,
        )

    def _join(self, node: IntNode, form: str, op: Add | Concat) -> str:
        inputs = [
            self._queued(node, name, suffix=f"buffer{k}") for k, name in enumerate(node.inputs)
        ]
        return self._append(
            name=self._name(node.origin, form),
            form=form,
            node=node.name,
            layer=node.origin,
            inputs=inputs,
            output_shape=node.shape,
            op=op,
        )

    def _conv(self, node: IntNode, op: Conv) -> str:
        read = self._queued(node, node.inputs[0])
        if is_dense(op, read[1]) and not _is_cheap(op, read[1]):
            return self._append(
                name=self._name(node.origin, "dense"),
                form="dense",
                node=node.name,
                layer=node.origin,
                inputs=[read],
                output_shape=node.shape,
                op=op,
                lanes=1,
            )
        window = Window(read[1], op.kernel, op.strides, op.pads, op.dilations, ranges=read[2])
        after = self._windowed(node, read, window)
        return self._adders(node, after, conv_matrix(op), self._unfolded(node, op.bias))

    def _unfolded(self, node: IntNode, bias: IntArray) -> tuple[int, ...]:
        """The bias that the adders add: none if the one consumer is a requantisation."""
        readers = [reader for reader in self.nodes if node.name in reader.inputs]
        fold = len(readers) == 1 and isinstance(readers[0].op, Requantise)
        if not bias.any():
            return ()
        if fold and node.name != self.network.output:
            self.biases[node.name] = bias
            return ()
        return tuple(bias.tolist())

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
            depth=op.kernel[0] * op.kernel[1],
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

    def _windowed(self, node: IntNode, read: _Read, window: Window) -> _Read:
        """The windows of a tensor; the tensor itself if they are its pixels."""
        scan = window.scan
        if scan.kernel == scan.strides == (1, 1) and not any(scan.pads):
            return read
        name = self._append(
            name=self._name(node.origin, "window"),
            form="window",
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=window.output_shape,
            scan=scan,
            fill=window.fill,
        )
        return name, window.output_shape, window.output_ranges

    def _adders(self, node: IntNode, read: _Read, matrix: IntArray, bias: tuple[int, ...]) -> str:
        name = self._name(node.origin, "adders")
        self.matrices[name] = matrix
        return self._append(
            name=name,
            form="adders",
            node=node.name,
            layer=node.origin,
            inputs=[read],
            output_shape=node.shape,
            output_ranges=_linear_ranges(matrix, read[2], bias),
            bias=bias,
            depth=self.adders_per_stage,
        )

    # -- bookkeeping -----------------------------------------------------------------------------

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
        inputs: Sequence[_Read],
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
        if form not in ("adders", "buffer", "fork"):
            block: Any = component(stage)
            stage = replace(stage, output_ranges=block.output_ranges)
        self.stages.append(stage)
        return name


def plan_pipeline(
    network: IntegerNetwork,
    *,
    adders_per_stage: int = 1,
    slack: float = 1 / 16,
    optimise: Callable[..., AdderGraph] = optimize,
    jobs: int = 1,
) -> PipelinePlan:
    """Plan the pipeline of an integer network.

    Parameters
    ----------
    network
        Network to build.
    adders_per_stage
        Adders on the longest path between two registers of an adder graph.
    slack
        By how much a fully connected layer may be slower than the slowest other stage, as a
        fraction, if that saves lanes.
    optimise
        Called as ``optimise(matrix, inputs=ranges)`` for every constant matrix.
    jobs
        Processes that look for adder graphs, one matrix each at a time; -1 for one a core.

    Raises
    ------
    UnsupportedError
        If there is nothing to build.
    """
    planner = _Planner(network, adders_per_stage)
    output = planner.run()
    matrices = planner.matrices
    stages = planner.stages
    ranges = {stage.name: stage.ranges[0] for stage in stages}
    found = Parallel(n_jobs=jobs)(
        delayed(optimise)(matrix, inputs=ranges[name]) for name, matrix in matrices.items()
    )
    graphs = dict(zip(matrices, found, strict=True))
    for name, graph in graphs.items():
        graph.verify(matrices[name])
    stages = [replace(stage, graph=graphs.get(stage.name)) for stage in stages]
    busiest = int(_interval(network, stages) * (1 + slack))
    stages = [_timed(stage, busiest) for stage in stages]
    balanced = balance(stages)
    return PipelinePlan(
        name=network.name,
        input_name=network.input_name,
        input_shape=network.input_shape,
        input_ranges=network.ranges(network.input_name),
        stages=balanced,
        output=output,
        timing=predict(balanced),
    )


def _interval(network: IntegerNetwork, stages: Sequence[Stage]) -> int:
    """Cycles an image of the slowest stage whose speed cannot be chosen."""
    scans = [stage.scan.beats for stage in stages if stage.scan is not None]
    return max(network.input_shape[1] * network.input_shape[2], *scans, 1)


def _timed(stage: Stage, interval: int) -> Stage:
    """The stage with its lanes and its latency."""
    if stage.form == "dense":
        assert isinstance(stage.op, Conv)
        stage = replace(stage, lanes=lanes_for(stage.op, interval=interval))
    block: Any = component(stage)
    return replace(stage, latency=block.latency)


def _is_cheap(op: Conv, shape: Shape) -> bool:
    """Whether adders of its own are cheaper for a fully connected layer than a shared lane.

    They need all inputs at once, so only for frames of one pixel; and a term costs some 14 LUTs,
    a lane with its memory, its counters and the choice of its input as much as 32 terms.
    """
    terms = sum(map(csd_weight, op.weight.ravel().tolist()))
    return shape[1:] == (1, 1) and terms <= _CHEAP_TERMS


def _linear_ranges(
    matrix: IntArray, ranges: Sequence[Range], bias: Sequence[int]
) -> tuple[Range, ...]:
    """Exact ranges of ``x @ matrix + bias``."""
    low = np.array([r.lo for r in ranges], dtype=object)
    high = np.array([r.hi for r in ranges], dtype=object)
    positive = np.maximum(matrix, 0).astype(object).T
    negative = np.minimum(matrix, 0).astype(object).T
    least, most = positive @ low + negative @ high, positive @ high + negative @ low
    added = bias or (0,) * matrix.shape[1]
    return tuple(Range(int(a) + b, int(z) + b) for a, z, b in zip(least, most, added, strict=True))
