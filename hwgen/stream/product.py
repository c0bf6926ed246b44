"""Products of signals and weights given by their code words: multiplexers and adders.

The digits of a code word (see :mod:`hwgen.stream.codes`) choose among multiples of the input. A
negative digit is the complement of its multiple, and the one that this lacks enters the next adder
as its carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Mux, Shape, Value, signed

from hwgen.numeric import Range, odd_part
from hwgen.stream.codes import WeightCode
from hwgen.stream.common import Registers, range_shape
from hwgen.stream.shiftsum import affine, affine_stages, shifted_left

__all__ = [
    "Partial",
    "choose",
    "multiple_stages",
    "multiples",
    "product",
    "product_stages",
    "select",
    "select_stages",
    "with_carry",
]


@dataclass(frozen=True)
class Partial:
    """A sum ``value + carry`` whose carry (one bit) waits for the next adder.

    ``range`` holds every ``value``.
    """

    value: Value
    carry: Value
    range: Range


def multiple_stages(code: WeightCode) -> int:
    """Cycles that :func:`multiples` takes."""
    return max(
        (affine_stages(odd_part(m)[0], 0) for digit in code.multiples for m in digit), default=0
    )


def multiples(
    registers: Registers, x: Value, r: Range, code: WeightCode, *, name: str
) -> dict[int, Value]:
    """Every multiple of ``x`` (of range ``r``) that a word may choose, all in the same stage."""
    odds: dict[int, Value] = {}
    found: dict[int, Value] = {0: Const(0, 1)}
    for magnitude in sorted({m for digit in code.multiples for m in digit}):
        odd, shift = odd_part(magnitude)
        if odd not in odds:
            total = affine(registers, x, r, coefficient=odd, constant=0, name=f"{name}_x{odd}")
            rest = multiple_stages(code) - affine_stages(odd, 0)
            odds[odd] = registers.delay(total, rest, name=f"{name}_x{odd}")
        found[magnitude] = shifted_left(odds[odd], shift)
    return found


def product_stages(code: WeightCode, *, inputs: int = 1) -> int:
    """Cycles that :func:`product` takes: one to choose the digits, then an adder tree."""
    return 1 + (inputs * len(code.digits) - 1).bit_length()


def product(
    registers: Registers,
    words: Sequence[Value],
    found: Sequence[Mapping[int, Value]],
    r: Range,
    code: WeightCode,
    *,
    width: int,
    name: str,
) -> Partial:
    """Sum of weights, of the codes ``words``, times inputs of range r with multiples ``found``.

    What depends on the sum uses its lowest ``width`` bits, so that no register is wider. Digits of
    the same place are added first, since they are narrower.
    """
    partials = []
    offset = 0
    for n, (magnitudes, negative, index_width) in enumerate(
        zip(code.multiples, code.signed, code.index_widths, strict=True)
    ):
        exact = Range(0, 0)
        for magnitude in magnitudes:
            exact = exact.union(r.scale(magnitude))
        if negative:
            exact = exact.union(Range(-exact.hi - 1, -exact.lo - 1))
        for k, (word, values) in enumerate(zip(words, found, strict=True)):
            digit = f"{name}_digit{n}_{k}"
            chosen = choose(word[offset:][:index_width], [values[m] for m in (0, *magnitudes)])
            value: Value = registers.wire(chosen, name=f"{digit}_chosen")
            carry: Value = Const(0, 1)
            if negative:
                minus = word[offset + index_width]
                carry = registers.register(minus, 1, name=f"{digit}_sign")
                extended = Cat(value, _sign(value).replicate(exact.width))[: exact.width]
                value = (extended ^ minus.replicate(exact.width)).as_signed()
            value = registers.register(value, _shape(exact, width), name=digit)
            partials.append(Partial(value, carry, exact))
        offset += index_width + negative
    stage = 0
    while len(partials) > 1:
        stage += 1
        partials = [
            _added(registers, partials[k : k + 2], width, name=f"{name}_s{stage}_{k // 2}")
            for k in range(0, len(partials), 2)
        ]
    return partials[0]


def choose(index: Value, values: Sequence[Value]) -> Value:
    """``values[index]`` as a tree of multiplexers; beyond the last value, any of them."""
    for bit in range((len(values) - 1).bit_length()):
        pairs = [values[k : k + 2] for k in range(0, len(values), 2)]
        values = [Mux(index[bit], pair[-1], pair[0]) for pair in pairs]
    return values[0]


def select_stages(count: int) -> int:
    """Stages of :func:`select`: one for each three bits of the index."""
    return -(-(count - 1).bit_length() // 3)


def select(
    registers: Registers, values: Sequence[Value], index: Value, shape: object, *, name: str
) -> Value:
    """``values[index]``, eight to one a stage, ``select_stages(len(values))`` stages later."""
    stage = 0
    while len(values) > 1:
        stage += 1
        values = [
            registers.register(
                choose(index[:3], values[k : k + 8]), shape, name=f"{name}_s{stage}_{k // 8}"
            )
            for k in range(0, len(values), 8)
        ]
        if len(values) > 1:
            index = registers.register(index[3:], len(index) - 3, name=f"{name}_i{stage}")
    return values[0]


def with_carry(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` as one addition."""
    if isinstance(carry, Const):
        return a + b
    return (_after(Const(1, 1), a) + _after(carry, b)).shift_right(1)


def _after(low: Value, value: Value) -> Value:
    """``value`` with a bit below it, signed."""
    return Cat(low, value, *(() if value.shape().signed else (Const(0, 1),))).as_signed()


def _shape(r: Range, width: int) -> Shape:
    return range_shape(r) if r.width <= width else signed(width)


def _sign(value: Value) -> Value:
    return value[-1] if value.shape().signed else Const(0, 1)


def _added(registers: Registers, pair: Sequence[Partial], width: int, *, name: str) -> Partial:
    if len(pair) == 1:
        value = registers.delay(pair[0].value, 1, name=name)
        return Partial(value, _carried(registers, pair[0].carry, name), pair[0].range)
    a, b = pair
    exact = a.range + b.range
    exact = Range(exact.lo, exact.hi + 1)
    total = with_carry(a.value, b.value, a.carry)
    value = registers.register(total, _shape(exact, width), name=name)
    return Partial(value, _carried(registers, b.carry, name), exact)


def _carried(registers: Registers, carry: Value, name: str) -> Value:
    return carry if isinstance(carry, Const) else registers.delay(carry, 1, name=f"{name}_carry")
