"""NFUs of several tiles that could run a network, with their exact cycles and predicted cost."""

from __future__ import annotations

from dataclasses import replace

from hwgen.boards import Board
from hwgen.errors import ResourceError, UnsupportedError, VerifyError
from hwgen.estimate.model import model_of
from hwgen.estimate.structure import of_component
from hwgen.flow.candidates import System
from hwgen.flow.options import Memory
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import compile_network
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.fit import fit_config
from hwgen.nfu.spram import SpramMemory
from hwgen.nfu.system import NfuSystem, frame_cycles

__all__ = ["nfu_candidates"]

_TILES = ((2, 2), (4, 4), (8, 8), (16, 16))
_SHALLOW, _DEEP = 256, 512  # words of a block at its full width: of iCE40, and of ECP5


def nfu_candidates(network: IntegerNetwork, board: Board) -> list[System]:
    """NFUs that can run the network; none if its operators are not those of an NFU."""
    memory: Memory = "spram" if board.capacity.spram_bits else "bram"
    depth = _SHALLOW if board.family == "ice40" else _DEEP
    found = []
    for tn, ti in _TILES:
        try:
            config = fit_config(network, tn=tn, ti=ti, depth=depth)
            compiled = compile_network(network, config)
        except (UnsupportedError, ResourceError, VerifyError):
            continue
        kind = SpramMemory if memory == "spram" else BlockMemory
        memories = kind(config, compiled.program, compiled.memory)
        system = NfuSystem(config, compiled, memories)
        parts = of_component(system, "nfu")
        cost = model_of(board.family).cost(parts, "nfu")
        count = count_cycles(config, compiled.program, memories.timing)
        found.append(
            System(
                f"NFU {tn} x {ti}",
                replace(cost, spram_bits=memories.single_port_bits),
                frame_cycles(config, compiled, count.total),
                {"backend": "nfu", "tile": (tn, ti), "memory": memory},
            )
        )
    return found
