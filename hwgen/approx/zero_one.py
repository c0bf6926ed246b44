"""The zero-one program of Cintra et al. (TNNLS 2018) as a value, and its solution by HiGHS.

For weights w at a fixed scale alpha, ``x[i, k]`` is 1 if entry i becomes the k-th number d[k] of
the set:

    minimise    sum_ik (w[i] - alpha * d[k])**2 * x[i, k]
    subject to  sum_k x[i, k] = 1 for every i,  x binary

The costs are constants, so that without more constraints the nearest numbers are optimal
(:func:`nearest`). A limit on signed powers of two or on bits of memory, for a filter, a layer or
the whole network, and a limit on the change of a filter's sum make the choices depend on each
other. :func:`solve_highs` solves all of these; :func:`hwgen.approx.knapsack.solve` those without
the last kind, for whole networks.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import cvxpy
import numpy as np
from scipy import sparse

from hwgen.approx.scale import nearest_codes
from hwgen.approx.sets import DyadicSet
from hwgen.errors import BudgetError
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray

_cvxpy: Any = cvxpy  # its atoms have no type annotations

__all__ = [
    "Block",
    "Limit",
    "Resource",
    "ZeroOneProgram",
    "ZeroOneSolution",
    "nearest",
    "solve_highs",
]

Resource = Literal["terms", "bits"]
"""What a limit counts: signed powers of two in canonical form, or bits of memory."""


@dataclass(frozen=True, eq=False)
class Block:
    """Weights that share a scale and a set: a kernel, a filter or a layer.

    Parameters
    ----------
    weights
        (n,) float64, finite, at least one.
    scale
        The weights become ``scale`` times numbers of the set; above 0.
    dyadic_set
        The set.
    code_bits
        Bits of memory that each numerator of the set takes, in their order; by default the set's
        code width for every one. Where zeros are skipped, that of 0 is 0.
    gain_error
        Largest absolute difference of the sum of the weights (the gain for a constant image). No
        limit if None.

    Raises
    ------
    ValueError
        If one of them is out of range.
    """

    weights: FloatArray
    scale: float
    dyadic_set: DyadicSet
    code_bits: tuple[int, ...] | None = None
    gain_error: float | None = None

    def __post_init__(self) -> None:
        weights = np.array(self.weights, dtype=np.float64)
        if weights.ndim != 1 or weights.size == 0 or not np.isfinite(weights).all():
            raise ValueError("Weights must be a vector of finite numbers, at least one")
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"Scale must be positive and finite, not {self.scale!r}")
        bits = self.code_bits
        if bits is not None and (len(bits) != self.dyadic_set.size or min(bits) < 0):
            raise ValueError(
                f"Code bits must be {self.dyadic_set.size} numbers, none negative, not {bits!r}"
            )
        if self.gain_error is not None and not self.gain_error >= 0:
            raise ValueError(f"Gain error must not be negative, not {self.gain_error!r}")

    def uses(self, resource: Resource) -> IntArray:
        """What each numerator of the set takes of ``resource``, (size,) int64."""
        if resource == "terms":
            return np.array(self.dyadic_set.terms, dtype=np.int64)
        bits = self.code_bits or (self.dyadic_set.code_width,) * self.dyadic_set.size
        return np.array(bits, dtype=np.int64)

    def error(self, codes: IntArray) -> float:
        """Squared error of the weights as ``codes``, numerators of the set."""
        numbers = self.scale * np.ldexp(codes.astype(np.float64), -self.dyadic_set.frac)
        return float(((self.weights - numbers) ** 2).sum())


@dataclass(frozen=True)
class Limit:
    """At most ``most`` of ``resource`` in the codes of ``blocks`` (indices; None: all) together.

    A filter with z terms needs z - 1 adders.
    """

    resource: Resource
    most: int
    blocks: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class ZeroOneProgram:
    """The program: blocks of weights, and limits on filters, layers or the whole network.

    Raises
    ------
    ValueError
        If there is no block, or a limit names one that is not there or one twice.
    """

    blocks: tuple[Block, ...]
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("Zero-one program must have at least one block")
        for limit in self.limits:
            named = self.covered(limit)
            if len(set(named)) != len(named) or not set(named) <= set(range(len(self.blocks))):
                raise ValueError(
                    f"Limit must name each of its blocks once, out of 0 to {len(self.blocks) - 1}, "
                    f"not {named}"
                )

    def covered(self, limit: Limit) -> tuple[int, ...]:
        """Indices of the blocks that ``limit`` holds for."""
        return tuple(range(len(self.blocks))) if limit.blocks is None else limit.blocks

    @property
    def separates(self) -> bool:
        """Whether every weight can be chosen by itself."""
        return not self.limits and all(block.gain_error is None for block in self.blocks)

    def error(self, codes: tuple[IntArray, ...]) -> float:
        """Squared error of all weights as ``codes``, one vector of numerators a block."""
        pairs = zip(self.blocks, codes, strict=True)
        return sum((block.error(chosen) for block, chosen in pairs), 0.0)

    def used(self, codes: tuple[IntArray, ...], limit: Limit) -> int:
        """What ``codes`` take of the limit's resource in its blocks."""
        total = 0
        for index in self.covered(limit):
            block = self.blocks[index]
            position = np.searchsorted(block.dyadic_set.numerators, codes[index])
            total += int(block.uses(limit.resource)[position].sum())
        return total


@dataclass(frozen=True, eq=False)
class ZeroOneSolution:
    """Codes of each block (n,) int64, numerators of its set, and their squared error.

    ``bound`` is proved: no solution has a smaller error, but for rounding. ``relaxation`` is the
    bound that the solver had before it closed the gap: the Lagrangian one of the knapsack, else the
    same as ``bound``.
    """

    codes: tuple[IntArray, ...]
    error: float
    bound: float
    relaxation: float

    @property
    def gap(self) -> float:
        """How far the error may be above the least possible, relative to it; 0 if proved best."""
        return 0.0 if self.error <= self.bound else (self.error - self.bound) / self.error


def nearest(program: ZeroOneProgram) -> ZeroOneSolution:
    """The nearest number for each weight, optimal where the program separates.

    Raises
    ------
    ValueError
        If there is a limit.
    """
    if not program.separates:
        raise ValueError("Zero-one program must have no limit to be solved by nearest points")
    codes = tuple(
        nearest_codes(block.weights[None], np.array([block.scale]), block.dyadic_set)[0]
        for block in program.blocks
    )
    error = program.error(codes)
    return ZeroOneSolution(codes, error, error, error)


def solve_highs(program: ZeroOneProgram, *, time_limit: float = 60.0) -> ZeroOneSolution:
    """The optimum under any limits, stated in cvxpy and found by HiGHS (branch and cut).

    Parameters
    ----------
    program
        The program; some ten thousand weights are solved in seconds.
    time_limit
        Seconds for the solver.

    Raises
    ------
    BudgetError
        If no choice keeps the limits, or none was proved best in time.
    """
    blocks = program.blocks
    numbers = [block.scale * block.dyadic_set.values for block in blocks]
    costs = [((b.weights[:, None] - d) ** 2).ravel() for b, d in zip(blocks, numbers, strict=True)]
    first = np.cumsum([0, *(len(cost) for cost in costs)])
    cost = np.concatenate(costs)
    # relative to the weights' energy, so that the solver's tolerances suit any program
    energy = sum(float((block.weights**2).sum()) for block in blocks) or 1.0
    one_each = sparse.block_diag(
        [_sums_of_rows(block.weights.size, block.dyadic_set.size) for block in blocks], "csr"
    )
    x = _cvxpy.Variable(len(cost), boolean=True)
    constraints = [one_each @ x == 1]
    for limit in program.limits:
        row = np.zeros(len(cost))
        for index in program.covered(limit):
            uses = np.tile(blocks[index].uses(limit.resource), blocks[index].weights.size)
            row[first[index] : first[index + 1]] = uses
        constraints.append(row @ x <= limit.most)
    for index, block in enumerate(blocks):
        if block.gain_error is not None:
            unit = float(np.abs(block.weights).max()) or 1.0
            every = np.tile(numbers[index] / unit, block.weights.size)
            total = every @ x[int(first[index]) : int(first[index + 1])]
            difference = float(block.weights.sum()) / unit - total
            constraints.append(_cvxpy.abs(difference) <= block.gain_error / unit)
    problem = _cvxpy.Problem(_cvxpy.Minimize((cost / energy) @ x), constraints)
    _run_highs(problem, time_limit)
    chosen = np.split(np.asarray(x.value), first[1:-1])
    codes = tuple(
        np.array(block.dyadic_set.numerators, dtype=np.int64)[
            np.argmax(values.reshape(block.weights.size, -1), axis=1)
        ]
        for block, values in zip(blocks, chosen, strict=True)
    )
    error = program.error(codes)
    return ZeroOneSolution(codes, error, error, error)


def _sums_of_rows(rows: int, columns: int) -> Any:
    """Sparse matrix that adds up each row of a ``rows`` by ``columns`` matrix in C order."""
    return sparse.kron(sparse.eye(rows), np.ones((1, columns)))


def _run_highs(problem: Any, time_limit: float) -> None:
    options = {
        "mip_rel_gap": 0.0,
        "mip_abs_gap": 1e-12,
        "mip_feasibility_tolerance": 1e-9,
        "primal_feasibility_tolerance": 1e-10,
        "dual_feasibility_tolerance": 1e-10,
        "time_limit": time_limit,
        "threads": 1,
    }
    try:
        with warnings.catch_warnings():
            # of a solution that is not proved best, which is refused below
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            problem.solve(solver=_cvxpy.HIGHS, highs_options=options)
    except cvxpy.SolverError as failure:
        raise BudgetError(f"Zero-one program was not solved ({failure}); allow more time") from None
    if problem.status != _cvxpy.OPTIMAL:
        raise BudgetError(
            f"Zero-one program with {len(problem.constraints) - 1} limits ended as "
            f"{problem.status!r}; loosen a limit or allow more time"
        )
