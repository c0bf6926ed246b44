"""The cheapest dyadic set for each layer that keeps the loss within a budget.

Every layer starts with the finest set. Each coarser set of each layer is tried alone; on the convex
hull of (adders, output error) of every layer lie the steps that save most adders for the error that
they add. All steps are put in the order of that rate, and the longest run of them that the whole
network stands is found by bisection on the choosing split. Steps beyond it are then tried one by
one, so that one sensitive layer does not stop the others. To keep chance out of the choice on few
images, right decisions that are spoiled must not exceed the budget either, whatever wrong ones
become right, and this with the outputs' error enlarged by a factor that falls with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hwgen.approx.approximate import Settings, assemble
from hwgen.approx.complexity import filter_adders
from hwgen.approx.filters import EXACT, squared_error
from hwgen.approx.measure import Loss, Yardstick, without_decision
from hwgen.approx.recipes import Recipe
from hwgen.approx.sets import LADDER
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.errors import BudgetError
from hwgen.network.execute import Tensor, run, run_all, run_suffix
from hwgen.network.types import Conv, Network

__all__ = ["LayerChoice", "SearchResult", "Step", "choose_sets"]

Progress = Callable[[str, float], None]
Execute = Callable[[ApproxNetwork, Tensor], Tensor]

_CANDIDATES = tuple(map(Recipe, LADDER))
_PROBES = 128
_PATIENCE = 8
_SLACK = 1e-9


@dataclass(frozen=True)
class LayerChoice:
    """What a layer got.

    ``squared_error`` of its weights relative to their energy; ``adders`` for one output pixel
    before sharing, ``adders_finest`` those of the finest set.
    """

    layer: str
    set_name: str
    squared_error: float
    adders: int
    adders_finest: int


@dataclass(frozen=True)
class Step:
    """A layer tried with a coarser set, or the joint check of a number of steps.

    ``layer`` and ``set_name`` are those of the last step taken, empty for none; ``loss`` and
    ``error`` as in :class:`~hwgen.approx.measure.Loss`; ``adders`` of the whole network;
    ``joint`` tells a check of the whole choosing split from a probe of one layer on a part of it.
    """

    layer: str
    set_name: str
    loss: float
    error: float
    adders: int
    joint: bool


@dataclass(frozen=True)
class SearchResult:
    """Outcome of the search: what was chosen, what it loses, and every evaluation on the way.

    ``metric`` says what ``budget`` and ``loss`` mean (see :class:`~hwgen.approx.measure.Loss`);
    ``loss_finest`` is that of the finest set in every layer.
    """

    metric: str
    budget: float
    images: int
    loss: float
    error: float
    loss_finest: float
    choices: tuple[LayerChoice, ...]
    trace: tuple[Step, ...]

    @property
    def adders(self) -> int:
        """Adders of all layers for one output pixel each."""
        return sum(choice.adders for choice in self.choices)

    @property
    def evaluations(self) -> int:
        """Runs of the network."""
        return len(self.trace)


def choose_sets(
    network: Network,
    x: Tensor,
    y: npt.NDArray[np.integer] | None = None,
    *,
    budget: float,
    candidates: Sequence[Recipe] = _CANDIDATES,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    settings: Settings | None = None,
    probes: int = _PROBES,
    execute: Execute | None = None,
    progress: Progress | None = None,
) -> tuple[ApproxNetwork, SearchResult]:
    """Choose a dyadic set for each linear layer, as cheap as the budget allows.

    Parameters
    ----------
    network
        Float network.
    x, y
        Choosing split: images (N, C, H, W), and class labels (N,) if there are any.
    budget
        Largest loss: share of accuracy lost if there are labels, of decisions changed if there are
        none, relative output error for a network that makes no decision.
    candidates
        Recipes to choose from.
    ranges, settings
        As in :func:`~hwgen.approx.approximate.approximate`.
    probes
        Images on which one layer at a time is tried; the whole split decides.
    execute
        Gives the output of an approximated network, in reals, for images; in floating point by
        default. Running its integer network instead makes the budget cover all rounding. A final
        Softmax or ArgMax is taken off the network first.
    progress
        Called with what is being done and the share done, 0 to 1.

    Returns
    -------
    ApproxNetwork
        With the chosen sets.
    SearchResult
        How it came about.

    Raises
    ------
    BudgetError
        If even the finest sets exceed the budget; the text says what they reach.
    DataError
        If there are no images, or images or labels do not fit.
    ValueError
        If ``budget`` is negative or there are no candidates.
    """
    if not budget >= 0:
        raise ValueError(f"Budget must not be negative, not {budget!r}")
    if not candidates:
        raise ValueError("There must be at least one candidate set")
    report = progress or _silent
    settings = settings or Settings()
    report("approximate the filters", 0.0)
    ladder = {node.name: _ladder(op, candidates, settings) for node, op in network.convs()}
    finest = {name: options[0].filters for name, options in ladder.items()}
    base = assemble(network, finest, ranges=ranges, settings=settings)
    exact = without_decision(network)
    yardstick = Yardstick.of(exact, run(exact, x), y)
    yardstick = replace(yardstick, safety=_safety(len(x), budget))
    search = _Search(base, x, yardstick, ladder, probes, execute or _run, report)
    start = search.check((), search.execute)
    if start.loss > budget + _SLACK:
        raise BudgetError(
            f"Even the finest sets lose {start.loss:.2%} ({search.whole.metric}) on "
            f"{len(x)} images, more than the budget of {budget:.2%}; allow a larger budget or "
            "finer sets"
        )
    taken, loss = search.descend(search.steps(), budget, start)
    choice = search.choice(taken)
    result = search.result(choice, budget, start, loss)
    report("choose the sets", 1.0)
    filters = {name: ladder[name][index].filters for name, index in choice.items()}
    return assemble(network, filters, ranges=ranges, settings=settings), result


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
class _Option:
    filters: DyadicFilters
    adders: int
    squared_error: float


def _ladder(op: Conv, candidates: Sequence[Recipe], settings: Settings) -> tuple[_Option, ...]:
    """Options of one layer from fine to coarse, without those that another beats twice."""
    options = []
    for recipe in candidates:
        filters = settings.filters(op, recipe)
        options.append(_Option(filters, filter_adders(filters), squared_error(op, filters)))
        if filters.recipe == EXACT:
            break
    options.sort(key=lambda option: (option.squared_error, option.adders))
    kept: list[_Option] = []
    for option in options:
        if not kept or option.adders < kept[-1].adders:
            kept.append(option)
    return tuple(kept)


@dataclass(frozen=True)
class _Move:
    """Take option ``index`` of the ladder of ``layer``."""

    layer: str
    index: int


@dataclass
class _Search:
    base: ApproxNetwork
    x: Tensor
    whole: Yardstick
    ladder: dict[str, tuple[_Option, ...]]
    probes: int
    execute: Execute
    report: Progress
    trace: list[Step] = field(default_factory=list)

    def choice(self, moves: Sequence[_Move]) -> dict[str, int]:
        """Index of each layer's option after ``moves``."""
        return dict.fromkeys(self.ladder, 0) | {move.layer: move.index for move in moves}

    def adders(self, choice: Mapping[str, int]) -> int:
        return sum(self.ladder[name][index].adders for name, index in choice.items())

    def approx(self, choice: Mapping[str, int]) -> ApproxNetwork:
        """The network up to its logits, approximated by ``choice``."""
        return replace(
            self.base,
            network=without_decision(self.base.network),
            filters=tuple((n, self.ladder[n][index].filters) for n, index in choice.items()),
        )

    def check(self, moves: Sequence[_Move], execute: Execute) -> Loss:
        """Loss of the whole network after ``moves`` on the whole choosing split."""
        choice = self.choice(moves)
        loss = self.whole.measure(execute(self.approx(choice), self.x))
        self._record(choice, moves[-1] if moves else None, loss, joint=True)
        return loss

    def _record(
        self, choice: Mapping[str, int], move: _Move | None, loss: Loss, *, joint: bool
    ) -> None:
        layer = move.layer if move else ""
        name = self.ladder[layer][move.index].filters.recipe if move else ""
        step = Step(layer, name, loss.loss, loss.error, self.adders(choice), joint)
        self.trace.append(step)

    def steps(self) -> list[_Move]:
        """Moves along every layer's convex hull, those that save most for their error first."""
        count = min(self.probes, len(self.x))
        indices = np.linspace(0, len(self.x) - 1, count).astype(np.intp)
        x, yardstick = self.x[indices], self.whole.take(indices)
        start = self.approx(self.choice(())).to_network()
        cached = run_all(start, x)
        before = yardstick.measure(cached[start.output]).error ** 2
        rated: list[tuple[float, int, _Move]] = []
        for number, (name, options) in enumerate(self.ladder.items()):
            self.report(f"try coarser sets in layer {name}", 0.1 + 0.6 * number / len(self.ladder))
            points = [(float(options[0].adders), 0.0)]
            for index in range(1, len(options)):
                move = _Move(name, index)
                choice = self.choice([move])
                output = run_suffix(self.approx(choice).to_network(), cached, [name])
                loss = yardstick.measure(output)
                self._record(choice, move, loss, joint=False)
                added = max(0.0, loss.error**2 - before, points[-1][1])
                points.append((float(options[index].adders), added))
            rated += [(rate, number, _Move(name, index)) for rate, index in _hull_rates(points)]
        rated.sort(key=lambda entry: (-entry[0], entry[1], entry[2].index))
        return [move for _, _, move in rated]

    def descend(self, moves: list[_Move], budget: float, start: Loss) -> tuple[list[_Move], Loss]:
        """As many of ``moves`` as the budget stands, and the loss with them."""

        spoiled = max(budget, start.spoiled, 1 / len(self.x)) + _SLACK

        def stands(moves: Sequence[_Move]) -> Loss | None:
            """Loss after ``moves`` if it keeps the budget; floating point, which is fast, first."""
            for execute in dict.fromkeys((_run, self.execute)):
                loss = self.check(moves, execute)
                if loss.loss > budget + _SLACK or loss.spoiled > spoiled:
                    return None
            return loss

        low, high, reached = 0, len(moves), start
        rounds = len(moves).bit_length()
        for number in range(rounds):
            if low == high:
                break
            self.report("check all layers together", 0.7 + 0.2 * number / rounds)
            middle = (low + high + 1) // 2
            if (loss := stands(moves[:middle])) is not None:
                low, reached = middle, loss
            else:
                high = middle - 1
        taken = moves[:low]
        stuck: set[str] = set()
        for move in moves[low:]:
            if len(stuck) == _PATIENCE:
                break
            if move.layer in stuck:
                continue
            self.report("lower single layers further", 0.9 + 0.1 * len(stuck) / _PATIENCE)
            if (loss := stands([*taken, move])) is not None:
                taken, reached = [*taken, move], loss
            else:
                stuck.add(move.layer)
        return taken, reached

    def result(
        self, choice: Mapping[str, int], budget: float, start: Loss, final: Loss
    ) -> SearchResult:
        choices = tuple(
            LayerChoice(
                name,
                self.ladder[name][index].filters.recipe,
                self.ladder[name][index].squared_error,
                self.ladder[name][index].adders,
                self.ladder[name][0].adders,
            )
            for name, index in choice.items()
        )
        return SearchResult(
            self.whole.metric,
            budget,
            len(self.x),
            final.loss,
            final.error,
            start.loss,
            choices,
            tuple(self.trace),
        )


def _hull_rates(points: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """(adders saved per error added, index) of the steps along the lower convex hull.

    ``points`` are (adders, error) with falling adders and error that does not fall. Rates fall
    along the hull, so that sorting by rate keeps the order within a layer.
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
