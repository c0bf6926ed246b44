"""The rows above a pixel: a line memory, and pixels as the bits that it stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory

from hwgen.numeric import Range

__all__ = ["line_buffer", "stored_fields", "stored_pixel"]


def line_buffer(m: Module, go: Signal, pixel: Value, *, rows: int, depth: int) -> list[Value]:
    """Pixels of the ``rows`` rows above the current beat, the uppermost first.

    A word holds them at one of ``depth`` columns. It is read one beat ahead, stands until the next
    beat, and is written back shifted by one row.
    """
    if not rows:
        return []
    step, width = len(pixel), rows * len(pixel)
    if depth == 1:
        word = Signal(width, name="word", reset_less=True)
    else:
        m.submodules.lines = lines = memory.Memory(shape=width, depth=depth, init=[])
        read = lines.read_port()
        write = lines.write_port()
        word = read.data
        address = Signal(range(depth))
        following = Signal(range(depth))
        m.d.comb += following.eq(Mux(address == depth - 1, 0, address + 1))
        with m.If(go):
            m.d.sync += address.eq(following)
    shifted = Cat(pixel, word)[:width]
    if depth == 1:
        with m.If(go):
            m.d.sync += word.eq(shifted)
    else:
        m.d.comb += [
            read.addr.eq(following),
            read.en.eq(go),
            write.addr.eq(address),
            write.data.eq(shifted),
            write.en.eq(go),
        ]
    return [word[k : k + step] for k in range(0, width, step)][::-1]


def stored_pixel(payload: Any, stored: Sequence[Range]) -> Value:
    """The channels ``c0, c1, ...`` of a payload, each as the bits of its stored range."""
    return Cat(_resize(payload[f"c{k}"], bounds) for k, bounds in enumerate(stored))


def stored_fields(pixel: Value, stored: Sequence[Range]) -> list[Value]:
    """The values of the channels of a stored pixel."""
    values, offset = [], 0
    for bounds in stored:
        bits = pixel[offset : offset + bounds.width]
        values.append(bits.as_signed() if bounds.signed else bits)
        offset += bounds.width
    return values


def _resize(value: Value, bounds: Range) -> Value:
    """``value`` as the bits of a field of range ``bounds``."""
    value = Value.cast(value)
    if bounds.signed and not value.shape().signed:
        value = Cat(value, Const(0, 1)).as_signed()
    extra = bounds.width - len(value)
    if extra <= 0:
        return value[: bounds.width]
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, sign.replicate(extra))
