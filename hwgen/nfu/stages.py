"""Stages of the pipeline: what the hardware is built to, and the cycle model counts."""

from __future__ import annotations

from hwgen.nfu.config import NfuConfig

__all__ = [
    "drain_stage",
    "read_stage",
    "scale_levels",
    "search_stages",
    "tree_levels",
    "write_stage",
]


def read_stage() -> int:
    """Cycles from the issue of a row to that in which NBin is read."""
    return 2


def tree_levels(config: NfuConfig) -> int:
    """Levels of an adder tree of NFU-2, with that in which a row's power is applied."""
    return (config.ti * config.lane.operands - 1).bit_length() + bool(config.lane.shift_width)


def scale_levels(config: NfuConfig) -> int:
    """Levels of the adder tree of NFU-3: the terms of a scale and its constant."""
    return config.scale_terms.bit_length()


def search_stages(config: NfuConfig) -> int:
    """Cycles in which NFU-3 finds the segment of a function; every run passes them."""
    return 0 if config.function is None else 2 * config.function.levels


def write_stage(config: NfuConfig) -> int:
    """Cycles from the issue of a group's last row to that in which NBout is written."""
    arithmetic = tree_levels(config) + scale_levels(config) + search_stages(config)
    return 11 + arithmetic + config.turns


def drain_stage(config: NfuConfig) -> int:
    """Cycles from the issue of a run's last row to that in which it no longer holds another back.

    The next run's first row can be issued three cycles later, and reads partial sums two stages
    before the accumulators': in the cycle after these are written.
    """
    return write_stage(config) - 5 - tree_levels(config)
