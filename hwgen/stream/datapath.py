"""Adder graphs in hardware: a pipelined constant matrix-vector product without multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.numeric import Range
from hwgen.shiftadd.build import with_bias
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.shiftadd.polarity import Polarities, plus_and_other, polarities, wired_bits
from hwgen.shiftadd.schedule import Schedule, pipeline_stages, schedule
from hwgen.stream.common import pixel_signature, range_shape

__all__ = ["ShiftAdd"]


class ShiftAdd(wiring.Component):
    """Multiplierless constant matrix-vector product.

    Computes ``o = i @ graph.matrix + bias`` exactly, every field as wide as its range and no wider.
    Accepts one vector a cycle; the latency is :py:`latency` cycles. The whole pipeline stalls while
    ``o`` holds a vector and is not ready.

    Parameters
    ----------
    graph : :class:`AdderGraph`
        Adder graph to implement.
    bias : sequence of int, optional
        A constant added to each output, by default zeros. One that is not zero costs an adder.
    fields : sequence of str, optional
        Names of the input fields, by default ``x0, x1, ...``.
    adders_per_stage : int
        Adders on the longest path between two registers, at least 1.
    complement : bool
        Whether registers hold the complement of a value where that saves inverters
        (:mod:`hwgen.shiftadd.polarity`). They are saved where the carry logic takes its operands
        as they are (iCE40), and cost LUTs where it can invert them (ECP5, Gowin, Xilinx).

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout))`
        Input vector, one field a graph input, of exactly its range.
    o : :py:`Out(stream.Signature(StructLayout))`
        Output vector, fields ``c0, c1, ...``, one a graph output, of :py:`ranges`.
    """

    def __init__(
        self,
        graph: AdderGraph,
        *,
        bias: Sequence[int] | None = None,
        fields: Sequence[str] | None = None,
        adders_per_stage: int = 1,
        complement: bool = False,
    ) -> None:
        count = len(graph.outputs)
        self.graph = graph
        self.bias = (0,) * count if bias is None else tuple(int(b) for b in bias)
        self.fields = (
            tuple(f"x{k}" for k in range(len(graph.inputs))) if fields is None else tuple(fields)
        )
        self.adders_per_stage = adders_per_stage
        self.complement = complement
        if count == 0:
            raise ValueError("Adder graph must have at least one output")
        if len(self.bias) != count:
            raise ValueError(f"Bias must have {count} entries, not {len(self.bias)}")
        if len(set(self.fields)) != len(graph.inputs):
            raise ValueError(
                f"Fields must be {len(graph.inputs)} different names, not {len(set(self.fields))}"
            )
        if not isinstance(adders_per_stage, int) or adders_per_stage < 1:
            raise ValueError(f"Adders per stage must be at least 1, not {adders_per_stage!r}")
        shapes = {name: range_shape(r) for name, r in zip(self.fields, graph.inputs, strict=True)}
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(shapes))),
                "o": Out(pixel_signature(self.ranges)),
            }
        )

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Exact range of every output."""
        return tuple(
            Range(span.lo + b, span.hi + b)
            for span, b in zip(self.graph.output_ranges, self.bias, strict=True)
        )

    @property
    def latency(self) -> int:
        """Cycles from a vector's transfer at ``i`` to ``o`` being valid with its product."""
        return pipeline_stages(self._network, adders_per_stage=self.adders_per_stage)

    @property
    def _network(self) -> AdderGraph:
        """What is built: the graph with the biases as constant inputs, no output negated."""
        return with_bias(self.graph, self.bias)

    def model(self, x: npt.ArrayLike) -> npt.NDArray[Any]:
        """Outputs (N, outputs) for input vectors (N, inputs), both integers."""
        outputs = self.graph.evaluate(x)
        wide = any(max(-span.lo, span.hi) >> 62 for span in self.ranges)
        outputs = outputs.astype(object) if wide else outputs
        return outputs + np.array(self.bias, dtype=outputs.dtype)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        network = self._network
        plan = schedule(network, adders_per_stage=self.adders_per_stage)
        forms = polarities(network, plan) if self.complement else None

        go = self.o.ready | ~self.o.valid
        m.d.comb += self.i.ready.eq(go)
        valid = [self.i.valid, *(Signal(name=f"valid{k}") for k in range(1, plan.stages + 1))]
        m.d.comb += self.o.valid.eq(valid[-1])
        updates = [after.eq(before) for before, after in pairwise(valid)]

        # chains[v][k] is value v in stage made[v] + k: as computed, then from k registers.
        chains: list[list[Value]] = []
        for value, span in enumerate(network.ranges):
            registers = plan.read[value] - plan.made[value]
            kept = forms.kept[value] if forms else (False,) * (max(registers, 0) + 1)
            if value < len(self.fields):
                name = self.fields[value]
                now: Value = self.i.payload[name]
            elif span.lo == span.hi:
                chains.append([Const(span.lo, range_shape(span))] * (plan.stages + 1))
                continue
            else:
                index = value - len(network.inputs)
                name = f"n{index}"
                now = _adder(network, index, chains, plan, forms)
                if plan.read[value] == plan.made[value] or (
                    self.adders_per_stage > 1 and registers > 0
                ):
                    wire = Signal(range_shape(span), name=f"{name}_now")
                    m.d.comb += wire.eq(_complement(now, kept[0]))
                    now = _complement(wire, kept[0])
            chain = [now]
            for k in range(registers):
                suffix = f"_{k}" if k or value < len(self.fields) else ""
                register = Signal(range_shape(span), name=f"{name}{suffix}", reset_less=True)
                updates.append(register.eq(_complement(chain[-1], kept[k + 1])))
                chain.append(_complement(register, kept[k + 1]))
            chains.append(chain)

        with m.If(go):
            m.d.sync += updates
        for column, output in enumerate(network.outputs):
            if output is not None:
                result = _operand(chains[output.source][-1], output)
                m.d.comb += self.o.payload[f"c{column}"].eq(result)
        return m


def _complement(value: Value, wanted: bool) -> Value:
    """The value, or its bitwise complement."""
    return ~value if wanted else value


def _operand(value: Value, operand: Operand) -> Value:
    """The shifted value, without its sign."""
    if operand.shift < 0:
        return value.shift_right(-operand.shift)
    return value.shift_left(operand.shift)


def _adder(
    network: AdderGraph,
    index: int,
    chains: Sequence[Sequence[Value]],
    plan: Schedule,
    forms: Polarities | None,
) -> Value:
    """The sum of one node, as wide as its range.

    Where only one operand has bits at the low end and it is not subtracted, those are wired
    through, so that the carry chain is no longer than the overlap.
    """
    place = len(network.inputs) + index
    width = network.ranges[place].width
    plus, other, negated = plus_and_other(network.nodes[index])
    a, b = (
        _operand(chains[o.source][plan.made[place] - plan.made[o.source]], o) for o in (plus, other)
    )
    wired = wired_bits(network, index)
    start = min(max(other.shift, 0), width) if wired else 0
    bits, a, b = _extended(a, start)[:start], a.shift_right(start), b.shift_right(start)
    width -= start
    if wired > start:
        total = b
    elif forms is None:
        total = a - b if negated else a + b
    else:
        total = _sum(_extended(a, width), _extended(b, width), negated, forms.modes[index])
    return Cat(bits, _extended(total, width)[:width])


def _sum(a: Value, b: Value, negated: bool, mode: bool) -> Value:
    """``a + b``, or ``a - b`` if negated, with a's complement if ``mode``."""
    first, second = _complement(a, mode), _complement(b, mode ^ negated)
    total = first - ~second if mode ^ negated else first + second
    return _complement(total[: len(a)], mode)


def _extended(value: Value, width: int) -> Value:
    """``value`` with its sign (or zeros) repeated up to ``width`` bits, if it is narrower."""
    if len(value) >= width:
        return value
    return Cat(
        value,
        value[-1].replicate(width - len(value))
        if value.shape().signed
        else Const(0, width - len(value)),
    )
