"""The adder graph: exact forms, ranges, costs, checks and storage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from constant_matrices import corners, problems
from hypothesis import given, settings

from hwgen import serial
from hwgen.errors import VerifyError
from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, csd_graph, optimize

BYTE = Range(-128, 127)
SEVEN = AdderGraph((BYTE,), (Adder(Operand(0, 3), Operand(0, 0, True)),), (Operand(1),))


def test_range_follows_from_the_linear_form() -> None:
    assert SEVEN.ranges == (BYTE, Range(-896, 889))
    assert SEVEN.output_ranges == (Range(-896, 889),)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems(size=3, limit=20))
def test_ranges_equal_brute_force(problem: tuple) -> None:
    matrix, inputs = problem
    inputs = tuple(Range(r.lo // 4, max(r.lo // 4, r.hi // 4)) for r in inputs)
    graph = optimize(matrix, inputs=inputs)
    everything = np.array(list(itertools.product(*(range(r.lo, r.hi + 1) for r in inputs))))
    shown = AdderGraph(inputs, graph.nodes, tuple(Operand(k) for k in range(len(graph.ranges))))
    values = shown.evaluate(everything)
    assert graph.ranges == tuple(map(Range, values.min(0).tolist(), values.max(0).tolist()))
    out = everything @ matrix
    assert graph.output_ranges == tuple(map(Range, out.min(0).tolist(), out.max(0).tolist()))
    for zeros, column in zip(graph.trailing_zeros, values.T, strict=True):
        assert not (column % (1 << zeros)).any()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(problems())
def test_evaluate_is_exact_at_the_corners(problem: tuple) -> None:
    matrix, inputs = problem
    x = corners(inputs)
    for graph in (optimize(matrix, inputs=inputs), csd_graph(matrix, inputs)):
        result = graph.evaluate(x)
        assert result.dtype == np.int64
        np.testing.assert_array_equal(result, x @ matrix)
        np.testing.assert_array_equal(graph.matrix, matrix)


def test_evaluate_falls_back_to_python_integers() -> None:
    wide = Range(-(1 << 70), 1 << 70)
    graph = optimize([[3], [-5]], inputs=[wide, wide])
    x = np.array([[1 << 70, -(1 << 70)], [-(1 << 70), 1 << 70]], dtype=object)
    result = graph.evaluate(x)
    assert result.dtype == object
    assert result.tolist() == [[8 << 70], [-8 << 70]]
    assert graph.output_ranges == (Range(-8 << 70, 8 << 70),)


def test_evaluate_of_many_vectors_and_of_none() -> None:
    x = np.arange(-128, 127).repeat(9)[:, None]
    np.testing.assert_array_equal(SEVEN.evaluate(x), 7 * x)
    assert SEVEN.evaluate(x[:0]).shape == (0, 1)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[128]], ValueError, r"Input 0 must lie in -128\.\.127, not 128\.\.128"),
        ([[1, 2]], ValueError, r"shape \(N, 1\), not \(1, 2\)"),
        ([1], ValueError, r"shape \(N, 1\), not \(1,\)"),
        ([[1.0]], TypeError, "must be integers, not float64"),
    ],
)
def test_evaluate_rejects(x: list, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SEVEN.evaluate(x)


def test_verify_finds_the_wrong_coefficient() -> None:
    SEVEN.verify([[7]])
    with pytest.raises(VerifyError, match="coefficient 7 at input 0, output 0, not 9"):
        SEVEN.verify([[9]])
    with pytest.raises(VerifyError, match=r"shape \(1, 1\), not \(1, 2\)"):
        SEVEN.verify([[7, 7]])


def test_right_shifts_must_be_exact() -> None:
    six = Adder(Operand(0, 2), Operand(0, 1))
    AdderGraph((BYTE,), (six,), (Operand(1, -1),)).verify([[3]])
    three = AdderGraph((BYTE,), (six, Adder(Operand(1, -1), Operand(0, 3))), (Operand(2),))
    three.verify([[11]])
    assert three.evaluate([[-5]]).tolist() == [[-55]]
    with pytest.raises(VerifyError, match=r"Output 0 .* right by 2, but only 1"):
        AdderGraph((BYTE,), (six,), (Operand(1, -2),)).verify()
    bad = AdderGraph((BYTE,), (six, Adder(Operand(1, -3), Operand(0))), (Operand(2),))
    with pytest.raises(VerifyError, match=r"Node 1 .* right by 3, but only 1"):
        bad.verify()


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ([Adder(Operand(0), Operand(1))], [], "Node 0 .* reads value 1, not an input"),
        ([Adder(Operand(-1), Operand(0))], [], "Node 0 .* reads value -1"),
        ([Adder(Operand(0, 1, True), Operand(0, 0, True))], [], "Node 0 .* negates both"),
        ([], [Operand(1)], "Output 0 .* reads value 1, but there are 1"),
    ],
)
def test_malformed_graphs_are_rejected(nodes: list, outputs: list, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        AdderGraph((BYTE,), tuple(nodes), tuple(outputs))


def test_graph_without_inputs_is_rejected() -> None:
    with pytest.raises(VerifyError, match="at least one input"):
        AdderGraph((), (), ())


@pytest.mark.parametrize(
    ("left", "right", "inputs", "cells"),
    [
        (Operand(0), Operand(1), (Range(0, 15), Range(0, 15)), 5),
        (Operand(0), Operand(1, 2), (Range(0, 15), Range(0, 15)), 5),  # 2 of 7 bits are wires
        (Operand(0), Operand(1, 2, True), (Range(0, 15), Range(0, 15)), 5),
        (Operand(0, 0, True), Operand(1, 2), (Range(0, 15), Range(0, 15)), 7),
        (Operand(0), Operand(1, 4), (Range(0, 15), Range(0, 15)), 0),  # no overlap
        (Operand(0), Operand(1, 4), (Range(-8, 7), Range(0, 15)), 5),  # the sign overlaps
        (Operand(0), Operand(1, 4, True), (Range(0, 15), Range(0, 15)), 5),
    ],
)
def test_adder_cells(left: Operand, right: Operand, inputs: tuple, cells: int) -> None:
    graph = AdderGraph(inputs, (Adder(left, right),), (Operand(2),))
    assert graph.node_bits == (cells,)
    assert graph.bits == cells


def test_negated_output_costs_its_width() -> None:
    graph = AdderGraph((Range(0, 15),), (), (Operand(0, 0, True), Operand(0, 3), None))
    assert graph.bits == 5
    assert graph.adders == graph.depth == 0
    assert graph.output_ranges == (Range(-15, 0), Range(0, 120), Range(0, 0))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(problems())
def test_json_round_trip(problem: tuple) -> None:
    matrix, inputs = problem
    graph = optimize(matrix, inputs=inputs)
    assert AdderGraph.from_json(graph.to_json()) == graph
    assert serial.loads(serial.dumps(graph), [AdderGraph, Adder, Operand, Range]) == graph


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"inputs":[[0,1]]}',
        '{"inputs":[[0,1]],"nodes":[[0,0,0,0,0]],"outputs":[]}',
        '{"inputs":[[0,1]],"nodes":[[0,0,0,0,"1",0]],"outputs":[]}',
        '{"inputs":[[1,0]],"nodes":[],"outputs":[]}',
        '{"inputs":[[0,1]],"nodes":[],"outputs":[[0,-1,0]]}',
    ],
)
def test_damaged_json_is_rejected(text: str) -> None:
    with pytest.raises(VerifyError):
        AdderGraph.from_json(text)


def test_large_graph_is_quick_and_exact() -> None:
    rng = np.random.default_rng(7)
    matrix = rng.integers(-128, 128, (300, 12))
    graph = csd_graph(matrix)
    assert graph.adders > 8000
    x = rng.integers(-128, 128, (5, 300))
    np.testing.assert_array_equal(graph.evaluate(x), x @ matrix)
    assert graph.output_ranges[0].hi == np.maximum(matrix[:, 0] * -128, matrix[:, 0] * 127).sum()
