"""The cocotb bench: right designs pass, every fault is named, and nothing passes unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stream_designs import AT, SHAPE, Fault, faulty, faulty_images

from hwgen.errors import ToolError
from hwgen.sim.cosim import run_cocotb
from hwgen.sim.types import BenchResult, Difference, Stall

STALL = Stall(0.4, 0.4)


def run(fault: Fault, build_dir: Path, **options: object) -> BenchResult:
    """The result for the faulty module, with both taps compared."""
    images = faulty_images(fault)
    return run_cocotb(
        faulty(),
        images,
        images,
        seed=3,
        build_dir=build_dir,
        taps_expected={"first": images, "second": images},
        deadline=500,
        **{"stall": STALL, **options},
    )


def test_a_right_design_passes(build_dir: Path) -> None:
    result = run(Fault.NONE, build_dir)
    assert result.passed
    assert [(c.node, c.words_compared, c.words_differed) for c in result.layers] == [
        ("first", 24, 0),
        ("second", 24, 0),
        ("output", 24, 0),
    ]
    assert result.first_difference is None
    assert result.seed == 3
    assert result.cycles > 30


def test_cycles_are_those_of_the_other_bench(build_dir: Path) -> None:
    result = run(Fault.NONE, build_dir, stall=Stall())
    assert result.passed
    assert result.cycles == 25
    assert result.cycles_per_image == 12


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.HANGS, "The output stopped after 7 of 24 words, the last image 0, row 1, column 2"),
        (Fault.DROPS_LAST, "The output stopped after 23 of 24 words"),
        (Fault.EXTRA, "The output offers more than the 24 words expected"),
        (Fault.RETRACTS, "o__valid fell before the word was taken"),
        (Fault.CHANGES, "o__payload changed before the word was taken"),
        (Fault.TAP_TWICE, "Stream tap1 (second) showed 25 words, not 24"),
    ],
)
def test_each_fault_is_named(fault: Fault, message: str, build_dir: Path) -> None:
    result = run(fault, build_dir)
    assert not result.passed
    assert result.fault is not None
    assert result.fault.startswith(message)
    assert result.first_difference is None


def test_a_wrong_word_is_located(build_dir: Path) -> None:
    result = run(Fault.WRONG, build_dir)
    assert (result.passed, result.fault) == (False, None)
    assert [c.words_differed for c in result.layers] == [0, 1, 1]
    value = int(faulty_images(Fault.WRONG)[0, 2, AT // SHAPE[2], AT % SHAPE[2]])
    flipped = value + 1 if value % 2 == 0 else value - 1
    found = result.first_difference
    assert found is not None
    assert found.cycle is not None
    assert found == Difference("second", 0, 2, 1, 3, value, flipped, found.cycle)
    assert str(found) == (
        f"second: image 0, channel 2, row 1, column 3: expected {value}, got {flipped}"
    )


def test_a_lost_word_shows_as_differences_and_as_missing(build_dir: Path) -> None:
    result = run(Fault.DROPS_ONE, build_dir)
    assert result.fault is not None
    assert result.fault.startswith("The output stopped after 23 of 24 words")
    assert [c.words_compared for c in result.layers] == [24, 23, 23]
    assert result.first_difference is not None
    assert (result.first_difference.row, result.first_difference.column) == (1, 3)


def test_a_wrong_layer_fails_though_the_output_is_right(build_dir: Path) -> None:
    result = run(Fault.TAP_WRONG, build_dir)
    assert not result.passed
    assert [c.words_differed for c in result.layers] == [1, 0, 0]


def test_reset_in_mid_frame(build_dir: Path) -> None:
    right = run(Fault.NONE, build_dir, reset_after=9)
    assert right.passed
    assert right.words_compared > 3 * 24
    kept = run(Fault.KEEPS, build_dir, reset_after=9)
    assert not kept.passed
    assert kept.words_differed > 0


def test_expected_frames_must_fit_the_design(build_dir: Path) -> None:
    images = faulty_images(Fault.NONE)
    with pytest.raises(ValueError, match=r"Expected frames of output must have shape"):
        run_cocotb(faulty(), images, images[:1], build_dir=build_dir)
    with pytest.raises(ValueError, match=r"Design faulty has no tap of third"):
        run_cocotb(faulty(), images, images, build_dir=build_dir, taps_expected={"third": images})


def test_a_bench_that_ran_no_test_is_an_error(
    build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_ran(*args: object, cwd: Path, **options: object) -> tuple[int, str]:
        (cwd / "results.json").write_text("{}")
        (cwd / "tests.json").write_text(json.dumps({"ran": 0, "failed": 0}))
        return 0, ""

    monkeypatch.setattr("hwgen.sim.cosim.run_simulator", nothing_ran)
    with pytest.raises(ToolError, match=r"The cocotb bench of faulty ran 0 tests, not 1"):
        run(Fault.NONE, build_dir)


def test_a_bench_that_breaks_down_is_an_error(
    build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: object, **options: object) -> tuple[int, str]:
        return 1, "Traceback\nValueError: Unable to find libpython\n"

    monkeypatch.setattr("hwgen.sim.cosim.run_simulator", breaks)
    message = r"The cocotb bench of faulty broke down: ValueError: Unable to find libpython"
    with pytest.raises(ToolError, match=message):
        run(Fault.NONE, build_dir)
