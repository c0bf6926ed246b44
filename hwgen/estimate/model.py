"""Costs of stages by models that are linear in their parts, calibrated by real synthesis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from hwgen.errors import DataError
from hwgen.estimate.structure import Structure

__all__ = [
    "COEFFICIENTS",
    "FLIP_FLOP",
    "Cost",
    "Model",
    "model_of",
    "modelled_families",
    "period",
]

COEFFICIENTS = "coefficients.json"
"""File of the package that ``benchmarks/fit_estimates.py`` writes."""


FLIP_FLOP = 0.7
"""Nanoseconds from the clock to the output of a flip-flop, and that its input must be early."""

_ALONE = 0.53

_USUAL, _GROWTH = 2000.0, 0.25
"""LUTs of a design whose wires are as long as usual, and by what power paths grow with them.

About half of a path is wires, which grow with the side of what the design covers.
"""


@dataclass(frozen=True)
class Cost:
    """Resources: four-input LUTs, flip-flops, memory blocks.

    ``bram_bits`` are the bits that lie in memory blocks, ``spram_bits`` those in single-port
    memories.
    """

    luts: float = 0.0
    ffs: float = 0.0
    brams: int = 0
    bram_bits: int = 0
    spram_bits: int = 0

    @property
    def cells(self) -> float:
        """Logic cells of iCE40: of a LUT and a flip-flop each, of which few flip-flops find a LUT.

        The share of flip-flops that take a cell of their own, carry cells included, is 0.45 to 0.61
        of all in five routed designs.
        """
        return self.luts + _ALONE * self.ffs

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Model:
    """What parts cost in a family.

    Parameters
    ----------
    luts, ffs : mapping
        LUTs and flip-flops of a bit of each kind of part (:class:`Structure`).
    lut_scale, ff_scale : mapping
        By what these are off for stages of each form, among its neighbours; ``*`` is a form that
        was not measured.
    slowness : mapping
        For each speed of device of the family, by name, how many times as long as estimated
        (:mod:`hwgen.estimate.critical`) the slowest path is after place and route.
    """

    family: str
    luts: Mapping[str, float]
    ffs: Mapping[str, float]
    lut_scale: Mapping[str, float]
    ff_scale: Mapping[str, float]
    slowness: Mapping[str, float]

    def cost(self, parts: Structure, form: str) -> Cost:
        """Cost of a stage of this form with these parts."""
        counted = parts.parts(self.family)
        return Cost(
            luts=_dot(self.luts, counted) * self.lut_scale.get(form, self.lut_scale["*"]),
            ffs=_dot(self.ffs, counted) * self.ff_scale.get(form, self.ff_scale["*"]),
            brams=counted.get("blocks", 0),
            bram_bits=counted.get("block_bits", 0),
        )

    def clock_mhz(self, path: float, luts: float, speed: str) -> float | None:
        """Clock after place and route, in MHz; None if none was measured.

        ``path`` is the slowest path, in nanoseconds at typical routing, without its flip-flops, of
        a design of so many LUTs.
        """
        slowness = self.slowness.get(speed)
        return 1e3 / (slowness * period(path, luts)) if slowness else None


def period(path: float, luts: float) -> float:
    """Nanoseconds of a path with its flip-flops, at typical routing, in a design of a size."""
    longer: float = (luts / _USUAL) ** _GROWTH
    return (path + FLIP_FLOP) * longer


def model_of(family: str) -> Model:
    """The calibrated model of an FPGA family.

    Raises
    ------
    DataError
        If there is none.
    """
    found = _models()
    if family not in found:
        raise DataError(f"Family must be one of {', '.join(found)}, not {family!r}")
    return Model(family, **found[family])


def modelled_families() -> tuple[str, ...]:
    """Families that there are models of."""
    return tuple(_models())


@cache
def _models() -> Mapping[str, Any]:
    text = resources.files("hwgen.estimate").joinpath(COEFFICIENTS).read_text(encoding="utf-8")
    models: Mapping[str, Any] = json.loads(text)
    return models


def _dot(coefficients: Mapping[str, float], counts: Mapping[str, float]) -> float:
    return sum(coefficients.get(name, 0.0) * count for name, count in counts.items())
