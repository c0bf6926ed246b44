"""Linear forms with cut-off bits: what they say is what integers do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.formal.linear import Input, Linear, Low, Symbol, low
from hwgen.numeric import Range

_SPANS = (Range(-8, 7), Range(0, 15), Range(-3, 9))
_WORDS = st.tuples(*(st.integers(span.lo, span.hi) for span in _SPANS))
_PLAIN = st.tuples(*[st.integers(-9, 9)] * 3, st.integers(-20, 20))


def _form(numbers: tuple[int, int, int, int]) -> Linear:
    return Linear.make({Input(k): n for k, n in enumerate(numbers[:3])}, numbers[3])


def _value(form: Linear, x: tuple[int, ...]) -> int:
    def of(symbol: Symbol) -> int:
        if isinstance(symbol, Low):
            return _value(symbol.form, x) & ((1 << symbol.bits) - 1)
        return x[symbol.index]

    total = form.constant + sum(factor * of(symbol) for symbol, factor in form.terms)
    assert total % (1 << form.scale) == 0
    return total >> form.scale


def _low(form: Linear, bits: int) -> Linear:
    return low(form, bits, _SPANS.__getitem__)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(_PLAIN, _PLAIN, _WORDS, st.integers(0, 6), st.integers(0, 6))
def test_cut_words_are_what_their_bits_say(
    first: tuple[int, int, int, int],
    second: tuple[int, int, int, int],
    x: tuple[int, ...],
    cut: int,
    width: int,
) -> None:
    a, b = _form(first), _form(second)
    upper = (a - _low(a, cut)).shifted(-cut)
    assert _value(upper, x) == _value(a, x) >> cut
    total = upper + b
    assert _value(_low(total, width), x) == _value(total, x) % (1 << width)
    assert _value(total, x) in total.bounds(_SPANS.__getitem__)
    # the bits that were cut off come back, and nothing of them is left
    assert total.shifted(cut) + _low(a, cut) == a + b.shifted(cut)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(_PLAIN, st.integers(1, 6))
def test_a_number_and_its_complement_have_the_same_symbol(
    numbers: tuple[int, int, int, int], bits: int
) -> None:
    form = _form(numbers)
    mask = Linear(constant=(1 << bits) - 1)
    assert _low(-form - Linear(constant=1), bits) == mask - _low(form, bits)
    assert _low(form, bits).delayed() == _low(form.delayed(), bits)


def test_bits_on_which_nothing_depends_are_no_symbol() -> None:
    assert _low(_form((8, -16, 0, 3)), 3) == Linear(constant=3)
    assert _low(_form((0, 1, 0, 0)), 4) == _form((0, 1, 0, 0))
    assert _low(_form((1, 0, 0, 0)), 3) != _form((1, 0, 0, 0))


def test_text_is_short() -> None:
    assert _form((2, 0, -1, -4)).text == "+2*x0 -1*x2 -4"
    assert Linear().text == "+0"
