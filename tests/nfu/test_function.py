"""Piecewise-linear functions of NFU-3 against the golden model of the integer network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Sketch
from nfu_networks import FunctionCase, function_case

from hwgen.errors import UnsupportedError, VerifyError
from hwgen.integer.types import PiecewiseLinear
from hwgen.nfu.assembler import assemble
from hwgen.nfu.config import NfuConfig, Segments
from hwgen.nfu.function import function_words, table_function
from hwgen.nfu.golden import execute
from hwgen.nfu.memory import MemoryImage, pack_rows
from hwgen.numeric import Range
from hwgen.sim.golden import run


def expected(case: FunctionCase) -> np.ndarray:
    """What the integer network gives."""
    pixels = case.pixels.T[:, :, None]
    s = Sketch(pixels.shape)
    network = s.done(s.add(case.op, "image", shape=pixels.shape))
    return run(network, pixels[None])[0, :, :, 0].T


@given(st.integers(0, 1 << 32), st.booleans())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_random_functions(seed: int, staged: bool) -> None:
    case = function_case(np.random.default_rng(seed), staged=staged)
    result = execute(case.config, case.program, case.image)
    np.testing.assert_array_equal(case.results(result.activations), expected(case))


def test_every_input() -> None:
    """A tanh of 16 segments and ReLU, on all inputs of 8 bits."""
    config = NfuConfig(tn=1, ti=1, nfu3_lanes=1, function=Segments(16, 9))
    x = np.arange(-128, 128)
    begins = np.arange(-7, 8) * 12
    tanh = np.rint(64 * np.tanh(np.append(-8, np.arange(-7, 8)) / 3)).astype(np.int64)
    relu = PiecewiseLinear([[0]], [[0, 1]], [[0, 0]], 0, 0, 127)
    for op in (PiecewiseLinear(begins[None], np.ones((1, 16)), tanh[None], 0, -128, 127), relu):
        table = table_function(config, op, Range(-128, 127))
        segment = (x[:, None] >= table.begins[0, 1:]).sum(axis=1)
        got = table.terms.sum(axis=2)[0, segment] * x + table.constants[0, segment]
        want = np.searchsorted(op.breakpoints[0], x, side="right")
        np.testing.assert_array_equal(got, op.slopes[0, want] * x + op.offsets[0, want])


_OP = PiecewiseLinear([[0, 10, 20]], [[0, 1, 2, 3]], [[0, 0, 0, 0]], 2, -128, 127)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": None}, "NFU-3 has no functions; give it segments"),
        ({"function": Segments(2, 12)}, "A function has 4 segments, and NFU-3's have 2"),
        ({"function": Segments(4, 8)}, "A function takes -200 to 200, and NFU-3's take 8 bits"),
        ({"scale_terms": 1}, "Slopes have up to 2 terms, and NFU-3 has 1; give it more"),
        ({"scale_exponents": 2}, "Slopes have exponents up to 2, and NFU-3 has 2; give it more"),
        ({"accumulator_width": 10, "product_width": 10}, "A function needs 11 bits, and NFU-3 has"),
    ],
)
def test_what_the_parameters_do_not_hold(arguments: dict, message: str) -> None:
    config = NfuConfig(**{"function": Segments(4, 10)} | arguments)
    with pytest.raises(UnsupportedError, match=message):
        table_function(config, _OP, Range(-200, 200))


def test_segments_out_of_reach_take_no_room() -> None:
    config = NfuConfig(function=Segments(2, 9))
    table = table_function(config, _OP, Range(12, 30))
    assert table.begins[0, 1] == 20
    assert len(function_words(config, table)) == 2


_WORDS = function_words(
    NfuConfig(function=Segments(4, 9)),
    table_function(NfuConfig(function=Segments(4, 9)), _OP, Range(-200, 200)),
)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"function": None}, "0: NFU-3 has no functions; its parameters say so"),
        ({"function": Segments(8, 9)}, "0: Word 4 of the table is read before it is written"),
        ({"words": _WORDS[::-1]}, "0: Segments of a function must ascend"),
        ({"table": "target=2 address=2"}, "0: Functions must begin at a multiple of 4 in the"),
        ({"table": "address=0 shared=0", "table_depth": 8}, r"0: Scales of a run \(16 words\) do"),
        ({"x": 64}, "0: A function takes 9 bits, and a sum has more"),
    ],
)
def test_refused_programs(changed: dict, message: str) -> None:
    table = changed.get("table", "shared=1")
    words = changed.get("words", _WORDS)
    x = np.full(8, changed.get("x", 63))
    parameters = {k: v for k, v in changed.items() if k not in ("table", "words", "x")}
    config = NfuConfig(**{"function": Segments(4, 9)} | parameters)
    ones = np.ones((4, 4, 4, 1), dtype=np.int64)
    rows = pack_rows(config, ones, [0] * 4, [0, 0, 0, 1])
    program = assemble(
        f"SB size=4 rows=4 | NBIN size=1 positions=1 | TABLE size=4 {table} | NBOUT groups=1"
        "| NFU op=MULT out=NFU3 function=1 shift=2\nCP end=1"
    )
    with pytest.raises(VerifyError, match=message):
        execute(config, program, MemoryImage(rows, words, x))
