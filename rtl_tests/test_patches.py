# amaranth: UnusedElaboratable=no
"""Convolutions with codes in memory: every window, every order of channels, exact cycles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, images_for
from streambench import run_stream

from hwgen.integer.types import Conv, MaxPool, SumPool
from hwgen.numeric import Range
from hwgen.sim.golden import run as golden_run
from hwgen.stream.dense import Dense, takes_turns
from hwgen.stream.forms import parse_folding
from hwgen.stream.pipeline import Pipeline
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.scan import Scan
from hwgen.stream.serial_pool import SerialPool
from hwgen.stream.supply import Supply

KINDS = (Range(-128, 127), Range(0, 255), Range(3, 9))

CASES = {
    # channels, height, width; outputs, groups; kernel, strides, pads, dilations; lanes
    "plain": ((2, 5, 6), 3, 1, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 2),
    "padded": ((3, 5, 4), 4, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "strided": ((2, 7, 6), 3, 1, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 3),
    "dilated": ((1, 8, 7), 2, 1, (3, 2), (1, 2), (2, 1, 0, 1), (2, 3), 1),
    "one pixel": ((3, 3, 4), 5, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 2),
    "subsampled": ((4, 5, 6), 3, 1, (1, 1), (2, 3), (0, 0, 0, 0), (1, 1), 3),
    "depthwise": ((3, 4, 5), 3, 3, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 2),
    "depthwise, one lane": ((3, 4, 4), 6, 3, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "groups": ((4, 4, 3), 6, 2, (2, 2), (1, 1), (0, 1, 1, 0), (1, 1), 3),
    "narrow": ((2, 4, 2), 2, 1, (3, 5), (1, 1), (1, 2, 1, 2), (1, 1), 2),
    "low": ((1, 1, 6), 2, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "unread rows": ((1, 7, 7), 2, 1, (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 2),
    "wide padding": ((1, 2, 2), 1, 1, (2, 2), (1, 1), (3, 3, 3, 3), (1, 1), 1),
    "one output": ((2, 4, 4), 1, 1, (2, 2), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "pairs": ((4, 5, 4), 4, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "threes of five": ((5, 5, 5), 3, 1, (2, 3), (2, 1), (1, 0, 0, 1), (1, 1), 2),
    "whole pixels": ((3, 6, 5), 4, 1, (3, 2), (1, 1), (1, 1, 1, 0), (2, 1), 3),
    "pairs of groups": ((6, 4, 3), 6, 2, (2, 2), (1, 1), (0, 1, 1, 0), (1, 1), 3),
    "groups whole": ((6, 3, 4), 6, 3, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), 3),
    "narrow, all": ((4, 4, 2), 2, 1, (3, 5), (1, 1), (1, 2, 1, 2), (1, 1), 2),
    "many": ((19, 2, 3), 2, 1, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
}

ABREAST = {
    "pairs": 2,
    "threes of five": 3,
    "whole pixels": 3,
    "pairs of groups": 2,
    "groups whole": 2,
    "narrow, all": 4,
    "many": 2,
}


def _block(name, **serial):
    shape, outputs, groups, kernel, strides, pads, dilations, lanes = CASES[name]
    rng = np.random.default_rng(1)
    weight = rng.integers(-8, 9, (outputs, shape[0] // groups, *kernel))
    bias = rng.integers(-500, 500, outputs)
    op = Conv(weight, bias, strides, pads, dilations, groups)
    ranges = [KINDS[k % 3] for k in range(shape[0])]
    abreast = ABREAST.get(name, 1)
    return Dense(op, ranges=ranges, shape=shape, lanes=lanes, abreast=abreast, **serial)


def _frames(block, count, seed):
    rng = np.random.default_rng(seed)
    size = (count, *block.shape[1:])
    frames = [rng.integers(r.lo, r.hi, size, endpoint=True) for r in block.ranges]
    return np.stack(frames, axis=1)


def _by_definition(op, frames):
    """The operator's docstring in loops."""
    (kh, kw), (sh, sw), (dh, dw) = op.kernel, op.strides, op.dilations
    top, left, bottom, right = op.pads
    padded = np.pad(frames, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1
    columns = (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    outputs, per_group = op.weight.shape[:2]
    y = np.zeros((len(frames), outputs, rows, columns), dtype=np.int64)
    for o, r, s in np.ndindex(outputs, rows, columns):
        start = o * op.groups // outputs * per_group
        patch = padded[
            :,
            start : start + per_group,
            r * sh : r * sh + dh * kh : dh,
            s * sw : s * sw + dw * kw : dw,
        ][:, :, :kh, :kw]
        y[:, o, r, s] = op.bias[o] + (patch * op.weight[o]).sum(axis=(1, 2, 3))
    return y


def _turns(frames):
    return frames.transpose(0, 2, 3, 1).reshape(len(frames), 1, -1, 1)


def _orders(name):
    shape, outputs, groups, kernel, _, _, _, lanes = CASES[name]
    weight = np.zeros((outputs, shape[0] // groups, *kernel), dtype=np.int64)
    op = Conv(weight, np.zeros(outputs, dtype=np.int64), groups=groups)
    turns = [False, True] if takes_turns(op, lanes=lanes) else [False]
    return [(serial_in, serial_out) for serial_in in turns for serial_out in (False, True)]


@pytest.mark.parametrize(("number", "name"), enumerate(CASES))
def test_words_and_cycles(number: int, name: str) -> None:
    """Exact words at full speed; with gaps and pauses in another order; after a reset."""
    orders = _orders(name)
    for run in range(2):
        serial_in, serial_out = orders[(number + run) % len(orders)]
        block = _block(name, serial_in=serial_in, serial_out=serial_out)
        frames = _frames(block, 2, seed=number)
        expected = _by_definition(block.op, frames)
        expected = _turns(expected) if serial_out else expected
        frames = _turns(frames) if serial_in else frames
        np.testing.assert_array_equal(block.model(frames), expected)
        beats = frames[0, 0].size
        result = run_stream(
            block,
            frames,
            expected=expected,
            stall_in=run * (0.3, 0.8, 0.0)[number % 3],
            stall_out=run * (0.6, 0.0, 0.9)[number % 3],
            seed=number,
            deadline=99 * (block.cycles + beats) + 200,
            reset_at=(None, beats // 2, block.cycles // 2)[run * ((number + serial_out) % 3)],
        )
        if not run:
            needed = block.patches.supply.first
            assert result.produced[0] - result.accepted[0][needed - 1] == block.latency


def test_positions_follow_without_a_gap() -> None:
    """A source that is fast enough keeps the lanes busy from frame to frame."""
    block = _block("padded", serial_in=True, serial_out=True)
    frames = _turns(_frames(block, 3, seed=5))
    result = run_stream(block, frames, deadline=40 * block.cycles)
    ends = result.produced[expected_beats(block) - 1 :: expected_beats(block)]
    np.testing.assert_array_equal(np.diff(ends), block.cycles)


@pytest.mark.parametrize("cycle", [3, 4, 21])
def test_a_reset_in_mid_pixel(cycle: int) -> None:
    """Channels of the pixel that came before the reset are in no word."""
    block = _block("threes of five", serial_in=True, serial_out=True)
    frames = _frames(block, 1, seed=cycle)
    expected = _turns(_by_definition(block.op, frames))
    deadline = 20 * block.cycles + 200
    run_stream(
        block, _turns(frames), expected=expected, reset_at=cycle, deadline=deadline, drain=99
    )


def expected_beats(block: Dense) -> int:
    rows, columns = block.scan.out_size
    return rows * columns * block.op.weight.shape[0]


sizes = st.tuples(st.integers(1, 5), st.integers(1, 5))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(derandomize=True, max_examples=100, deadline=None)
@given(size=sizes, kernel=small, strides=small, dilations=small, data=st.data())
def test_supply_holds_what_patches_need(size, kernel, strides, dilations, data) -> None:
    """A patch starts with its last pixel and never finds one of its pixels overwritten."""
    pads = data.draw(st.tuples(*[st.integers(0, 3)] * 4))
    try:
        scan = Scan(*size, kernel, strides, pads, dilations)
    except ValueError:
        return
    beats, words = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    supply = Supply(scan, beats, words)
    frame = size[0] * size[1]
    arrived = supply.first
    rows, columns = scan.inside(0), scan.inside(1)
    for number in range(2 * scan.out_size[0] * scan.out_size[1]):
        image, position = divmod(number, scan.out_size[0] * scan.out_size[1])
        oy, ox = divmod(position, scan.out_size[1])
        places = [
            (oy * strides[0] - pads[0] + r * dilations[0]) * size[1]
            + ox * strides[1]
            - pads[1]
            + s * dilations[1]
            for r in range(kernel[0])
            for s in range(kernel[1])
            if rows[r, oy] and columns[s, ox]
        ]
        assert arrived > image * frame * beats
        if places:
            oldest, newest = image * frame + min(places), image * frame + max(places) + 1
            assert newest * beats <= arrived
            touched = -(-(arrived + supply.slack) // beats)
            assert (touched - oldest) * words <= supply.depth
            if arrived > newest * beats:
                assert position
                assert arrived <= (image + 1) * frame * beats
        arrived += int(supply.advances[position])
    assert supply.slack >= beats


POOLS = {
    "halved": (MaxPool((2, 2), (2, 2)), (3, 4, 6)),
    "overlapping": (MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), (2, 5, 5)),
    "narrow": (MaxPool((1, 3), (1, 1), (0, 1, 0, 1)), (1, 3, 2)),
    "mean": (SumPool((3, 4), (1, 1)), (3, 3, 4)),
    "padded sum": (SumPool((2, 2), (1, 2), (1, 0, 0, 1)), (2, 3, 3)),
}


@pytest.mark.parametrize(("number", "name"), enumerate(POOLS))
def test_serial_pools(number: int, name: str) -> None:
    op, shape = POOLS[name]
    ranges = [KINDS[k % 3] for k in range(shape[0])]
    block = SerialPool(op, ranges=ranges, shape=shape)
    rng = np.random.default_rng(number)
    frames = [rng.integers(r.lo, r.hi, (3, *shape[1:]), endpoint=True) for r in ranges]
    items = _turns(np.stack(frames, axis=1))
    result = run_stream(block, items, deadline=4000)
    needed = Supply(block.scan, shape[0], shape[0]).first
    assert result.produced[0] - result.accepted[0][needed - 1] == block.latency
    stalls = {"stall_in": 0.4, "stall_out": (0.8, 0.2)[number % 2], "seed": number}
    run_stream(block, items, deadline=20_000, reset_at=items[0].size // 2 * number, **stalls)


FOLDINGS = {
    "chain": "*=memory:4",
    "classifier": "*=memory:8x4",
    "bare": "*=memory:1",
    "depthwise": "*=memory:2",
    "mean": "*=memory:2",
    "tanh": "*=memory:2",
    "residual": "*=memory:4x3",
    "inception": "*=memory:4",
    "twice": "*=memory:2",
    "vectors": "*=memory:6x2",
}


@pytest.mark.parametrize(("number", "name"), enumerate(FOLDINGS))
def test_networks_in_memory(number: int, name: str) -> None:
    """Whole networks, bit for bit, and in as many cycles as the model says."""
    network = NETWORKS[name]()
    plan = plan_pipeline(network, folding=parse_folding(FOLDINGS[name]))
    assert not any(stage.graph for stage in plan.stages)
    stalls = (0.0, 0.0) if number % 2 else (0.3, 0.3)
    images = images_for(network, 2 if any(stalls) else 3)
    golden = golden_run(network, images)
    result = run_stream(
        Pipeline(plan),
        images,
        expected=golden,
        stall_in=stalls[0],
        stall_out=stalls[1],
        seed=1,
        deadline=int(9 * (plan.timing.image + 3 * plan.timing.interval)),
        drain=int(plan.timing.interval),
    )
    if not any(stalls):
        per_image = golden[0, 0].size
        assert result.produced[0] == plan.timing.first
        assert result.produced[per_image - 1] == plan.timing.image
        ends = result.produced[per_image - 1 :: per_image]
        assert ends[-1] - ends[-2] == plan.timing.interval
