"""The approximated network: the float network with every constant made dyadic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.network.types import (
    AveragePool,
    Conv,
    FloatArray,
    Network,
    Node,
    PiecewiseLinear,
)
from hwgen.numeric import Dyadic, IntArray

__all__ = ["ApproxNetwork", "DyadicFilters", "code_terms"]


@dataclass(frozen=True, eq=False)
class DyadicFilters:
    """Dyadic weights of one layer: ``weight[o] ~ scale[o] * codes[o] * 2**-frac``.

    ``codes`` (O, I / groups, KH, KW) are integers of the dyadic set that ``recipe`` names (the text
    of a :class:`~hwgen.approx.recipes.Recipe`, or ``exact``); ``scale`` is one dyadic number a
    filter (it becomes the multiplier of the requantisation); ``bias`` (O,) real values, each
    exactly dyadic.

    Where each kernel has a scale of its own, ``factors`` (O, I / groups) holds positive integers
    and ``codes`` are numbers of the set times their kernel's factor: what the datapath computes.
    """

    codes: IntArray
    frac: int
    scale: tuple[Dyadic, ...]
    bias: FloatArray
    recipe: str
    factors: IntArray | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("codes", np.int64), ("bias", np.float64), ("factors", np.int64)):
            if getattr(self, name) is None:
                continue
            array: npt.NDArray[np.generic] = np.array(getattr(self, name), dtype=dtype)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def weight(self) -> FloatArray:
        """The real weights that the codes stand for, OIHW."""
        scale = np.array([float(s) for s in self.scale]).reshape(-1, 1, 1, 1)
        weight: FloatArray = np.ldexp(self.codes.astype(np.float64), -self.frac) * scale
        return weight


@dataclass(frozen=True)
class ApproxNetwork:
    """A float network and the dyadic replacement of each of its constants, by node name.

    ``filters`` covers every Conv; ``activations`` every Activation that is not piecewise linear
    with dyadic slopes by itself; ``pool_coefficients`` every AveragePool: the dyadic numbers that
    replace 1 / divisor, one for each divisor that occurs, as (divisor, coefficient).
    """

    network: Network
    filters: tuple[tuple[str, DyadicFilters], ...]
    activations: tuple[tuple[str, PiecewiseLinear], ...]
    pool_coefficients: tuple[tuple[str, tuple[tuple[int, Dyadic], ...]], ...]

    def to_network(self) -> Network:
        """The approximated network in a form that runs in floating point."""
        filters = dict(self.filters)
        activations = dict(self.activations)
        pools = dict(self.pool_coefficients)

        def approximated(node: Node) -> Node:
            match node.op:
                case Conv() as op:
                    dyadic = filters[node.name]
                    return replace(node, op=replace(op, weight=dyadic.weight, bias=dyadic.bias))
                case AveragePool() as op:
                    kh, kw = op.kernel
                    full = dict(pools[node.name]).get(kh * kw)
                    gain = float(full) * kh * kw if full is not None else 1.0
                    return replace(node, op=replace(op, gain=op.gain * gain))
                case _ if node.name in activations:
                    return replace(node, op=activations[node.name])
                case _:
                    return node

        return replace(self.network, nodes=tuple(approximated(n) for n in self.network.nodes))


def code_terms(codes: IntArray) -> IntArray:
    """Signed powers of two in the canonical form of each code, same shape."""
    size = np.abs(codes)
    return np.asarray(np.bitwise_count(size ^ (3 * size)), dtype=np.int64)
