"""Least squares that make coefficients of the estimates out of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from estimate_samples import Design, Row
from scipy.optimize import nnls

__all__ = ["PARTS", "Areas", "fit_designs", "fit_stages"]

_SMALL = 30.0  # LUTs below which an error counts as if there were so many
_WHOLE = "nfu"  # has no neighbours
_MINOR = {
    **dict.fromkeys(("accumulate", "gather", "fork", "concat"), 0.1),
    "argmax": 0.3,
    "piecewise": 0.1,  # made of tables and choices that Yosys makes small
    _WHOLE: 0.0,
}
"""Weights of forms that say little about what parts cost; they have a factor all the same."""

_NOISE = 0.02  # relative error of a design that is none of the factors'
_NEAR, _OWN = 0.3, 0.15  # how far neighbours are thought to change all forms, and one form
PARTS = {
    "luts": (
        *("add", "bypass", "cleared", "compare", "equal", "gate", "graph_adder", "increment"),
        *("inverter", "logic", "lookup", "lutrams", "mux", "ram_bits", "rom_bits", "stage"),
        *("table", "threshold"),
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


def fit_stages(rows: Sequence[Row], resource: str) -> Areas:
    """From stages alone: costs by non-negative least squares of relative errors, then factors."""
    parts = PARTS[resource]
    counts = np.array([[row.parts.get(part, 0) for part in parts] for row in rows], dtype=float)
    taken = np.array([row.taken[resource] for row in rows], dtype=float)
    weights = np.array([_MINOR.get(row.form, 1.0) for row in rows]) / (taken + _SMALL)
    found, _ = nnls(counts * weights[:, None], taken * weights)
    cost = {part: round(float(c), 4) for part, c in zip(parts, found, strict=True) if c > 0}
    plain = Areas(resource, cost, {"*": 1.0})
    scale = {"*": 1.0}
    for form in {row.form for row in rows}:
        pairs = [(plain.of(row), row.taken[resource]) for row in rows if row.form == form]
        guess, real = (np.array(x, dtype=float) for x in zip(*pairs, strict=True))
        importance = 1 / (real + _SMALL) ** 2
        if guess.any():
            scale[form] = float((importance * guess * real).sum() / (importance * guess**2).sum())
    return Areas(resource, cost, scale)


def fit_designs(areas: Areas, designs: Sequence[Design]) -> Areas:
    """The same with factors for stages among neighbours, from the totals of whole designs.

    All factors change by one amount, and each by one of its own, as little as explains the designs
    (least squares with a prior).
    """
    forms = sorted(areas.scale)
    shares = np.zeros((len(designs), len(forms)))
    for d, design in enumerate(designs):
        for row in design.rows:
            form = row.form if row.form in areas.scale else "*"
            shares[d, forms.index(form)] += areas.of(row) / design.taken[areas.resource]
    prior = np.diag([1 / _NEAR, *(1 / _OWN for _ in forms)])
    matrix = np.concatenate([np.column_stack([shares.sum(axis=1), shares]) / _NOISE, prior])
    wanted = np.concatenate([(1 - shares.sum(axis=1)) / _NOISE, np.zeros(len(prior))])
    near, *own = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    scale = {
        form: round(areas.scale[form] * (1.0 if form == _WHOLE else float(1 + near + each)), 4)
        for form, each in zip(forms, own, strict=True)
    }
    return Areas(areas.resource, areas.cost, scale)
