"""Costs of slimmed layers on hwgen's hardware, against the compiler of the NFU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Sketch

from hwgen.approx.types import DyadicFilters
from hwgen.flow.slim_objectives import cycles_objective, issued_rows, row_needs
from hwgen.integer.types import Conv as IntegerConv
from hwgen.network.types import Conv, Node
from hwgen.nfu.compile import compile_network
from hwgen.nfu.config import DyadicLane, IntLane, NfuConfig
from hwgen.nfu.metrics import network_metrics
from hwgen.nfu.timing import Timing
from hwgen.numeric import Dyadic
from hwgen.slim.objectives import FINEST_TERMS

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
