"""Synthesised netlists as Verilog that simulates fast: a model of each cell, in few operations.

The vendors' models of cells, which Yosys ships, say what a cell does; simulated one by one they
take minutes to compile for a few thousand cells. Here each cell becomes what it does with its
parameters and constant pins: a LUT a few operators, flip-flops that share an enable one block, a
memory one array. Tests compare every kind of cell with Yosys's model of it.
"""

from hwgen.toolchain.gates.netlist import netlist_to_verilog

__all__ = ["netlist_to_verilog"]
