"""Tables of parameters and memory against numbers that others published, and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from alexnet import SHAPES
from sparse_networks import network_of, sparse_network

from hwgen.network.types import Activation, Add, AveragePool, Concat, Conv, MaxPool, Network
from hwgen.slim.account import (
    COLUMNS,
    LayerParameters,
    compression,
    markdown,
    memory_footprint,
    parameter_rows,
    parameter_table,
)
from hwgen.slim.compact import compact
from hwgen.slim.remove import remove_neurons

ALEXNET_GROUPS = {"conv2": 2, "conv4": 2, "conv5": 2}
ALEXNET_SHAPES = {**SHAPES, "fc7": (4096, 4096, 1, 1), "fc8": (1000, 4096, 1, 1)}
ALEXNET_TOTALS = [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]


def rows_of(shapes: dict[str, tuple[int, int, int, int]]) -> tuple[LayerParameters, ...]:
    return tuple(
        LayerParameters(name, w, h, i, o, ALEXNET_GROUPS.get(name, 1))
        for name, (o, i, h, w) in shapes.items()
    )


def total(table: tuple[LayerParameters, ...]) -> int:
    return sum(row.total for row in table)


def test_alexnet_has_60965224_parameters() -> None:
    table = rows_of(ALEXNET_SHAPES)
    assert [row.total for row in table] == ALEXNET_TOTALS
    assert total(table) == 60_965_224
    assert parameter_rows(table)[-1][-2] == "60,965,224"


def test_alexnet_with_30_percent_of_fc6_has_62_6_percent_fewer_parameters() -> None:
    before = rows_of(ALEXNET_SHAPES)
    after = rows_of(ALEXNET_SHAPES | {"fc6": (1229, 256, 6, 6), "fc7": (4096, 1229, 1, 1)})
    assert total(after) == 22_796_853
    assert round(100 * compression(before, after), 1) == 62.6


@pytest.mark.slow
def test_neurons_removed_from_alexnet_leave_22796853_parameters() -> None:
    """The dense end alone with weights in memory (about 2 GB), beside the rows of the rest."""
    ends = ("fc6", "fc7", "fc8")
    layers = []
    for name in ends:
        weight = np.full(ALEXNET_SHAPES[name], 0.01, dtype=np.float32)
        layers += [(name, Conv(weight, np.ones(len(weight)))), (f"{name}_relu", Activation("relu"))]
    network = network_of((256, 6, 6), layers)
    slim = compact(remove_neurons(network, {"fc6": range(0, 2867)}))
    rest = [row for row in rows_of(ALEXNET_SHAPES) if row.layer not in ends]
    assert total((*rest, *parameter_table(network))) == 60_965_224
    assert total((*rest, *parameter_table(slim))) == 22_796_853


def test_vgg16_has_138357544_parameters() -> None:
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convs = {
        f"conv{n}": (o, i, 3, 3) for n, (i, o) in enumerate(zip([3, *widths], widths, strict=False))
    }
    dense = {"fc6": (4096, 512, 7, 7), "fc7": (4096, 4096, 1, 1), "fc8": (1000, 4096, 1, 1)}
    assert total(rows_of(convs | dense)) == 138_357_544


def alexnet(scale: int) -> Network:
    """AlexNet with 1 / ``scale`` of the filters of each layer."""

    def conv(name: str, stride: int = 1, pad: int = 0) -> tuple[str, Conv]:
        o, i, h, w = ALEXNET_SHAPES[name]
        o, i = (n if n in (3, 1000) else n // scale for n in (o, i))
        pads = (pad,) * 4
        groups = ALEXNET_GROUPS.get(name, 1)
        weight = np.ones((o, i, h, w))
        return name, Conv(weight, np.zeros(o), (stride, stride), pads, groups=groups)

    pool, relu = MaxPool((3, 3), (2, 2)), Activation("relu")
    return network_of(
        (3, 227, 227),
        [
            conv("conv1", 4),
            ("relu1", relu),
            ("pool1", pool),
            conv("conv2", pad=2),
            ("relu2", relu),
            ("pool2", pool),
            conv("conv3", pad=1),
            conv("conv4", pad=1),
            conv("conv5", pad=1),
            ("pool5", pool),
            conv("fc6"),
            ("relu6", relu),
            conv("fc7"),
            ("relu7", relu),
            conv("fc8"),
        ],
    )


def test_the_table_of_a_network_has_the_shapes_of_its_layers() -> None:
    table = parameter_table(alexnet(16))
    expected = rows_of(
        {
            name: tuple(n if n in (3, 1000) or k > 1 else n // 16 for k, n in enumerate(shape))
            for name, shape in ALEXNET_SHAPES.items()
        }
    )
    assert [replace(row, pixels=1) for row in table] == list(expected)
    pixels = [55 * 55, 27 * 27, 13 * 13, 13 * 13, 13 * 13, 1, 1, 1]
    assert [row.macs for row in table] == [
        r.weights * p for r, p in zip(table, pixels, strict=True)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_tables_count_what_there_is(seed: int) -> None:
    network = sparse_network(seed)
    table = parameter_table(network)
    assert total(table) == sum(op.weight.size + op.bias.size for _, op in network.convs())
    zeros = sum(row.zeros for row in table)
    assert total(table) - zeros == network.parameters


def forked() -> Network:
    """1 x 4 x 4 pixels to 2 x 4 x 4, of which a fork makes 3 x 4 x 4 and 1 x 2 x 2."""
    return network_of(
        (1, 4, 4),
        [
            ("a", Conv(np.ones((2, 1, 1, 1)), np.zeros(2))),
            ("b", Conv(np.ones((1, 2, 1, 1)), np.zeros(1)), ("a",)),
            ("c", Concat(), ("a", "b")),
            ("d", AveragePool((2, 2), (2, 2)), ("c",)),
            ("e", Conv(np.ones((3, 1, 2, 2)), np.ones(3), (2, 2), groups=3), ("c",)),
            ("f", Add(), ("d", "e")),
        ],
    )


def test_memory_by_hand() -> None:
    memory = memory_footprint(forked(), activation_bits=8)
    assert (memory.weights, memory.biases) == (2 + 2 + 12, 6)
    assert memory.activations == 16 + 32 + 16 + 48 + 12 + 12 + 12
    assert memory.peak == 32 + 16 + 48  # when c is made of a and b
    assert memory.parameter_bytes == 22 * 4
    assert memory.running_bytes == 22 * 4 + memory.activations
    assert memory.peak_bytes == 22 * 4 + 96


def test_memory_of_codes() -> None:
    memory = memory_footprint(forked(), {"a": 4, "b": 8, "e": 2}, bias_bits=16)
    assert memory.weight_bits == 2 * 4 + 2 * 8 + 12 * 2
    assert memory.bits_a_weight == memory.weight_bits / 16
    assert memory.bias_bits == 6 * 16
    with pytest.raises(ValueError, match="for every layer; a, e has none"):
        memory_footprint(forked(), {"b": 8})
    with pytest.raises(ValueError, match="must not be negative"):
        memory_footprint(forked(), -1)


def test_a_table_of_text() -> None:
    table = rows_of(ALEXNET_SHAPES)
    lines = markdown(table).splitlines()
    assert lines[0] == "| " + " | ".join(COLUMNS) + " |"
    assert lines[1].count("---:") == len(COLUMNS) - 1
    assert lines[3] == "| conv2 | 5x5 | 48 | 256 | 2 | 307,200 | 256 | 307,456 | 307,200 |"
    assert len(lines) == 2 + len(table) + 1
