"""Code words of many weights a cycle, out of one memory that is read from start to end."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Const, Module, Signal, Value, unsigned
from amaranth.lib import memory

from hwgen.numeric import IntArray
from hwgen.stream.codes import WeightCode
from hwgen.stream.common import Registers, lookup, next_count

__all__ = ["code_words"]

_WORTH_PACKING = 1 << 12
"""Bits of memory that are worth a table, of some 80 LUTs."""


def code_words(
    m: Module,
    registers: Registers,
    running: Value,
    *,
    weights: IntArray,
    code: WeightCode,
    lanes: int,
) -> list[list[Value]]:
    """Code words of each lane and input, two stages after ``running``: memories are slow to read.

    Where that saves blocks of memory, it holds numbers of weights, and logic makes code words.

    Parameters
    ----------
    m : :class:`Module`
        Module under construction.
    registers : :class:`Registers`
        Of the lanes.
    running : Value
        Whether the words of a step will be used; the next are then those of the next step.
    weights : int64 array (outputs, steps, inputs)
        Lane l has outputs ``l, l + lanes, ...``, one batch after the other.
    code : :class:`WeightCode`
        Of all weights.
    lanes : int
        Lanes.

    Returns
    -------
    list (lanes) of lists (inputs) of Value
    """
    outputs, steps, inputs = weights.shape
    if code.width == 0:
        return [[Const(0, 0)] * inputs] * lanes
    batches, count = -(-outputs // lanes), lanes * inputs
    stored = np.zeros((batches * lanes, steps, inputs), dtype=np.int64)
    distinct = code.words(np.array(code.weights))
    packed = (len(distinct) - 1).bit_length()
    packs = stored.size * (code.width - packed) >= _WORTH_PACKING * count
    bits = packed if packs else code.width
    stored[:outputs] = np.searchsorted(code.weights, weights) if packs else code.words(weights)
    rows = stored.reshape(batches, lanes, steps, inputs).transpose(0, 2, 1, 3)
    init = [
        sum(word << (k * bits) for k, word in enumerate(row))
        for row in rows.reshape(-1, count).tolist()
    ]
    m.submodules.codes = codes = memory.Memory(
        shape=unsigned(count * bits), depth=len(init), init=init
    )
    read = codes.read_port()
    address = Signal(range(len(init)))
    m.d.comb += [read.addr.eq(address), read.en.eq(registers.ce)]
    with m.If(running & registers.ce):
        m.d.sync += address.eq(next_count(address, len(init)))
    words = [read.data[k * bits :][:bits] for k in range(count)]
    if packs:
        words = [lookup(m, word, distinct, name=f"word{k}") for k, word in enumerate(words)]
    words = [registers.register(word, code.width, name=f"words{k}") for k, word in enumerate(words)]
    return [words[lane * inputs :][:inputs] for lane in range(lanes)]
