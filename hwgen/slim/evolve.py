"""Evolution of which filters stay: the check on the greedy search.

After Wang et al., *Towards Evolutional Compression* (KDD 2018, arXiv 1707.08005): one bit a filter
says whether it stays, a removed filter takes along the weights that read it, and a population of
such genomes is selected, crossed and mutated. What a genome is worth comes from accuracy and cost.
The rest is our own proposal: the fittest are those of the least cost among those that keep the
budget, then those that miss it by least (Deb, 2000); the best of parents and children survive; both
parents are equally likely to give a bit, and a child's share of flipped bits is drawn evenly on a
logarithmic scale, so that most children differ in a few filters and some in many (as the heavy
tails of Doerr et al., GECCO 2017, do).

The weights that are left are fitted to the original's layers, as in the greedy search
(:class:`~hwgen.slim.trial.Fitter`), so that both compare sets of filters and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.approx.measure import Yardstick, without_decision
from hwgen.errors import DataError
from hwgen.network.execute import Tensor, run
from hwgen.network.types import Network
from hwgen.slim.fitting import DAMPING
from hwgen.slim.moves import KernelMove, State, after, masked, start
from hwgen.slim.objectives import Objective
from hwgen.slim.trial import Fitted, Fitter

__all__ = ["Evolution", "Generation", "Member", "Settings", "evolve"]

Progress = Callable[[str, float], None]

_SLACK = 1e-9
_MOST_FLIPPED = 1 / 4
_ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How evolution goes about it.

    Attributes
    ----------
    population
        Genomes that survive a generation, at least 2.
    children
        New genomes in a generation, at least 1.
    seed
        Of all that is drawn.
    damping
        Trust in the original weights against the calibration images.
    """

    population: int = 16
    children: int = 16
    seed: int = 0
    damping: float = DAMPING


@dataclass(frozen=True)
class Member:
    """A genome and what it is worth.

    ``genome`` has a ``1`` for each filter that stays, the layers in order; ``cost`` is by the
    objective, ``loss`` and ``error`` on the choosing images as in
    :class:`~hwgen.approx.measure.Loss`.
    """

    genome: str
    cost: float
    loss: float
    error: float


@dataclass(frozen=True)
class Generation:
    """``survivors``, the fittest first, and all genomes that were ``rated`` to find them."""

    survivors: tuple[Member, ...]
    rated: tuple[Member, ...]


@dataclass(frozen=True, eq=False)
class Evolution:
    """What evolution found.

    Attributes
    ----------
    network
        The original's nodes and shapes with the weights that are left, fitted; the decision that
        ends it included.
    state
        Places of its weights.
    best
        Its genome; the original's if no other keeps the budget.
    generations
        All of them.
    metric, objective, budget
        What loss means (``accuracy``, ``agreement`` or ``error``), what cost means, and the most
        that was to be lost.
    """

    network: Network
    state: State
    best: Member
    generations: tuple[Generation, ...]
    metric: str
    objective: str
    budget: float

    @property
    def evaluations(self) -> int:
        """Genomes that were fitted and measured."""
        return sum(len(each.rated) for each in self.generations)

    @property
    def saved(self) -> float:
        """Share of the original cost that is saved."""
        first = self.generations[0].rated[0].cost
        return 1 - self.best.cost / first if first else 0.0


def evolve(
    network: Network,
    calibration: Tensor,
    x: Tensor,
    y: npt.NDArray[np.integer] | None = None,
    *,
    budget: float,
    objective: Objective,
    evaluations: int,
    settings: Settings | None = None,
    known: Sequence[Generation] = (),
    keep: Callable[[Generation], None] | None = None,
    progress: Progress | None = None,
) -> Evolution:
    """Remove filters of ``network`` as far as the budget allows.

    Parameters
    ----------
    network, calibration, x, y, budget, objective
        As in :func:`hwgen.slim.search.search`.
    evaluations
        Most genomes that are fitted and measured, the original's included; at least 1.
    settings
        Everything else.
    known, keep
        Generations of an earlier run with the same arguments, to go on from; and what takes each
        new one. What is drawn in a generation depends on its number, so that a run that was
        interrupted ends like one that was not.
    progress
        Called with what is being done and the share of it done, 0 to 1.

    Raises
    ------
    DataError
        If there are no images, or images or labels do not fit.
    ValueError
        If ``budget`` is negative, or another number too small.
    """
    chosen = settings or Settings()
    for what, value, least in (
        ("Budget", budget, 0),
        ("Evaluations", evaluations, 1),
        ("Population", chosen.population, 2),
        ("Children", chosen.children, 1),
    ):
        if not value >= least:
            raise ValueError(f"{what} must be at least {least}, not {value!r}")
    if not len(calibration):
        raise DataError("Fitting a slimmed network needs at least one calibration image")
    logits = without_decision(network)
    rating = _Rating(logits, Fitter(logits, calibration, damping=chosen.damping), x, y, objective)
    generations = list(known)
    seen = {member.genome for generation in generations for member in generation.rated}
    while len(seen) < evaluations:
        if progress is not None:
            progress(f"Generation {len(generations)}", len(seen) / evaluations)
        rng = np.random.default_rng((chosen.seed, len(generations)))
        parents = generations[-1].survivors if generations else ()
        count = min(chosen.children if parents else chosen.population, evaluations - len(seen))
        rated = []
        for _ in range(count):
            genome = _new(rng, parents, rating.genes, seen)
            if genome is None:
                break
            seen.add(genome)
            rated.append(rating.member(genome))
        if not rated:
            break
        # stable, so that of equals those that were first survive
        everyone = sorted([*parents, *rated], key=lambda member: _fitness(member, budget))
        generations.append(Generation(tuple(everyone[: chosen.population]), tuple(rated)))
        if keep is not None:
            keep(generations[-1])
    best = generations[-1].survivors[0]
    fitted = rating.fitted(best.genome)
    tail = network.nodes[len(logits.nodes) :]
    whole = replace(fitted.network, nodes=(*fitted.network.nodes, *tail), output=network.output)
    return Evolution(
        whole,
        fitted.state,
        best,
        tuple(generations),
        rating.yardstick.metric,
        objective.name,
        budget,
    )


def _fitness(member: Member, budget: float) -> tuple[float, float, float]:
    """The less the better: what exceeds the budget, then cost, then error."""
    excess = member.loss - budget
    return (excess if excess > _SLACK else 0.0, member.cost, member.error)


def _new(
    rng: np.random.Generator, parents: Sequence[Member], genes: int, seen: set[str]
) -> str | None:
    """A genome that has not been seen; the original's is the first. None if none is found."""
    if not seen:
        return "1" * genes
    for _ in range(_ATTEMPTS):
        if parents:
            one, other = (_bits(_selected(rng, parents).genome) for _ in range(2))
            bits = np.where(rng.random(genes) < 1 / 2, one, other)
        else:
            bits = np.ones(genes, dtype=np.bool_)
        rate = np.exp(rng.uniform(np.log(1 / genes), np.log(_MOST_FLIPPED))) if genes > 4 else 0.5
        bits = bits ^ (rng.random(genes) < rate)
        genome = "".join("01"[bit] for bit in bits.astype(int).tolist())
        if genome not in seen:
            return genome
    return None


def _selected(rng: np.random.Generator, parents: Sequence[Member]) -> Member:
    """The fitter of two; parents are in order."""
    return parents[int(rng.integers(0, len(parents), 2).min())]


def _bits(genome: str) -> npt.NDArray[np.bool_]:
    return np.array([gene == "1" for gene in genome])


class _Rating:
    """What genomes are worth."""

    def __init__(
        self,
        network: Network,
        fitter: Fitter,
        x: Tensor,
        y: npt.NDArray[np.integer] | None,
        objective: Objective,
    ) -> None:
        self._network, self._fitter, self._images = network, fitter, x
        self._objective = objective
        self._origin = start(network)
        self._layers = [
            (node.name, len(op.weight))
            for node, op in network.convs()
            if node.name != network.output
        ]
        self.genes = sum(count for _, count in self._layers)
        self.yardstick = Yardstick.of(network, run(network, x), y)

    def fitted(self, genome: str) -> Fitted:
        """The network without the filters that ``genome`` removes, fitted."""
        return self._fitter.fit(after(self._network, self._origin, self._moves(genome)))

    def member(self, genome: str) -> Member:
        found = self.fitted(genome)
        loss = self.yardstick.measure(run(found.network, self._images))
        cost = self._objective.total(masked(self._network, found.state))
        return Member(genome, cost, loss.loss, loss.error)

    def _moves(self, genome: str) -> list[KernelMove]:
        moves, begin = [], 0
        for name, count in self._layers:
            gone = np.flatnonzero(~_bits(genome[begin : begin + count]))
            begin += count
            if len(gone):
                moves.append(KernelMove(name, tuple(gone.tolist()), (0, 0)))
        return moves
