"""The cheapest recipe for each layer within a budget, and every trade-off beside it.

First each layer alone: a few of its options are tried in the float network, from which follows how
much of the error of any option reaches the output (:mod:`hwgen.approx.sensitivity`). On the convex
hull of (cost, output error) of every layer lie the steps that save most for the error that they
add. Then all layers together: the steps are put in the order of that rate, and the network is
checked on the whole choosing split along this order, at costs a constant factor apart. The longest
run of steps that keeps the budget is found by bisection; steps beyond it are tried one by one, so
that one sensitive layer does not stop the others. No check is lost: those that no other beats are
the Pareto front.

To keep chance out of the choice on few images, right decisions that are spoiled must not exceed the
budget either, whatever wrong ones become right, and this with the outputs' error enlarged by a
factor that falls with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from hwgen.approx.candidates import LayerCost, Option
from hwgen.approx.front import Check, Front, pareto
from hwgen.approx.measure import Yardstick, mean_terms, without_decision
from hwgen.approx.recipes import Recipe, mix_name
from hwgen.approx.sensitivity import Probe, predict, probe_layer
from hwgen.approx.types import ApproxNetwork
from hwgen.errors import BudgetError
from hwgen.network.execute import Tensor, run, run_all
from hwgen.network.types import Network

__all__ = ["SearchResult", "search"]

Progress = Callable[[str, float], None]
Realise = Callable[[Mapping[str, Recipe]], ApproxNetwork]
Execute = Callable[[ApproxNetwork, Tensor], Tensor]

_PROBES = 128
_PROBE_ELEMENTS = 1 << 28
_CHECKS = 10
_SINGLES = 10
_PATIENCE = 5
_RESOLUTION = 0.01
_SLACK = 1e-9


@dataclass(frozen=True)
class SearchResult:
    """The front, and how it came about: every probe of one layer and every check of all."""

    front: Front
    probes: tuple[Probe, ...]
    checks: tuple[Check, ...]


def search(
    network: Network,
    x: Tensor,
    y: npt.NDArray[np.integer] | None = None,
    *,
    budget: float,
    options: Mapping[str, Sequence[Option]],
    realise: Realise,
    cost: LayerCost,
    cost_name: str = "terms",
    reference: Network | None = None,
    execute: Execute | None = None,
    known: Mapping[str, Check] | None = None,
    keep: Callable[[Check], None] | None = None,
    probes: int = _PROBES,
    progress: Progress | None = None,
) -> SearchResult:
    """Search recipes for all layers: the front of cost and loss, and the cheapest in the budget.

    Parameters
    ----------
    network
        Float network.
    x, y
        Choosing split: images (N, C, H, W), and class labels (N,) if there are any.
    budget
        Largest loss: share of accuracy lost if there are labels, of decisions changed if there are
        none, relative output error for a network that makes no decision.
    options
        Of each linear layer, from :func:`~hwgen.approx.candidates.layer_options`.
    realise
        Gives the approximated network of a mix; it must be the same for the same mix.
    cost, cost_name
        What is to be saved, a layer, and its name.
    reference
        Network whose decisions and outputs every loss is measured against, if it is not
        ``network`` itself: the one that a slimmed ``network`` was made of, so that one budget
        covers both steps.
    execute
        Gives the output of an approximated network, in reals, for images; in floating point by
        default. Running its integer network instead makes the budget cover all rounding. A final
        Softmax or ArgMax is taken off the network first.
    known, keep
        Checks of an earlier search of the same kind, by mix; and what takes each new one.
    probes
        Most images on which one layer at a time is tried; the whole split decides.
    progress
        Called with what is being done and the share of it done, 0 to 1.

    Raises
    ------
    BudgetError
        If even the finest options exceed the budget; the text says what they reach.
    DataError
        If there are no images, or images or labels do not fit.
    ValueError
        If ``budget`` is negative.
    """
    if not budget >= 0:
        raise ValueError(f"Budget must not be negative, not {budget!r}")
    report = progress or _silent
    exact = without_decision(network)
    original = exact if reference is None else without_decision(reference)
    yardstick = Yardstick.of(original, run(original, x), y)
    yardstick = replace(yardstick, safety=_safety(len(x), budget))
    joint = _Joint(options, realise, cost, execute or _run, x, yardstick, known or {}, keep)
    start = joint.check(())
    if start.loss > budget + _SLACK:
        raise BudgetError(
            f"Even the finest recipes lose {start.loss:.2%} ({yardstick.metric}) on "
            f"{len(x)} images, more than the budget of {budget:.2%}; allow a larger budget or "
            "finer recipes"
        )
    # what a layer adds to an error is measured from the network that it is added to
    own = yardstick if reference is None else Yardstick.of(exact, run(exact, x), y)
    measured, moves = _sensitivities(exact, x, own, options, probes, report)
    spoiled = max(budget, start.spoiled, 1 / len(x)) + _SLACK

    def keeps(check: Check) -> bool:
        return check.loss <= budget + _SLACK and check.spoiled <= spoiled

    low, high = _along(joint, moves, keeps, report)
    low = _bisect(joint, moves, low, high, keeps, report)
    _singles(joint, moves, low, keeps, report)
    checks = tuple(joint.checks)
    points = pareto(checks)
    chosen = next(p.name for p in points if keeps(joint.seen[p.mix]))
    front = Front(yardstick.metric, cost_name, budget, len(x), points, chosen)
    return SearchResult(front, measured, checks)


def _safety(images: int, budget: float) -> float:
    """How many times further off the outputs may be before decisions count as spoiled.

    One plus the relative standard deviation of the number of images that the budget allows to be
    lost, at most 2: a few images that all stay right by a hair promise little for others.
    """
    return 1.0 + 1.0 / math.sqrt(max(1.0, images * budget))


def _silent(what: str, share: float) -> None:
    pass


def _run(approx: ApproxNetwork, x: Tensor) -> Tensor:
    return run(approx.to_network(), x)


@dataclass(frozen=True)
class _Move:
    """Take option ``index`` of ``layer``, which saves so much cost by the estimate."""

    layer: str
    index: int
    saved: float


class _Joint:
    """Checks of the whole network on the whole choosing split, each mix once."""

    def __init__(
        self,
        options: Mapping[str, Sequence[Option]],
        realise: Realise,
        cost: LayerCost,
        execute: Execute,
        x: Tensor,
        yardstick: Yardstick,
        known: Mapping[str, Check],
        keep: Callable[[Check], None] | None,
    ) -> None:
        self.options = options
        self.seen: dict[str, Check] = {}
        self._realise, self._cost, self._execute = realise, cost, execute
        self._x, self._yardstick = x, yardstick
        self._known, self._keep = known, keep

    @property
    def checks(self) -> list[Check]:
        return list(self.seen.values())

    def check(self, moves: Sequence[_Move]) -> Check:
        """The network after ``moves`` from the finest options."""
        choice = dict.fromkeys(self.options, 0) | {move.layer: move.index for move in moves}
        mix = {name: self.options[name][index].recipe for name, index in choice.items()}
        name = mix_name(mix)
        if name not in self.seen:
            known = self._known.get(name)
            self.seen[name] = known or self._measure(name, mix)
            if known is None and self._keep is not None:
                self._keep(self.seen[name])
        return self.seen[name]

    def _measure(self, name: str, mix: Mapping[str, Recipe]) -> Check:
        approx = self._realise(mix)
        ops = {node.name: op for node, op in approx.network.convs()}
        cost = sum(self._cost(layer, ops[layer], made) for layer, made in approx.filters)
        logits = replace(approx, network=without_decision(approx.network))
        loss = self._yardstick.measure(self._execute(logits, self._x))
        return Check(name, cost, mean_terms(approx), loss.loss, loss.spoiled, loss.error)


def _sensitivities(
    network: Network,
    x: Tensor,
    yardstick: Yardstick,
    options: Mapping[str, Sequence[Option]],
    probes: int,
    report: Progress,
) -> tuple[tuple[Probe, ...], list[_Move]]:
    """Probes of all layers, and moves along every layer's hull, best rate first."""
    size = sum(math.prod(node.shape) for node in network.nodes) + math.prod(network.input_shape)
    count = max(1, min(probes, len(x), _PROBE_ELEMENTS // size))
    indices = np.linspace(0, len(x) - 1, count).astype(np.intp)
    cached, part = run_all(network, x[indices]), yardstick.take(indices)
    found: list[Probe] = []
    rated: list[tuple[float, int, _Move]] = []
    for number, (name, ladder) in enumerate(options.items()):
        report("Sensitivity of each layer", number / len(options))
        tried = probe_layer(network, cached, part, name, ladder)
        found += tried
        errors = predict([option.error for option in ladder], tried)
        points = [(o.cost, error) for o, error in zip(ladder, errors, strict=True)]
        here = 0
        for rate, index in _hull_rates(points):
            rated.append((rate, number, _Move(name, index, points[here][0] - points[index][0])))
            here = index
    report("Sensitivity of each layer", 1.0)
    rated.sort(key=lambda entry: (-entry[0], entry[1], entry[2].index))
    return tuple(found), [move for _, _, move in rated]


def _hull_rates(points: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """(cost saved per error added, index) of the steps along the lower convex hull.

    ``points`` are (cost, error) with falling cost. Rates fall along the hull, so that sorting by
    rate keeps the order within a layer.
    """
    rates: list[tuple[float, int]] = []
    here = 0
    while here < len(points) - 1:
        best, target = -1.0, here + 1
        for index in range(here + 1, len(points)):
            saved, added = points[here][0] - points[index][0], points[index][1] - points[here][1]
            rate = saved / added if added > 0 else math.inf
            if rate >= best:
                best, target = rate, index
        rates.append((best, target))
        here = target
    return rates


def _along(
    joint: _Joint, moves: Sequence[_Move], keeps: Callable[[Check], bool], report: Progress
) -> tuple[int, int]:
    """Check along the order of ``moves``, at costs a constant factor apart.

    Returns the most moves that keep the budget, and the fewest beyond that do not (or one more than
    there are).
    """
    whole = sum(ladder[0].cost for ladder in joint.options.values())
    saved = np.array([0.0, *accumulate(move.saved for move in moves)])
    logs = np.log1p(np.maximum(whole - saved, 0.0))
    targets = np.linspace(logs[0], logs[-1], _CHECKS)
    counts = sorted({int(np.abs(logs - target).argmin()) for target in targets} | {0, len(moves)})
    kept = []
    for number, count in enumerate(counts):
        report("All layers together", 0.4 * number / len(counts))
        kept.append(keeps(joint.check(moves[:count])))
    last = max((number for number, fine in enumerate(kept) if fine), default=0)
    beyond = counts[last + 1] if last + 1 < len(counts) else len(moves) + 1
    return counts[last], beyond


def _bisect(
    joint: _Joint,
    moves: Sequence[_Move],
    low: int,
    high: int,
    keeps: Callable[[Check], bool],
    report: Progress,
) -> int:
    """Most moves that keep the budget, between ``low`` that do and ``high`` that do not."""
    number = 0
    while high - low > 1:
        report("All layers together", 0.4 + 0.2 * (1 - 0.7**number))
        between = sum(move.saved for move in moves[low : high - 1])
        if between <= _RESOLUTION * joint.check(moves[:low]).cost:
            break
        middle = (low + high) // 2
        if keeps(joint.check(moves[:middle])):
            low = middle
        else:
            high = middle
        number += 1
    return low


def _singles(
    joint: _Joint,
    moves: Sequence[_Move],
    low: int,
    keeps: Callable[[Check], bool],
    report: Progress,
) -> None:
    """Try the moves behind the first ``low`` one by one, each on top of those that were kept."""
    taken, stuck = list(moves[:low]), set[str]()
    tried = 0
    for move in moves[low:]:
        if len(stuck) == _PATIENCE or tried == _SINGLES:
            break
        if move.layer in stuck:
            continue
        report("All layers together", 0.6 + 0.4 * tried / _SINGLES)
        tried += 1
        if keeps(joint.check([*taken, move])):
            taken.append(move)
        else:
            stuck.add(move.layer)
    report("All layers together", 1.0)
