"""Constant matrices as networks of additions, subtractions and shifts."""

from hwgen.shiftadd.graph import Adder, AdderGraph, Operand
from hwgen.shiftadd.optimise import Solution, csd_graph, minimum_depth, optimize, solve

__all__ = [
    "Adder",
    "AdderGraph",
    "Operand",
    "Solution",
    "csd_graph",
    "minimum_depth",
    "optimize",
    "solve",
]
