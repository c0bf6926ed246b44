"""Blocks as RTLIL, which counts and paths are read off."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

from amaranth.back import rtlil
from amaranth.lib import wiring

from hwgen.stream.blocks import Stage, component

__all__ = ["alike", "block_rtlil", "stage_rtlil", "uncollected"]

NAME = "stage"
"""What the top module of every block is called here."""


def alike(stage: Stage) -> Stage:
    """The stage without its names and places: layers that are alike have equal ones."""
    return replace(stage, name=NAME, node="", layer="", sources=(), latency=0, gives=False)


def stage_rtlil(stage: Stage) -> str:
    """RTLIL of the block of a stage; that of the last few hundred is remembered."""
    return _stage_rtlil(alike(stage))


@lru_cache(maxsize=256)
def _stage_rtlil(stage: Stage) -> str:
    return block_rtlil(component(stage))


def block_rtlil(block: wiring.Component) -> str:
    """RTLIL of a block, as :func:`amaranth.back.rtlil.convert` writes it."""
    with uncollected():
        text: str = rtlil.convert(block, name=NAME, emit_src=False)
    return text


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave garbage until afterwards: a netlist is a million objects, nearly all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
