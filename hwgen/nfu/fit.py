"""Parameters of an NFU that suit a network: no wider than it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hwgen.errors import ResourceError, UnsupportedError
from hwgen.integer.types import IntegerNetwork, MaxPool, PiecewiseLinear
from hwgen.nfu.compile import check_network, compile_network, rows_cycles
from hwgen.nfu.config import BinaryLane, DyadicLane, NfuConfig, Segments
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.timing import Timing

__all__ = ["buffer_depth", "fit_config", "fit_lane", "least_cycles"]

_SHALLOW, _DEEP, _DEEPEST = 256, 512, 4096  # words of a block of iCE40, of ECP5, and at most
_TURNS = 4
_WIDEST = 17  # input of a function
_BINARY = 17 / 16  # cycles for binary lanes
_PLANES = 5 / 4  # cycles for narrow activations: what they save in LUTs of a large tile
_TIMING = Timing(latency=4)  # as the compiler chooses tilings


def buffer_depth(family: str | None) -> int:
    """Words of a block RAM at its full width: what a buffer has without need of a second block.

    That of an ECP5 where no family is given.
    """
    return _SHALLOW if family == "ice40" else _DEEP


def fit_config(network: IntegerNetwork, *, tn: int, ti: int, depth: int = 512) -> NfuConfig:
    """Parameters with which the compiler takes ``network``, each the least that does.

    Lanes have one term, or weights of 1 and -1 where cycles grow by at most a sixteenth: binary
    networks have such weights. Where cycles then grow by at most a quarter, their images lie in
    bit planes, and activations are as narrow as what passes between layers. Buffers have ``depth``
    words, or more if a layer cannot be cut to fit; the address is as wide as memory is large. NFU-3
    has a lane for four sums.

    Raises
    ------
    UnsupportedError, ResourceError
        If the compiler refuses the network with any parameters.
    """
    best = fit_lane(network, DyadicLane(1, 16), tn=tn, ti=ti, depth=depth)
    cycles = _cycles(network, best)
    bits = network.input_format.range.width
    for lane, slower in ((BinaryLane(), _BINARY), (BinaryLane(bits), _PLANES)):
        widest = replace(_widest(network, tn, ti), lane=lane)
        if not _takes(network, widest) or rows_cycles(network, widest) > slower * cycles:
            continue
        fitted = fit_lane(network, lane, tn=tn, ti=ti, depth=depth)
        if lane.planes > 1 and fitted.activation_width >= min(bits, best.activation_width):
            continue
        if (taken := _cycles(network, fitted)) <= slower * cycles:
            best, cycles = fitted, min(taken, cycles)
    return best


def least_cycles(network: IntegerNetwork, *, tn: int, ti: int) -> int:
    """Cycles an image that no NFU with this tile falls short of: those of the rows of its weights.

    Raises
    ------
    UnsupportedError
        If the compiler refuses the network with any parameters.
    """
    return rows_cycles(network, _widest(network, tn, ti))


def _widest(network: IntegerNetwork, tn: int, ti: int) -> NfuConfig:
    """All that does not depend on the buffers as wide as can be."""
    operators = {type(node.op) for node in network.nodes}
    return NfuConfig(
        tn=tn,
        ti=ti,
        activation_width=16,
        accumulator_width=48,
        lane=DyadicLane(1, 16),
        nfu3_lanes=max(1, tn // _TURNS),
        scale_terms=4,
        scale_exponents=32,
        product_width=63,
        maximum=MaxPool in operators,
        function=Segments(16, _WIDEST) if PiecewiseLinear in operators else None,
    )


def fit_lane(
    network: IntegerNetwork,
    lane: DyadicLane | BinaryLane,
    *,
    tn: int,
    ti: int,
    depth: int = 512,
) -> NfuConfig:
    """The least parameters for a kind of lane; of dyadic lanes also the fewest exponents.

    Raises
    ------
    UnsupportedError, ResourceError
        If the compiler refuses the network with this lane and any other parameters.
    """
    config = replace(_widest(network, tn, ti), lane=lane)
    # before the buffers, since an image may lie in planes
    config = _least(network, config, range(2, config.activation_width + 1), _activation)
    config = _deep_enough(network, config, depth)
    # before the accumulator and the scales, which have to do with what filters have in common
    if isinstance(config.lane, DyadicLane):
        config = _least(network, config, (2, 4, 8, 16), _exponents)
    if config.function is not None:
        config = _least(network, config, (2, 4, 8, 16), _segments)
        config = _least(network, config, range(5, _WIDEST + 1), _function_width)
    lowest = max(config.activation_width + 2, config.function.width if config.function else 0)
    config = _least(network, config, range(lowest, config.accumulator_width + 1), _accumulator)
    lowest = config.accumulator_width
    config = _least(network, config, range(lowest, config.product_width + 1), _product)
    config = _least(network, config, range(1, config.scale_terms + 1), _scale_terms)
    return _least(network, config, (2, 4, 8, 16, 32), _scale_exponents)


def _takes(network: IntegerNetwork, config: NfuConfig) -> bool:
    """Whether the compiler takes the network, if the buffers are deep enough."""
    try:
        check_network(network, config)
    except UnsupportedError:
        return False
    return True


def _cycles(network: IntegerNetwork, config: NfuConfig) -> int:
    return count_cycles(config, compile_network(network, config).program, _TIMING).total


def _deep_enough(network: IntegerNetwork, config: NfuConfig, depth: int) -> NfuConfig:
    """Buffers as deep as a layer needs."""
    while True:
        config = replace(config, sb_depth=depth, nbin_depth=depth, nbout_depth=depth)
        try:
            memory = compile_network(network, config).memory
        except ResourceError:
            if depth >= _DEEPEST:
                raise
            depth *= 2
        else:
            break
    least = min(config.tn, config.ti)
    words = max(len(memory.rows), len(memory.tables), len(memory.activations) // least)
    return replace(config, address_width=max(8, (words - 1).bit_length()))


def _least(
    network: IntegerNetwork,
    config: NfuConfig,
    values: Sequence[int],
    change: Callable[[NfuConfig, int], NfuConfig],
) -> NfuConfig:
    """``config`` with the least of ascending ``values``, the last of which it has."""
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if _takes(network, change(config, values[middle])):
            high = middle
        else:
            low = middle + 1
    return change(config, values[low])


def _activation(config: NfuConfig, value: int) -> NfuConfig:
    return replace(config, activation_width=value)


def _accumulator(config: NfuConfig, value: int) -> NfuConfig:
    return replace(config, accumulator_width=value)


def _product(config: NfuConfig, value: int) -> NfuConfig:
    return replace(config, product_width=value)


def _scale_terms(config: NfuConfig, value: int) -> NfuConfig:
    return replace(config, scale_terms=value)


def _scale_exponents(config: NfuConfig, value: int) -> NfuConfig:
    return replace(config, scale_exponents=value)


def _exponents(config: NfuConfig, value: int) -> NfuConfig:
    return replace(config, lane=DyadicLane(1, value))


def _segments(config: NfuConfig, value: int) -> NfuConfig:
    assert config.function is not None
    return replace(config, function=replace(config.function, count=value))


def _function_width(config: NfuConfig, value: int) -> NfuConfig:
    assert config.function is not None
    return replace(config, function=replace(config.function, width=value))
