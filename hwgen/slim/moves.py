"""Single steps that slim a network, and what the network is after some of them.

The state of a search is where weights may be other than zero, and the recipe of each layer that has
one. Everything else follows: which filters nobody reads, which maps have become constant, and the
weights, which are fitted. A move takes places away, or coarsens a recipe; it never gives back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import get_args

import numpy as np

from hwgen.network.types import Add, ArgMax, Concat, Conv, Network, Node, Pair, Softmax
from hwgen.serial import dumps, loads
from hwgen.slim._damped import BoolArray
from hwgen.slim.kernels import centred_mask
from hwgen.slim.tiles import Tile, tile_blocks

__all__ = [
    "MOVES",
    "BlockMove",
    "FeatureMove",
    "KernelMove",
    "Move",
    "RecipeMove",
    "SliceMove",
    "State",
    "after",
    "describe",
    "dump_moves",
    "load_moves",
    "masked",
    "start",
]


@dataclass(frozen=True)
class KernelMove:
    """The ``filters`` of ``layer`` keep of their kernels only the centre of ``size``.

    The centre is that of :func:`~hwgen.slim.kernels.centred_mask`. Size (0, 0) removes the filters:
    their maps become constant.
    """

    layer: str
    filters: tuple[int, ...]
    size: Pair


@dataclass(frozen=True)
class SliceMove:
    """Kernels of single input channels keep only what lies in a centred ``size``.

    ``slices`` are (filter, channel that it reads, of its group) of ``layer``; ``size`` (0, 0)
    removes them.
    """

    layer: str
    slices: tuple[tuple[int, int], ...]
    size: Pair


@dataclass(frozen=True)
class FeatureMove:
    """The layers ``readers`` stop reading the ``channels`` of ``tensor``.

    What the channels meant is fitted into the weights that read the others, which makes the
    channels linear combinations of the others in the way that is best for each reader.
    """

    tensor: str
    channels: tuple[int, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class BlockMove:
    """The weights of some ``blocks`` of ``layer`` vanish.

    Blocks are those of :func:`~hwgen.slim.tiles.tile_blocks` for the ``tile``: a tap of so many
    filters by so many channels, which an NFU of that tile skips; single weights for (1, 1).
    """

    layer: str
    tile: Tile
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class RecipeMove:
    """The weights of ``layer`` become dyadic by ``recipe``, the text of a recipe."""

    layer: str
    recipe: str


Move = KernelMove | SliceMove | FeatureMove | BlockMove | RecipeMove

MOVES: tuple[type, ...] = get_args(Move)
"""The classes of moves, for what reads them."""

_NO_RECIPES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class State:
    """What is left of a network: places of weights, and recipes.

    Attributes
    ----------
    masks
        By Conv node name: (O, I / groups, KH, KW), where weights may be other than zero. A layer
        that a move does not change keeps its array, so that identity tells what has changed.
    recipes
        Text of the recipe by Conv node name; a layer without one has real weights.
    """

    masks: Mapping[str, BoolArray]
    recipes: Mapping[str, str] = field(default_factory=lambda: _NO_RECIPES)


def start(network: Network) -> State:
    """The state of a network that has lost nothing."""
    return State({node.name: op.weight != 0 for node, op in network.convs()})


def after(network: Network, state: State, moves: Iterable[Move]) -> State:
    """The state after ``moves``, whatever nobody reads or has become constant taken out as well.

    Parameters
    ----------
    network
        Original network.
    state
        Where to start from.
    moves
        In any order: the result is the same, but for the recipe of a layer that has several.

    Raises
    ------
    ValueError
        If a move names a node that is no Conv, or filters or channels that are not there.
    """
    masks, recipes = dict(state.masks), dict(state.recipes)
    for move in moves:
        match move:
            case KernelMove():
                rows = _rows(masks, move.layer, move.filters)
                height, width = masks[move.layer].shape[2:]
                taps = centred_mask((height, width), move.size)
                masks[move.layer] = _cleared(masks[move.layer], rows, ~taps)
            case SliceMove():
                masks[move.layer] = _sliced(masks, move)
            case FeatureMove():
                for name in move.readers:
                    _rows(masks, name, ())
                    masks[name] = _without_channels(network.node(name), masks[name], move.channels)
            case BlockMove():
                masks[move.layer] = _without_blocks(network, masks, move)
            case RecipeMove():
                _rows(masks, move.layer, ())
                recipes[move.layer] = move.recipe
    return State(_settled(network, masks), recipes)


def masked(network: Network, state: State) -> Network:
    """``network`` with its own weights, those that are gone being 0."""
    return replace(network, nodes=tuple(_masked(node, state) for node in network.nodes))


def describe(move: Move) -> str:
    """One line for people, such as ``conv1: 3 filters to 3x3``."""
    match move:
        case KernelMove(layer, filters, (0, 0)):
            return f"{layer}: {_number(len(filters), 'filter')} removed"
        case KernelMove(layer, filters, (height, width)):
            return f"{layer}: {_number(len(filters), 'filter')} to {height}x{width}"
        case SliceMove(layer, slices, (0, 0)):
            return f"{layer}: {_number(len(slices), 'kernel')} removed"
        case SliceMove(layer, slices, (height, width)):
            return f"{layer}: {_number(len(slices), 'kernel')} to {height}x{width}"
        case FeatureMove(tensor, channels, readers):
            return f"{tensor}: {_number(len(channels), 'feature')} less in {', '.join(readers)}"
        case BlockMove(layer, (tn, ti), blocks):
            return f"{layer}: {_number(len(blocks), 'block')} of {tn}x{ti} weights removed"
        case RecipeMove(layer, recipe):
            return f"{layer}: {recipe}"


def dump_moves(moves: Iterable[Move]) -> str:
    """Exact text of ``moves``, one line of JSON."""
    return dumps(tuple(moves))


def load_moves(text: str) -> tuple[Move, ...]:
    """The moves that :func:`dump_moves` wrote.

    Raises
    ------
    DataError
        If the text is something else.
    """
    return loads(text, MOVES, tuple)


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" + "s" * (count != 1)


def _masked(node: Node, state: State) -> Node:
    if not isinstance(node.op, Conv):
        return node
    weight = np.where(state.masks[node.name], node.op.weight, 0.0)
    return replace(node, op=replace(node.op, weight=weight))


def _rows(masks: Mapping[str, BoolArray], layer: str, filters: tuple[int, ...]) -> list[int]:
    if layer not in masks:
        raise ValueError(f"Move must name a linear layer, not {layer!r}")
    count = len(masks[layer])
    if any(not 0 <= f < count for f in filters):
        raise ValueError(f"Filters of {layer!r} must be from 0 to {count - 1}, not {filters!r}")
    return list(filters)


def _cleared(mask: BoolArray, rows: list[int], taps: BoolArray) -> BoolArray:
    """``mask`` without the ``taps`` (KH, KW) of the filters ``rows``."""
    cleared = mask.copy()
    cleared[rows] &= ~taps
    return cleared


def _sliced(masks: Mapping[str, BoolArray], move: SliceMove) -> BoolArray:
    rows = _rows(masks, move.layer, tuple(f for f, _ in move.slices))
    mask, columns = masks[move.layer], [channel for _, channel in move.slices]
    depth = mask.shape[1]
    if any(not 0 <= channel < depth for channel in columns):
        raise ValueError(
            f"Channels of a filter of {move.layer!r} must be from 0 to {depth - 1}, not {columns!r}"
        )
    cleared = mask.copy()
    cleared[rows, columns] &= centred_mask((mask.shape[2], mask.shape[3]), move.size)
    return cleared


def _without_blocks(network: Network, masks: Mapping[str, BoolArray], move: BlockMove) -> BoolArray:
    """The mask of the layer of a ``move`` without its blocks."""
    _rows(masks, move.layer, ())
    op = network.node(move.layer).op
    assert isinstance(op, Conv)
    numbers = tile_blocks(op, move.tile)
    if not 0 <= min(move.blocks, default=0) <= max(move.blocks, default=0) <= numbers.max():
        raise ValueError(
            f"Blocks of {move.layer!r} must be from 0 to {numbers.max()}, not {move.blocks!r}"
        )
    return np.asarray(masks[move.layer] & ~np.isin(numbers, move.blocks))


def _without_channels(node: Node, mask: BoolArray, channels: Iterable[int]) -> BoolArray:
    """``mask`` of the layer ``node`` that no longer reads ``channels`` of its input."""
    assert isinstance(node.op, Conv)
    cleared = mask.copy()
    depth, per_group = mask.shape[1], len(mask) // node.op.groups
    for channel in channels:
        group, within = divmod(channel, depth)
        if not 0 <= group < node.op.groups:
            raise ValueError(
                f"Channels that {node.name!r} reads must be from 0 to "
                f"{node.op.groups * depth - 1}, not {channel}"
            )
        cleared[group * per_group : (group + 1) * per_group, within] = False
    return cleared


def _settled(network: Network, masks: dict[str, BoolArray]) -> dict[str, BoolArray]:
    """``masks`` without weights that read constants, and without filters that nobody reads."""
    constant: dict[str, BoolArray] = {network.input_name: np.zeros(network.input_shape[0], bool)}
    for node in network.nodes:
        inputs = [constant[name] for name in node.inputs]
        match node.op:
            case Conv() as op:
                useless = _reads(op, masks[node.name]) & inputs[0]
                if useless.any():
                    channels = np.flatnonzero(useless).tolist()
                    masks[node.name] = _without_channels(node, masks[node.name], channels)
                constant[node.name] = np.asarray(~masks[node.name].any(axis=(1, 2, 3)))
            case Add():
                constant[node.name] = np.asarray(np.stack(inputs).all(axis=0))
            case Concat():
                constant[node.name] = np.concatenate(inputs)
            case Softmax() | ArgMax():
                constant[node.name] = np.zeros(node.shape[0], dtype=bool)
            case _:
                constant[node.name] = inputs[0]
    read: dict[str, BoolArray] = {
        name: np.zeros(len(channels), dtype=bool) for name, channels in constant.items()
    }
    read[network.output][:] = True
    for node in reversed(network.nodes):
        live = read[node.name]
        match node.op:
            case Conv() as op:
                mask = masks[node.name]
                if mask[~live].any():
                    mask = masks[node.name] = mask & live[:, None, None, None]
                read[node.inputs[0]] |= _reads(op, mask)
            case Concat():
                at = 0
                for name in node.inputs:
                    read[name] |= live[at : at + len(read[name])]
                    at += len(read[name])
            case Softmax() | ArgMax():
                read[node.inputs[0]][:] = True
            case _:
                for name in node.inputs:
                    read[name] |= live
    return masks


def _reads(op: Conv, mask: BoolArray) -> BoolArray:
    """(I,) channels of its input of which the layer has a weight."""
    taken = mask.any(axis=(2, 3)).reshape(op.groups, -1, mask.shape[1]).any(axis=1)
    return np.asarray(taken.reshape(-1))
