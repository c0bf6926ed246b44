"""Sums of shifted copies of one value: one registered adder a stage, every node as wide as needed.

A node holds ``coefficient * x + constant`` for an input x of known range, so that its own range is
exact. Common trailing zeros are never stored, low bits that pass unchanged bypass the adder, and a
negated operand becomes a subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from amaranth.hdl import Cat, Const, Value

from hwgen.numeric import Range, csd, odd_part
from hwgen.stream.common import Registers, range_shape

__all__ = ["affine", "affine_stages", "shifted_left", "sum_shifted"]


@dataclass(frozen=True)
class _Node:
    """``+-(value << shift)`` with ``value == coefficient * x + constant``."""

    value: Value
    coefficient: int
    constant: int
    shift: int = 0
    negate: bool = False

    def scaled(self) -> tuple[int, int]:
        """Coefficient and constant of what the node contributes."""
        factor = (-1 if self.negate else 1) << self.shift
        return self.coefficient * factor, self.constant * factor


def _operands(x: Value | None, coefficient: int, constant: int) -> list[_Node]:
    zero = Const(0) if x is None else x
    nodes = [_Node(zero, 1, 0, digit.exponent, digit.sign < 0) for digit in csd(coefficient)]
    if constant:
        odd, shift = odd_part(constant)
        nodes.append(_Node(Const(odd, range_shape(Range(odd, odd))), 0, odd, shift))
    if nodes and all(node.negate for node in nodes):
        nodes.append(_Node(Const(0), 0, 0))
    return nodes


def affine_stages(coefficient: int, constant: int) -> int:
    """Cycles that :func:`affine` takes: the depth of its balanced adder tree."""
    return max(0, len(_operands(None, coefficient, constant)) - 1).bit_length()


def affine(
    registers: Registers, x: Value, r: Range, *, coefficient: int, constant: int, name: str
) -> Value:
    """``coefficient * x + constant``, :func:`affine_stages` enabled cycles later.

    Parameters
    ----------
    registers : Registers
        Where the registers go.
    x : Value
        Input, of range ``r``.
    coefficient, constant : int
        Any integers, the coefficient not 0.
    name : str
        Prefix of the registers' names.

    Returns
    -------
    Value
        Holds exactly the range ``r.scale(coefficient) + constant``.
    """
    if coefficient == 0:
        raise ValueError("Coefficient must not be 0: the sum would be a constant")
    nodes = _operands(x, coefficient, constant)
    stage = 0
    while len(nodes) > 1:
        stage += 1
        paired = [
            _sum(registers, a, b, r, name=f"{name}_s{stage}_{k}")
            for k, (a, b) in enumerate(zip(nodes[::2], nodes[1::2], strict=False))
        ]
        if len(nodes) % 2:
            paired.append(_delayed(registers, nodes[-1], name=f"{name}_s{stage}_d"))
        nodes = paired
    node = nodes[0]
    assert not node.negate
    assert node.scaled() == (coefficient, constant)
    return shifted_left(node.value, node.shift)


def shifted_left(value: Value, shift: int) -> Value:
    """``value << shift``, signed if ``value`` is."""
    if shift == 0:
        return value
    wide = Cat(Const(0, shift), value)
    return wide.as_signed() if value.shape().signed else wide


def _delayed(registers: Registers, node: _Node, *, name: str) -> _Node:
    if isinstance(node.value, Const):
        return node
    return replace(node, value=registers.register(node.value, node.value.shape(), name=name))


def _sum(registers: Registers, a: _Node, b: _Node, r: Range, *, name: str) -> _Node:
    if a.negate and not b.negate:
        a, b = b, a
    negate = a.negate
    subtract = a.negate != b.negate
    if not subtract and a.shift > b.shift:
        a, b = b, a
    common = min(a.shift, b.shift)
    if a.shift > common:
        total = shifted_left(a.value, a.shift - common) - b.value
    else:
        total = sum_shifted(a.value, b.value, b.shift - common, subtract=subtract)
    ka, ca = a.scaled()
    kb, cb = b.scaled()
    factor = (-1 if negate else 1) << common
    coefficient, constant = (ka + kb) // factor, (ca + cb) // factor
    exact = r.scale(coefficient) + Range(constant, constant)
    value = registers.register(total, range_shape(exact), name=name)
    return _Node(value, coefficient, constant, common, negate)


def sum_shifted(a: Value, b: Value, shift: int, *, subtract: bool = False) -> Value:
    """``a + (b << shift)`` or ``a - (b << shift)``; low bits of ``a`` bypass the adder."""
    head = a.shift_right(shift)
    head = head - b if subtract else head + b
    total = Cat(_low_bits(a, shift), head)
    return total.as_signed() if head.shape().signed else total


def _low_bits(value: Value, count: int) -> Value:
    missing = max(0, count - len(value))
    fill = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value[:count], fill.replicate(missing))
