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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from hwgen.approx.approximate import Settings as DyadicSettings
from hwgen.approx.candidates import CANDIDATES, Option, layer_options
from hwgen.approx.measure import without_decision
from hwgen.approx.recipes import Recipe
from hwgen.approx.types import DyadicFilters
from hwgen.errors import DataError
from hwgen.network.execute import Tensor
from hwgen.network.types import Conv, FloatArray, Network
from hwgen.slim.bisection import bisect
from hwgen.slim.engine import Engine, Progress
from hwgen.slim.ladder import Rung, ladder
from hwgen.slim.moves import State, start
from hwgen.slim.objectives import Objective
from hwgen.slim.outcome import FAMILIES, Effort, Family, Method, Outcome, Settings, Step
from hwgen.slim.proposals import Proposer
from hwgen.slim.rating import Costs, Judge
from hwgen.slim.reach import reach
from hwgen.slim.trial import Dyadic, Fitter

__all__ = ["FAMILIES", "Effort", "Family", "Method", "Outcome", "Settings", "Step", "search"]

_KINDS: tuple[Family, ...] = get_args(Family)


def search(
    network: Network,
    calibration: Tensor,
    x: Tensor,
    y: npt.NDArray[np.integer] | None = None,
    *,
    budget: float,
    objective: Objective,
    families: Collection[Family] = FAMILIES,
    method: Method = "greedy",
    importance: Mapping[str, FloatArray] | None = None,
    options: Mapping[str, Sequence[Option]] | None = None,
    dyadic: Dyadic | None = None,
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
    method
        ``greedy``, or ``bisection`` (:mod:`hwgen.slim.bisection`) for a start from which greedy
        goes on: fewer checks.
    importance
        Scores (O,) of the filters by Conv node name, as
        :func:`~hwgen.slim.importance.channel_importance` gives them, by which the least important
        filters of a layer come first; by default those come first whose loss adds least error.
    options
        What the recipes of each layer may be, from
        :func:`~hwgen.approx.candidates.layer_options`; all candidates by default.
    dyadic
        Makes the weights of a layer dyadic by a recipe; those with the least error of its output
        by default.
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
        If ``budget`` is negative or a family or the method is unknown.
    """
    if not budget >= 0:
        raise ValueError(f"Budget must not be negative, not {budget!r}")
    if not len(calibration):
        raise DataError("Fitting a slimmed network needs at least one calibration image")
    for family in families:
        if family not in _KINDS:
            raise ValueError(f"Family must be one of {', '.join(get_args(Family))}, not {family!r}")
    if method not in get_args(Method):
        raise ValueError(f"Method must be one of {', '.join(get_args(Method))}, not {method!r}")
    chosen, report = settings or Settings(), progress or _silent
    logits = without_decision(network)
    costs = Costs(logits, objective)
    ladders = _ladders(logits, costs, options, report) if "recipes" in families else {}
    judge = Judge(logits, x, y, budget)
    engine = Engine(
        logits,
        State(start(logits).masks, {name: rungs[0].recipe for name, rungs in ladders.items()}),
        Fitter(logits, calibration, damping=chosen.damping, dyadic=dyadic),
        judge,
        Proposer(
            logits,
            families,
            block=chosen.block,
            tile=chosen.tile,
            importance=importance or {},
            ladders=ladders,
            reaches=reach(logits, calibration),
        ),
        costs,
        chosen,
        keep or _drop,
        report,
    )
    engine.begin(known)
    if method == "bisection" and not known:
        bisect(engine)
    engine.greedy()
    fitted = engine.fitted
    nodes = (*fitted.network.nodes, *network.nodes[len(logits.nodes) :])
    return Outcome(
        replace(network, nodes=nodes),
        fitted.state,
        fitted.filters,
        tuple(engine.steps),
        judge.metric,
        objective.name,
        budget,
        engine.effort,
    )


def _ladders(
    network: Network,
    costs: Costs,
    options: Mapping[str, Sequence[Option]] | None,
    report: Progress,
) -> dict[str, tuple[Rung, ...]]:
    """Recipes worth trying for each layer."""
    masks = start(network).masks

    def cost(name: str, op: Conv, filters: DyadicFilters) -> float:
        del op
        return costs.layer(name, masks[name], filters)

    def fit(name: str, op: Conv, recipe: Recipe) -> DyadicFilters:
        del name
        return DyadicSettings().filters(op, recipe)

    found = options or layer_options(network, CANDIDATES, fit=fit, cost=cost, progress=report)
    return {
        name: ladder(rungs, [costs.layer(name, masks[name], rung.filters) for rung in rungs])
        for name, rungs in found.items()
    }


def _silent(what: str, share: float) -> None:
    pass


def _drop(step: Step) -> None:
    pass
