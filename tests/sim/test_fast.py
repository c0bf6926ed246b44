"""The C++ bench: exact results, promised cycles, and every fault named as what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stream_designs import AT, FRAMES, SHAPE, Fault, faulty, faulty_images, register_stage

from hwgen.errors import ToolError, VerifyError
from hwgen.sim.fast import run_fast, simulate
from hwgen.sim.types import Stall
from hwgen.stream.design import PixelLayout, StreamDesign

STALL = Stall(0.4, 0.4)
LAYOUTS = {
    "1 bit": ((1, False),),
    "64 bits": ((33, True), (31, False)),
    "605 bits": tuple([(7, True), (9, False)] * 37 + [(13, True)]),
}


def random_frames(layout: PixelLayout, count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    low = np.array([-(1 << (w - 1)) if s else 0 for w, s in layout.channels]).reshape(-1, 1, 1)
    high = np.array([(1 << (w - s)) - 1 for w, s in layout.channels]).reshape(-1, 1, 1)
    shape = (count, len(layout.channels), height, width)
    frames = rng.integers(low, high, size=shape, endpoint=True)
    frames[0] = low
    frames[-1, :, ::2] = high
    return frames


@pytest.mark.parametrize("name", LAYOUTS)
def test_payloads_of_any_width_pass(name: str, build_dir: Path) -> None:
    layout = PixelLayout(LAYOUTS[name])
    design = register_stage(layout, height=3, width=5, stages=3)
    images = random_frames(layout, 6, 3, 5)
    for seed in range(3):
        result = run_fast(design, images, seed=seed, stall=STALL, build_dir=build_dir)
        np.testing.assert_array_equal(result.outputs, images)
        assert result.cycles > 120  # of 90 words, with 40 % of the cycles lost on either side


def test_cycles_are_counted_from_the_release_of_reset(build_dir: Path) -> None:
    design = register_stage(PixelLayout(LAYOUTS["1 bit"]), height=3, width=5, stages=3)
    images = random_frames(design.input_layout, 4, 3, 5)
    result = run_fast(design, images, build_dir=build_dir)
    assert result.first_valid_cycle == 3
    assert result.accept_cycles.tolist() == [0, 15, 30, 45]
    assert result.frame_cycles.tolist() == [17, 32, 47, 62]
    assert result.cycles == 63
    assert result.cycles_per_image == 15
    assert run_fast(design, images[:1], build_dir=build_dir).cycles_per_image == 18


def test_same_seed_same_cycles_other_seed_others(build_dir: Path) -> None:
    design = register_stage(PixelLayout(LAYOUTS["1 bit"]), height=3, width=5, stages=3)
    images = random_frames(design.input_layout, 9, 3, 5)
    runs = [
        run_fast(design, images, seed=seed, stall=STALL, build_dir=build_dir).frame_cycles.tolist()
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_taps_are_returned_on_request(build_dir: Path) -> None:
    images = faulty_images(Fault.NONE)
    result = run_fast(faulty(), images, stall=STALL, build_dir=build_dir, taps=True)
    assert list(result.taps) == ["first", "second"]
    for frames in (result.outputs, *result.taps.values()):
        np.testing.assert_array_equal(frames, images)
    assert run_fast(faulty(), images, build_dir=build_dir).taps == {}


@pytest.mark.parametrize("words", [1, 13, 20])
def test_a_reset_in_mid_frame_starts_over(words: int, build_dir: Path) -> None:
    images = faulty_images(Fault.NONE)
    result = run_fast(
        faulty(), images, stall=STALL, build_dir=build_dir, taps=True, reset_after=words
    )
    for frames in (result.outputs, *result.taps.values()):
        np.testing.assert_array_equal(frames, images)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.HANGS, r"stopped after 7 of 24 words, the last image 0, row 1, column 2, value "),
        (Fault.DROPS_LAST, r"stopped after 23 of 24 words.* 24 of 24 input words accepted\)"),
        (Fault.DROPS_ONE, r"stopped after 23 of 24 words"),
        (Fault.EXTRA, r"offers more than the 24 words expected"),
        (Fault.RETRACTS, r"o__valid fell before the word was taken"),
        (Fault.CHANGES, r"o__payload changed before the word was taken"),
        (Fault.TAP_TWICE, r"Stream tap1 \(second\) showed 25 words, not 24"),
    ],
)
def test_each_fault_is_named(fault: Fault, message: str, build_dir: Path) -> None:
    with pytest.raises(VerifyError, match=message):
        run_fast(
            faulty(),
            faulty_images(fault),
            seed=3,
            stall=STALL,
            build_dir=build_dir,
            taps=True,
            deadline=500,
        )


def test_a_hang_at_the_start_is_named(build_dir: Path) -> None:
    images = faulty_images(Fault.HANGS)
    run = simulate(faulty(), images, build_dir=build_dir, deadline=50)
    assert run.fault is not None
    assert run.fault.startswith("The output stopped after 7 of 24 words")
    assert len(run.output) == AT
    assert run.cycles < 100


def test_wrong_words_come_through_as_they_are(build_dir: Path) -> None:
    images = faulty_images(Fault.WRONG)
    got = run_fast(faulty(), images, build_dir=build_dir).outputs
    assert np.argwhere(got != images).tolist() == [[0, 2, AT // SHAPE[2], AT % SHAPE[2]]]


def test_a_word_kept_through_reset_shows(build_dir: Path) -> None:
    images = faulty_images(Fault.KEEPS)
    run = simulate(faulty(), images, build_dir=build_dir, reset_after=9, deadline=500)
    assert run.fault == "The output offers more than the 24 words expected (cycle 24)"


def test_images_must_have_the_shape_of_the_design(build_dir: Path) -> None:
    for images in (np.zeros((2, 3, 4, 4), np.int64), np.zeros((0, *SHAPE), np.int64)):
        with pytest.raises(ValueError, match=r"Images must have shape \(N, 3, 3, 4\)"):
            run_fast(faulty(), images, build_dir=build_dir)


def test_verilog_with_an_error_is_refused_in_a_sentence(build_dir: Path) -> None:
    good = faulty()
    bad = StreamDesign(
        "faulty",
        good.verilog.replace("reg full", "rge full"),
        SHAPE,
        good.input_layout,
        SHAPE,
        good.output_layout,
    )
    with pytest.raises(ToolError, match=r"Verilator refused module 'faulty': %Error: design\.v:"):
        run_fast(bad, faulty_images(Fault.NONE), build_dir=build_dir)
    assert not list(build_dir.glob("build-*"))


def test_progress_is_told_and_the_simulator_is_built_once(build_dir: Path) -> None:
    images = faulty_images(Fault.NONE)
    seen: list[tuple[int, int]] = []
    run_fast(
        faulty(), images, build_dir=build_dir, progress=lambda done, of: seen.append((done, of))
    )
    before = sorted(build_dir.iterdir())
    run_fast(faulty(), images, build_dir=build_dir)
    assert seen[-1] == (FRAMES, FRAMES)
    assert sorted(build_dir.iterdir()) == before


def test_the_wall_clock_limit_holds(build_dir: Path) -> None:
    with pytest.raises(ToolError, match=r"faulty was stopped after 0\.3 seconds"):
        run_fast(
            faulty(),
            faulty_images(Fault.HANGS),
            build_dir=build_dir,
            deadline=10**12,
            timeout=0.3,
        )


@pytest.mark.parametrize("fraction", [-0.1, 0.8])
def test_stalls_must_leave_time_to_move(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"Stall fraction must be within 0 \.\. 0\.75, not"):
        Stall(source=fraction)


def test_stalls_take_the_fraction_of_cycles_that_was_asked_for(build_dir: Path) -> None:
    design = register_stage(PixelLayout(LAYOUTS["1 bit"]), height=3, width=5, stages=3)
    images = random_frames(design.input_layout, 2000, 3, 5)
    for stall in (Stall(0.5, 0.0), Stall(0.0, 0.5), Stall(0.25, 0.0)):
        result = run_fast(design, images, stall=stall, build_dir=build_dir)
        busy = 15 / result.cycles_per_image
        assert busy == pytest.approx(1 - max(stall.source, stall.sink), abs=0.02)
