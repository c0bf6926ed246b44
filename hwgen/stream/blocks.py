# amaranth: UnusedElaboratable=no
"""A stage of a pipeline as data, and the component that implements it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from amaranth.lib import wiring

from hwgen.integer.types import (
    Add,
    Concat,
    Conv,
    IntOp,
    MaxPool,
    PiecewiseLinear,
    Requantise,
    SumPool,
)
from hwgen.network.types import Shape
from hwgen.numeric import Range
from hwgen.shiftadd.graph import AdderGraph
from hwgen.stream import branch
from hwgen.stream.accumulate import Accumulate
from hwgen.stream.argmax import ArgMax
from hwgen.stream.chain import Chain
from hwgen.stream.column import Column
from hwgen.stream.common import pixel_layout
from hwgen.stream.datapath import ShiftAdd
from hwgen.stream.dense import Dense, dense_cycles
from hwgen.stream.digit_serial import DigitSerial
from hwgen.stream.digit_window import DigitWindow
from hwgen.stream.digits import Serialise, digit_count
from hwgen.stream.piecewise import PiecewiseLinear as PiecewiseLinearBlock
from hwgen.stream.pool import MaxTree
from hwgen.stream.requantise import Requantise as RequantiseBlock
from hwgen.stream.scan import Scan
from hwgen.stream.serial import Gather, SerialRequantise
from hwgen.stream.serial_pool import SerialPool
from hwgen.stream.window import Window

__all__ = ["FORMS", "Stage", "component"]

FORMS = (
    "accumulate",
    "adders",
    "add",
    "argmax",
    "buffer",
    "chain",
    "column",
    "concat",
    "dense",
    "digit_adders",
    "digit_window",
    "fork",
    "gather",
    "max",
    "piecewise",
    "pool",
    "requantise",
    "serialise",
    "window",
)
"""Kinds of stage."""


@dataclass(frozen=True)
class Stage:
    """One block of a pipeline.

    Pixels of C channels may pass one channel a beat, as a frame (1, H * W * C, 1) with one field.
    Behind ``serialise`` and ``digit_window`` a pixel passes a digit a beat
    (:mod:`hwgen.stream.digits`); shapes count pixels all the same.

    Parameters
    ----------
    name : str
        Name of its module and instance, an identifier.
    form : str
        One of :data:`FORMS`.
    node : str
        Tensor of the integer network that it computes, wholly or in part.
    layer : str
        Layer of the float network that it belongs to.
    sources : tuple of str
        What each input is connected to: the name of an earlier stage, with ``.k`` for branch k of a
        fork, or the empty text for the input of the pipeline.
    shape, output_shape : (int, int, int)
        Fields, rows and columns of the frames in (at the first input) and out.
    ranges : tuple of tuples of Range
        Ranges of the fields of each input.
    output_ranges : tuple of Range
        Ranges of the fields of the output.
    values : tuple of Range
        Range of each channel of pixels that come one channel a beat, where the block needs it, and
        of the pixels of a ``digit_window``.
    latency : int
        Cycles from an item in to the item that it gives, if the stage gives one for each.
    gives : bool
        Whether the output is the tensor ``node``.
    op : IntOp, optional
        The operator, where the block needs it.
    graph : AdderGraph, optional
        Of ``adders`` and ``digit_adders``.
    bias : tuple of int
        Constants that ``adders``, ``digit_adders`` or ``requantise`` add to each channel, or that a
        ``chain`` starts from; empty for none.
    scan : Scan, optional
        Of ``window``, ``column``, ``chain``, ``digit_window``, ``dense`` and ``pool``.
    fill : tuple of int
        Padding of a ``window``.
    lanes, abreast : int
        Of ``dense``: outputs computed at once, and channels that each takes in a cycle.
    complement : bool
        Whether ``adders`` and ``digit_adders`` keep complements where that saves inverters.
    depth : int
        Items that a ``buffer`` holds; branches of a ``fork``; adders between two registers of
        ``adders``; flags of the digits that ``digit_adders`` takes.
    fields : tuple of tuples of int
        Of a ``max``: the input fields that each output is the greatest of.
    digit, digits : int
        Bits of a digit, and digits of a word that such a block gives or, for ``digit_adders``,
        takes.
    """

    name: str
    form: str
    node: str
    layer: str
    sources: tuple[str, ...]
    shape: Shape
    ranges: tuple[tuple[Range, ...], ...]
    output_shape: Shape
    output_ranges: tuple[Range, ...]
    latency: int = 0
    gives: bool = False
    op: IntOp | None = None
    graph: AdderGraph | None = None
    bias: tuple[int, ...] = ()
    scan: Scan | None = None
    fill: tuple[int, ...] = ()
    values: tuple[Range, ...] = ()
    lanes: int = 0
    abreast: int = 1
    depth: int = 0
    fields: tuple[tuple[int, ...], ...] = ()
    complement: bool = False
    digit: int = 0
    digits: int = 0

    @property
    def serial_out(self) -> bool:
        """Whether the pixels of the output pass one channel a beat."""
        if self.form == "dense":
            assert isinstance(self.op, Conv)
            return self.output_shape[0] < self.op.weight.shape[0]
        return bool(self.values) and self.form in ("add", "piecewise", "pool", "requantise")

    @property
    def cycles(self) -> int:
        """Cycles for which a frame keeps the stage busy."""
        beats = self.shape[1] * self.shape[2]
        if self.form in ("serialise", "digit_adders"):
            return beats * self.digits
        if self.scan is None:
            return beats
        positions = math.prod(self.scan.out_size)
        if self.form == "digit_window":
            rest = (self.scan.beats - positions) * digit_count(self.values, self.digit)
            return positions * self.digits + rest
        if self.form == "dense":
            assert isinstance(self.op, Conv)
            return max(
                beats, positions * dense_cycles(self.op, lanes=self.lanes, abreast=self.abreast)
            )
        if self.form == "pool":
            return max(beats, positions * math.prod(self.scan.kernel) * len(self.values))
        return self.scan.beats


def component(stage: Stage) -> wiring.Component:
    """The block that implements a stage."""
    ranges = stage.ranges[0]
    op: Any = stage.op
    match stage.form:
        case "window":
            assert stage.scan is not None
            scan = stage.scan
            return Window(
                stage.shape,
                scan.kernel,
                scan.strides,
                scan.pads,
                scan.dilations,
                ranges=ranges,
                fill=stage.fill,
            )
        case "column":
            assert stage.scan is not None
            return Column(stage.shape, stage.scan, ranges=ranges)
        case "chain":
            assert stage.scan is not None
            return Chain(stage.scan, ranges=ranges, bias=stage.bias or None)
        case "adders":
            assert stage.graph is not None
            return ShiftAdd(
                stage.graph,
                bias=stage.bias or None,
                adders_per_stage=stage.depth,
                complement=stage.complement,
            )
        case "max":
            return MaxTree(stage.fields, ranges=ranges, shape=stage.shape)
        case "requantise":
            assert isinstance(op, Requantise)
            offset = stage.bias or None
            if stage.values:
                return SerialRequantise(op, ranges=stage.values, offset=offset)
            return RequantiseBlock(op, ranges=ranges, shape=stage.shape, offset=offset)
        case "piecewise":
            assert isinstance(op, PiecewiseLinear)
            return PiecewiseLinearBlock(op, ranges=ranges, shape=stage.shape)
        case "dense":
            assert isinstance(op, Conv)
            assert stage.scan is not None
            values = stage.values
            size = (stage.scan.height, stage.scan.width)
            return Dense(
                op,
                ranges=values or ranges,
                shape=(len(values or ranges), *size),
                lanes=stage.lanes,
                abreast=stage.abreast,
                serial_in=bool(values),
                serial_out=stage.serial_out,
            )
        case "serialise":
            return Serialise(ranges, digit=stage.digit, digits=stage.digits)
        case "digit_window":
            assert stage.scan is not None
            return DigitWindow(stage.scan, stage.values, digit=stage.digit, digits=stage.digits)
        case "digit_adders":
            assert stage.graph is not None
            return DigitSerial(
                stage.graph,
                digit=stage.digit,
                bias=stage.bias or None,
                op=op,
                flags=stage.depth,
                complement=stage.complement,
            )
        case "pool":
            assert isinstance(op, MaxPool | SumPool)
            assert stage.scan is not None
            size = (stage.scan.height, stage.scan.width)
            return SerialPool(op, ranges=stage.values, shape=(len(stage.values), *size))
        case "gather":
            return Gather(stage.values)
        case "accumulate":
            assert isinstance(op, SumPool)
            return Accumulate(op, ranges=ranges, shape=stage.shape)
        case "argmax":
            return ArgMax(ranges)
        case "add":
            assert isinstance(op, Add)
            return branch.Add(op, ranges=stage.ranges)
        case "concat":
            assert isinstance(op, Concat)
            return branch.Concat(op, ranges=stage.ranges)
        case "fork":
            return branch.Fork(pixel_layout(ranges), stage.depth)
        case "buffer":
            return branch.Buffer(pixel_layout(ranges), stage.depth)
        case _:
            raise ValueError(f"Form of a stage must be one of {FORMS}, not {stage.form!r}")
