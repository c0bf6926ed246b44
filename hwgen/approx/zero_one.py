"""The zero-one program of Cintra et al. (TNNLS 2018), stated in cvxpy and solved by HiGHS.

For one filter w and a fixed scale alpha, ``x[i, k]`` is 1 if entry i becomes the k-th number d[k]
of the set:

    minimise    sum_ik (w[i] - alpha * d[k])**2 * x[i, k]
    subject to  sum_k x[i, k] = 1 for every i,  x binary

The costs are constants, so that without more constraints the nearest numbers are optimal (see
:mod:`hwgen.approx.scale`). With a limit on adders or on the change of the filter's sum the choices
depend on each other, and this is how they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cvxpy
import numpy as np

from hwgen.approx.sets import DyadicSet
from hwgen.errors import BudgetError
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray

_cvxpy: Any = cvxpy  # its atoms have no type annotations

__all__ = ["ZeroOneSolution", "solve_zero_one"]


@dataclass(frozen=True, eq=False)
class ZeroOneSolution:
    """Codes (n,) int64, numerators of the set, and their squared error."""

    codes: IntArray
    error: float


def solve_zero_one(
    weights: FloatArray,
    scale: float,
    dyadic_set: DyadicSet,
    *,
    terms: int | None = None,
    gain_error: float | None = None,
    time_limit: float = 60.0,
) -> ZeroOneSolution:
    """Best codes of one filter at a fixed scale under the given constraints.

    Parameters
    ----------
    weights
        (n,) float64, finite, n at least 1.
    scale
        The filter is ``scale`` times numbers of the set; above 0.
    dyadic_set
        The set.
    terms
        Most signed powers of two in all codes together: with z of them the filter needs z - 1
        adders. No limit if None.
    gain_error
        Largest absolute difference of the filter's sum (its gain for a constant image). No limit
        if None.
    time_limit
        Seconds for the solver.

    Raises
    ------
    BudgetError
        If no choice keeps the constraints, or none was proved best in time.
    ValueError
        If ``weights`` or ``scale`` is out of range.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 1 or weights.size == 0 or not np.isfinite(weights).all():
        raise ValueError("Weights must be a vector of finite numbers, at least one")
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"Scale must be positive and finite, not {scale!r}")
    numbers = scale * dyadic_set.values
    # relative to the filter's energy, so that the solver's tolerances suit any filter
    energy = float((weights**2).sum()) or 1.0
    cost = (weights[:, None] - numbers) ** 2 / energy
    x = _cvxpy.Variable(cost.shape, boolean=True)
    constraints = [_cvxpy.sum(x, axis=1) == 1]
    if terms is not None:
        constraints.append(_cvxpy.sum(x @ np.array(dyadic_set.terms, dtype=np.float64)) <= terms)
    if gain_error is not None:
        unit = float(np.abs(weights).max()) or 1.0
        difference = (weights.sum() - _cvxpy.sum(x @ numbers)) / unit
        constraints.append(_cvxpy.abs(difference) <= gain_error / unit)
    problem = _cvxpy.Problem(_cvxpy.Minimize(_cvxpy.sum(_cvxpy.multiply(cost, x))), constraints)
    options = {"mip_rel_gap": 0.0, "mip_abs_gap": 1e-12, "time_limit": time_limit, "threads": 1}
    try:
        problem.solve(solver=_cvxpy.HIGHS, highs_options=options)
    except cvxpy.SolverError as failure:
        raise BudgetError(f"Zero-one program was not solved ({failure}); allow more time") from None
    if problem.status != _cvxpy.OPTIMAL:
        limits = f"{terms} terms" if gain_error is None else f"{terms} terms, gain {gain_error}"
        raise BudgetError(
            f"Zero-one program for set {dyadic_set.name} with limits ({limits}) ended as "
            f"{problem.status!r}; loosen a limit or allow more time"
        )
    chosen = np.argmax(np.asarray(x.value), axis=1)
    codes = np.array(dyadic_set.numerators, dtype=np.int64)[chosen]
    error = float(((weights - numbers[chosen]) ** 2).sum())
    return ZeroOneSolution(codes, error)
