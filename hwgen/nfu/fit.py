"""Parameters of an NFU that suit a network: no wider than it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hwgen.errors import ResourceError, UnsupportedError
from hwgen.integer.types import IntegerNetwork, MaxPool, PiecewiseLinear
from hwgen.nfu.compile import check_network, compile_network
from hwgen.nfu.config import DyadicLane, NfuConfig, Segments

__all__ = ["fit_config"]

_DEEPEST = 4096
_TURNS = 4
_WIDEST = 17  # input of a function


def fit_config(network: IntegerNetwork, *, tn: int, ti: int, depth: int = 512) -> NfuConfig:
    """Parameters with which the compiler takes ``network``, each the least that does.

    The lane has one term. Buffers have ``depth`` words, or more if a layer cannot be cut to fit;
    the address is as wide as memory is large. NFU-3 has a lane for four sums.

    Raises
    ------
    UnsupportedError, ResourceError
        If the compiler refuses the network with any parameters.
    """
    config = _deep_enough(network, tn, ti, depth)
    width = config.activation_width
    config = _least(network, config, range(4, width + 1), _activation)
    # before the accumulator and the scales, which have to do with what filters have in common
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


def _deep_enough(network: IntegerNetwork, tn: int, ti: int, depth: int) -> NfuConfig:
    """Buffers as deep as a layer needs, and all else as wide as can be."""
    operators = {type(node.op) for node in network.nodes}
    while True:
        config = NfuConfig(
            tn=tn,
            ti=ti,
            activation_width=16,
            accumulator_width=48,
            lane=DyadicLane(1, 16),
            sb_depth=depth,
            nbin_depth=depth,
            nbout_depth=depth,
            nfu3_lanes=max(1, tn // _TURNS),
            scale_terms=4,
            scale_exponents=32,
            product_width=63,
            maximum=MaxPool in operators,
            function=Segments(16, _WIDEST) if PiecewiseLinear in operators else None,
        )
        try:
            memory = compile_network(network, config).memory
        except ResourceError:
            if depth >= _DEEPEST:
                raise
            depth *= 2
        else:
            break
    words = max(len(memory.rows), len(memory.tables), len(memory.activations) // min(tn, ti))
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
        try:
            check_network(network, change(config, values[middle]))
        except UnsupportedError:
            low = middle + 1
        else:
            high = middle
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
