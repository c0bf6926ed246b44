"""Networks that take several pixels of a row at once: neighbouring columns become channels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar, assert_never

import numpy as np
import numpy.typing as npt

from hwgen.errors import UnsupportedError
from hwgen.integer.columns import Columns, window_columns
from hwgen.integer.ranges import output_ranges
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
from hwgen.integer.verify import node_shape, verify
from hwgen.numeric import IntArray

__all__ = ["grouped", "ungrouped", "widen"]

_T = TypeVar("_T", bound=np.generic)


def grouped(x: npt.NDArray[_T], pixels: int) -> npt.NDArray[_T]:
    """Tensors (N, pixels * C, H, W / pixels) of ``x`` (N, C, H, W).

    Channel ``j * C + c`` of column b is channel c of column ``b * pixels + j``.
    """
    count, channels, height, width = x.shape
    columns = x.reshape(count, channels, height, width // pixels, pixels)
    return columns.transpose(0, 4, 1, 2, 3).reshape(count, -1, height, width // pixels)


def ungrouped(x: npt.NDArray[_T], pixels: int) -> npt.NDArray[_T]:
    """The inverse of :func:`grouped`."""
    count, channels, height, width = x.shape
    columns = x.reshape(count, pixels, channels // pixels, height, width)
    return columns.transpose(0, 2, 3, 4, 1).reshape(count, -1, height, width * pixels)


def widen(network: IntegerNetwork, pixels: int) -> IntegerNetwork:
    """The network that takes ``pixels`` neighbouring columns of an image as one.

    It computes the same: with an image's columns grouped (:func:`grouped`), every tensor is that of
    ``network`` with columns grouped. A layer of stride s gives groups that many times smaller, as
    far as they can be divided, so that all layers still work at the same pace.

    Raises
    ------
    UnsupportedError
        If the columns of a tensor do not fill groups, or an operator cannot work on them.
    """
    if pixels < 1 or network.input_shape[2] % pixels:
        raise UnsupportedError(
            f"Pixels a beat must divide the {network.input_shape[2]} columns of an image, "
            f"not {pixels!r}"
        )
    return _Widening(network, pixels).run() if pixels > 1 else network


@dataclass
class _Widening:
    network: IntegerNetwork
    pixels: int
    made: IntegerNetwork = field(init=False)
    groups: dict[str, int] = field(default_factory=dict)

    def run(self) -> IntegerNetwork:
        network, pixels = self.network, self.pixels
        channels, height, width = network.input_shape
        shape = (channels * pixels, height, width // pixels)
        self.made = replace(network, input_shape=shape, nodes=())
        self.groups[network.input_name] = pixels
        for node in network.nodes:
            try:
                self._node(node)
            except UnsupportedError as error:
                raise UnsupportedError(f"Layer {node.origin!r}: {error}") from error
        return verify(self.made)

    def _node(self, node: IntNode) -> None:
        pixels = {self.groups[name] for name in node.inputs}
        if len(pixels) > 1:
            raise UnsupportedError("It joins tensors whose columns come in different groups")
        (p,) = pixels
        read = self.network.shape(node.inputs[0])
        match node.op:
            case Conv() as op:
                columns = window_columns(op, read[2], p)
                self._emit(node, _wide_conv(op, columns), columns.pixels_out)
            case SumPool() as op if op.kernel == read[1:] and p > 1 and not any(op.pads):
                whole = SumPool((read[1], read[2] // p), (1, 1))
                name = self._emit(node, whole, p, name=f"{node.name}.columns")
                total = np.tile(np.eye(read[0], dtype=np.int64), p)[:, :, None, None]
                self._emit(node, Conv(total, _no_bias(read[0])), 1, inputs=(name,))
            case SumPool() as op if p > 1:
                columns = window_columns(op, read[2], p)
                ones = np.ones((read[0], 1, *op.kernel), dtype=np.int64)
                summed = Conv(ones, _no_bias(read[0]), op.strides, op.pads, groups=read[0])
                self._emit(node, _wide_conv(summed, columns), columns.pixels_out)
            case MaxPool() as op:
                columns = window_columns(op, read[2], p)
                self._emit(node, replace(op, pixels=p), columns.pixels_out)
            case Requantise() as op:
                if p > 1 and op.multiplier.shape[1:] != (1, 1):
                    raise UnsupportedError("It scales every column by a factor of its own")
                multiplier, shift = (np.tile(a, (p, 1, 1)) for a in (op.multiplier, op.shift))
                self._emit(node, replace(op, multiplier=multiplier, shift=shift), p)
            case PiecewiseLinear() as op:
                many = p if len(op.slopes) > 1 else 1
                tables = (np.tile(a, (many, 1)) for a in (op.breakpoints, op.slopes, op.offsets))
                breakpoints, slopes, offsets = tables
                repeated = PiecewiseLinear(breakpoints, slopes, offsets, op.shift, op.lo, op.hi)
                self._emit(node, repeated, p)
            case Concat() as op if p > 1:
                name = self._emit(node, op, p, name=f"{node.name}.joined")
                self._emit(node, self._in_order(node, p), p, inputs=(name,))
            case SumPool() | Add() | Concat() | ArgMax():
                if p > 1 and isinstance(node.op, ArgMax):
                    raise UnsupportedError("It compares channels of several columns")
                self._emit(node, node.op, p)
            case _:
                assert_never(node.op)

    def _in_order(self, node: IntNode, p: int) -> Conv:
        """What puts joined channels, of all columns of an input each, in order of columns."""
        counts = [self.network.shape(name)[0] for name in node.inputs]
        starts = np.cumsum([0, *counts]) * p
        order = [
            start + j * count + c
            for j in range(p)
            for start, count in zip(starts, counts, strict=False)
            for c in range(count)
        ]
        return Conv(np.eye(len(order), dtype=np.int64)[order, :, None, None], _no_bias(len(order)))

    def _emit(
        self, node: IntNode, op: IntOp, pixels: int, *, name: str = "", inputs: tuple[str, ...] = ()
    ) -> str:
        """Append a node; its tensor has ``pixels`` columns a group."""
        made = self.made
        inputs = inputs or node.inputs
        wide = replace(node, name=name or node.name, op=op, inputs=inputs)
        shape = node_shape(made, wide)
        ranges = output_ranges(
            op, [made.ranges(each) for each in inputs], made.shape(inputs[0]), shape
        )
        scale = np.resize(np.array(node.scale), shape[0]).tolist()
        wide = replace(wide, shape=shape, ranges=ranges, scale=tuple(scale))
        self.made = replace(made, nodes=(*made.nodes, wide))
        self.groups[wide.name] = pixels
        return wide.name


def _wide_conv(op: Conv, columns: Columns) -> Conv:
    """A convolution of groups of columns: filters for all columns of a group, without groups."""
    if columns.pixels == columns.pixels_out == 1:
        return op
    outputs, each, kh, kw = op.weight.shape
    p, q = columns.pixels, columns.pixels_out
    inputs = each * op.groups
    weight = np.zeros((q, outputs, p, inputs, kh, columns.kernel_out), dtype=np.int64)
    for group in range(op.groups):
        rows = slice(group * (outputs // op.groups), (group + 1) * (outputs // op.groups))
        read = slice(group * each, (group + 1) * each)
        for k in range(q):
            for tap in range(kw):
                at, column = columns.place(k, tap)
                weight[k, rows, column, read, :, at] = op.weight[rows, :, :, tap]
    top, _, bottom, _ = op.pads
    return Conv(
        weight.reshape(q * outputs, p * inputs, kh, columns.kernel_out),
        np.tile(op.bias, q),
        (op.strides[0], columns.stride_out),
        (top, columns.left_out, bottom, columns.right_out),
        (op.dilations[0], 1),
    )


def _no_bias(outputs: int) -> IntArray:
    return np.zeros(outputs, dtype=np.int64)
