"""The next move of each kind in each layer, with the layer error that it adds.

Within a layer moves need no trial: with the moments of what the layer reads, the least error of its
output on any places of weights is known in closed form (:mod:`hwgen.slim._damped`), and what
dropping a channel adds follows from the inverse of the moments (optimal brain surgeon: Hassibi and
Stork, NIPS 1992). Which filters or channels make up the next block may instead be given by scores
of importance. How much of a layer's error reaches the output is for trials to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hwgen.network.types import Add, Concat, Conv, FloatArray, Network, Pair
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.feature_errors import FeatureErrors
from hwgen.slim.kernels import centred_mask, size_chain
from hwgen.slim.ladder import Rung
from hwgen.slim.moves import (
    BlockMove,
    FeatureMove,
    KernelMove,
    Move,
    RecipeMove,
    SliceMove,
    State,
)
from hwgen.slim.outcome import Family
from hwgen.slim.slices import block_increases, slice_increases, slice_work
from hwgen.slim.tiles import Tile, tile_blocks
from hwgen.slim.trial import Fitted

__all__ = ["FeatureSite", "Key", "Proposal", "Proposer", "feature_sites", "sizes"]

Key = tuple[str, ...]
_Made = TypeVar("_Made")

_BLOCK_SHARE = 0.03
"""Part of the blocks of a layer that one move takes."""
_MANY = 16
_EXACT_WORK = 1e9
"""Multiplications for the errors of a layer: beyond it what weights cost together is their sum."""
_MOST_SLICE_WORK = 2e10
"""Multiplications for the slices of a layer: beyond it its filters are reduced whole."""


@dataclass(frozen=True)
class Proposal:
    """A move, and by layer what its error adds to that of the network's output, to first order.

    ``key`` names the kind of move: what is proposed next in its place has the same. ``share`` is
    the part of the layer's cost that a coarser recipe saves by estimate; the other moves save what
    they take away.
    """

    key: Key
    move: Move
    added: Mapping[str, float]
    share: float = 0.0


@dataclass(frozen=True)
class FeatureSite:
    """A tensor of which the linear layers ``readers`` may stop reading channels."""

    tensor: str
    readers: tuple[str, ...]


def sizes(kernel: Pair) -> tuple[Pair, ...]:
    """Smaller sizes of a kernel: those of its chain, and one row or one column of their sides."""
    chain = size_chain(kernel)
    lines = [line for h, w in chain[:-1] for line in ((1, w), (h, 1))]
    return tuple(dict.fromkeys(size for size in (*lines, *chain) if size != kernel))


def feature_sites(network: Network) -> tuple[FeatureSite, ...]:
    """Every tensor with the layers that may do without some of its channels.

    Where only linear layers read a tensor they drop a channel together, which frees what makes it.
    Where something else reads it as well, such as an addition, each linear layer by itself reads
    less; the channel stays. Depthwise layers have nothing to make up for a channel with.
    """
    found = []
    for name in (network.input_name, *(node.name for node in network.nodes)):
        readers = network.consumers(name)
        mixing = tuple(
            node.name
            for node in readers
            if isinstance(node.op, Conv) and node.op.weight.shape[1] > 1
        )
        if len(mixing) == len(readers) and name != network.output:
            together = [mixing] if mixing else []
        else:
            together = [(each,) for each in mixing]
        found += [FeatureSite(name, each) for each in together]
    return tuple(found)


class Proposer:
    """The next move of every kind in a fitted network.

    Parameters
    ----------
    network
        Original network, up to its logits.
    families
        Kinds of moves.
    block
        Filters, or channels, of a move.
    tile
        Filters and channels of the blocks that go together at a tap.
    importance
        Scores (O,) of filters by Conv node name: the least important go first. Where there are
        none, those whose loss adds least to the error of the layers that it concerns.
    ladders
        Recipes of each layer, from fine to coarse.
    reaches
        What the mean squared error of each map (O,) adds to that of the output, by Conv node name.
    """

    def __init__(
        self,
        network: Network,
        families: Collection[Family],
        *,
        block: int,
        tile: Tile,
        importance: Mapping[str, FloatArray],
        ladders: Mapping[str, Sequence[Rung]],
        reaches: Mapping[str, FloatArray],
    ) -> None:
        self._network, self._block, self._reaches = network, block, reaches
        self._importance, self._ladders, self._tile = importance, ladders, tile
        self._families = families
        self._layers = [
            node.name
            for node, op in network.convs()
            if op.weight[0].size > 1 and node.name != network.output
        ]
        self._sites = feature_sites(network) if "features" in families else ()
        self._scores = {site.tensor: self._scores_of(site.tensor) for site in self._sites}
        self._counts: dict[Key, int] = {}
        self._made: dict[Key, tuple[BoolArray, Any]] = {}
        self._shifts: dict[Key, int] = {}

    def halve(self, key: Key) -> bool:
        """Propose less at once of this kind from now on, half or of many a quarter; or False."""
        count = self._counts.get(key, 1)
        self._shifts[key] = self._shifts.get(key, 0) + (2 if count > _MANY else 1)
        return count > 1

    def _count(self, key: Key, whole: int) -> int:
        """How much is proposed at once of a kind of which ``whole`` was at first."""
        self._counts[key] = max(1, whole >> self._shifts.get(key, 0))
        return self._counts[key]

    def of(self, fitted: Fitted, state: State, layers: Collection[str]) -> Iterator[Proposal]:
        """Proposals that concern what ``layers`` read, and their filters."""
        for name in self._layers:
            problem = fitted.problems[name]
            if name not in layers or problem is None:
                continue
            if "kernels" in self._families:
                yield from self._kernels(name, problem, state.masks[name])
                if name not in self._importance:
                    yield from self._slices(name, problem, state.masks[name])
            if "blocks" in self._families:
                yield from self._blocks(name, problem, state.masks[name])
        for site in self._sites:
            if not set(site.readers).isdisjoint(layers):
                proposal = self._features(site, fitted, state)
                if proposal is not None:
                    yield proposal
        for name, ladder in self._ladders.items():
            if name in layers:
                at = [rung.recipe for rung in ladder].index(state.recipes[name])
                if at + 1 < len(ladder):
                    here, there = ladder[at : at + 2]
                    move = RecipeMove(name, there.recipe)
                    variance = self._reaches[name] @ fitted.moments[name].output_variance
                    yield Proposal(
                        ("recipe", name),
                        move,
                        {name: max(there.error - here.error, 0.0) * float(variance)},
                        1 - there.cost / here.cost if here.cost else 0.0,
                    )

    def _kernels(self, layer: str, damped: Damped, mask: BoolArray) -> Iterator[Proposal]:
        """The next block of filters of ``layer`` for each smaller size of its kernel."""
        kernel = (mask.shape[2], mask.shape[3])
        flat = mask.reshape(len(mask), -1)
        reach = self._reaches[layer]
        now = damped.errors(range(len(mask)), flat)
        importance = self._importance.get(layer)
        for size in sizes(kernel):
            taps = centred_mask(kernel, size)
            larger = np.flatnonzero((mask & ~taps).any(axis=(1, 2, 3)))
            if not len(larger):
                continue
            reduced = (mask & taps).reshape(flat.shape)
            added = np.maximum(damped.errors(larger, reduced) - now, 0.0)[larger] * reach[larger]
            key = ("kernel", layer, f"{size[0]}x{size[1]}")
            order = np.argsort(added if importance is None else importance[larger], kind="stable")
            chosen = order[: self._count(key, self._block)]
            move = KernelMove(layer, tuple(sorted(larger[chosen].tolist())), size)
            yield Proposal(key, move, {layer: float(added[chosen].sum())})

    def _slices(self, layer: str, damped: Damped, mask: BoolArray) -> Iterator[Proposal]:
        """The next kernels of single channels for each smaller size, as many as filters have."""
        kernel, depth = (mask.shape[2], mask.shape[3]), mask.shape[1]
        if depth == 1 or slice_work(mask) > _MOST_SLICE_WORK:
            return
        reach = self._reaches[layer]
        chain = [size for size in size_chain(kernel) if size != kernel]
        known = self._once(("slice", layer), mask, lambda: slice_increases(damped, mask, chain))
        for size, increases in known.items():
            places = (mask & ~centred_mask(kernel, size)).sum(axis=(2, 3))
            rates = (increases * reach[:, None] / np.maximum(places, 1)).reshape(-1)
            key = ("slice", layer, f"{size[0]}x{size[1]}")
            count = self._count(key, self._block * depth)
            chosen = np.argsort(rates, kind="stable")[: min(count, int(np.isfinite(rates).sum()))]
            if not len(chosen):
                continue
            pairs = sorted(divmod(int(at), depth) for at in chosen)
            reduced = mask.copy()
            reduced[tuple(zip(*pairs, strict=True))] &= centred_mask(kernel, size)
            lost = (increases * reach[:, None]).reshape(-1)[chosen]
            added = self._added(layer, damped, mask, reduced, float(lost.sum()))
            yield Proposal(key, SliceMove(layer, tuple(pairs), size), {layer: added})

    def _blocks(self, layer: str, damped: Damped, mask: BoolArray) -> Iterator[Proposal]:
        """The next blocks of a tile's weights, a part of those that there are."""
        if slice_work(mask) > _MOST_SLICE_WORK:
            return
        op, reach = self._network.node(layer).op, self._reaches[layer]
        assert isinstance(op, Conv)
        numbers = tile_blocks(op, self._tile)
        increases = self._once(
            ("block", layer), mask, lambda: block_increases(damped, mask, numbers, reach)
        )
        places = np.bincount(numbers.ravel(), weights=mask.ravel(), minlength=len(increases))
        key = ("block", layer)
        whole = max(1, round(_BLOCK_SHARE * len(increases)))
        order = np.argsort(increases / np.maximum(places, 1), kind="stable")
        chosen = order[: min(self._count(key, whole), int(np.isfinite(increases).sum()))]
        if not len(chosen):
            return
        reduced = mask & ~np.isin(numbers, chosen)
        added = self._added(layer, damped, mask, reduced, float(increases[chosen].sum()))
        move = BlockMove(layer, self._tile, tuple(sorted(chosen.tolist())))
        yield Proposal(key, move, {layer: added})

    def _once(self, key: Key, mask: BoolArray, make: Callable[[], _Made]) -> _Made:
        """What was made for the ``mask`` of a layer, which changes little as long as it stays.

        Layers before may have lost weights since; the inverses would take most of a search.
        """
        known = self._made.get(key)
        if known is None or known[0] is not mask:
            known = self._made[key] = (mask, make())
        made: _Made = known[1]
        return made

    def _added(
        self, layer: str, damped: Damped, mask: BoolArray, reduced: BoolArray, alone: float
    ) -> float:
        """What the layer's error grows by on ``reduced``; of large layers what weights do alone.

        Together those of one filter cost more than one by one.
        """
        if slice_work(mask) > _EXACT_WORK:
            return alone
        rows = np.flatnonzero((reduced != mask).any(axis=(1, 2, 3)))
        now = damped.errors(rows, mask.reshape(len(mask), -1))[rows]
        error = damped.errors(rows, reduced.reshape(len(mask), -1))[rows]
        return float(np.maximum(error - now, 0.0) @ self._reaches[layer][rows])

    def _features(self, site: FeatureSite, fitted: Fitted, state: State) -> Proposal | None:
        """The next block of channels that the readers of a tensor can do without."""
        readers = {}
        for name in site.readers:
            problem = fitted.problems[name]
            if problem is None:
                return None
            readers[name] = FeatureErrors(problem, state.masks[name], self._reaches[name])
        key = ("feature", site.tensor, *site.readers)
        alive = np.logical_or.reduce([each.read for each in readers.values()])
        # one channel is always kept
        block = min(self._count(key, self._block), int(alive.sum()) - 1)
        if block < 1:
            return None
        chosen: list[int] = []
        added = dict.fromkeys(site.readers, 0.0)
        while len(chosen) < block:
            steps = {name: reader.increases() for name, reader in readers.items()}
            score = self._scores[site.tensor]
            if score is None:
                score = np.sum(list(steps.values()), axis=0)
            channel = int(np.where(alive, score, np.inf).argmin())
            alive[channel] = False
            chosen.append(channel)
            for name, reader in readers.items():
                added[name] += float(steps[name][channel])
                reader.drop(channel)
        move = FeatureMove(site.tensor, tuple(sorted(chosen)), site.readers)
        return Proposal(key, move, added)

    def _scores_of(self, tensor: str) -> FloatArray | None:
        """Importance of the channels of ``tensor``, if one linear layer makes it."""
        while tensor != self._network.input_name and tensor not in self._importance:
            node = self._network.node(tensor)
            if isinstance(node.op, Conv | Add | Concat) or len(node.inputs) != 1:
                return None
            tensor = node.inputs[0]
        return self._importance.get(tensor)
