"""The zero-one program under one budget as a multiple-choice knapsack, at whole-network size.

Among the numbers of a set that use equally much of the resource only the nearest to a weight can be
best, so that a weight has one choice for each count of signed powers of two (or width of code):
:mod:`hwgen.approx.choices` finds the optimum over these.
"""

from __future__ import annotations

import numpy as np

from hwgen.approx._closing import class_errors, class_numbers
from hwgen.approx.choices import solve_choices
from hwgen.approx.scale import nearest_codes
from hwgen.approx.zero_one import Block, Limit, Resource, ZeroOneProgram, ZeroOneSolution
from hwgen.errors import BudgetError
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray

__all__ = ["solve"]


def solve(program: ZeroOneProgram) -> ZeroOneSolution:
    """The optimum of a program in which at most one limit holds for each block.

    Takes some 8 bytes a weight and count of terms, and some seconds for ten million weights.

    Raises
    ------
    BudgetError
        If no choice keeps a limit.
    ValueError
        If two limits hold for one block, or the sum of a block is limited.
    """
    limited = [index for limit in program.limits for index in program.covered(limit)]
    if len(set(limited)) < len(limited) or any(b.gain_error is not None for b in program.blocks):
        raise ValueError(
            "Zero-one program must have at most one limit a block and none on its sum to be "
            "solved as a knapsack"
        )
    codes: dict[int, IntArray] = {}
    relaxed = 0.0
    for limit in program.limits:
        covered = program.covered(limit)
        found, below = _solve_one([program.blocks[index] for index in covered], limit)
        codes.update(zip(covered, found, strict=True))
        relaxed += below
    for index in set(range(len(program.blocks))) - codes.keys():
        block = program.blocks[index]
        scale = np.array([block.scale])
        codes[index] = nearest_codes(block.weights[None], scale, block.dyadic_set)[0]
    ordered = tuple(codes[index] for index in range(len(program.blocks)))
    error = program.error(ordered)
    return ZeroOneSolution(ordered, error, error, error - relaxed)


def _solve_one(blocks: list[Block], limit: Limit) -> tuple[list[IntArray], float]:
    """Codes of all blocks under one limit, and how far the relaxation was below them."""
    if not blocks:
        return [], 0.0
    uses = np.unique(np.concatenate([block.uses(limit.resource) for block in blocks]))
    # relative to the greatest weight: no square over- or underflows
    unit = max(float(np.abs(block.weights).max()) for block in blocks) or 1.0
    parts = [_classes(block, limit.resource, uses, unit) for block in blocks]
    ends = np.cumsum([0, *(block.weights.size for block in blocks)])
    errors = np.empty((ends[-1], len(uses)))
    for block, (numbers, first, _), start, end in zip(
        blocks, parts, ends[:-1], ends[1:], strict=True
    ):
        class_errors(block.weights / unit, numbers, first, errors[start:end])
    found = solve_choices(errors, uses, limit.most)
    if found is None:
        raise BudgetError(
            f"Zero-one program must be allowed more than {limit.most} {limit.resource} for "
            f"{ends[-1]} weights; loosen the limit"
        )
    codes = [
        numerators[class_numbers(block.weights / unit, numbers, first, found.choice[start:end])]
        for block, (numbers, first, numerators), start, end in zip(
            blocks, parts, ends[:-1], ends[1:], strict=True
        )
    ]
    return codes, found.relaxed * unit**2


def _classes(
    block: Block, resource: Resource, uses: IntArray, unit: float
) -> tuple[FloatArray, IntArray, IntArray]:
    """The block's numbers in units of ``unit``, class by class, ascending, as numerators too.

    Class r, from ``first[r]`` to ``first[r + 1]``, holds those that use ``uses[r]``.
    """
    own = block.uses(resource)
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], np.append(uses, uses[-1] + 1)).astype(np.int64)
    numerators = np.array(block.dyadic_set.numerators, dtype=np.int64)[order]
    numbers = np.ldexp(numerators.astype(np.float64), -block.dyadic_set.frac) * (block.scale / unit)
    return numbers, first, numerators
