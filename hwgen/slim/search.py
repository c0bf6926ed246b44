"""The integration algorithm: all ways to slim a network traded against each other in one budget.

Nagaraju and Chandrachoodan (*Slimmer CNNs*, OJCAS 2023) integrate lower kernels greedily within an
accuracy budget; the rule that follows is our own proposal.

Of every kind of move in every layer the next one is known from the layer's moments, with the error
that it adds there (:mod:`hwgen.slim.proposals`). What it adds to the squared error of the network's
output is tried on some of the choosing images; only the part of the network behind the changed
layers runs. The move that saves most for what it adds is taken. Losses grow slowly while others are
taken, so that those known from before are upper ends of a queue: only its head is tried again, and
taken if it is still ahead (lazy greedy: Minoux 1978).

After a round of moves all layers are fitted again on the calibration images, one behind the other,
and the network is checked on all choosing images. A round that exceeds the budget is taken back and
its first half tried instead; a single move that exceeds it is parked, and the search ends when
several have been. Rounds that were kept are a front of cost and loss.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counter
from typing import Literal

import numpy as np
import numpy.typing as npt

from hwgen.approx.measure import Loss, Yardstick, without_decision
from hwgen.errors import DataError
from hwgen.network.execute import Tensor, run
from hwgen.network.types import Conv, FloatArray, Network
from hwgen.slim._damped import BoolArray
from hwgen.slim.fitting import DAMPING
from hwgen.slim.moves import FeatureMove, Move, State, after, start
from hwgen.slim.objectives import Objective
from hwgen.slim.proposals import (
    FeatureSite,
    Proposal,
    feature_sites,
    propose_features,
    propose_kernels,
)
from hwgen.slim.trial import Fitted, Fitter, Trials, put

__all__ = ["FAMILIES", "Effort", "Family", "Outcome", "Settings", "Step", "search"]

Family = Literal["kernels", "features"]
FAMILIES: tuple[Family, ...] = ("kernels", "features")

Progress = Callable[[str, float], None]

_TRIAL_ELEMENTS = 1 << 27
_SLACK = 1e-9
_LEAST_LOSS = 1e-8


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the search goes about it.

    Attributes
    ----------
    block
        Filters, or channels, of one move: the width of a tile of the hardware, or any number from
        1; fewer make a better result and a longer search.
    trials
        Most choosing images on which single moves are tried.
    step
        Share of the original cost that a round saves, at most.
    patience
        Kinds of moves that are parked before the search ends.
    damping
        Trust in the original weights against the calibration images.
    """

    block: int = 4
    trials: int = 128
    step: float = 0.05
    patience: int = 8
    damping: float = DAMPING


@dataclass(frozen=True)
class Step:
    """A round that was kept: its moves, and the network after it.

    ``cost`` by the objective; ``loss``, ``spoiled`` and ``error`` on all choosing images as in
    :class:`~hwgen.approx.measure.Loss`. Steps of one search after the other are its trajectory; the
    moves of the first few make the network that cost and loss belong to.
    """

    moves: tuple[Move, ...]
    cost: float
    loss: float
    spoiled: float
    error: float


@dataclass(frozen=True)
class Effort:
    """What a search took: trials of a move, checks of the whole network, and fits of all layers.

    ``share`` is the part of the network's multiplications that a trial ran, on average.
    """

    trials: int
    checks: int
    fits: int
    share: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search found.

    Attributes
    ----------
    network
        The original's nodes and shapes with the weights that are left, fitted; the decision that
        ends it included.
    state
        Places of its weights, and recipes.
    steps
        Trajectory; the first has no moves.
    metric, objective, budget
        What loss means (``accuracy``, ``agreement`` or ``error``), what cost means, and the most
        that was to be lost.
    effort
        What it took.
    """

    network: Network
    state: State
    steps: tuple[Step, ...]
    metric: str
    objective: str
    budget: float
    effort: Effort

    @property
    def moves(self) -> tuple[Move, ...]:
        """All moves that led to :attr:`state`."""
        return tuple(move for step in self.steps for move in step.moves)

    @property
    def saved(self) -> float:
        """Share of the original cost that is saved."""
        first = self.steps[0].cost
        return 1 - self.steps[-1].cost / first if first else 0.0


def search(
    network: Network,
    calibration: Tensor,
    x: Tensor,
    y: npt.NDArray[np.integer] | None = None,
    *,
    budget: float,
    objective: Objective,
    families: Collection[Family] = FAMILIES,
    importance: Mapping[str, FloatArray] | None = None,
    settings: Settings | None = None,
    known: Sequence[Step] = (),
    keep: Callable[[Step], None] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Slim ``network`` as far as the budget allows.

    Parameters
    ----------
    network
        Original float network.
    calibration
        Images (N, C, H, W) to which the weights are fitted; their tensors are kept in memory.
    x, y
        Choosing split, other images than the calibration images: images (N, C, H, W), and class
        labels (N,) if there are any.
    budget
        Largest loss: share of accuracy lost if there are labels, of decisions changed if there are
        none, relative output error for a network that makes no decision.
    objective
        What is to be saved.
    families
        Kinds of moves that may be taken.
    importance
        Scores (O,) of the filters by Conv node name, as
        :func:`~hwgen.slim.importance.channel_importance` gives them, by which the least important
        filters of a layer come first; by default those come first whose loss adds least error.
    settings
        Everything else.
    known, keep
        Steps of an earlier search of the same kind, to go on from; and what takes each new one.
    progress
        Called with what is being done and the share of it done, 0 to 1.

    Raises
    ------
    DataError
        If there are no images, or images or labels do not fit.
    ValueError
        If ``budget`` is negative.
    """
    if not budget >= 0:
        raise ValueError(f"Budget must not be negative, not {budget!r}")
    if not len(calibration):
        raise DataError("Fitting a slimmed network needs at least one calibration image")
    for family in families:
        if family not in FAMILIES:
            raise ValueError(f"Family must be one of {', '.join(FAMILIES)}, not {family!r}")
    chosen = settings or Settings()
    logits = without_decision(network)
    judge = _Judge(logits, x, y, budget)
    proposer = _Proposer(logits, families, importance, chosen.block)
    fitter = Fitter(logits, calibration, damping=chosen.damping)
    run_of = _Search(logits, fitter, judge, proposer, objective, chosen, progress or _silent)
    run_of.begin(known)
    run_of.greedy(keep)
    fitted = run_of.fitted.network
    tail = network.nodes[len(logits.nodes) :]
    whole = replace(fitted, nodes=(*fitted.nodes, *tail), output=network.output)
    steps = tuple(run_of.steps)
    effort = run_of.effort()
    state = run_of.fitted.state
    metric = judge.metric
    return Outcome(whole, state, steps, metric, objective.name, budget, effort)


def _silent(what: str, share: float) -> None:
    pass


class _Judge:
    """Losses on all choosing images, and whether they keep the budget."""

    def __init__(
        self, network: Network, x: Tensor, y: npt.NDArray[np.integer] | None, budget: float
    ) -> None:
        self.images, self.budget = x, budget
        self.yardstick = Yardstick.of(network, run(network, x), y)
        self.metric = self.yardstick.metric
        self.checks = 0

    def loss(self, network: Network) -> Loss:
        self.checks += 1
        return self.yardstick.measure(run(network, self.images))

    def keeps(self, loss: Loss) -> bool:
        return loss.loss <= self.budget + _SLACK

    def sample(self, network: Network, most: int) -> tuple[Tensor, Tensor]:
        """Some of the images, and the original's outputs for them."""
        size = sum(math.prod(node.shape) for node in network.nodes) + math.prod(network.input_shape)
        count = max(1, min(most, len(self.images), _TRIAL_ELEMENTS // size))
        indices = np.linspace(0, len(self.images) - 1, count).astype(np.intp)
        return self.images[indices], self.yardstick.reference[indices]


class _Proposer:
    """The next move of every kind in a fitted network."""

    def __init__(
        self,
        network: Network,
        families: Collection[Family],
        importance: Mapping[str, FloatArray] | None,
        block: int,
    ) -> None:
        self._network, self._importance, self._block = network, importance or {}, block
        self._layers = [node.name for node, _ in network.convs() if "kernels" in families]
        self._sites = feature_sites(network) if "features" in families else ()

    def of(self, fitted: Fitted, state: State, layers: Collection[str]) -> list[Proposal]:
        """Proposals that concern what ``layers`` read, and their filters."""
        found = []
        for name in self._layers:
            if name in layers and name != self._network.output:
                found += propose_kernels(
                    name,
                    fitted.problems[name],
                    state.masks[name],
                    block=self._block,
                    importance=self._importance.get(name),
                )
        for site in self._sites:
            if not set(site.readers).isdisjoint(layers):
                proposal = self._feature(site, fitted, state)
                if proposal is not None:
                    found.append(proposal)
        return found

    def _feature(self, site: FeatureSite, fitted: Fitted, state: State) -> Proposal | None:
        readers = {}
        for name in site.readers:
            op = self._network.node(name).op
            assert isinstance(op, Conv)
            readers[name] = (op, fitted.problems[name], state.masks[name])
        return propose_features(
            site, readers, block=self._block, weights=dict.fromkeys(site.readers, 1.0)
        )


class _Costs:
    """Costs of states; a layer that is as it was in the last state is not rated again."""

    def __init__(self, network: Network, objective: Objective) -> None:
        self._network, self._objective = network, objective
        self._known: dict[str, tuple[BoolArray, float]] = {}

    def total(self, state: State) -> float:
        """Cost of the whole network, which from now on is the last state."""
        self._known = {name: (mask, self._of(name, mask)) for name, mask in state.masks.items()}
        return sum(cost for _, cost in self._known.values())

    def saved(self, before: State, behind: State) -> float:
        """What a state costs less than one before it."""
        return sum(
            self._of(name, before.masks[name]) - self._of(name, mask)
            for name, mask in behind.masks.items()
            if mask is not before.masks[name]
        )

    def _of(self, name: str, mask: BoolArray) -> float:
        known = self._known.get(name)
        if known is not None and known[0] is mask:
            return known[1]
        node = self._network.node(name)
        assert isinstance(node.op, Conv)
        op = replace(node.op, weight=np.where(mask, node.op.weight, 0.0))
        return self._objective.layer(
            replace(node, op=op), self._network.shape(node.inputs[0]), None
        )


class _Search:
    """A search as far as it has come."""

    def __init__(
        self,
        network: Network,
        fitter: Fitter,
        judge: _Judge,
        proposer: _Proposer,
        objective: Objective,
        settings: Settings,
        report: Progress,
    ) -> None:
        self._network, self._fitter, self._judge = network, fitter, judge
        self._proposer, self._settings, self._report = proposer, settings, report
        self._costs = _Costs(network, objective)
        self._factors: dict[tuple[str, ...], float] = {}
        self._parked: set[tuple[str, ...]] = set()
        self._most_moves = 1 << 30
        self.steps: list[Step] = []

    def begin(self, known: Sequence[Step]) -> None:
        """Fit the network after the steps that are known."""
        moves = [move for step in known for move in step.moves]
        self._report("Fit the network", 0.0)
        origin = start(self._network)
        self._whole = self._costs.total(origin)
        self.fitted = self._fitter.fit(after(self._network, origin, moves) if moves else origin)
        images, reference = self._judge.sample(self._network, self._settings.trials)
        self._trials = Trials(self.fitted.network, images, reference)
        self.steps = list(known) or [
            self._step((), self.fitted, self._judge.loss(self.fitted.network))
        ]

    def effort(self) -> Effort:
        return Effort(
            self._trials.count, self._judge.checks, self._fitter.count, self._trials.share
        )

    def _step(self, moves: Iterable[Move], fitted: Fitted, loss: Loss) -> Step:
        cost = self._costs.total(fitted.state)
        return Step(tuple(moves), cost, loss.loss, loss.spoiled, loss.error)

    def greedy(self, keep: Callable[[Step], None] | None) -> None:
        """Rounds until too many moves are parked."""
        while len(self._parked) < self._settings.patience:
            saved = 1 - self.steps[-1].cost / self._whole if self._whole else 0.0
            self._report(f"Slim the network ({saved:.1%} saved)", min(saved, 1.0))
            taken = self._round()
            if not taken:
                break
            step = self._confirm(taken)
            if step is not None:
                self.steps.append(step)
                if keep is not None:
                    keep(step)
        self._report("Slim the network", 1.0)

    def _confirm(self, taken: list[Proposal]) -> Step | None:
        """Keep as many of the moves ``taken`` as the budget allows, halving their number."""
        while taken:
            moves = [proposal.move for proposal in taken]
            state = after(self._network, self.fitted.state, moves)
            fitted = self._fitter.fit(state)
            loss = self._judge.loss(fitted.network)
            if self._judge.keeps(loss):
                self.fitted = fitted
                self._trials.rebase(fitted.network)
                return self._step(moves, fitted, loss)
            if len(taken) == 1:
                self._parked.add(taken[0].key)
            taken = taken[: len(taken) // 2]
            self._most_moves = max(1, len(taken))
        self._trials.rebase(self.fitted.network)
        return None

    def _round(self) -> list[Proposal]:
        """Moves that together save a step's share of the cost, the best first."""
        fitted, state = self.fitted, self.fitted.state
        goal = self._costs.total(state) - self._settings.step * self._whole
        numbers = counter()
        queue: list[tuple[float, int, int, Proposal]] = []
        current: dict[tuple[str, ...], Proposal] = {}
        taken: list[Proposal] = []

        def offer(layers: Collection[str]) -> None:
            for proposal in self._proposer.of(fitted, state, layers):
                if proposal.key not in self._parked:
                    current[proposal.key] = proposal
                    push(proposal, after(self._network, state, [proposal.move]), None, -1)

        def push(proposal: Proposal, behind: State, loss: float | None, stamp: int) -> float:
            rate = self._rate(proposal, self._costs.saved(state, behind), loss)
            if rate > 0:
                heapq.heappush(queue, (-rate, next(numbers), stamp, proposal))
            return rate

        offer(state.masks)
        while queue and len(taken) < self._most_moves:
            _, _, stamp, proposal = heapq.heappop(queue)
            if current.get(proposal.key) is not proposal:
                continue
            behind = after(self._network, state, [proposal.move])
            changed = self._changed(fitted, state, behind, proposal.move)
            if stamp != len(taken):
                loss = self._trials.attempt(changed) - self._trials.error
                self._learn(proposal, loss)
                rate = push(proposal, behind, loss, len(taken))
                if rate <= 0 or -queue[0][0] > rate:
                    continue
            del current[proposal.key]
            touched = {n for n, mask in behind.masks.items() if mask is not state.masks[n]}
            state = behind
            self._trials.rebase(put(self._trials.network, changed))
            taken.append(proposal)
            if self._costs.total(state) <= goal:
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

    def _changed(self, fitted: Fitted, before: State, behind: State, move: Move) -> dict[str, Conv]:
        """Operators that a move changes; not of filters that nobody reads any more."""
        named = move.readers if isinstance(move, FeatureMove) else (move.layer,)
        changed = {}
        for name, mask in behind.masks.items():
            if mask is before.masks[name]:
                continue
            rows = (mask != before.masks[name]).any(axis=(1, 2, 3))
            if name not in named:
                rows &= mask.any(axis=(1, 2, 3))
            op = self._trials.network.node(name).op
            assert isinstance(op, Conv)
            if rows.any():
                changed[name] = fitted.layer(name, op, mask, np.flatnonzero(rows).tolist())
        return changed
