"""How much of each layer to take away, by bisection, as a start that few checks find.

Each layer's moves are put in its own order, by what they save for the error that they add to the
layer, which takes no trial. Then every layer alone may add the same to the squared error of the
network's output: how many of its moves that allows is found by bisection on trials. The common
allowance is found by bisection on checks of the whole network. So the checks do not grow with the
number of layers, and the trials with the logarithm of the number of moves. What is left of the
budget is for the greedy search. (Our own reading of a rule of which Nagaraju and Chandrachoodan,
*Slimmer CNNs*, OJCAS 2023, give the idea.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwgen.slim.engine import Engine
from hwgen.slim.moves import FeatureMove, Move, after
from hwgen.slim.proposals import Proposal
from hwgen.slim.rating import Draft

__all__ = ["bisect"]

_FIRST = 1e-4
_GROWTH = 4.0
_NEAR = 1.15
"""Ratio of the allowances between which bisection ends."""
_MOST_ADDED = 0.5
"""Part of a layer's variance beyond which its moves are not worth putting in order."""


def bisect(engine: Engine) -> None:
    """Take as many moves of every layer as one allowance for all of them lets the budget keep."""
    layers = [_Layer(engine, moves) for moves in _orders(engine)]
    taken = [0] * len(layers)
    low, high, best = 0.0, math.inf, 0
    allowance = _FIRST
    while (high / low if low else math.inf) > _NEAR:
        counts = [layer.count(allowance) for layer in layers]
        engine.report(f"Slim all layers alike ({sum(counts)} moves)", 0.0)
        moves = [
            move
            for layer, done, count in zip(layers, taken, counts, strict=True)
            for move in layer.moves[done:count]
        ]
        if not moves and math.isinf(high) and best == sum(len(layer.moves) for layer in layers):
            break
        if not moves or engine.check(moves):
            low, taken, best = allowance, counts, sum(counts)
            allowance = allowance * _GROWTH if math.isinf(high) else math.sqrt(low * high)
        else:
            high = allowance
            allowance = math.sqrt(low * high) if low else allowance / _GROWTH
            if allowance < _FIRST**2:
                break


class _Layer:
    """Moves of one layer in their order, and what the first so many add to the error."""

    def __init__(self, engine: Engine, moves: Sequence[Move]) -> None:
        self.moves = moves
        self._engine, self._origin = engine, engine.fitted
        self._known = {0: 0.0}

    def count(self, allowance: float) -> int:
        """The most first moves that add no more than ``allowance``."""
        low = max(n for n, added in self._known.items() if added <= allowance)
        high = min(
            (n for n, added in self._known.items() if n > low and added > allowance),
            default=len(self.moves) + 1,
        )
        while high - low > 1:
            middle = (low + high) // 2
            if self._added(middle) <= allowance:
                low = middle
            else:
                high = middle
        return low

    def _added(self, count: int) -> float:
        if count not in self._known:
            self._known[count] = self._engine.added(self._origin, self.moves[:count])
        return self._known[count]


def _orders(engine: Engine) -> list[list[Move]]:
    """The moves of every layer, those first that save most for the error that they add."""
    fitted, orders = engine.fitted, []
    for layer in fitted.state.masks:
        state, order = fitted.state, list[Move]()
        added = 0.0
        while added < _MOST_ADDED:
            draft = Draft(state, fitted.filters)
            rated = [
                (engine.saving(draft, proposal) / max(sum(proposal.added.values()), 1e-9), proposal)
                for proposal in engine.proposals(fitted, state, [layer])
                if _owner(proposal) == layer
            ]
            rate, proposal = max(rated, key=lambda each: each[0], default=(0.0, None))
            if proposal is None or rate <= 0:
                break
            order.append(proposal.move)
            added += sum(proposal.added.values())
            state = after(engine.network, state, [proposal.move])
        orders.append(order)
    return orders


def _owner(proposal: Proposal) -> str:
    move = proposal.move
    return move.readers[0] if isinstance(move, FeatureMove) else move.layer
