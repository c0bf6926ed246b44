"""Accumulators of lanes that take turns, and the two ways in which their totals leave."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed

from hwgen.stream.product import Partial, with_carry

__all__ = ["add_up", "gather", "shift_out"]


def add_up(
    m: Module,
    products: Sequence[Partial],
    *,
    arrived: Value,
    finished: Value,
    batch: Signal,
    widths: Sequence[int],
    starts: Sequence[Sequence[int]],
) -> list[Value]:
    """Sum of each lane with what has arrived.

    Behind the last step of a batch a lane holds the bias of its next output, so that no sum needs
    a choice of what it is added to.

    Parameters
    ----------
    m : :class:`Module`
        Module under construction.
    products : sequence of :class:`Partial`
        What each lane adds.
    arrived, finished : Value
        Whether it is to be added, and whether that is the last step of a batch.
    batch : Signal
        Which of the batches it is of.
    widths : sequence of int
        Bits of each lane.
    starts : sequence of sequences of int
        Biases of the outputs of each lane, batch by batch.
    """
    totals: list[Value] = []
    for lane, (partial, width, own) in enumerate(zip(products, widths, starts, strict=True)):
        shape = signed(width)
        held = Signal(shape, name=f"held{lane}", init=own[0])
        total = Signal(shape, name=f"total{lane}")
        m.d.comb += total.eq(with_carry(held, partial.value, partial.carry))
        with m.If(finished):
            m.d.sync += held.eq(_following(m, batch, own, shape, name=f"start{lane}"))
        with m.Elif(arrived):
            m.d.sync += held.eq(total)
        totals.append(total)
    return totals


def gather(
    m: Module, o: Any, totals: Sequence[Value], *, finished: Value, batch: Signal, outputs: int
) -> Value:
    """Collect all batches, and offer them at ``o`` after the last; whether there is room."""
    with m.If(finished):
        m.d.sync += o.valid.eq(batch == -(-outputs // len(totals)) - 1)
    with m.Elif(o.ready):
        m.d.sync += o.valid.eq(0)
    for k in range(outputs):
        field = o.payload[f"c{k}"]
        y = Signal(field.shape(), name=f"y{k}", reset_less=True)
        m.d.comb += field.eq(y)
        with m.If(finished & (batch == k // len(totals))):
            m.d.sync += y.eq(totals[k % len(totals)])
    return ~o.valid | o.ready


def shift_out(
    m: Module, o: Any, totals: Sequence[Value], *, finished: Value, batch: Signal, outputs: int
) -> Value:
    """Offer a batch at ``o`` one after the other during the next; whether there is room."""
    lanes = len(totals)
    batches = -(-outputs // lanes)
    rest = outputs - (batches - 1) * lanes
    left = Signal(range(lanes + 1))
    shape = o.payload.c0.shape()
    queue = [Signal(shape, name=f"y{lane}", reset_less=True) for lane in range(lanes)]
    m.d.comb += [o.valid.eq(left != 0), o.payload.c0.eq(queue[0])]
    with m.If(finished):
        m.d.sync += [
            left.eq(Mux(batch == batches - 1, rest, lanes)),
            *(y.eq(total) for y, total in zip(queue, totals, strict=True)),
        ]
    with m.Elif(o.valid & o.ready):
        m.d.sync += [
            left.eq(left - 1),
            *(y.eq(after) for y, after in pairwise(queue)),
        ]
    return (left == 0) | ((left == 1) & o.ready)


def _following(
    m: Module, batch: Signal, starts: Sequence[int], shape: Shape, *, name: str
) -> Value:
    """Start of the batch behind this one; a constant, which a reset can load, if all are alike."""
    if len(set(starts)) == 1:
        return Const(starts[0], shape)
    start = Signal(shape, name=name)
    with m.Switch(batch):
        for k, bias in enumerate(starts[1:]):
            with m.Case(k):
                m.d.comb += start.eq(bias)
        with m.Default():
            m.d.comb += start.eq(starts[0])
    return start
