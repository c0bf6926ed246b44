"""The golden executor against loops over Python integers, and the programs that it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hwgen.errors import VerifyError
from hwgen.nfu.assembler import assemble
from hwgen.nfu.config import DyadicLane, NfuConfig, Segments
from hwgen.nfu.golden import Store, execute
from hwgen.nfu.isa import Instruction
from hwgen.nfu.memory import MemoryImage, pack_rows, pack_scales, unpack_rows, unpack_scales

_END = Instruction(cp_end=1)


def _wrap(value: int, width: int) -> int:
    half = 1 << (width - 1)
    return (value + half) % (1 << width) - half


def _terms(rng: np.random.Generator, shape: tuple[int, ...], exponents: int) -> np.ndarray:
    return rng.integers(-1, 2, shape) << rng.integers(0, exponents, shape)


@given(st.integers(0, 1 << 32), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
@settings(derandomize=True, max_examples=40)
def test_memory_words_round_trip(seed: int, tn: int, ti: int) -> None:
    rng = np.random.default_rng(seed)
    config = NfuConfig(tn=tn, ti=ti, lane=DyadicLane(int(rng.integers(1, 5)), 16), product_width=63)
    terms = _terms(rng, (5, tn, ti, config.lane.terms), 16)
    offsets, last = rng.integers(0, config.nbin_depth, 5), rng.integers(0, 2, 5)
    words = pack_rows(config, terms, offsets, last)
    assert max(words) < 1 << config.row_width
    for got, want in zip(unpack_rows(config, words), (terms, offsets, last), strict=True):
        np.testing.assert_array_equal(got, want)
    scales = _terms(rng, (3, 1, config.scale_terms), config.scale_exponents)
    constants = rng.integers(-(1 << 62), 1 << 62, (3, 1))
    for function in (None, Segments(2, 9)):
        one = replace(config, function=function)
        begins = rng.integers(-256, 256, (3, 1)) if function else np.zeros((3, 1), dtype=np.int64)
        words = pack_scales(one, scales, constants, begins)
        assert max(words) < 1 << one.table_width
        for got, want in zip(unpack_scales(one, words), (scales, constants, begins), strict=True):
            np.testing.assert_array_equal(got, want)


@given(st.integers(0, 1 << 32))
@settings(derandomize=True, max_examples=60)
def test_one_run_by_definition(seed: int) -> None:
    """Loops as the documentation has them, over Python integers, which never overflow."""
    rng = np.random.default_rng(seed)
    accumulator = int(rng.integers(8, 49))
    tn = int(rng.choice([1, 2, 4]))
    config = NfuConfig(
        tn=tn,
        ti=int(rng.choice([1, 2, 4])),
        activation_width=6,
        accumulator_width=accumulator,
        product_width=int(rng.integers(accumulator, 64)),
        scale_exponents=32,
        nbin_depth=16,
        sb_depth=8,
        table_depth=4,
        nfu3_lanes=tn,
    )
    rows, positions = int(rng.integers(1, 8)), int(rng.integers(1, 4))
    last = rng.integers(0, 2, rows)
    last[-1] = 1
    offsets = rng.integers(0, 16, rows)
    terms = _terms(rng, (rows, config.tn, config.ti, 1), 8)
    groups = int(last.sum())
    assume(groups <= config.table_depth)
    scales = _terms(rng, (4, config.tn, config.scale_terms), 32)
    limit = 1 << (config.product_width - 1)
    constants = rng.integers(-limit, limit, (4, config.tn))
    x = rng.integers(-(1 << 5), 1 << 6, (16, config.ti))
    image = MemoryImage(
        pack_rows(config, terms, offsets, last),
        pack_scales(config, scales, constants),
        np.concatenate([x.ravel(), np.zeros(64 * config.tn, dtype=np.int64)]),
    )
    fields = {
        "nbin_address": int(rng.integers(0, 16)),
        "nbin_stride": int(rng.integers(0, 4)),
        "nbin_signed": int(rng.integers(0, 2)),
        "table_address": int(rng.integers(0, 4)),
        "nfu_out": int(rng.integers(0, 2)),
        "nfu_saturate": int(rng.integers(0, 2)),
        "nfu_shift": int(rng.integers(0, config.product_width)),
        "nfu_low": -100,
        "nfu_high": 90,
    }
    target = -(-x.size // config.tn)
    one = Instruction(
        sb_size=rows, sb_rows=rows, nbin_size=16, table_size=4,
        nbin_positions=positions, nbout_groups=groups, nbout_store=1, nbout_target=target,
        nbout_stride=groups, nfu_op=1, **fields,
    )  # fmt: skip
    expected, sums = [], [0] * config.tn
    for position in range(positions):
        group = 0
        for row in range(rows):
            base = fields["nbin_address"] + position * fields["nbin_stride"]
            word = x[(base + int(offsets[row])) % 16].tolist()
            word = [_wrap(v, 6) if fields["nbin_signed"] else v % 64 for v in word]
            for n in range(config.tn):
                sums[n] += sum(int(terms[row, n, i, 0]) * v for i, v in enumerate(word))
            if last[row]:
                values = [_wrap(s, accumulator) for s in sums]
                if fields["nfu_out"]:
                    at = (fields["table_address"] + group) % 4
                    for n, s in enumerate(values):
                        total = sum(int(t) * s for t in scales[at, n]) + int(constants[at, n])
                        scaled = _wrap(total, config.product_width) >> fields["nfu_shift"]
                        values[n] = _wrap(scaled, accumulator)
                        if fields["nfu_saturate"]:
                            values[n] = min(max(scaled, -100), 90)
                expected.append(Store(target + position * groups + group, tuple(values)))
                group, sums = group + 1, [0] * config.tn
    assert execute(config, (one, _END), image).stores == tuple(expected)


def _image(config: NfuConfig) -> MemoryImage:
    terms = np.ones((8, config.tn, config.ti, 1), dtype=np.int64)
    scales = np.zeros((8, config.nfu3_lanes, 2), dtype=np.int64)
    scales[..., 0] = 1
    return MemoryImage(
        pack_rows(config, terms, [0, 1] * 4, [0, 1] * 4),
        pack_scales(config, scales, np.full((8, config.nfu3_lanes), 4)),
        np.arange(64),
    )


@pytest.mark.parametrize("tn", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("ti", [1, 2, 4, 8, 16])
def test_maximum_of_every_tile(tn: int, ti: int) -> None:
    """Greatest of three pixels of as many channels as fill both words, all channels but one.

    A group of Tn channels takes max(1, Tn / Ti) rows a pixel, and Ti / Tn groups share a word.
    """
    rng = np.random.default_rng(tn * 17 + ti)
    config = NfuConfig(tn=tn, ti=ti, nfu3_lanes=tn, maximum=True)
    channels = max(tn, ti)
    pixels = rng.integers(-128, 128, (3, channels))
    blocks, parts = channels // ti, max(1, tn // ti)
    terms = np.zeros((channels // tn, 3, parts, tn, ti, 1), dtype=np.int64)
    offsets = np.zeros(terms.shape[:3], dtype=np.int64)
    for channel in range(1, channels):
        group, n = divmod(channel, tn)
        block, i = divmod(channel, ti)
        terms[group, :, block % parts, n, i] = 1
        offsets[group, :, block % parts] = np.arange(3) * blocks + block
    last = np.zeros(terms.shape[:3], dtype=np.int64)
    last[:, -1, -1] = 1
    rows = pack_rows(config, terms.reshape(-1, tn, ti, 1), offsets.ravel(), last.ravel())
    memory = np.concatenate([pixels.ravel(), np.zeros(channels, dtype=np.int64)])
    one = Instruction(
        sb_size=len(rows), sb_rows=len(rows), nbin_size=3 * blocks, nbin_positions=1, nbin_signed=1,
        nbout_groups=channels // tn, nbout_store=1, nbout_target=3 * channels // tn, nfu_op=1,
        nfu_combine=1,
    )  # fmt: skip
    got = execute(config, (one, _END), MemoryImage(rows, (0,), memory)).activations[-channels:]
    assert got[0] == 0  # a channel that is not routed
    np.testing.assert_array_equal(got[1:], pixels.max(axis=0)[1:])


def test_documented_program() -> None:
    """The program of the documentation: four sums of 8 inputs, an eighth of each."""
    page = (Path(__file__).parents[2] / "docs" / "nfu.md").read_text(encoding="utf-8")
    text = next(part for part in page.split("```\n") if part.startswith("SB size"))
    config = NfuConfig(nfu3_lanes=4)
    result = execute(config, assemble(text), _image(config))
    assert result.stores == (Store(2, ((28 + 4) // 8,) * 4),)
    np.testing.assert_array_equal(result.activations[8:12], [4] * 4)


_RUN = "NBIN positions=1 | NBOUT groups=1 store=1 target=8 | NFU op=MULT"
_LOAD = "SB size=2 rows=2 | NBIN size=2 positions=1 | NBOUT groups=1 store=1 target=8 | NFU op=MULT"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CP fence=1", "Program must end with an instruction that has the field CP end"),
        (f"SB rows=2 | {_RUN}", "0: Word 0 of SB is read before it is written"),
        (f"{_LOAD}\nSB size=1", "1: Word 0 of SB is still read by the run before"),
        (f"{_LOAD}\nNBIN size=2 target=255", "1: Word 0 of NBin is still read by the run before"),
        (f"{_LOAD}\nSB rows=2 | {_RUN}", "1: Word 0 of NBout is still read by the store before"),
        (f"{_LOAD}\nNBIN source=8 target=9 size=1", "1: Load into NBin needs a fence"),
        ("SB size=9", "0: Load into SB reads outside of memory"),
        ("NBIN source=16 size=1", "0: Load into NBin reads outside of memory"),
        ("TABLE size=257", "0: Load of 257 words does not fit the table"),
        (_LOAD.replace("groups=1", "groups=2"), "0: Rows of a run must end in the last of 2"),
        (_LOAD.replace("rows=2", "rows=1"), "0: Rows of a run must end in the last of 1 groups"),
        (_LOAD.replace("positions=1", "positions=0"), "0: Run needs a position and a row"),
        (
            _LOAD.replace("positions=1", "positions=257"),
            r"0: Outputs of a run \(257 words\) do not",
        ),
        (_LOAD.replace("target=8", "target=16"), "0: Store writes outside of memory"),
        (f"{_LOAD} out=NFU3", "0: Word 0 of the table is read before it is written"),
        (
            f"TABLE size=1 | {_LOAD} out=NFU3 saturate=1 low=1",
            "0: NFU-3 needs low <= high, not 1 > 0",
        ),
        (f"TABLE size=1 | {_LOAD} out=NFU3 shift=40", "0: NFU-3 cannot shift by 40"),
    ],
)
def test_refused_programs(text: str, message: str) -> None:
    config = NfuConfig(nfu3_lanes=4)
    end = "" if "fence" in text else "\nCP end=1"
    with pytest.raises(VerifyError, match=message):
        execute(config, assemble(text + end), _image(config))


@pytest.mark.parametrize("bound", ["low=-2049", "low=-5 high=2048"])
def test_refused_bounds(bound: str) -> None:
    config = NfuConfig(nfu3_lanes=4, accumulator_width=12)
    program = assemble(f"TABLE size=1 | {_LOAD} out=NFU3 saturate=1 {bound}\nCP end=1")
    with pytest.raises(VerifyError, match="0: Bounds of NFU-3 must fit the accumulator"):
        execute(config, program, _image(config))


@pytest.mark.parametrize(
    ("rows", "scales", "activations", "what"),
    [(257, 1, 64, "SB rows"), (1, 257, 64, "scales"), (1, 1, 4 * 257, "activations")],
)
def test_refused_memory(rows: int, scales: int, activations: int, what: str) -> None:
    image = MemoryImage((0,) * rows, (0,) * scales, np.zeros(activations, dtype=np.int64))
    with pytest.raises(VerifyError, match=f"Memory of 257 words of {what} exceeds the address"):
        execute(NfuConfig(address_width=8), (_END,), image)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("combine=MAX in=NBOUT", "2: Maximum cannot go on from NBout"),
        ("combine=MAX", "2: Rows of a maximum must route one input to a neuron, or none"),
    ],
)
def test_refused_maxima(changed: str, message: str) -> None:
    config = NfuConfig(nfu3_lanes=4, maximum=True)
    fill = "SB size=2 rows=2 | NBIN size=2 positions=1 | NBOUT groups=1 | NFU op=MULT\nCP"
    program = assemble(f"{fill}\n{_LOAD} {changed}\nCP end=1")
    with pytest.raises(VerifyError, match=message):
        execute(config, program, _image(config))
    with pytest.raises(VerifyError, match="2: NFU-2 has no maximum; its parameters say so"):
        execute(NfuConfig(nfu3_lanes=4), program, _image(config))


@pytest.mark.parametrize("value", [-1, 2])
def test_a_maximum_routes_by_one_alone(value: int) -> None:
    config = NfuConfig(tn=1, ti=1, maximum=True)
    image = MemoryImage(
        pack_rows(config, np.full((1, 1, 1, 1), value), [0], [1]), (0,), np.arange(4)
    )
    text = "SB size=1 rows=1 | NBIN size=1 positions=1 | NBOUT groups=1 | NFU op=MULT combine=MAX"
    with pytest.raises(VerifyError, match="0: Rows of a maximum must route one input"):
        execute(config, assemble(f"{text}\nCP end=1"), image)


def test_groups_too_short_for_nfu3() -> None:
    config = NfuConfig(nfu3_lanes=1)
    with pytest.raises(VerifyError, match="0: Every group needs 4 rows, so that NFU-3 keeps up"):
        execute(config, assemble(f"{_LOAD}\nCP end=1"), _image(config))


def test_fence_and_distance_make_them_right() -> None:
    config = NfuConfig(nfu3_lanes=4)
    text = f"{_LOAD}\nCP\nSB size=2 rows=2 | {_RUN}\nCP fence=1 | NBIN source=8 target=9 size=1"
    assert len(execute(config, assemble(f"{text}\nCP end=1"), _image(config)).stores) == 2
