"""Multiple-choice knapsack: one class for each entry within a budget, at any size, exactly.

A price ``p`` on the resource separates the choices: the sum of the least ``error + p * uses`` less
``p * budget`` bounds every solution from below (Lagrangian relaxation; at the best price this is
the bound by the convex hulls of the choices). The price is found by bisection.

The rest is exact. Let D be the greatest change of the resource by one entry, and let the choices
at the price miss the budget by s. Any better solution differs from them by moves of one entry each
that lose nothing less than 0. Order the moves so that their partial sums stay within D of the way
to the end, at most s + D away: more than ``s + 4 D + 1`` moves would pass one sum twice, and what
lies between could be left out at no loss (the argument of Eisenbrand and Weismantel, Proximity
results and Steinitz lemma, SODA 2018). Hence of all moves that change the resource equally only
that many with the least loss matter, and dynamic programming over these few closes the gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.approx._closing import best_moves, choose, fill_ties, used_at
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray

__all__ = ["Choices", "solve_choices"]

_AT_ONCE = 1 << 20
"""Entries whose moves are looked through together: bounds the memory beside the errors."""


@dataclass(frozen=True, eq=False)
class Choices:
    """Optimum of a multiple-choice knapsack.

    ``choice`` (n,) int16, the class of each entry; ``relaxed``: how far the Lagrangian bound was
    below the optimum; ``price`` of one unit of the resource.
    """

    choice: npt.NDArray[np.int16]
    relaxed: float
    price: float


def solve_choices(errors: FloatArray, uses: IntArray, budget: int) -> Choices | None:
    """One class for each entry, of least total error, that together use at most ``budget``.

    Parameters
    ----------
    errors
        (n, R) float64, at least 0; infinity where an entry has no such class.
    uses
        (R,) int64, ascending: what each class uses.
    budget
        Most that all use together.

    Returns
    -------
    Choices
        The optimum, or None if no choice keeps the budget.
    """
    if int(uses[np.argmin(np.isinf(errors), axis=1)].sum()) > budget:
        return None
    choice = np.zeros(len(errors), dtype=np.int16)
    step = int(uses[-1] - uses[0])
    low, high, met = _bracket(errors, uses, budget, step)
    choose(errors, uses, high, choice)
    slack = budget - int(uses[choice].sum())
    if low == high == 0.0:
        return Choices(choice, 0.0, 0.0)
    if not met:  # equally good moves stand between the two prices
        dearer = np.zeros_like(choice)
        choose(errors, uses, low, dearer)
        slack = fill_ties(choice, dearer, uses, slack)
    lost = _close(errors, uses, high, choice, slack, step)
    return Choices(choice, lost, high)


def _bracket(
    errors: FloatArray, uses: IntArray, budget: int, step: int
) -> tuple[float, float, bool]:
    """Prices at which the choices use too much and not too much, and whether ``step`` is missing.

    Ends as soon as the upper one misses the budget by no more than ``step``.
    """

    def slack(price: float) -> int:
        return budget - int(used_at(errors, uses, price))

    if slack(0.0) >= 0:
        return 0.0, 0.0, True
    low, high = 0.0, 2.0**-40
    while slack(high) < 0:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        left = slack(middle)
        if left < 0:
            low = middle
        else:
            high = middle
            if left <= step:
                return low, high, True
    return low, high, slack(high) <= step


def _close(
    errors: FloatArray,
    uses: IntArray,
    price: float,
    choice: npt.NDArray[np.int16],
    slack: int,
    step: int,
) -> float:
    """Improve ``choice`` in place to the optimum; how far this is above the relaxation."""
    if slack == 0:
        return 0.0  # complementary slackness: what is left of the budget costs nothing
    most = slack + 4 * step + 1
    entry, option, lost = _cheapest_moves(errors, uses, price, choice, most)
    items, item = np.unique(entry, return_inverse=True)
    table = np.full((len(items), len(uses)), np.inf)
    table[item, option] = lost
    offsets = uses[None, :] - uses[choice[items]][:, None]
    reach = most * step
    least, taken = best_moves(offsets, table, -reach, reach)
    sums = np.arange(-reach, slack + 1)
    total = least[: len(sums)] + price * (slack - sums)
    at = int(np.argmin(total))
    value = float(total[at])
    for j in range(len(items) - 1, -1, -1):
        moved = int(taken[j, at])
        if moved >= 0:
            choice[items[j]] = moved
            at -= int(offsets[j, moved])
    return value


def _cheapest_moves(
    errors: FloatArray, uses: IntArray, price: float, choice: npt.NDArray[np.int16], most: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
    """Entry, class and loss at ``price`` of the ``most`` least moves for every change of use."""
    kept: dict[int, tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]] = {}
    offsets = np.unique(uses[:, None] - uses)
    for start in range(0, len(errors), _AT_ONCE):
        part = errors[start : start + _AT_ONCE] + price * uses
        own = choice[start : start + _AT_ONCE]
        base = np.take_along_axis(part, own[:, None].astype(np.intp), axis=1)
        part = np.maximum(part - base, 0.0)
        change = uses[None, :] - uses[own][:, None]
        for offset in offsets[offsets != 0]:
            rows, columns = np.nonzero((change == offset) & np.isfinite(part))
            lost = part[rows, columns]
            rows = rows + start
            if offset in kept:
                before = kept[offset]
                rows = np.concatenate([before[0], rows])
                columns = np.concatenate([before[1], columns])
                lost = np.concatenate([before[2], lost])
            if len(lost) > most:
                least = np.argpartition(lost, most - 1)[:most]
                rows, columns, lost = rows[least], columns[least], lost[least]
            kept[offset] = rows, columns, lost
    every = list(kept.values())
    return (
        np.concatenate([moves[0] for moves in every]),
        np.concatenate([moves[1] for moves in every]),
        np.concatenate([moves[2] for moves in every]),
    )
