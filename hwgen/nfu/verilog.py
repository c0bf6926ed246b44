"""Verilog of an NFU."""

from __future__ import annotations

import re

from amaranth.back import rtlil
from amaranth.lib import wiring

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.core import Nfu
from hwgen.toolchain.yosys import rtlil_to_verilog

__all__ = ["component_verilog", "emit"]

_MEMORY = re.compile(r"^(\s*)(reg \[\d+:0\] \S+ +\[\d+:0\];)$", re.MULTILINE)


def emit(config: NfuConfig, *, name: str = "nfu") -> str:
    """Verilog of the NFU with these parameters, top module ``name``."""
    return component_verilog(Nfu(config), name=name)


def component_verilog(component: wiring.Component, *, name: str) -> str:
    """Verilog of a component that is or holds an NFU, top module ``name``.

    Every memory has the attribute ``no_rw_check``: no program reads a word while it is written (the
    rules that the golden executor checks), and without it Yosys builds registers and multiplexers
    round each memory that give the old word in that case.
    """
    text = rtlil_to_verilog(rtlil.convert(component, name=name, emit_src=False))
    return _MEMORY.sub(r"\1(* no_rw_check *)\n\1\2", text)
