"""Parameters that suit a network: the compiler takes them, and refuses any that is less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from binary_networks import binary_integers, binary_network
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS, Sketch
from nfu_networks import random_layers

from hwgen.errors import UnsupportedError
from hwgen.nfu.compile import compile_network, rows_cycles
from hwgen.nfu.config import BinaryLane, DyadicLane, NfuConfig, Segments
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config, least_cycles
from hwgen.nfu.golden import execute
from hwgen.nfu.timing import Timing


def _smaller(config: NfuConfig) -> list[NfuConfig]:
    """Every parameter a step less, where it has one."""
    changes: list[dict[str, object]] = [
        {"activation_width": config.activation_width - 1},
        {"accumulator_width": config.accumulator_width - 1},
        {"product_width": config.product_width - 1},
        {"scale_terms": config.scale_terms - 1},
        {"scale_exponents": config.scale_exponents // 2},
    ]
    found = []
    for change in changes:
        try:
            found.append(replace(config, **change))  # type: ignore[arg-type]
        except ValueError:
            continue
    if isinstance(config.lane, DyadicLane) and config.lane.exponents > 2:
        half = config.lane.exponents // 2
        found.append(replace(config, lane=replace(config.lane, exponents=half)))
    return found


@given(st.integers(0, 1 << 32), st.sampled_from([(1, 4), (4, 2), (8, 8)]))
@settings(derandomize=True, max_examples=4, deadline=None)
def test_each_parameter_is_the_least(seed: int, tile: tuple[int, int]) -> None:
    network = random_layers(np.random.default_rng(seed), layers=1, size=4)
    config = fit_config(network, tn=tile[0], ti=tile[1])
    compiled = compile_network(network, config)
    execute(config, compiled.program, compiled.memory)
    smaller = _smaller(config)
    assert smaller
    for less in smaller:
        with pytest.raises(UnsupportedError):
            compile_network(network, less)


@given(st.integers(0, 1 << 32), st.sampled_from([(1, 4), (4, 2), (8, 8)]))
@settings(derandomize=True, max_examples=6, deadline=None)
def test_no_tiling_is_quicker_than_its_rows(seed: int, tile: tuple[int, int]) -> None:
    network = random_layers(np.random.default_rng(seed), layers=2, size=4)
    config = fit_config(network, tn=tile[0], ti=tile[1])
    compiled = compile_network(network, config)
    found = count_cycles(config, compiled.program, Timing(latency=4))
    least = least_cycles(network, tn=tile[0], ti=tile[1])
    assert 0 < least <= rows_cycles(network, config) <= found.busy


def test_buffers_grow_where_a_layer_needs_it() -> None:
    for width, depth in ((400, 512), (600, 1024)):
        s = Sketch((1, 1, width + 10), seed=1)
        network = s.done(s.conv("image", 2, (1, width)))
        assert fit_config(network, tn=2, ti=1).nbin_depth == depth


def test_addresses_are_as_wide_as_memory_is_large() -> None:
    s = Sketch((16, 16, 16), seed=1)
    network = s.done(s.conv("image", 4, (1, 1)))
    words = (16 + 4) * 16 * 16 // 4
    assert fit_config(network, tn=4, ti=4).address_width == (words - 1).bit_length() == 11


def test_pools_and_functions_bring_what_they_need() -> None:
    config = fit_config(NETWORKS["tanh"](), tn=2, ti=2)
    assert (config.maximum, config.function) == (False, Segments(4, 10))
    config = fit_config(NETWORKS["chain"](), tn=2, ti=2)
    assert (config.maximum, config.function) == (True, None)


def test_binary_networks_have_binary_lanes() -> None:
    """Rows of one bit a weight, and activations of two bits if the first layer is not the most."""
    small = binary_integers(binary_network(1))
    assert fit_config(small, tn=4, ti=4).lane == BinaryLane()
    wide = binary_network(2, shape=(1, 6, 6), channels=(8, 32, 64), pad=1)
    config = fit_config(binary_integers(wide), tn=8, ti=8)
    assert (config.lane, config.activation_width) == (BinaryLane(8), 2)
    other = Sketch((2, 6, 6), seed=1)
    assert isinstance(
        fit_config(other.done(other.conv("image", 4, (3, 3))), tn=4, ti=4).lane, DyadicLane
    )
