"""Lanes for weights of plus and minus one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Value, signed

from hwgen.errors import UnsupportedError
from hwgen.nfu.lane import Operands
from hwgen.numeric import IntArray
from hwgen.stream.common import Registers

__all__ = ["BinaryLane"]


@dataclass(frozen=True)
class BinaryLane:
    """Lane that adds or subtracts its activation: a weight is 1 or -1, and one bit in SB.

    Activations are numbers of the width that the parameters say, as for any other lane, and not
    bits: an exclusive or a lane, and the popcount of XNOR networks is an adder tree. A row has a
    weight where a neuron of those that it names meets an input of those that it names, which takes
    Tn + Ti bits more, and none elsewhere. A block whose zeros have no such form takes further rows.
    """

    @property
    def operands(self) -> int:
        """An activation, or its negation, is an operand."""
        return 1

    def operand_width(self, activation_width: int) -> int:
        """An activation and a sign, since it may be unsigned."""
        return activation_width + 1

    def widths(self, tn: int, ti: int) -> list[int]:
        """The inputs that a row names, the neurons, then the signs of each neuron."""
        return [ti, tn] + [ti] * tn

    def pack(self, terms: IntArray) -> IntArray:
        """Masks and signs of rows."""
        weights = terms[..., 0]
        neurons, inputs = (weights != 0).any(axis=2), (weights != 0).any(axis=1)
        whole = neurons[:, :, None] & inputs[:, None, :]
        if not np.isin(weights, (-1, 0, 1)).all() or ((weights != 0) != whole).any():
            raise ValueError("Weights must be 1 or -1 where a row's neurons and inputs meet")
        signs = _bits(weights < 0)
        return np.concatenate([_bits(inputs)[:, None], _bits(neurons)[:, None], signs], axis=1)

    def unpack(self, fields: IntArray, tn: int, ti: int) -> IntArray:
        """Terms of rows."""
        inputs, neurons = fields[:, :1] >> np.arange(ti) & 1, fields[:, 1:2] >> np.arange(tn) & 1
        signs = 1 - 2 * (fields[:, 2:, None] >> np.arange(ti) & 1)
        weights = signs * neurons[:, :, None] * inputs[:, None, :]
        return np.asarray(weights[..., None], dtype=np.int64)

    def excess(self, magnitude: int) -> int:
        """From the one bit that a magnitude has."""
        return max(0, magnitude.bit_length() - 1)

    def split(self, weights: IntArray) -> IntArray:
        """A row for each set of inputs that neurons have in common: one if there are no zeros."""
        if not np.isin(weights, (-1, 0, 1)).all():
            raise UnsupportedError(
                f"Weights reach from {weights.min()} to {weights.max()}, and the lane has 1 and -1"
            )
        tn = weights.shape[-2]
        sets = _bits(weights != 0)  # (..., Tn)
        parts = np.zeros((*weights.shape[:-2], tn, *weights.shape[-2:], 1), dtype=np.int64)
        for n in range(tn):
            # the neurons with the inputs of neuron n, if it is the first of them
            same = sets == sets[..., n : n + 1]
            first = same[..., :n].any(axis=-1, keepdims=True)
            parts[..., n, :, :, 0] = weights * (same & ~first)[..., None]
        return parts

    def build(
        self, registers: Registers, x: Sequence[Value], codes: Value, *, tn: int, width: int
    ) -> Operands:
        """A mask and an exclusive or a lane."""
        ti = len(x)
        inputs, neurons = codes[:ti], codes[ti : ti + tn]
        terms: list[Value] = []
        negative = []
        for n in range(tn):
            signs = codes[ti + tn + n * ti :][:ti]
            for i, a in enumerate(x):
                masked = a.as_unsigned() & (inputs[i] & neurons[n]).replicate(len(a))
                value = masked ^ signs[i].replicate(len(a))
                kept = registers.register(
                    value[:width].as_signed(), signed(min(len(a), width)), name=f"term{n}_{i}"
                )
                terms.append(registers.delay(kept, 1, name=f"term{n}_{i}"))
                negative.append(registers.delay(signs[i], 2, name=f"negative{n}_{i}"))
        present = [
            registers.delay(neurons[n] & inputs.any(), 2, name=f"present{n}") for n in range(tn)
        ]
        return Operands(terms, negative, present)


def _bits(flags: npt.NDArray[np.bool_]) -> IntArray:
    """Numbers whose bits are the last axis of an array, the first lowest."""
    return np.asarray((flags.astype(np.int64) << np.arange(flags.shape[-1])).sum(axis=-1))
