"""How much of each layer to take away, by bisection, as a start that few checks find.

Each layer's moves are put in its own order, by what they save for the error that they add to the
layer, which takes no trial. Then there is a price, the error of the network's output for the cost
saved, that no layer alone may exceed: how many of its moves that allows is found by bisection on
trials. The common price is found by bisection on checks of the whole network. So the checks do not
grow with the number of layers, and the trials with the logarithm of the number of moves. What is
left of the budget is for the greedy search. (Our own reading of a rule of which Nagaraju and
Chandrachoodan, *Slimmer CNNs*, OJCAS 2023, give the idea.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from hwgen.slim.engine import Engine
from hwgen.slim.moves import FeatureMove, Move, after
from hwgen.slim.proposals import Proposal
from hwgen.slim.rating import Draft

__all__ = ["bisect"]

_FIRST = 0.01
"""Squared relative error for the whole cost: the first price."""
_LEAST = 1e-6
_GROWTH = 4.0
_NEAR = 1.15
"""Ratio of the prices between which bisection ends."""
_MOST_ADDED = 0.5
"""Part of a layer's variance beyond which its moves are not worth putting in order."""


def bisect(engine: Engine) -> None:
    """Take as many moves of every layer as one price for all of them lets the budget keep."""
    whole = engine.steps[0].cost or 1.0
    layers = [_Layer(engine, *order, whole) for order in _orders(engine)]
    taken = [0] * len(layers)
    low, high, price = 0.0, math.inf, _FIRST
    while price > _LEAST and (low == 0 or high / low > _NEAR):
        counts = [layer.count(price) for layer in layers]
        engine.report(f"Slim all layers for one price ({sum(counts)} moves)", 0.0)
        moves = [
            move
            for layer, done, count in zip(layers, taken, counts, strict=True)
            for move in layer.moves[done:count]
        ]
        if not moves or engine.check(moves):
            low, taken = price, [max(pair) for pair in zip(taken, counts, strict=True)]
            if all(n == len(layer.moves) for n, layer in zip(taken, layers, strict=True)):
                break
        else:
            high = price
        price = math.sqrt(low * high) if low and high < math.inf else _next(price, high)


def _next(price: float, high: float) -> float:
    return price * _GROWTH if math.isinf(high) else price / _GROWTH


class _Layer:
    """Moves of one layer in their order, what the first so many save, and what they add."""

    def __init__(
        self, engine: Engine, moves: Sequence[Move], saved: Sequence[float], whole: float
    ) -> None:
        self.moves = moves
        self._engine, self._origin = engine, engine.fitted
        self._shares = [0.0, *(each / whole for each in accumulate(saved))]
        self._added = {0: 0.0}

    def count(self, price: float) -> int:
        """The most first moves that add no more than ``price`` for each part of the cost."""
        low, high = 0, len(self.moves) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if middle not in self._added:
                self._added[middle] = self._engine.added(self._origin, self.moves[:middle])
            if self._added[middle] <= price * self._shares[middle]:
                low = middle
            else:
                high = middle
        return low


def _orders(engine: Engine) -> list[tuple[list[Move], list[float]]]:
    """Moves of every layer, and what they save: those first that save most for what they add."""
    fitted, orders = engine.fitted, []
    for layer in fitted.state.masks:
        state, order, saved = fitted.state, list[Move](), list[float]()
        added = 0.0
        while added < _MOST_ADDED:
            draft = Draft(state, fitted.filters)
            rated = [
                (engine.saving(draft, proposal), proposal)
                for proposal in engine.proposals(fitted, state, [layer])
                if _owner(proposal) == layer
            ]
            saving, proposal = max(rated, key=_rate, default=(0.0, None))
            if proposal is None or saving <= 0:
                break
            order.append(proposal.move)
            saved.append(saving)
            added += sum(proposal.added.values())
            state = after(engine.network, state, [proposal.move])
        orders.append((order, saved))
    return orders


def _rate(rated: tuple[float, Proposal]) -> float:
    saving, proposal = rated
    return saving / max(sum(proposal.added.values()), 1e-9)


def _owner(proposal: Proposal) -> str:
    move = proposal.move
    return move.readers[0] if isinstance(move, FeatureMove) else move.layer
