"""Costs of slimmed layers on hwgen's hardware, against the compiler of the NFU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Sketch

from hwgen.approx.approximate import assemble
from hwgen.approx.filters import approximate_filters
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import DyadicFilters
from hwgen.flow.slim_objectives import cycles_objective, issued_rows, luts_objective, row_needs
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import Conv as IntegerConv
from hwgen.network.shapes import window_shape
from hwgen.network.types import Conv, Network, Node
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import DyadicLane, IntLane, NfuConfig
from hwgen.nfu.metrics import network_metrics
from hwgen.nfu.timing import Timing
from hwgen.numeric import Dyadic
from hwgen.slim.objectives import FINEST_TERMS
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

_CODES = np.array([0, 0, 0, 1, 2, 3, -5, 11, -8])


def _config(tn: int, ti: int, *, turns: int = 1, terms: int = 1) -> NfuConfig:
    return NfuConfig(
        tn=tn,
        ti=ti,
        lane=DyadicLane(terms, 8),
        accumulator_width=32,
        product_width=48,
        nfu3_lanes=tn // turns,
        sb_depth=1024,
        nbin_depth=1024,
    )


def _filters(codes: np.ndarray) -> DyadicFilters:
    ones = (Dyadic(1, 0),) * len(codes)
    return DyadicFilters(codes, 0, ones, np.zeros(len(codes)), "P8")


def _reduced(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Codes of filters of 3 x 3, of which some are 1 x 1; none is zero, and no channel is."""
    codes = rng.choice(_CODES, size=shape)
    codes[:, :, 1, 1] = rng.choice(_CODES[_CODES != 0], size=shape[:2])
    small = rng.random(shape[0]) < rng.random()
    centre = np.zeros((3, 3), dtype=np.int64)
    centre[1, 1] = 1
    return np.where(small[:, None, None, None], codes * centre, codes)


def _append(sketch: Sketch, source: str, codes: np.ndarray, groups: int = 1) -> str:
    op = IntegerConv(codes, np.zeros(len(codes), np.int64), pads=(1, 1, 1, 1), groups=groups)
    shape = (len(codes), *sketch.network.shape(source)[1:])
    return sketch.requantise(sketch.add(op, source, shape=shape))


def _rows(config: NfuConfig, sketch: Sketch) -> list[int]:
    compiled = compile_network(sketch.network, config)
    return [layer.rows for layer in network_metrics(config, compiled, Timing(latency=4))]


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(2, 4), (4, 2), (8, 8)]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2, 6]),
)
@settings(derandomize=True, max_examples=20, deadline=None)
def test_rows_are_those_of_the_compiler(
    seed: int, tile: tuple[int, int], turns: int, terms: int, groups: int
) -> None:
    rng = np.random.default_rng(seed)
    config = _config(*tile, turns=turns, terms=terms)
    codes = _reduced(rng, (6, 6 // groups, 3, 3))
    sketch = Sketch((6, 5, 4), seed=seed)
    _append(sketch, "image", codes, groups)
    op = Conv(codes.astype(np.float64), np.zeros(6), pads=(1, 1, 1, 1), groups=groups)
    needs = row_needs(op, _filters(codes), config)
    # the channels of an output are in order, so that the compiler chooses nothing
    assert _rows(config, sketch) == [issued_rows(needs, np.arange(6), config) * 20]


def _estimated(config: NfuConfig, layers: list[np.ndarray], size: tuple[int, int]) -> float:
    objective = cycles_objective(config)
    total = 0.0
    for codes in layers:
        op = Conv(codes.astype(np.float64), np.zeros(len(codes)), pads=(1, 1, 1, 1))
        node = Node("conv", op, ("x",), (len(codes), *size))
        total += objective.layer(node, (codes.shape[1], *size), _filters(codes))
    return total


def test_cycles_rank_networks_as_the_cycle_model_does() -> None:
    rng = np.random.default_rng(1)
    config = _config(8, 8)
    estimates, rows, cycles = [], [], []
    for _ in range(6):
        # the output, whose channels keep their order, is one group of filters
        shapes = [(32, 8, 3, 3), (16, 32, 3, 3), (8, 16, 3, 3)]
        layers = [_reduced(rng, shape) for shape in shapes]
        sketch = Sketch((8, 6, 6), seed=0)
        x = "image"
        for codes in layers:
            x = _append(sketch, x, codes)
        estimates.append(_estimated(config, layers, (6, 6)))
        compiled = compile_network(sketch.network, config)
        metrics = network_metrics(config, compiled, Timing(latency=4))
        rows.append(sum(layer.rows for layer in metrics))
        cycles.append(sum(layer.cycles for layer in metrics))
    assert np.allclose(estimates, rows, rtol=0.02)
    assert np.allclose(estimates, cycles, rtol=0.1)
    assert np.argsort(estimates).tolist() == np.argsort(cycles).tolist()


def test_what_is_taken_away_whole_does_not_count() -> None:
    rng = np.random.default_rng(0)
    config = _config(4, 4)
    codes = _reduced(rng, (12, 9, 3, 3))
    slim = codes.copy()
    slim[[1, 5, 7, 8]] = 0
    slim[:, [0, 3, 4, 6, 8]] = 0
    small = np.delete(np.delete(slim, [1, 5, 7, 8], axis=0), [0, 3, 4, 6, 8], axis=1)
    size = (6, 6)
    assert _estimated(config, [slim], size) == _estimated(config, [small], size)
    assert _estimated(config, [slim], size) < _estimated(config, [codes], size)
    assert _estimated(config, [np.zeros_like(codes)], size) == 0


def test_without_a_recipe_a_row_has_the_terms_of_the_finest() -> None:
    codes = np.zeros((4, 4, 3, 3), dtype=np.int64)
    codes[:, :, 1] = 1
    op = Conv(codes.astype(np.float64), np.zeros(4), pads=(1, 1, 1, 1))
    node = Node("conv", op, ("x",), (4, 5, 5))
    one, two, whole = (
        cycles_objective(config)
        for config in (
            _config(4, 4),
            _config(4, 4, terms=2),
            replace(_config(4, 4), lane=IntLane(8)),
        )
    )
    assert one.layer(node, (4, 5, 5), None) == 3 * FINEST_TERMS * 25
    assert two.layer(node, (4, 5, 5), None) == whole.layer(node, (4, 5, 5), None) == 3 * 25
    assert one.layer(node, (4, 5, 5), _filters(3 * codes)) == 2 * 3 * 25
    assert whole.layer(node, (4, 5, 5), _filters(3 * codes)) == 3 * 25


def _layer(weight: np.ndarray, shape: tuple[int, int, int], pad: int = 0) -> Network:
    op = Conv(weight, np.zeros(len(weight)), pads=(pad,) * 4)
    size = window_shape(shape[1:], op.kernel, (1, 1), op.pads, (1, 1))
    return Network("n", "x", shape, (Node("a", op, ("x",), (len(weight), *size)),), "a")


def _synthesised(network: Network, filters: DyadicFilters, folder: Path, family: str) -> int:
    """LUTs of a network of one layer, by Yosys, the queues at both ends included."""
    approx = assemble(network, {"a": filters})
    images = np.random.default_rng(0).random((16, *network.input_shape))
    integer = quantise(approx, calibrate(approx.to_network(), images))
    design = emit(plan_pipeline(integer, family=family))
    (result,) = synthesise(SynthesisJob({"d.v": design.verilog}, design.name, family, folder))
    return result.area.luts


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_luts_are_about_those_of_yosys(family: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    unpadded = rng.normal(size=(4, 1, 5, 5))
    padded = rng.normal(size=(6, 4, 3, 3))
    slim = padded.copy()
    slim[2] = 0.0
    slim[:, 1] = 0.0
    slim[[0, 4]] *= np.eye(3)[1] * np.eye(3)[:, [1]]
    found, estimates = [], []
    for k, (weight, pad) in enumerate([(unpadded, 0), (padded, 1), (slim, 1)]):
        network = _layer(weight, (weight.shape[1], 9, 9), pad)
        _, op = next(network.convs())
        filters = approximate_filters(op, parse_recipe("P8"))
        estimates.append(luts_objective(network, family).total(network, {"a": filters}))
        found.append(_synthesised(network, filters, tmp_path / str(k), family))
    assert np.allclose(estimates, found, rtol=0.1)
    assert np.argsort(estimates).tolist() == np.argsort(found).tolist()


def test_luts_count_what_is_built() -> None:
    rng = np.random.default_rng(0)
    network = _layer(rng.normal(size=(6, 4, 3, 3)), (4, 9, 9), 1)
    node, op = next(network.convs())
    objective = luts_objective(network)
    shape = (4, 9, 9)

    def of(weight: np.ndarray) -> float:
        return objective.layer(replace(node, op=replace(op, weight=weight)), shape, None)

    whole = of(op.weight)
    without_filter, without_channel, small = (op.weight.copy() for _ in range(3))
    without_filter[0] = without_channel[:, 0] = 0.0
    small[:3] *= np.eye(3)[1] * np.eye(3)[:, [1]]
    for each in (without_filter, without_channel, small):
        assert of(each) < whole
    assert of(np.zeros_like(op.weight)) == 0.0
    with pytest.raises(ValueError, match="Family must be one of ecp5, ice40"):
        luts_objective(network, "asic")


def test_fully_connected_layers_pay_for_lanes() -> None:
    rng = np.random.default_rng(0)
    network = _layer(rng.normal(size=(40, 8, 6, 6)), (8, 6, 6))
    node, op = next(network.convs())
    objective = luts_objective(network)
    whole = objective.layer(node, (8, 6, 6), None)
    # a lane an output, since 288 inputs take longer than an image: half the neurons, half the lanes
    half = op.weight.copy()
    half[::2] = 0.0
    less = objective.layer(replace(node, op=replace(op, weight=half)), (8, 6, 6), None)
    assert less < 0.6 * whole
    scattered = op.weight * (rng.random(op.weight.shape) < 0.5)
    same = objective.layer(replace(node, op=replace(op, weight=scattered)), (8, 6, 6), None)
    assert same == whole
