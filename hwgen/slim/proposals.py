"""The next move of each kind in each layer, with the layer error that it adds.

Within a layer moves need no trial: with the moments of what the layer reads, the least error of its
output on any places of weights is known in closed form (:mod:`hwgen.slim._damped`), and what
dropping a channel adds follows from the inverse of the moments (optimal brain surgeon: Hassibi and
Stork, NIPS 1992). Which filters or channels make up the next block may instead be given by scores
of importance. How much of a layer's error reaches the output is for trials to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.network.types import Conv, FloatArray, Network, Pair
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.kernels import centred_mask, size_chain
from hwgen.slim.moves import FeatureMove, KernelMove, Move, reads

__all__ = [
    "FeatureSite",
    "Proposal",
    "feature_sites",
    "propose_features",
    "propose_kernels",
    "sizes",
]

_LEAST = 1e-60


@dataclass(frozen=True)
class Proposal:
    """A move, and the error that it adds to each layer's output, relative to its variance.

    ``key`` names the kind of move: what is proposed next in its place has the same.
    """

    key: tuple[str, ...]
    move: Move
    added: Mapping[str, float]


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


def propose_kernels(
    layer: str,
    damped: Damped,
    mask: BoolArray,
    *,
    block: int,
    importance: FloatArray | None = None,
) -> list[Proposal]:
    """The next block of filters of ``layer`` for each smaller size of its kernel.

    Parameters
    ----------
    layer
        Node name.
    damped
        The layer's error as a function of its weights.
    mask
        (O, I / groups, KH, KW), where it has weights now.
    block
        Filters in a block.
    importance
        (O,) scores by which the least important filters come first; None: those whose error grows
        least.
    """
    kernel = (mask.shape[2], mask.shape[3])
    if mask[0].size == 1:
        return []
    flat = mask.reshape(len(mask), -1)
    scale = max(float(damped.constant.sum()), _LEAST)
    now = damped.errors(range(len(mask)), flat)
    found = []
    for size in sizes(kernel):
        taps = centred_mask(kernel, size)
        larger = np.flatnonzero((mask & ~taps).any(axis=(1, 2, 3)))
        if not len(larger):
            continue
        reduced = (mask & taps).reshape(flat.shape)
        added = np.maximum(damped.errors(larger, reduced)[larger] - now[larger], 0.0) / scale
        order = np.argsort(added if importance is None else importance[larger], kind="stable")
        chosen = order[:block]
        move = KernelMove(layer, tuple(sorted(larger[chosen].tolist())), size)
        key = ("kernel", layer, f"{size[0]}x{size[1]}")
        found.append(Proposal(key, move, {layer: float(added[chosen].sum())}))
    return found


def propose_features(
    site: FeatureSite,
    readers: Mapping[str, tuple[Conv, Damped, BoolArray]],
    *,
    block: int,
    weights: Mapping[str, float],
    importance: FloatArray | None = None,
) -> Proposal | None:
    """The next block of channels that the readers of a tensor can do without.

    Parameters
    ----------
    site
        Tensor and readers.
    readers
        Of each reader: its operator, its error as a function of its weights, and where it has
        weights now.
    block
        Channels in a block; at least one channel is always kept.
    weights
        What the relative error of each reader counts.
    importance
        (C,) scores by which the least important channels come first; None: one after the other,
        that which adds least to the readers' error behind those before it.
    """
    states = {name: _Reader.of(*readers[name]) for name in site.readers}
    alive = np.logical_or.reduce([state.read for state in states.values()])
    block = min(block, int(alive.sum()) - 1)
    if block < 1:
        return None
    chosen: list[int] = []
    added = dict.fromkeys(site.readers, 0.0)
    while len(chosen) < block:
        steps = {name: state.increases() for name, state in states.items()}
        if importance is None:
            score = sum(
                (weights[name] * step for name, step in steps.items()), np.zeros(len(alive))
            )
        else:
            score = importance
        channel = int(np.where(alive, score, np.inf).argmin())
        alive[channel] = False
        chosen.append(channel)
        for name, state in states.items():
            added[name] += float(steps[name][channel])
            state.drop(channel)
    move = FeatureMove(site.tensor, tuple(sorted(chosen)), site.readers)
    return Proposal(("feature", site.tensor, *site.readers), move, added)


@dataclass(eq=False)
class _Pattern:
    """Filters of one group that have the same places: weights, and the inverse of the moments.

    ``entries`` (S,) are the places, ``weight`` (filters, S) the best weights on them.
    """

    group: int
    entries: npt.NDArray[np.intp]
    inverse: FloatArray
    weight: FloatArray


class _Reader:
    """A layer from which channels are dropped one after the other."""

    def __init__(
        self, patterns: list[_Pattern], read: BoolArray, depth: int, taps: int, scale: float
    ) -> None:
        self.read = read
        self._patterns, self._depth, self._taps, self._scale = patterns, depth, taps, scale

    @classmethod
    def of(cls, op: Conv, damped: Damped, mask: BoolArray) -> _Reader:
        flat = mask.reshape(len(mask), -1)
        patterns = []
        for group, rows, support in damped.patterns(range(len(mask)), flat):
            for at, matrix in damped.blocks(group, support):
                inverse = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
                weight = damped.target[np.ix_(rows, support[at])] @ inverse
                patterns.append(_Pattern(group, support[at], inverse, weight))
        scale = max(float(damped.constant.sum()), _LEAST)
        taps = mask.shape[2] * mask.shape[3]
        return cls(patterns, reads(op, mask), mask.shape[1], taps, scale)

    def increases(self) -> FloatArray:
        """(C,) what the loss of each channel adds to the layer's error, relative."""
        found = np.zeros(len(self.read))
        for pattern in self._patterns:
            channels, first, counts = np.unique(
                pattern.entries // self._taps, return_index=True, return_counts=True
            )
            for count in np.unique(counts):
                of = counts == count
                at = first[of][:, None] + np.arange(count)
                blocks = pattern.inverse[at[:, :, None], at[:, None, :]]
                lost = pattern.weight[:, at].transpose(1, 2, 0)
                solved = np.linalg.solve(blocks, lost)
                found[pattern.group * self._depth + channels[of]] += (lost * solved).sum((1, 2))
        return found / self._scale

    def drop(self, channel: int) -> None:
        """Fit the others to make up for ``channel``."""
        group, within = divmod(channel, self._depth)
        for pattern in self._patterns:
            if pattern.group != group:
                continue
            at = np.flatnonzero(pattern.entries // self._taps == within)
            if not len(at):
                continue
            kept = np.flatnonzero(pattern.entries // self._taps != within)
            columns = pattern.inverse[np.ix_(kept, at)]
            gain = np.linalg.solve(pattern.inverse[np.ix_(at, at)], columns.T)
            pattern.inverse = pattern.inverse[np.ix_(kept, kept)] - columns @ gain
            pattern.weight = pattern.weight[:, kept] - pattern.weight[:, at] @ gain
            pattern.entries = pattern.entries[kept]
