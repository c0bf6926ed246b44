"""LUT profiles: cells, inverters and registers of known graphs; the objective of the search."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, csd_graph, minimum_depth, optimize
from hwgen.shiftadd.luts import PROFILES, Profile, estimate, luts

BYTE = Range(-128, 127)


def test_profiles_are_those_of_the_targets() -> None:
    assert set(PROFILES) == {"ice40", "ecp5", "gowin", "xilinx", "asic"}


def test_one_adder_by_hand() -> None:
    graph = AdderGraph((BYTE, BYTE), (Adder(Operand(0), Operand(1, 2)),), (Operand(2),))
    # -640..635 has 11 bits, of which two are wires; all are registered.
    assert estimate(graph, PROFILES["ice40"]).luts == 9
    assert estimate(graph, PROFILES["ice40"]).ffs == 11
    assert luts(graph, "ice40") == 9 + 2
    assert luts(graph, "ecp5") == pytest.approx(10 + 2 * 0.1)
    assert luts(graph, "gowin") == 11
    assert luts(graph, "asic") == pytest.approx(9 * 4.45 + 11)


def test_subtraction_needs_inverters_on_ice40_alone() -> None:
    nodes = (Adder(Operand(0), Operand(1, 0, True)),)
    graph = AdderGraph((BYTE, BYTE), nodes, (Operand(2),))
    assert luts(graph, "ice40") == 9 + 8
    assert luts(graph, "gowin") == 9


def test_a_negated_output_is_an_adder() -> None:
    graph = AdderGraph((BYTE,), (), (Operand(0, 0, True),))
    assert luts(graph, "gowin") == 9


def test_delays_count_where_they_make_luts_useless() -> None:
    chain = (Adder(Operand(0), Operand(0, 1)), Adder(Operand(2), Operand(1)))
    graph = AdderGraph((BYTE, BYTE), chain, (Operand(3),))
    found = estimate(graph, PROFILES["ice40"])
    # 3x: 10 bits, one a wire; its sum with y: 10 bits. y waits for a stage: 8 bits.
    assert (found.luts, found.ffs, found.delays) == (9 + 10, 10 + 10 + 8, 1 + 8)
    assert estimate(graph, PROFILES["ice40"], adders_per_stage=2).delays == 0
    assert found.total == found.luts + found.delays
    assert luts(graph, Profile("wires", cell=0, delay=2)) == 18


def test_unknown_profiles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of ice40, .*, not 'virtex'"):
        luts(csd_graph([[3]]), "virtex")
    with pytest.raises(ValueError, match=r"one of adders, bits, luts:ice40, .*, not 'luts'"):
        optimize([[3]], objective="luts")


@pytest.mark.parametrize("profile", ["ice40", "ecp5"])
def test_the_objective_chooses_among_depths(profile: str) -> None:
    matrix = np.random.default_rng(1).integers(-128, 128, (8, 8))
    found = optimize(matrix, objective=f"luts:{profile}")
    depths = [None, *(minimum_depth(matrix) + k for k in range(3))]
    others = [optimize(matrix, objective="bits", max_depth=depth) for depth in depths]
    assert luts(found, profile) == min(luts(graph, profile) for graph in others)
    assert len({luts(graph, profile) for graph in others}) > 1
    limited = optimize(matrix, objective=f"luts:{profile}", max_depth=0)
    assert limited.depth == minimum_depth(matrix)
