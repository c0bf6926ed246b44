"""What a digit-serial layer computes: one adder graph, the fields that are read of it, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.integer.types import Requantise
from hwgen.numeric import Range
from hwgen.shiftadd.build import scaled, with_bias
from hwgen.shiftadd.digit_serial import Alignment, Field, align, without_right_shifts
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.stream.digits import digit_count
from hwgen.stream.requantise import Scaling, scaling_of

__all__ = ["DigitLayer", "DigitOutput", "digit_layer"]


@dataclass(frozen=True)
class DigitOutput:
    """``saturate(field << pad, lo, hi)``; ``raw`` is the range before the saturation.

    With ``clears``, the registers in which a negative value ends are cleared in the last cycle.
    """

    field: Field | None
    pad: int
    raw: Range
    lo: int
    hi: int
    clears: bool = False

    @property
    def range(self) -> Range:
        return self.raw.clamp(self.lo, self.hi)


@dataclass(frozen=True)
class DigitLayer:
    """What is built: a graph with constant inputs, its outputs, and when all is there."""

    graph: AdderGraph
    outputs: tuple[DigitOutput, ...]
    alignment: Alignment


def digit_layer(
    graph: AdderGraph, digit: int, bias: Sequence[int], op: Requantise | None
) -> DigitLayer:
    """A layer ``op(x @ graph.matrix + bias)`` in digits of ``digit`` bits."""
    spans = graph.output_ranges
    if op is None:
        scalings = [
            Scaling(1, b, 0, 0, Range(r.lo + b, r.hi + b)) for r, b in zip(spans, bias, strict=True)
        ]
    else:
        multipliers = np.broadcast_to(op.multiplier.ravel(), len(spans)).tolist()
        shifts = np.broadcast_to(op.shift.ravel(), len(spans)).tolist()
        scalings = [
            scaling_of(*each) for each in zip(multipliers, shifts, bias, spans, strict=True)
        ]
    whole = with_bias(
        scaled(graph, [s.coefficient for s in scalings]), [s.constant for s in scalings]
    )
    whole = without_right_shifts(whole)
    outputs = []
    for scaling, operand in zip(scalings, whole.outputs, strict=True):
        lo, hi = (op.lo, op.hi) if op else (scaling.range.lo, scaling.range.hi)
        outputs.append(_output(whole, operand, scaling, lo, hi))
    reads = [o.source for node in whole.nodes for o in node.operands]
    reads += [o.source for o in whole.outputs if o is not None]
    outputs = [
        replace(output, clears=output.lo == 0 and output.raw.signed)
        if output.field is not None and reads.count(output.field.source) == 1
        else output
        for output in outputs
    ]
    fields = [output.field for output in outputs if output.field is not None]
    least = digit_count(graph.inputs, digit)
    wait = int(any(output.clears for output in outputs))
    alignment = align(whole, fields, digit, digits=least, wait=wait)
    return DigitLayer(whole, tuple(outputs), alignment)


def _output(
    graph: AdderGraph, operand: Operand | None, scaling: Scaling, lo: int, hi: int
) -> DigitOutput:
    raw = scaling.range
    if operand is None or raw.clamp(lo, hi).lo == raw.clamp(lo, hi).hi:
        return DigitOutput(None, 0, raw, lo, hi)
    assert not operand.negate
    low = scaling.down - operand.shift
    pad = scaling.up + max(-low, 0)
    width = max(raw.width - pad, 1)
    return DigitOutput(Field(operand.source, max(low, 0), width), pad, raw, lo, hi)
