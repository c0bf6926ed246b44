"""Exact integers as linear forms of a circuit's inputs, bits cut off included.

A form is ``(constant + sum of coefficient * symbol) / 2**scale``. A symbol is an input as it was so
many registers ago, or the low bits of another form: cutting a word into its upper and its lower
part, ``v = 2**k * upper + low``, then loses nothing, because ``upper`` is ``(v - low) / 2**k`` and
the two make ``v`` again wherever they meet. Forms are normal: equal forms of the same inputs are
equal values, whatever the inputs are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from hwgen.numeric import Range

__all__ = ["Input", "Linear", "Low", "Symbol", "low"]


@dataclass(frozen=True, order=True)
class Input:
    """Input ``index`` of the circuit, ``delay`` registers ago."""

    index: int
    delay: int = 0


@dataclass(frozen=True)
class Low:
    """The lowest ``bits`` bits of ``form``, whose scale is 0, as an unsigned number."""

    bits: int
    form: Linear


Symbol = Input | Low


@dataclass(frozen=True)
class Linear:
    """``(constant + sum of coefficient * symbol) / 2**scale``, an integer for all inputs.

    ``terms`` holds every symbol once, with a coefficient that is not 0; :meth:`make` gives forms.
    """

    terms: frozenset[tuple[Symbol, int]] = frozenset()
    constant: int = 0
    scale: int = 0

    @classmethod
    def make(cls, terms: Mapping[Symbol, int], constant: int, scale: int = 0) -> Linear:
        """The form in lowest terms."""
        kept = {symbol: factor for symbol, factor in terms.items() if factor}
        numbers = [constant, *kept.values()]
        spare = min((_trailing_zeros(n) for n in numbers if n), default=scale)
        down = min(spare, scale)
        if down:
            kept = {symbol: factor >> down for symbol, factor in kept.items()}
        return cls(frozenset(kept.items()), constant >> down, scale - down)

    @classmethod
    def of(cls, symbol: Symbol) -> Linear:
        """A symbol alone."""
        return cls(frozenset([(symbol, 1)]))

    def __add__(self, other: Linear) -> Linear:
        scale = max(self.scale, other.scale)
        a, b = scale - self.scale, scale - other.scale
        total = {symbol: factor << a for symbol, factor in self.terms}
        for symbol, factor in other.terms:
            total[symbol] = total.get(symbol, 0) + (factor << b)
        return Linear.make(total, (self.constant << a) + (other.constant << b), scale)

    def __neg__(self) -> Linear:
        negated = frozenset((symbol, -factor) for symbol, factor in self.terms)
        return Linear(negated, -self.constant, self.scale)

    def __sub__(self, other: Linear) -> Linear:
        return self + -other

    def shifted(self, bits: int) -> Linear:
        """The form times ``2**bits``, which may be negative if the result is an integer."""
        up = max(bits, 0)
        terms = {symbol: factor << up for symbol, factor in self.terms}
        return Linear.make(terms, self.constant << up, self.scale + max(-bits, 0))

    def delayed(self) -> Linear:
        """The form one register later."""
        terms = frozenset((_delayed(symbol), factor) for symbol, factor in self.terms)
        return Linear(terms, self.constant, self.scale)

    def bounds(self, span: Callable[[int], Range]) -> Range:
        """A range that holds every value, ``span`` giving those of the inputs."""
        lowest = highest = self.constant
        for symbol, factor in self.terms:
            if isinstance(symbol, Low):
                scaled = Range(0, (1 << symbol.bits) - 1).scale(factor)
            else:
                scaled = span(symbol.index).scale(factor)
            lowest, highest = lowest + scaled.lo, highest + scaled.hi
        # the value is an integer, so that its bounds round inwards
        return Range(-(-lowest >> self.scale), highest >> self.scale)

    @cached_property
    def text(self) -> str:
        """The form for a message."""
        parts = sorted((_name(symbol), Fraction(f, 1 << self.scale)) for symbol, f in self.terms)
        words = [f"{'+' if f > 0 else '-'}{abs(f)}*{name}" for name, f in parts[:6]]
        words += ["..."] if len(parts) > 6 else []
        if self.constant or not words:
            constant = Fraction(self.constant, 1 << self.scale)
            words.append(f"{'-' if constant < 0 else '+'}{abs(constant)}")
        return " ".join(words)


def low(form: Linear, bits: int, span: Callable[[int], Range]) -> Linear:
    """The lowest ``bits`` bits of ``form``, as an unsigned number.

    What the bits do not depend on is left out first, so that equal bits are equal forms.
    """
    if bits == 0:
        return Linear()
    limits = form.bounds(span)
    if limits.lo >= 0 and limits.hi < 1 << bits:
        return form
    total = bits + form.scale
    mask = (1 << total) - 1
    kept: dict[Symbol, int] = {}
    constant = form.constant
    for symbol, factor in form.terms:
        if isinstance(symbol, Low) and not (factor << symbol.bits) & mask:
            # the bits that the symbol lacks would not be seen
            constant += factor * symbol.form.constant
            for deeper, times in symbol.form.terms:
                kept[deeper] = kept.get(deeper, 0) + factor * times
        else:
            kept[symbol] = kept.get(symbol, 0) + factor
    reduced = {symbol: factor & mask for symbol, factor in kept.items()}
    rest = Linear.make(reduced, constant & mask)
    if not rest.terms:
        return Linear.make({}, rest.constant, form.scale)
    limits = rest.bounds(span)
    if limits.lo >= 0 and limits.hi <= mask:
        return Linear.make(dict(rest.terms), rest.constant, form.scale)
    other = Linear.make({symbol: -f & mask for symbol, f in rest.terms}, ~rest.constant & mask)
    if _first(rest, total):
        return Linear.make({Low(total, rest): 1}, 0, form.scale)
    # of a number and its complement, whose bits say the same, one is the symbol
    return Linear.make({Low(total, other): -1}, mask, form.scale)


def _first(form: Linear, bits: int) -> bool:
    """Whether a form modulo ``2**bits``, rather than its complement, is the one that is kept."""
    half = 1 << (bits - 1)
    for _, factor in sorted((_key(symbol), factor) for symbol, factor in form.terms):
        if factor != half:
            return factor < half
    return form.constant < half


def _key(symbol: Symbol) -> tuple[Any, ...]:
    """Orders symbols, in the same order if all are delayed."""
    if isinstance(symbol, Low):
        form = symbol.form
        inner = sorted((_key(deeper), factor) for deeper, factor in form.terms)
        return (1, symbol.bits, form.constant, tuple(inner))
    return (0, symbol.index, symbol.delay)


def _delayed(symbol: Symbol) -> Symbol:
    if isinstance(symbol, Low):
        return Low(symbol.bits, symbol.form.delayed())
    return Input(symbol.index, symbol.delay + 1)


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def _name(symbol: Symbol) -> str:
    if isinstance(symbol, Low):
        return f"low{symbol.bits}({symbol.form.text})"
    return f"x{symbol.index}" + (f"[-{symbol.delay}]" if symbol.delay else "")
