"""Lanes for weights of plus and minus one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Value, signed

from hwgen.errors import UnsupportedError
from hwgen.nfu.dyadic import signed_digits
from hwgen.nfu.lane import Operands, check_between
from hwgen.numeric import IntArray
from hwgen.stream.common import Registers

__all__ = ["BinaryLane"]


@dataclass(frozen=True)
class BinaryLane:
    """Lane that adds or subtracts its activation: a weight is 1 or -1, and one bit in SB.

    Activations are numbers of the width that the parameters say, as for any other lane: an
    exclusive or a lane, and the popcount of XNOR networks is an adder tree. Two bits hold the -1
    and 1 of binary networks, and the 0 of their padding. A row has a weight where a neuron of those
    that it names meets an input of those that it names, which takes Tn + Ti bits more, and none
    elsewhere; one bit more says that each neuron meets the inputs of its own number alone, modulo
    the lesser of Tn and Ti, as in layers that work channel by channel. A block whose zeros have no
    such form takes further rows.

    Parameters
    ----------
    planes : int
        Powers of two that a row may be multiplied by, 1 to 16; with one, weights are 1 and -1. With
        more, a row's power is applied to the sums of its neurons, and an image may lie in memory as
        its bits: a plane each, in rows of the plane's power.
    """

    planes: int = 1

    def __post_init__(self) -> None:
        check_between("Planes of a lane", self.planes, 1, 16)

    @property
    def shift_width(self) -> int:
        """Bits of a row's power of two."""
        return (self.planes - 1).bit_length()

    @property
    def operands(self) -> int:
        """An activation, or its negation, is an operand."""
        return 1

    def operand_width(self, activation_width: int) -> int:
        """An activation and a sign, since it may be unsigned."""
        return activation_width + 1

    def widths(self, tn: int, ti: int) -> list[int]:
        """Inputs that a row names, neurons, signs of each neuron, own inputs alone, the power."""
        return [ti, tn] + [ti] * tn + [1] + [self.shift_width] * (self.planes > 1)

    def pack(self, terms: IntArray) -> IntArray:
        """Masks, signs and powers of rows."""
        largest = np.abs(terms).max(axis=(1, 2, 3), initial=0)
        exponents = np.clip(np.frexp(largest.astype(np.float64))[1] - 1, 0, self.planes - 1)
        exponents = exponents.astype(np.int64)
        weights = terms[..., 0] / np.exp2(exponents)[:, None, None]
        present = weights != 0
        product, own = _product(present), _product(present) & _own(*present.shape[1:])
        alone: npt.NDArray[np.bool_] = (present != product).any(axis=(1, 2))
        if not np.isin(weights, (-1, 0, 1)).all() or (present[alone] != own[alone]).any():
            raise ValueError("Weights must be 1 or -1 where a row's neurons and inputs meet")
        columns = [_bits(present.any(axis=1))[:, None], _bits(present.any(axis=2))[:, None]]
        columns += [_bits(weights < 0), alone.astype(np.int64)[:, None]]
        return np.concatenate(columns + [exponents[:, None]] * (self.planes > 1), axis=1)

    def unpack(self, fields: IntArray, tn: int, ti: int) -> IntArray:
        """Terms of rows."""
        inputs, neurons = fields[:, :1] >> np.arange(ti) & 1, fields[:, 1:2] >> np.arange(tn) & 1
        signs = 1 - 2 * (fields[:, 2 : 2 + tn, None] >> np.arange(ti) & 1)
        weights = signs * neurons[:, :, None] * inputs[:, None, :]
        weights *= _own(tn, ti) | (fields[:, 2 + tn, None, None] == 0)
        if self.planes > 1:
            weights <<= fields[:, -1, None, None]
        return np.asarray(weights[..., None], dtype=np.int64)

    def excess(self, magnitude: int) -> int:
        """From the exponent of the first canonical signed digit."""
        return max(0, (3 * magnitude).bit_length() - 1 - self.planes)

    def split(self, weights: IntArray) -> IntArray:
        """A row for each power and set of inputs that neurons have in common.

        That is one row if all weights are 1 and -1, without zeros.
        """
        digits = signed_digits(weights)
        if np.abs(digits).max() >> self.planes:
            has = "1 and -1" if self.planes == 1 else f"{self.planes} powers of two"
            raise UnsupportedError(
                f"Weights reach from {weights.min()} to {weights.max()}, and the lane has {has}"
            )
        parts = [
            part << k
            for k in range(self.planes)
            for part in _rows_of_signs((np.sign(digits) * (np.abs(digits) == 1 << k)).sum(axis=-1))
        ]
        return np.stack(parts, axis=-3)[..., None]

    def build(
        self, registers: Registers, x: Sequence[Value], codes: Value, *, tn: int, width: int
    ) -> Operands:
        """A mask and an exclusive or a lane; the power is for the sums."""
        ti = len(x)
        own = _own(tn, ti)
        inputs, neurons = codes[:ti], codes[ti : ti + tn]
        rest = ti + tn + tn * ti
        others = neurons & ~codes[rest].replicate(tn)
        terms: list[Value] = []
        negative = []
        for n in range(tn):
            signs = codes[ti + tn + n * ti :][:ti]
            for i, a in enumerate(x):
                meets = inputs[i] & (neurons[n] if own[n, i] else others[n])
                masked = a.as_unsigned() & meets.replicate(len(a))
                value = masked ^ signs[i].replicate(len(a))
                kept = registers.register(
                    value[:width].as_signed(), signed(min(len(a), width)), name=f"term{n}_{i}"
                )
                terms.append(registers.delay(kept, 1, name=f"term{n}_{i}"))
                negative.append(registers.delay(signs[i], 2, name=f"negative{n}_{i}"))
        present = [
            registers.delay(neurons[n] & inputs.any(), 2, name=f"present{n}") for n in range(tn)
        ]
        shift = None
        if self.planes > 1:
            shift = registers.delay(codes[rest + 1 :], 2, name="shift")
        return Operands(terms, negative, present, shift)


def _own(tn: int, ti: int) -> npt.NDArray[np.bool_]:
    """(Tn, Ti): which inputs have a neuron's own number, modulo the lesser of Tn and Ti."""
    least = min(tn, ti)
    return np.asarray(np.arange(tn)[:, None] % least == np.arange(ti) % least)


def _product(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """All pairs of a neuron and an input (..., Tn, Ti) that are in some pair."""
    return np.asarray(present.any(axis=-1, keepdims=True) & present.any(axis=-2, keepdims=True))


def _rows_of_signs(weights: IntArray) -> list[IntArray]:
    """Weights of 1, 0 and -1 as rows (..., Tn, Ti) of the lane."""
    present = weights != 0
    own = present == _product(present) & _own(*present.shape[-2:])
    alone = own.all(axis=(-2, -1), keepdims=True)
    parts = [weights * alone]
    sets = np.where(alone[..., 0], 0, _bits(present))  # (..., Tn)
    for n in range(weights.shape[-2]):
        # the neurons with the inputs of neuron n, if it is the first of them
        same = sets == sets[..., n : n + 1]
        first = same[..., :n].any(axis=-1, keepdims=True)
        parts.append(weights * (same & ~first & ~alone[..., 0])[..., None])
    return parts


def _bits(flags: npt.NDArray[np.bool_]) -> IntArray:
    """Numbers whose bits are the last axis of an array, the first lowest."""
    return np.asarray((flags.astype(np.int64) << np.arange(flags.shape[-1])).sum(axis=-1))
