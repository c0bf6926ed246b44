"""Feature maps as linear combinations of others: fitted, folded into what reads them, or built.

Dropped maps d of a tensor are approximated by kept ones k of the same tensor, ``x_d ~ C' x_k + c``,
with the least squared error over calibration images and pixels (Nagaraju and Chandrachoodan,
*Slimmer CNNs Through Feature Approximation and Kernel Size Reduction*, 2023, name linear
approximation; this rule is our proposal). The tensor is the one that enters the next linear
layers, behind activation and pooling. Second moments are all that a fit needs, so that no maps are
kept. With all kept maps as sources and without a constant, C is ``R11^-1 R12`` of the QR
decomposition of the maps.

Two forms, which compute the same where both exist:

* *folded*: every layer that reads the tensor takes the combination into its weights,
  ``W[:, k] += W[:, d] C'``. Exact behind any strides, dilations and zero padding, since the
  combination works within a pixel and keeps zeros zero; also through concatenations and average
  pools, and into a fully connected layer, which has H * W weights a map. A constant goes into the
  bias, which is exact only where no padding is read. :func:`fold_obstacle` says what stands against
  it.
* *materialised*: a 1x1 convolution behind the tensor computes the maps. Always possible; not free.

Folding is a special case of fitting the taps of the next layer anew
(:mod:`hwgen.slim.fitting`): there every tap may make up for the dropped maps, here only the one at
the same place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from hwgen.approx.moments import Moments
from hwgen.network.execute import Tensor
from hwgen.network.types import (
    Add,
    AveragePool,
    Concat,
    Conv,
    FloatArray,
    Network,
    Node,
)
from hwgen.numeric import IntArray
from hwgen.slim.liveness import zero_unread

__all__ = [
    "Combination",
    "Reader",
    "combination_errors",
    "fit_combination",
    "fold",
    "fold_obstacle",
    "materialise",
    "readers",
]

_DAMPING = 1e-6


@dataclass(frozen=True, eq=False)
class Combination:
    """Maps ``dropped`` of a tensor as ``coefficients' * kept + constant``.

    Attributes
    ----------
    dropped, kept
        Channels, none in both. A channel in neither stays what it is and is no source.
    coefficients
        (len(kept), len(dropped)) float64.
    constant
        (len(dropped),) float64.
    """

    dropped: tuple[int, ...]
    kept: tuple[int, ...]
    coefficients: FloatArray
    constant: FloatArray

    def __post_init__(self) -> None:
        if len({*self.dropped, *self.kept}) != len(self.dropped) + len(self.kept):
            raise ValueError(
                "Dropped and kept channels must all differ, "
                f"not {list(self.dropped)!r} and {list(self.kept)!r}"
            )
        shapes = (np.shape(self.coefficients), np.shape(self.constant))
        wanted = ((len(self.kept), len(self.dropped)), (len(self.dropped),))
        if shapes != wanted:
            raise ValueError(f"Coefficients and constant must be {wanted}, not {shapes}")

    @property
    def sources(self) -> IntArray:
        """How many maps each dropped one is made of, (len(dropped),)."""
        return np.asarray(np.count_nonzero(self.coefficients, axis=0), dtype=np.int64)


def fit_combination(
    moments: Moments,
    dropped: Sequence[int],
    *,
    kept: Sequence[int] | None = None,
    sources: int | None = None,
    constant: bool = False,
    damping: float = _DAMPING,
) -> Combination:
    """The combination of kept maps with the least mean squared error for the ``dropped`` ones.

    Parameters
    ----------
    moments
        Of the tensor's channels (:func:`~hwgen.slim.channels.channel_moments`).
    dropped
        Channels to approximate.
    kept
        Channels that may be sources; by default all others.
    sources
        Most sources a dropped map, found one by one by orthogonal matching pursuit (Pati,
        Rezaiifar and Krishnaprasad 1993): the next one correlates most with what is left. None:
        all.
    constant
        Whether there is a constant term; otherwise it is 0.
    damping
        Above 0: what is added to the mean square of each source, as a share of it, so that maps
        that depend on each other do no harm.

    Raises
    ------
    ValueError
        If a channel is not there, dropped and kept, or ``sources`` or ``damping`` is not positive.
    """
    channels = moments.mean.shape[1]
    if not damping > 0:
        raise ValueError(f"Damping must be positive, not {damping!r}")
    if sources is not None and sources < 1:
        raise ValueError(f"Sources must be at least 1, not {sources!r}")
    d = np.array(sorted(set(dropped)), dtype=np.intp)
    k = np.setdiff1d(np.arange(channels) if kept is None else np.array(kept, dtype=np.intp), d)
    if kept is not None and len(k) != len(kept):
        raise ValueError(f"Kept channels must differ from each other and from dropped ones: {kept}")
    if strange := [int(each) for each in (*d, *k) if not 0 <= each < channels]:
        raise ValueError(f"Channels must be from 0 to {channels - 1}, not {strange}")
    gram = np.asarray(moments.second[0, 0][np.ix_(k, k)])
    target: FloatArray = moments.cross[np.ix_(d, k)].T
    mean, wanted = moments.mean[0, k], moments.output_mean[d]
    if not constant:
        gram, target = gram + np.outer(mean, mean), target + np.outer(mean, wanted)
    found = np.zeros((len(k), len(d)))
    # a map that never varies, or is never there, is no source
    power = gram.diagonal()
    usable = np.flatnonzero(power > 1e-12 * max(power.max(initial=0.0), 1e-300))
    if len(usable) and len(d):
        size = np.sqrt(power[usable])
        gram = gram[np.ix_(usable, usable)] / np.outer(size, size)
        gram[np.diag_indices(len(gram))] += damping
        target = target[usable] / size[:, None]
        if sources is None or sources >= len(usable):
            solved = scipy.linalg.solve(gram, target, assume_a="pos")
        else:
            solved = _pursue(gram, target, sources)
        found[usable] = solved / size[:, None]
    offset = wanted - found.T @ mean if constant else np.zeros(len(d))
    return Combination(tuple(map(int, d)), tuple(map(int, k)), found, offset)


def _pursue(gram: FloatArray, target: FloatArray, sources: int) -> FloatArray:
    """Orthogonal matching pursuit for every column of ``target``, with sources of equal power."""
    columns = np.arange(target.shape[1])
    chosen = np.empty((len(columns), 0), dtype=np.intp)
    solved: Tensor = np.empty((len(columns), 0))
    for _ in range(sources):
        score = np.abs(target.T - np.einsum("dt,dtk->dk", solved, gram[chosen]))
        score[columns[:, None], chosen] = -1.0
        chosen = np.concatenate([chosen, score.argmax(axis=1)[:, None]], axis=1)
        among = gram[chosen[:, :, None], chosen[:, None, :]]
        solved = np.linalg.solve(among, target.T[columns[:, None], chosen][..., None])[..., 0]
    found = np.zeros_like(target)
    found[chosen, columns[:, None]] = solved
    return found


def combination_errors(moments: Moments, combination: Combination) -> FloatArray:
    """Mean squared error (len(dropped),) of each approximated map."""
    d, k = list(combination.dropped), list(combination.kept)
    c = combination.coefficients
    bias = moments.output_mean[d] - c.T @ moments.mean[0, k] - combination.constant
    explained = 2 * (c * moments.cross[np.ix_(d, k)].T).sum(axis=0)
    spread = (c * (moments.second[0, 0][np.ix_(k, k)] @ c)).sum(axis=0)
    error: FloatArray = moments.output_variance[d] - explained + spread + bias**2
    return np.maximum(error, 0.0)


@dataclass(frozen=True)
class Reader:
    """A convolution that reads a tensor from its channel ``offset`` on.

    A constant arrives there times ``gain``; ``padded`` if zeros around the maps are read as well.
    """

    node: Node
    op: Conv
    offset: int
    gain: float
    padded: bool


def fold_obstacle(
    network: Network, tensor: str, combination: Combination | None = None
) -> str | None:
    """Why a combination of maps of ``tensor`` cannot be folded, as a sentence; None if it can.

    Parameters
    ----------
    network, tensor
        Where the maps are.
    combination
        Without one: what stands against combinations of any maps, without a constant.
    """
    for reader in readers(network, tensor):
        if isinstance(reader, str):
            return reader
        op, name = reader.op, reader.node.name
        if combination is None:
            if op.groups > 1:
                return f"Layer {name!r} reads {tensor!r} in {op.groups} groups"
            continue
        if reader.padded and combination.constant.any():
            return f"Layer {name!r} pads {tensor!r} with zeros, where a constant would be missing"
        if not _within_groups(reader, combination):
            return f"Layer {name!r} reads dropped maps and their sources in different groups"
    return None


def readers(
    network: Network, tensor: str, offset: int = 0, gain: float = 1.0, padded: bool = False
) -> Iterator[Reader | str]:
    """Every convolution that reads ``tensor``, or a sentence for what else does."""
    if tensor == network.output:
        yield f"{tensor!r} is the output of the network"
    for node in network.consumers(tensor):
        match node.op:
            case Conv() as op:
                yield Reader(node, op, offset, gain, padded or any(op.pads))
            case AveragePool() as op:
                counted = padded or (op.count_include_pad and any(op.pads))
                yield from readers(network, node.name, offset, gain * op.gain, counted)
            case Concat():
                start = offset
                for name in node.inputs:
                    if name == tensor:
                        yield from readers(network, node.name, start, gain, padded)
                    start += network.shape(name)[0]
            case Add():
                yield f"{node.name!r} adds {tensor!r} to another tensor, map by map"
            case op:
                yield f"{node.name!r} ({type(op).__name__}) does not commute with sums of maps"


def _within_groups(reader: Reader, combination: Combination) -> bool:
    """Whether every dropped map is in the same group of the reader as its sources."""
    depth = reader.op.weight.shape[1]
    dropped = (np.array(combination.dropped, dtype=np.intp) + reader.offset) // depth
    kept = (np.array(combination.kept, dtype=np.intp) + reader.offset) // depth
    return not combination.coefficients[kept[:, None] != dropped].any()


def fold(network: Network, tensor: str, combination: Combination) -> Network:
    """``network`` in which all that read dropped maps of ``tensor`` read their sources instead.

    Nodes and shapes stay. Sources are read wherever the dropped maps were, also by kernels that
    were smaller there. The weights that read dropped maps are zero, and so are filters, weights and
    bias, whose maps nobody reads any more, here and before. Equal to computing the combination
    (:func:`materialise`).

    Raises
    ------
    ValueError
        If there is a :func:`fold_obstacle`.
    """
    if (obstacle := fold_obstacle(network, tensor, combination)) is not None:
        raise ValueError(f"Combination cannot be folded: {obstacle}")
    changed: dict[str, Conv] = {}
    for reader in readers(network, tensor):
        assert isinstance(reader, Reader)
        op = changed.get(reader.node.name, reader.op)
        changed[reader.node.name] = _folded(replace(reader, op=op), combination)
    nodes = (replace(node, op=changed.get(node.name, node.op)) for node in network.nodes)
    return zero_unread(replace(network, nodes=tuple(nodes)))


def _folded(reader: Reader, combination: Combination) -> Conv:
    op = reader.op
    weight, bias = op.weight.copy(), op.bias.copy()
    depth, filters = weight.shape[1], len(weight) // op.groups
    dropped = np.array(combination.dropped, dtype=np.intp) + reader.offset
    kept = np.array(combination.kept, dtype=np.intp) + reader.offset
    for group in np.unique(dropped // depth):
        rows = slice(group * filters, (group + 1) * filters)
        d, k = (np.flatnonzero(each // depth == group) for each in (dropped, kept))
        lost, sources = dropped[d] - group * depth, kept[k] - group * depth
        read = weight[rows, lost]
        weight[rows, sources] += np.einsum(
            "odyx,kd->okyx", read, combination.coefficients[np.ix_(k, d)]
        )
        bias[rows] += np.einsum("odyx,d->o", read, combination.constant[d] * reader.gain)
        weight[rows, lost] = 0.0
    return replace(op, weight=weight, bias=bias)


def materialise(network: Network, tensor: str, combination: Combination) -> Network:
    """``network`` with a 1x1 convolution behind ``tensor`` that computes the dropped maps.

    Whatever read the tensor reads that node instead, and if the tensor was the output, the node is.
    It passes the other maps on. Filters whose maps nobody reads any more are zero. A further
    combination of the same tensor can be folded into the node.
    """
    channels, *_ = shape = network.shape(tensor)
    dropped, kept = list(combination.dropped), list(combination.kept)
    matrix, bias = np.eye(channels), np.zeros(channels)
    matrix[dropped, dropped] = 0.0
    matrix[np.ix_(dropped, kept)] = combination.coefficients.T
    bias[dropped] = combination.constant
    taken = {network.input_name, *(node.name for node in network.nodes)}
    name = f"{tensor}_combined"
    while name in taken:
        name += "_"
    added = Node(name, Conv(matrix[:, :, None, None], bias), (tensor,), shape)
    nodes = [] if tensor != network.input_name else [added]
    for node in network.nodes:
        inputs = tuple(name if each == tensor else each for each in node.inputs)
        nodes.append(replace(node, inputs=inputs))
        if node.name == tensor:
            nodes.append(added)
    output = name if tensor == network.output else network.output
    return zero_unread(replace(network, nodes=tuple(nodes), output=output))
