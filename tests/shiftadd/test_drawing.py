"""Drawings of adder graphs: whole, readable, the same each time."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from hwgen.numeric import Range
from hwgen.shiftadd import Adder, AdderGraph, Operand, csd_graph, optimize
from hwgen.shiftadd.drawing import graph_svg, linear_form

BYTE = Range(-128, 127)


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(e.itertext()).strip() for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_value_and_what_edges_do() -> None:
    graph = AdderGraph(
        (BYTE, BYTE),
        (Adder(Operand(0, 3), Operand(0, 0, True)), Adder(Operand(1, 2), Operand(2))),
        (Operand(3, 1), Operand(2, 0, True), None),
    )
    found = texts(graph_svg(graph))
    assert sorted(found) == sorted(
        ["x0", "x1", "7x0", "7x0 + 4x1", "y0", "y1", "y2 = 0", "<<3", "-", "<<2", "<<1", "-"]
    )


@pytest.mark.parametrize("matrix", [[[0]], [[1]], [[5, 0, -3]], np.ones((3, 1), int)])
def test_any_small_matrix(matrix: list) -> None:
    graph = optimize(matrix)
    svg = graph_svg(graph)
    assert svg == graph_svg(AdderGraph.from_json(graph.to_json()))
    found = texts(svg)
    for k in range(len(graph.inputs)):
        assert f"x{k}" in found
    for k in range(len(graph.outputs)):
        assert any(text.split(" ")[0] == f"y{k}" for text in found)


def test_a_large_graph_has_dots() -> None:
    graph = csd_graph(np.random.default_rng(0).integers(-128, 128, (8, 8)))
    svg = graph_svg(graph)
    assert texts(svg) == []
    assert svg.count("<use ") >= len(graph.ranges)


def test_linear_forms() -> None:
    graph = optimize([[3, 1], [-1, 0], [0, 0], [5, 0], [7, 0], [9, 0]])
    assert linear_form(graph, 1) == "x1"
    assert linear_form(graph, graph.outputs[0].source) in (
        "3x0 - x1 + 5x3 + 7x4 + ...",
        "-3x0 + x1 - 5x3 - 7x4 + ...",
    )
