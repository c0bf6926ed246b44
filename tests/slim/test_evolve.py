"""Evolution of filters against all sets of filters there are."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from slim_networks import plain

from hwgen.approx.measure import Yardstick
from hwgen.errors import DataError
from hwgen.network.execute import run
from hwgen.network.types import Activation, Conv, Network, Node, Softmax
from hwgen.serial import dumps, loads
from hwgen.slim.evolve import Evolution, Generation, Member, Settings, evolve
from hwgen.slim.moves import KernelMove, after, masked, start
from hwgen.slim.objectives import MACS, Objective
from hwgen.slim.trial import Fitter

RNG = np.random.default_rng(5)
CALIBRATION = RNG.standard_normal((30, 2, 5, 5))
CHOOSING = RNG.standard_normal((60, 2, 5, 5))


def tiny() -> Network:
    """Three and four filters, two of which are nearly copies; three classes."""
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((3, 2, 3, 3)), rng.standard_normal((4, 3, 3, 3))
    first[2] = first[0] + 0.02 * rng.standard_normal((2, 3, 3))
    second[3] = 0.01 * second[0]
    relu, zeros = Activation("relu"), np.zeros
    last = rng.standard_normal((3, 4, 1, 1))
    return Network(
        "tiny",
        "x",
        (2, 5, 5),
        (
            Node("first", Conv(first, zeros(3)), ("x",), (3, 3, 3)),
            Node("a", relu, ("first",), (3, 3, 3)),
            Node("second", Conv(second, zeros(4)), ("a",), (4, 1, 1)),
            Node("b", relu, ("second",), (4, 1, 1)),
            Node("last", Conv(last, zeros(3)), ("b",), (3, 1, 1)),
            Node("classes", Softmax(), ("last",), (3, 1, 1)),
        ),
        "classes",
    )


def found(budget: float = 0.1, **options: object) -> Evolution:
    settings = Settings(population=6, children=6, seed=1)
    arguments: dict[str, object] = {"evaluations": 60, "settings": settings} | options
    return evolve(
        tiny(),
        CALIBRATION,
        CHOOSING,
        budget=budget,
        objective=MACS,
        **arguments,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.3])
def test_the_best_of_all_sets_is_found(budget: float) -> None:
    """All 128 sets of filters, of which evolution rates less than half."""
    network = tiny()
    logits = Network("tiny", "x", (2, 5, 5), network.nodes[:-1], "last")
    yardstick = Yardstick.of(logits, run(logits, CHOOSING), None)
    fitter, origin = Fitter(logits, CALIBRATION), start(logits)
    costs = []
    for genome in product((0, 1), repeat=7):
        one, two = (np.flatnonzero(np.array(part) == 0) for part in (genome[:3], genome[3:]))
        moves = [
            KernelMove("first", tuple(one.tolist()), (0, 0)),
            KernelMove("second", tuple(two.tolist()), (0, 0)),
        ]
        fitted = fitter.fit(after(logits, origin, moves))
        loss = yardstick.measure(run(fitted.network, CHOOSING)).loss
        if loss <= budget:
            costs.append(MACS.total(masked(logits, fitted.state)))
    result = found(budget)
    assert result.best.loss <= budget
    assert result.best.cost == min(costs)
    assert (min(costs) < MACS.total(network)) == (budget > 0.05)
    assert result.evaluations == 60
    # and what comes out is what was measured
    assert result.network.output == "classes"
    assert MACS.total(result.network) == result.best.cost
    decided = run(result.network, CHOOSING).argmax(axis=1)
    assert np.mean(decided != run(network, CHOOSING).argmax(axis=1)) == result.best.loss
    assert result.saved == 1 - min(costs) / MACS.total(network)


def test_genomes_are_rated_once_and_the_best_stay() -> None:
    generations = found().generations
    genomes = [member.genome for each in generations for member in each.rated]
    assert len(set(genomes)) == len(genomes) == 60
    assert genomes[0] == "1" * 7
    best = [each.survivors[0] for each in generations]
    feasible = [member.cost for member in best if member.loss <= 0.1]
    assert feasible == sorted(feasible, reverse=True)
    for each in generations:
        assert len(each.survivors) <= 6


def test_an_interrupted_run_ends_like_another() -> None:
    whole = found()
    kept: list[Generation] = []

    def stop(generation: Generation) -> None:
        kept.append(generation)
        if len(kept) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(keep=stop)
    text = dumps(tuple(kept))
    known = loads(text, (Generation, Member), tuple)
    shares: list[float] = []
    resumed = found(known=known, progress=lambda what, share: shares.append(share))
    assert resumed.generations == whole.generations
    assert shares == sorted(shares)
    assert shares[0] > 0


def test_it_ends_where_no_new_genome_is_found() -> None:
    assert 100 < found(evaluations=1000).evaluations <= 128


def test_where_nothing_may_be_lost_the_network_stays() -> None:
    result = found(0.0, evaluations=5, settings=Settings(population=2, children=1, seed=3))
    assert result.best.loss == 0
    free = Objective("free", lambda node, shape, filters: 0.0)
    none = evolve(
        plain(),
        np.ones((2, 2, 10, 10)),
        np.ones((2, 2, 10, 10)),
        budget=0,
        objective=free,
        evaluations=1,
    )
    assert none.saved == 0
    assert none.best.genome == "1" * 26


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="Budget must be at least 0, not -1"):
        found(-1)
    with pytest.raises(ValueError, match="Population must be at least 2, not 1"):
        found(settings=Settings(population=1))
    with pytest.raises(DataError, match="at least one calibration image"):
        evolve(tiny(), CALIBRATION[:0], CHOOSING, budget=0, objective=MACS, evaluations=2)
