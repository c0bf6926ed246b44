"""Weights as SB rows, and requantisations as words of NFU-3's table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwgen.errors import UnsupportedError
from hwgen.integer.types import Conv, Requantise
from hwgen.nfu.config import NfuConfig
from hwgen.numeric import IntArray, csd, odd_part

__all__ = ["Scaling", "TapRow", "layer_scaling", "tap_rows"]


@dataclass(frozen=True, eq=False)
class TapRow:
    """The terms (Tn, Ti, terms) of one SB row, of tap (ky, kx) and a block of Ti inputs."""

    ky: int
    kx: int
    block: int
    terms: IntArray


@dataclass(frozen=True, eq=False)
class Scaling:
    """NFU-3 of a layer: terms (C, terms of a scale), constants (C,), the shift, bounds or None."""

    terms: IntArray
    constants: IntArray
    shift: int
    bounds: tuple[int, int] | None


def _digits(weights: IntArray) -> IntArray:
    """Canonical signed digits of each weight: the array's shape and an axis of terms (at least 1).

    Terms come in order, lowest exponent first, then zeros.
    """
    found = {w: [d.sign << d.exponent for d in csd(w)] for w in np.unique(weights).tolist()}
    most = max([1, *(len(terms) for terms in found.values())])
    flat = [found[w] + [0] * (most - len(found[w])) for w in weights.ravel().tolist()]
    return np.array(flat, dtype=np.int64).reshape(*weights.shape, most)


def _dense(op: Conv, filters: int, channels: int) -> IntArray:
    """Weights (filters, channels, KH, KW) with zeros where groups do not read."""
    count, per_group = op.weight.shape[:2]
    weights = np.zeros((filters, channels, *op.kernel), dtype=np.int64)
    for o in range(count):
        first = o // (count // op.groups) * per_group
        weights[o, first : first + per_group] = op.weight[o]
    return weights


def tap_rows(config: NfuConfig, op: Conv, channels: int) -> list[list[TapRow]]:
    """Surviving rows of each output group (Tn filters), in the order of taps.

    Parameters
    ----------
    config : NfuConfig
        Parameters.
    op : Conv
        The layer.
    channels : int
        Channels of its input with those that fill the last block.

    Raises
    ------
    UnsupportedError
        If a weight has an exponent that the lane has not.
    """
    tn, ti, terms = config.tn, config.ti, config.lane.terms
    groups = -(-len(op.weight) // tn)
    digits = _digits(_dense(op, groups * tn, channels))
    if np.abs(digits).max() >= 1 << config.lane.exponents:
        raise UnsupportedError(
            f"Weights have exponents up to {int(np.abs(digits).max()).bit_length() - 1}, and the "
            f"lane has {config.lane.exponents}; give it more"
        )
    spare = -digits.shape[-1] % terms
    digits = np.pad(digits, [(0, 0)] * 4 + [(0, spare)])
    # (groups, KH, KW, blocks, parts, Tn, Ti, terms)
    kh, kw = op.kernel
    split = digits.reshape(groups, tn, channels // ti, ti, kh, kw, -1, terms)
    split = split.transpose(0, 4, 5, 2, 6, 1, 3, 7)
    alive = split.any(axis=(5, 6, 7))
    rows: list[list[TapRow]] = [[] for _ in range(groups)]
    for group, ky, kx, block, part in np.argwhere(alive).tolist():
        rows[group].append(TapRow(ky, kx, block, split[group, ky, kx, block, part]))
    return rows


def layer_scaling(config: NfuConfig, op: Conv, scale: Requantise | None) -> Scaling:
    """NFU-3 for a layer and the requantisation that follows it, or for its sums as they are.

    Raises
    ------
    UnsupportedError
        If a multiplier depends on the position or does not fit the table.
    """
    count = len(op.weight)
    if scale is None:
        multipliers, shifts, bounds = np.ones(count, np.int64), np.zeros(count, np.int64), None
    else:
        if scale.multiplier[0].size > 1 or scale.shift[0].size > 1:
            raise UnsupportedError("Multipliers that depend on the position do not fit the table")
        multipliers = np.broadcast_to(scale.multiplier.ravel(), count)
        shifts = np.broadcast_to(scale.shift.ravel(), count)
        bounds = (scale.lo, scale.hi)
    factors, downs, constants = [], [], []
    for multiplier, shift, bias in zip(
        multipliers.tolist(), shifts.tolist(), op.bias.tolist(), strict=True
    ):
        odd, twos = odd_part(multiplier) if multiplier else (0, shift)
        down, up = max(0, shift - twos), max(0, twos - shift)
        factors.append(odd << up)
        downs.append(down)
        constants.append((bias * odd << up) + (1 << down >> 1))
    most = max(downs)
    together = [f << (most - down) for f, down in zip(factors, downs, strict=True)]
    widened = [c << (most - down) for c, down in zip(constants, downs, strict=True)]
    digits = _digits(np.array(together, dtype=np.int64))
    if digits.shape[1] > config.scale_terms:
        raise UnsupportedError(
            f"Scales have up to {digits.shape[1]} terms, and NFU-3 has {config.scale_terms}; "
            "give it more"
        )
    if np.abs(digits).max() >= 1 << config.scale_exponents:
        raise UnsupportedError(
            f"Scales have exponents up to {int(np.abs(digits).max()).bit_length() - 1}, and NFU-3 "
            f"has {config.scale_exponents}; give it more"
        )
    terms = np.pad(digits, ((0, 0), (0, config.scale_terms - digits.shape[1])))
    return Scaling(terms, np.array(widened, dtype=np.int64), most, bounds)
