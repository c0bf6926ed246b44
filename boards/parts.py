"""FPGAs that several boards have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hwgen.boards.types import Capacity
from hwgen.toolchain.nextpnr import Device

__all__ = ["ECP5", "ecp5_device"]

ECP5: Mapping[str, Capacity] = MappingProxyType(
    {
        "25": Capacity(24_288, 24_288, 56, 56 * 18_432, 28),
        "45": Capacity(43_848, 43_848, 108, 108 * 18_432, 72),
        "85": Capacity(83_640, 83_640, 208, 208 * 18_432, 156),
    }
)
"""Lattice LFE5U by size, in thousands of LUTs."""


def ecp5_device(size: str, *, speed: str) -> Device:
    """A Lattice LFE5U of ``size`` in the package CABGA381."""
    return Device("ecp5", (f"--{size}k", "--package", "CABGA381", "--speed", speed))
