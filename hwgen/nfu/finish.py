"""What NFU-3 does with the sums of a layer: words of its table, and fields of instructions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.function import TableFunction, function_words, table_function
from hwgen.nfu.isa import Nfu2Out
from hwgen.nfu.layers import Layer
from hwgen.nfu.memory import multiplier_terms, pack_scales
from hwgen.numeric import IntArray, Range, odd_part

__all__ = ["Finish", "finishes"]


@dataclass(frozen=True)
class Finish:
    """One way of sums through NFU-3.

    Parameters
    ----------
    words : tuple of int
        Words of the table, those of each output group in order.
    each : int
        Words of an output group; 0 if all groups share the words.
    align : int
        What the address in the table must be a multiple of.
    fields : tuple of (str, int)
        Fields of the run's instruction.
    """

    words: tuple[int, ...]
    each: int
    align: int
    fields: tuple[tuple[str, int], ...]


def finishes(
    config: NfuConfig, layer: Layer, order: IntArray, twos: IntArray
) -> tuple[Finish, ...]:
    """What NFU-3 does to the sums of ``layer``: a scale, a function, or one after the other.

    ``order`` (C,) is the channel of each place of the output, ``twos`` (C,) the exponents of the
    powers of two that the channels' sums lack.

    Raises
    ------
    UnsupportedError
        If a multiplier depends on the position, or NFU-3 with ``config`` lacks what it takes.
    """
    result = []
    if layer.scale is not None or layer.function is None or twos.any():
        result.append(_scale(config, layer, order, twos))
    if layer.function is not None:
        result.append(_function(config, layer, order))
    return tuple(result)


def _function(config: NfuConfig, layer: Layer, order: IntArray) -> Finish:
    op = layer.function
    assert op is not None
    inputs = layer.node.ranges[0]
    for r in layer.node.ranges:
        inputs = inputs.union(r)
    if layer.scale is not None:
        inputs = Range(layer.scale.lo, layer.scale.hi)
    function = table_function(config, op, inputs)
    segments = function.begins.shape[1]
    shared = len(function.begins) == 1
    if not shared:
        function = TableFunction(
            function.begins[order], function.terms[order], function.constants[order]
        )
    fields = {
        "nfu_out": Nfu2Out.NFU3,
        "nfu_function": 1,
        "table_shared": int(shared),
        "nfu_shift": op.shift,
        "nfu_saturate": 1,
        "nfu_low": op.lo,
        "nfu_high": op.hi,
    }
    each = 0 if shared else segments * config.turns
    return Finish(function_words(config, function), each, segments, tuple(fields.items()))


def _scale(config: NfuConfig, layer: Layer, order: IntArray, twos: IntArray) -> Finish:
    scaling = _layer_scaling(config, layer, twos)
    _check_sums(config, layer, twos, scaling)
    groups = -(-len(scaling.constants) // config.tn)
    fields: dict[str, int] = {"nfu_out": Nfu2Out.NFU3, "nfu_shift": scaling.shift}
    if scaling.bounds is not None:
        low, high = scaling.bounds
        fields |= {"nfu_saturate": 1, "nfu_low": low, "nfu_high": high}
    spare = groups * config.tn - len(scaling.constants)
    terms = np.pad(scaling.terms[order], ((0, spare), (0, 0)))
    constants = np.pad(scaling.constants[order], (0, spare))
    lanes = config.nfu3_lanes
    words = pack_scales(
        config, terms.reshape(-1, lanes, config.scale_terms), constants.reshape(-1, lanes)
    )
    return Finish(words, config.turns, 1, tuple(fields.items()))


@dataclass(frozen=True, eq=False)
class _Scaling:
    """NFU-3 of a layer: terms (C, terms of a scale), constants (C,), the shift, bounds or None."""

    terms: IntArray
    constants: IntArray
    shift: int
    bounds: tuple[int, int] | None


def _layer_scaling(config: NfuConfig, layer: Layer, twos: IntArray) -> _Scaling:
    """NFU-3 for a layer's sums, or for sums that are stored as they are but for their bias.

    A channel whose output is the same for all sums has multiplier 0, so that it needs no exponent.

    Raises
    ------
    UnsupportedError
        If a multiplier depends on the position or does not fit the table.
    """
    bias, scale = layer.bias, layer.scale
    count = len(bias)
    if scale is None:
        multipliers, shifts, bounds = np.ones(count, np.int64), np.zeros(count, np.int64), None
    else:
        if scale.multiplier[0].size > 1 or scale.shift[0].size > 1:
            raise UnsupportedError("Multipliers that depend on the position do not fit the table")
        multipliers = np.broadcast_to(scale.multiplier.ravel(), count)
        shifts = np.broadcast_to(scale.shift.ravel(), count)
        bounds = (scale.lo, scale.hi)
    factors, downs, constants = [], [], []
    for multiplier, shift, added, lacking, sums in zip(
        *(multipliers.tolist(), shifts.tolist(), bias.tolist(), twos.tolist(), layer.node.ranges),
        strict=True,
    ):
        odd, even = odd_part(multiplier) if multiplier else (0, shift)
        down, up = max(0, shift - even), max(0, even - shift)
        ends = sums.scale(odd << up)
        half = 1 << down >> 1
        lo, hi = ((end + half) >> down for end in (ends.lo, ends.hi))
        if bounds is not None:
            lo, hi = (min(max(y, bounds[0]), bounds[1]) for y in (lo, hi))
        if scale is not None and lo == hi:
            factors.append(0)
            downs.append(0)
            constants.append(lo)
        else:
            factors.append(odd << (up + lacking))
            downs.append(down)
            constants.append((added * odd << up) + half)
    most = max(downs)
    together = [f << (most - down) for f, down in zip(factors, downs, strict=True)]
    widened = [c << (most - down) for c, down in zip(constants, downs, strict=True)]
    terms = multiplier_terms(config, np.array(together, dtype=np.int64), what="Scales")
    return _Scaling(terms, np.array(widened, dtype=np.int64), most, bounds)


def _check_sums(config: NfuConfig, layer: Layer, twos: IntArray, scaling: _Scaling) -> None:
    for r, bias, lacking, terms, constant in zip(
        layer.node.ranges,
        layer.bias.tolist(),
        twos.tolist(),
        scaling.terms.tolist(),
        scaling.constants.tolist(),
        strict=True,
    ):
        sums = Range((r.lo - bias) >> lacking, (r.hi - bias) >> lacking)
        stored = r if layer.scale is None else Range(layer.scale.lo, layer.scale.hi)
        width = max(stored.width, sums.width) + 1
        if width > config.accumulator_width:
            raise UnsupportedError(
                f"Sums need {width} bits, and the accumulator has {config.accumulator_width}"
            )
        product = sums.scale(sum(terms)) + Range(constant, constant)
        if product.width + 1 > config.product_width:
            raise UnsupportedError(
                f"Scaled sums need {product.width + 1} bits, and NFU-3 has {config.product_width}"
            )
