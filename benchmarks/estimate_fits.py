"""Least squares that make coefficients of the estimates out of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from estimate_samples import Design, Row
from scipy.optimize import nnls

__all__ = ["PARTS", "Areas", "fit"]

_SMALL = 30.0  # LUTs below which an error counts as if there were so many
_MINOR = {
    **dict.fromkeys(("accumulate", "gather", "fork", "concat"), 0.1),
    "argmax": 0.3,
    "piecewise": 0.1,  # made of tables and choices that Yosys makes small
    "nfu": 0.0,
}
"""Weights of random stages that say little about what parts cost; they have a factor all the same.
"""

PARTS = {
    "luts": (
        *("add", "bypass", "cleared", "compare", "equal", "gate", "graph_adder", "increment"),
        *("inverter", "logic", "lookup", "lutrams", "mux", "odd", "ram_bits", "rom_bits", "short"),
        *("stage", "table", "threshold"),
    ),
    "ffs": ("register", "read", "ram_bits", "bypass"),
}
"""Parts that cost LUTs, and those that cost flip-flops."""


@dataclass(frozen=True)
class Areas:
    """What a bit of each part costs of a resource, and by what that is off for each form.

    The factor of ``*`` is for forms that are not in the samples.
    """

    resource: str
    cost: Mapping[str, float]
    scale: Mapping[str, float]

    def of(self, row: Row) -> float:
        """Prediction for a stage."""
        scale = self.scale.get(row.form, self.scale["*"])
        return scale * sum(self.cost.get(part, 0.0) * n for part, n in row.parts.items())

    def total(self, design: Design) -> float:
        """Prediction for a whole design."""
        return sum(map(self.of, design.rows))

    def error(self, taken: Row | Design) -> float:
        """Relative error of a stage or a whole design."""
        predicted = self.of(taken) if isinstance(taken, Row) else self.total(taken)
        return predicted / taken.taken[self.resource] - 1


def fit(samples: Sequence[Row], designs: Sequence[Design], resource: str) -> Areas:
    """Costs by non-negative least squares of relative errors of all stages, then factors of forms.

    A factor is what all stages of a form take together over what their parts cost: in the designs,
    where there are such stages, since those are what is to be predicted; else in the samples.
    """
    parts = PARTS[resource]
    planned = [row for design in designs for row in design.rows]
    rows = [*samples, *planned]
    counts = np.array([[row.parts.get(part, 0) for part in parts] for row in rows], dtype=float)
    taken = np.array([row.taken[resource] for row in rows], dtype=float)
    kind = [_MINOR.get(row.form, 1.0) for row in samples] + [1.0] * len(planned)
    weights = np.array(kind) / (taken + _SMALL)
    found, _ = nnls(counts * weights[:, None], taken * weights)
    cost = {part: round(float(c), 4) for part, c in zip(parts, found, strict=True) if c > 0}
    plain = Areas(resource, cost, {"*": 1.0})
    scale = {"*": 1.0}
    for form in {row.form for row in rows}:
        alike = [row for row in planned if row.form == form]
        alike = alike or [row for row in samples if row.form == form]
        real = sum(row.taken[resource] for row in alike)
        scale[form] = round((real + _SMALL) / (sum(map(plain.of, alike)) + _SMALL), 4)
    return Areas(resource, cost, scale)
