"""What a search for a slim network is told, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hwgen.approx.types import DyadicFilters
from hwgen.network.types import Network
from hwgen.slim.fitting import DAMPING
from hwgen.slim.moves import Move, State
from hwgen.slim.tiles import Tile

__all__ = ["FAMILIES", "Effort", "Family", "Method", "Outcome", "Settings", "Step"]

Family = Literal["kernels", "features", "blocks", "recipes"]
"""Kinds of moves: smaller kernels, features approximated by others, blocks of a tile's weights that
are skipped together, coarser dyadic weights."""

FAMILIES: tuple[Family, ...] = ("kernels", "features")
"""Those of Nagaraju and Chandrachoodan (OJCAS 2023). With ``recipes`` what is left becomes dyadic
in the same budget; ``blocks`` are for hardware that skips any tap."""

Method = Literal["greedy", "bisection"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the search goes about it.

    Attributes
    ----------
    block
        Filters, or channels, of one move: the width of a tile of the hardware, or any number from
        1; fewer make a better result and a longer search.
    tile
        Filters and channels of the ``blocks`` that go together at a tap: those of the hardware's
        tile, or (1, 1) for single weights.
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
    tile: Tile = (16, 16)
    trials: int = 128
    step: float = 0.05
    patience: int = 8
    damping: float = DAMPING


@dataclass(frozen=True)
class Step:
    """A round that was kept: its moves, and the network after it.

    ``cost`` by the objective; ``loss``, ``spoiled`` and ``error`` on all choosing images as in
    :class:`~hwgen.approx.measure.Loss`; with labels the share of images that became right is
    ``spoiled - loss``, from which an interval of the loss follows. Steps of one search after the
    other are its trajectory; the moves of the first few make the network that cost and loss belong
    to.
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
    filters
        By Conv node name: dyadic filters of the layers that have a recipe.
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
    filters: Mapping[str, DyadicFilters]
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
