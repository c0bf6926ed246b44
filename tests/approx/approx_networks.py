"""Small networks built by hand for the tests of the approximation."""

from collections.abc import Sequence

import numpy as np

from hwgen.network.shapes import output_shape
from hwgen.network.types import (
    Activation,
    AveragePool,
    Conv,
    MaxPool,
    Network,
    Node,
    Op,
    Shape,
)


def chain(input_shape: Shape, ops: Sequence[tuple[str, Op]], name: str = "chain") -> Network:
    """Network of operators one behind the other."""
    nodes, source, shape = [], "x", input_shape
    for label, op in ops:
        shape = output_shape(op, [shape])
        nodes.append(Node(label, op, (source,), shape))
        source = label
    return Network(name, "x", input_shape, tuple(nodes), source)


def face(rng: np.random.Generator) -> Network:
    """The 951-parameter face network of Garcia and Delakis with random weights."""
    tanh = Activation("tanh", pre=2 / 3, post=1.7159)
    c2 = np.zeros((14, 4, 3, 3))
    sources = [(m // 2,) for m in range(8)] + [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for filter_, maps in enumerate(sources):
        c2[filter_, list(maps)] = rng.standard_normal((len(maps), 3, 3)) / 3

    def conv(*shape: int, **options: object) -> Conv:
        weight = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return Conv(weight, rng.standard_normal(shape[0]) / 4, **options)

    def pool(maps: int) -> Conv:
        factors = rng.uniform(0.5, 2, maps) / 4
        weight = np.tile(factors[:, None, None, None], (1, 1, 2, 2))
        return Conv(weight, rng.standard_normal(maps) / 4, strides=(2, 2), groups=maps)

    return chain(
        (1, 36, 32),
        [
            ("c1", conv(4, 1, 5, 5)),
            ("s1", pool(4)),
            ("t1", tanh),
            ("c2", Conv(c2, rng.standard_normal(14) / 4)),
            ("s2", pool(14)),
            ("t2", tanh),
            ("n1", conv(14, 1, 7, 6, groups=14)),
            ("t3", tanh),
            ("n2", conv(1, 14, 1, 1)),
            ("t4", tanh),
        ],
        name="face",
    )


def classifier(rng: np.random.Generator) -> Network:
    """Two convolutions and a dense layer that decide between five classes."""

    def conv(*shape: int, **options: object) -> Conv:
        weight = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return Conv(weight, rng.standard_normal(shape[0]) / 10, **options)

    return chain(
        (1, 8, 8),
        [
            ("conv1", conv(6, 1, 3, 3, pads=(1, 1, 1, 1))),
            ("relu1", Activation("relu")),
            ("pool1", MaxPool((2, 2), (2, 2))),
            ("conv2", conv(8, 6, 3, 3)),
            ("relu2", Activation("relu")),
            ("pool2", AveragePool((2, 2), (1, 1), pads=(1, 1, 1, 1))),
            ("dense", conv(5, 8, 3, 3)),
        ],
        name="classifier",
    )
