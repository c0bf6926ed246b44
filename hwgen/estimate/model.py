"""Costs of stages by models that are linear in their parts, calibrated by real synthesis."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from hwgen.errors import DataError
from hwgen.estimate.structure import Structure

__all__ = ["COEFFICIENTS", "Cost", "Model", "clock_features", "model_of", "modelled_families"]

COEFFICIENTS = "coefficients.json"
"""File of the package that ``benchmarks/fit_estimates.py`` writes."""


_ALONE = 0.53


@dataclass(frozen=True)
class Cost:
    """Resources: four-input LUTs, flip-flops, memory blocks.

    ``bram_bits`` are the bits that lie in memory blocks, ``spram_bits`` those in single-port
    memories; ``chain`` is the longest carry chain in bits.
    """

    luts: float = 0.0
    ffs: float = 0.0
    brams: int = 0
    bram_bits: int = 0
    spram_bits: int = 0
    chain: int = 0

    @property
    def cells(self) -> float:
        """Logic cells of iCE40: of a LUT and a flip-flop each, of which few flip-flops find a LUT.

        The share of flip-flops that take a cell of their own, carry cells included, is 0.45 to 0.61
        of all in five routed designs.
        """
        return self.luts + _ALONE * self.ffs

    def __add__(self, other: Cost) -> Cost:
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Cost(**both | {"chain": max(self.chain, other.chain)})


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
    period : mapping
        For each device speed of the family, by name, nanoseconds of the clock for each feature of
        :func:`clock_features`.
    """

    family: str
    luts: Mapping[str, float]
    ffs: Mapping[str, float]
    lut_scale: Mapping[str, float]
    ff_scale: Mapping[str, float]
    period: Mapping[str, Mapping[str, float]]

    def cost(self, parts: Structure, form: str) -> Cost:
        """Cost of a stage of this form with these parts."""
        counted = parts.parts(self.family)
        return Cost(
            luts=_dot(self.luts, counted) * self.lut_scale.get(form, self.lut_scale["*"]),
            ffs=_dot(self.ffs, counted) * self.ff_scale.get(form, self.ff_scale["*"]),
            brams=counted.get("blocks", 0),
            bram_bits=counted.get("block_bits", 0),
            chain=parts.chain,
        )

    def clock_mhz(self, total: Cost, speed: str) -> float | None:
        """Clock of a whole design after place and route, in MHz; None if none was measured."""
        period = self.period.get(speed)
        return 1e3 / _dot(period, clock_features(total)) if period else None


def clock_features(total: Cost) -> dict[str, float]:
    """What the clock of a design depends on: its longest carry chain, and how far its wires go."""
    return {"base": 1.0, "chain": float(total.chain), "reach": math.log2(max(total.luts, 2.0))}


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
