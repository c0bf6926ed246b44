"""The instruction set: encoding, text form, documentation, and what each refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.errors import DataError
from hwgen.nfu.assembler import assemble, disassemble
from hwgen.nfu.config import REFERENCE, DyadicLane, NfuConfig, Segments
from hwgen.nfu.isa import (
    FIELDS,
    WORD_WIDTH,
    Instruction,
    Nfu1,
    Nfu2Out,
    decode,
    encode,
    field_table,
)

_INSTRUCTIONS = st.builds(Instruction, **{s.attribute: st.integers(s.lo, s.hi) for s in FIELDS})


@given(_INSTRUCTIONS)
@settings(derandomize=True, max_examples=60)
def test_decode_inverts_encode(instruction: Instruction) -> None:
    assert decode(encode(instruction)) == instruction


@given(st.lists(_INSTRUCTIONS, max_size=4))
@settings(derandomize=True, max_examples=40)
def test_assemble_inverts_disassemble(program: list[Instruction]) -> None:
    assert assemble(disassemble(program)) == tuple(program)


@pytest.mark.parametrize("spec", FIELDS, ids=lambda s: s.attribute)
def test_fields_have_their_own_bits(spec) -> None:
    """The extremes of each field set its bits and no others."""
    mask = ((1 << spec.width) - 1) << spec.offset
    assert encode(Instruction()) == 0
    for value in (spec.lo, spec.hi):
        word = encode(Instruction(**{spec.attribute: value}))
        assert word & ~mask == 0
        assert bool(word) == bool(value)
    text = disassemble([Instruction(**{spec.attribute: spec.hi})])
    assert text.startswith(f"{spec.slot} {spec.name}=")
    for value in (spec.lo - 1, spec.hi + 1):
        with pytest.raises(DataError, match=f"{spec.slot} {spec.name} must be an integer from"):
            Instruction(**{spec.attribute: value})


def test_fields_do_not_overlap() -> None:
    taken = 0
    for spec in FIELDS:
        mask = ((1 << spec.width) - 1) << spec.offset
        assert taken & mask == 0
        taken |= mask
    assert taken == (1 << WORD_WIDTH) - 1


def test_text() -> None:
    text = """
    # a program
    SB size=0x12 rows=18 | NFU op=MULT out=NFU3 \\
      low=-3      # goes on
    CP end=1
    """
    assert assemble(text) == (
        Instruction(sb_size=18, sb_rows=18, nfu_op=Nfu1.MULT, nfu_out=Nfu2Out.NFU3, nfu_low=-3),
        Instruction(cp_end=1),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CP\nXX a=1", "Line 2: Slot must be one of CP, SB, NBIN, TABLE, NBOUT, NFU, not 'XX'"),
        ("SB width=1", "Line 1: Field of SB must be one of source, target"),
        ("SB size", "Line 1: Field SB size must be an integer, not ''"),
        ("SB size=1 size=1", "Line 1: Field SB size is there twice"),
        ("NFU op=ADD", "Line 1: Field NFU op must be one of NOP, MULT, not 'ADD'"),
        ("CP \\\n end=2", "Line 1: Field CP end must be an integer from 0 to 1, not 2"),
        ("CP | | SB", "Line 1: Slot must be one of"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        assemble(text)


@pytest.mark.parametrize("word", [-1, 1 << WORD_WIDTH])
def test_other_words_are_refused(word: int) -> None:
    with pytest.raises(DataError, match="Instruction must be a word of 320 bits"):
        decode(word)


def test_documented_table_is_the_instruction_set() -> None:
    page = Path(__file__).parents[2] / "docs" / "nfu.md"
    text = page.read_text(encoding="utf-8")
    assert field_table() in text
    assert f"{len(FIELDS)} fields, {WORD_WIDTH} bits" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tn": 3}, r"Tile tn must be one of \(1, 2, 4, 8, 16\), not 3"),
        ({"activation_width": 17}, "Activation width must be from 2 to 16, not 17"),
        ({"accumulator_width": 9}, "Accumulator width must be from 10 to 48, not 9"),
        ({"sb_depth": 100}, "Depth of sb must be a power of two from 2 to 4096, not 100"),
        ({"product_width": 23}, "Product width must be from 24 to 63, not 23"),
        ({"nfu3_lanes": 8}, "Lanes of NFU-3 must be a power of two up to 4, not 8"),
        (
            {"function": Segments(16, 9), "table_depth": 16},
            "Table of 16 words must hold two functi",
        ),
        ({"function": Segments(2, 17), "accumulator_width": 16}, "Input width of a function must"),
    ],
)
def test_bad_parameters(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NfuConfig(**arguments)


def test_parameter_kinds() -> None:
    with pytest.raises(TypeError, match=r"Parameter tn must be an integer, not 4\.0"):
        NfuConfig(tn=4.0)
    with pytest.raises(TypeError, match="Parameter maximum must be True or False, not 1"):
        NfuConfig(maximum=1)
    with pytest.raises(ValueError, match="Number of exponents of a lane must be a power of two"):
        DyadicLane(exponents=5)
    with pytest.raises(ValueError, match="Number of segments must be a power of two from 2 to 16"):
        Segments(count=12)


def test_reference_point() -> None:
    """DianNao's buffers: 64 words; 2 KB for NBin, and 16 bits for each of 256 activations."""
    assert REFERENCE.nbin_depth * REFERENCE.ti * REFERENCE.activation_width == 2048 * 8
    assert REFERENCE.row_width == 256 * 2 * 6 + 7
