"""Small networks with every structure that matters when channels and filters vanish."""

from dataclasses import replace

import numpy as np

from hwgen.network.execute import run
from hwgen.network.types import Activation, Add, Concat, Conv, MaxPool, Network, Node

__all__ = ["branching", "plain"]


def _conv(
    rng: np.random.Generator, filters: int, depth: int, kernel: int, pad: int = 0, groups: int = 1
) -> Conv:
    weight = rng.standard_normal((filters, depth, kernel, kernel)) / np.sqrt(depth * kernel**2)
    return Conv(weight, 0.1 * rng.standard_normal(filters), pads=(pad,) * 4, groups=groups)


def plain(seed: int = 0) -> Network:
    """Two convolutions and two dense layers on 2 x 10 x 10; four classes."""
    rng = np.random.default_rng(seed)
    relu = Activation("relu")
    network = Network(
        "plain",
        "x",
        (2, 10, 10),
        (
            Node("first", _conv(rng, 6, 2, 3), ("x",), (6, 8, 8)),
            Node("a", relu, ("first",), (6, 8, 8)),
            Node("second", _conv(rng, 8, 6, 5, 2), ("a",), (8, 8, 8)),
            Node("b", relu, ("second",), (8, 8, 8)),
            Node("pool", MaxPool((2, 2), (2, 2)), ("b",), (8, 4, 4)),
            Node("third", _conv(rng, 12, 8, 4), ("pool",), (12, 1, 1)),
            Node("c", relu, ("third",), (12, 1, 1)),
            Node("last", _conv(rng, 4, 12, 1), ("c",), (4, 1, 1)),
        ),
        "last",
    )
    # no class shall always win
    mean = run(network, rng.standard_normal((50, 2, 10, 10))).mean(axis=0)[:, 0, 0]
    *others, last = network.nodes
    assert isinstance(last.op, Conv)
    op = replace(last.op, bias=last.op.bias - mean)
    return replace(network, nodes=(*others, replace(last, op=op)))


def branching(seed: int = 0) -> Network:
    """A residual block, a grouped layer and a concatenation on 2 x 6 x 6; an output map."""
    rng = np.random.default_rng(seed)
    relu = Activation("relu")
    return Network(
        "branching",
        "x",
        (2, 6, 6),
        (
            Node("first", _conv(rng, 4, 2, 3, 1), ("x",), (4, 6, 6)),
            Node("a", relu, ("first",), (4, 6, 6)),
            Node("inner", _conv(rng, 6, 4, 3, 1), ("a",), (6, 6, 6)),
            Node("b", relu, ("inner",), (6, 6, 6)),
            Node("outer", _conv(rng, 4, 6, 3, 1), ("b",), (4, 6, 6)),
            Node("sum", Add(), ("outer", "a"), (4, 6, 6)),
            Node("c", relu, ("sum",), (4, 6, 6)),
            Node("grouped", _conv(rng, 6, 2, 3, 1, groups=2), ("c",), (6, 6, 6)),
            Node("narrow", _conv(rng, 3, 4, 1), ("c",), (3, 6, 6)),
            Node("both", Concat(), ("grouped", "narrow"), (9, 6, 6)),
            Node("d", relu, ("both",), (9, 6, 6)),
            Node("last", _conv(rng, 2, 9, 1), ("d",), (2, 6, 6)),
        ),
        "last",
    )
