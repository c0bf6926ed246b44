"""Rounds of moves, each checked on all choosing images: the mechanics of a search."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count as counter

import numpy as np

from hwgen.approx.measure import Loss
from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Conv, Network
from hwgen.slim.moves import FeatureMove, Move, RecipeMove, State, after
from hwgen.slim.outcome import Effort, Settings, Step
from hwgen.slim.proposals import Key, Proposal, Proposer
from hwgen.slim.rating import Costs, Draft, Judge
from hwgen.slim.trial import Fitted, Fitter, Trials, put

__all__ = ["Engine", "Progress"]

Progress = Callable[[str, float], None]

_LEAST_LOSS = 1e-8
_LEAST_SAVING = 0.001
"""Part of the cost that is worth a check of its own."""
_Changes = Mapping[str, tuple[Conv, DyadicFilters | None]]


class Engine:
    """A search as far as it has come.

    Parameters
    ----------
    network
        Original network, up to its logits.
    origin
        State to begin with: the whole network, with the finest recipes.
    fitter, judge, proposer, costs
        What makes weights, what knows losses, what knows moves, and what knows costs.
    settings
        How to go about it.
    keep
        Takes each step.
    report
        Hears what is being done.
    """

    def __init__(
        self,
        network: Network,
        origin: State,
        fitter: Fitter,
        judge: Judge,
        proposer: Proposer,
        costs: Costs,
        settings: Settings,
        keep: Callable[[Step], None],
        report: Progress,
    ) -> None:
        self.network, self._origin, self._fitter, self._judge = network, origin, fitter, judge
        self._proposer, self._costs, self._settings = proposer, costs, settings
        self._keep, self.report = keep, report
        self._factors: dict[Key, float] = {}
        self._parked: set[Key] = set()
        self._most_moves = 1 << 30
        self.steps: list[Step] = []

    def begin(self, known: Sequence[Step]) -> None:
        """Fit the network after the steps that are known."""
        self.report("Fit the network", 0.0)
        moves = [move for step in known for move in step.moves]
        state = after(self.network, self._origin, moves) if moves else self._origin
        self.fitted = self._fitter.fit(state)
        self._trials = Trials(self.fitted.network, *self._judge.sample(self._settings.trials))
        if known:
            self.steps = list(known)
        else:
            self._accept((), self.fitted, self._judge.loss(self.fitted.network))

    @property
    def effort(self) -> Effort:
        """What it took so far."""
        return Effort(
            self._trials.count, self._judge.checks, self._fitter.count, self._trials.share
        )

    def greedy(self) -> None:
        """Rounds until too many kinds of moves are parked."""
        whole = self.steps[0].cost
        while len(self._parked) < self._settings.patience:
            saved = 1 - self.steps[-1].cost / whole if whole else 0.0
            self.report(f"Slim the network ({saved:.1%} saved)", min(saved, 1.0))
            taken = self._round()
            if not taken:
                break
            self._confirm(taken)
        self.report("Slim the network", 1.0)

    def proposals(
        self, fitted: Fitted, state: State, layers: Collection[str]
    ) -> Iterator[Proposal]:
        """Proposals in ``state`` that concern ``layers`` and are not parked."""
        for proposal in self._proposer.of(fitted, state, layers):
            if proposal.key not in self._parked:
                yield proposal

    def saving(self, draft: Draft, proposal: Proposal) -> float:
        """Cost that a move saves, as far as that is known without fitting anything."""
        if isinstance(proposal.move, RecipeMove):
            layer = proposal.move.layer
            filters = draft.filters[layer]
            return proposal.share * self._costs.layer(layer, draft.state.masks[layer], filters)
        behind = Draft(after(self.network, draft.state, [proposal.move]), draft.filters)
        return self._costs.saved(draft, behind)

    def added(self, origin: Fitted, moves: Sequence[Move]) -> float:
        """What ``moves`` add to the squared error of the network ``origin``, on some images."""
        self._trials.rebase(origin.network)
        _, changed = self._changed(origin, Draft(origin.state, origin.filters), moves)
        return self._trials.attempt(_operators(changed)) - self._trials.error

    def check(self, moves: Sequence[Move]) -> bool:
        """Fit the network after ``moves`` and keep it if it keeps the budget; whether it does."""
        fitted = self._fitter.fit(after(self.network, self.fitted.state, moves))
        loss = self._judge.loss(fitted.network)
        kept = self._judge.keeps(loss)
        if kept:
            self._accept(moves, fitted, loss)
        return kept

    def _accept(self, moves: Sequence[Move], fitted: Fitted, loss: Loss) -> None:
        self.fitted = fitted
        cost = self._costs.total(Draft(fitted.state, fitted.filters))
        self.steps.append(Step(tuple(moves), cost, loss.loss, loss.spoiled, loss.error))
        self._keep(self.steps[-1])

    def _confirm(self, taken: list[Proposal]) -> None:
        """Keep as many of the moves ``taken`` as the budget allows, halving their number."""
        while taken and not self.check([proposal.move for proposal in taken]):
            if len(taken) == 1:
                self._defer(taken[0])
            taken = taken[: len(taken) // 2]
            self._most_moves = max(1, len(taken))

    def _defer(self, proposal: Proposal) -> None:
        """Take less at once of a kind of moves, or nothing if what it saves is not worth it."""
        saved = self.saving(Draft(self.fitted.state, self.fitted.filters), proposal)
        worth = saved > 2 * _LEAST_SAVING * self.steps[0].cost
        if not (worth and self._proposer.halve(proposal.key)):
            self._parked.add(proposal.key)

    def _round(self) -> list[Proposal]:
        """Moves that together save a step's share of the cost, the best first."""
        fitted = self.fitted
        self._trials.rebase(fitted.network)
        draft = Draft(fitted.state, fitted.filters)
        goal = self._costs.total(draft) - self._settings.step * self.steps[0].cost
        numbers = counter()
        queue: list[tuple[float, int, int, Proposal]] = []
        current: dict[Key, Proposal] = {}
        taken: list[Proposal] = []

        def push(proposal: Proposal, saved: float, loss: float | None, stamp: int) -> float:
            rate = self._rate(proposal, saved, loss)
            if rate > 0:
                heapq.heappush(queue, (-rate, next(numbers), stamp, proposal))
            return rate

        def offer(layers: Collection[str]) -> None:
            for proposal in self.proposals(fitted, draft.state, layers):
                current[proposal.key] = proposal
                push(proposal, self.saving(draft, proposal), None, -1)

        tried: dict[Key, tuple[Draft, _Changes]] = {}
        offer(fitted.state.masks)
        while queue and len(taken) < self._most_moves:
            _, _, stamp, proposal = heapq.heappop(queue)
            key = proposal.key
            if current.get(key) is not proposal:
                continue
            if stamp != len(taken):
                behind, changed = tried[key] = self._changed(fitted, draft, [proposal.move])
                loss = self._trials.attempt(_operators(changed)) - self._trials.error
                self._learn(proposal, loss)
                rate = push(proposal, self._costs.saved(draft, behind), loss, len(taken))
                if rate <= 0 or -queue[0][0] > rate:
                    continue
            behind, changed = tried[key]
            touched = {n for n, m in behind.state.masks.items() if m is not draft.state.masks[n]}
            touched |= changed.keys()
            del current[key]
            draft = behind
            self._trials.rebase(
                put(self._trials.network, {n: op for n, (op, _) in changed.items()})
            )
            taken.append(proposal)
            if self._costs.total(draft) <= goal:
                break
            offer(touched)
        return taken

    def _rate(self, proposal: Proposal, saved: float, loss: float | None) -> float:
        """Cost saved for the loss, by what is known of moves of this kind if it was not tried."""
        if saved <= 0:
            return 0.0
        if loss is None:
            factor = self._factors.get(proposal.key)
            if factor is None:
                return math.inf
            loss = factor * sum(proposal.added.values())
        return saved / max(loss, _LEAST_LOSS)

    def _learn(self, proposal: Proposal, loss: float) -> None:
        factor = max(loss, _LEAST_LOSS) / max(sum(proposal.added.values()), _LEAST_LOSS)
        before = self._factors.get(proposal.key, factor)
        self._factors[proposal.key] = math.sqrt(before * factor)

    def _changed(
        self, fitted: Fitted, draft: Draft, moves: Collection[Move]
    ) -> tuple[Draft, _Changes]:
        """The draft after ``moves``, and the layers that they change.

        Filters that nobody reads any more are left out of these: they change nothing.
        """
        before, behind = draft.state, after(self.network, draft.state, moves)
        named, coarser = set[str](), set[str]()
        for move in moves:
            named.update(move.readers if isinstance(move, FeatureMove) else (move.layer,))
            if isinstance(move, RecipeMove):
                coarser.add(move.layer)
        changed = {}
        for name, mask in behind.masks.items():
            if mask is before.masks[name] and name not in coarser:
                continue
            rows = (mask != before.masks[name]).any(axis=(1, 2, 3)) | (name in coarser)
            if name not in named:
                rows &= mask.any(axis=(1, 2, 3))
            if rows.any():
                op = self._trials.network.node(name).op
                assert isinstance(op, Conv)
                changed[name] = fitted.layer(name, op, behind, np.flatnonzero(rows).tolist())
        made = {name: filters for name, (_, filters) in changed.items() if filters is not None}
        return Draft(behind, {**draft.filters, **made}), changed


def _operators(changed: _Changes) -> dict[str, Conv]:
    return {name: op for name, (op, _) in changed.items()}
