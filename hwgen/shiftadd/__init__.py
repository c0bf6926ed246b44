"""Constant matrices as networks of additions, subtractions and shifts."""

from hwgen.shiftadd.graph import Adder, AdderGraph, Operand
from hwgen.shiftadd.optimise import csd_graph, minimum_depth, optimize

__all__ = ["Adder", "AdderGraph", "Operand", "csd_graph", "minimum_depth", "optimize"]
