"""How large a network is: parameters of each layer, and the memory that it takes.

The table is that of the supplement to Zhou, Alvarez and Porikli, *Less Is More: Towards Compact
CNNs* (ECCV 2016): of each layer the kernel, the channels that a filter reads, the filters, weights,
biases and their sum. What the paper counts as memory is not known; :class:`Footprint` is our
reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.network.types import Network

__all__ = [
    "COLUMNS",
    "Footprint",
    "LayerParameters",
    "compression",
    "markdown",
    "memory_footprint",
    "parameter_rows",
    "parameter_table",
]


@dataclass(frozen=True)
class LayerParameters:
    """Size of a convolution, or of a fully connected layer, whose kernel covers its input.

    Attributes
    ----------
    layer
        Its name.
    width, height
        Kernel in pixels.
    inputs
        Channels that a filter reads: those of the input over ``groups``.
    outputs
        Filters.
    groups
        Groups of channels and filters.
    pixels
        Pixels of its output.
    zeros
        Weights that are zero; they count as any other.
    """

    layer: str
    width: int
    height: int
    inputs: int
    outputs: int
    groups: int = 1
    pixels: int = 1
    zeros: int = 0

    @property
    def weights(self) -> int:
        """Weights, zeros included."""
        return self.width * self.height * self.inputs * self.outputs

    @property
    def biases(self) -> int:
        """Biases, one a filter."""
        return self.outputs

    @property
    def total(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def macs(self) -> int:
        """Multiplications of an image, those by zeros and on padding included."""
        return self.weights * self.pixels


def parameter_table(network: Network) -> tuple[LayerParameters, ...]:
    """Size of every linear layer of ``network``, in order."""
    return tuple(
        LayerParameters(
            node.name,
            width=op.weight.shape[3],
            height=op.weight.shape[2],
            inputs=op.weight.shape[1],
            outputs=op.weight.shape[0],
            groups=op.groups,
            pixels=node.shape[1] * node.shape[2],
            zeros=op.weight.size - int(np.count_nonzero(op.weight)),
        )
        for node, op in network.convs()
    )


def compression(before: Sequence[LayerParameters], after: Sequence[LayerParameters]) -> float:
    """Share of the parameters of ``before`` that ``after`` lacks: 1 - P_after / P_before."""
    return 1 - sum(layer.total for layer in after) / sum(layer.total for layer in before)


@dataclass(frozen=True)
class Footprint:
    """Memory of a network; sizes in bits.

    Attributes
    ----------
    weights, biases
        Numbers of them.
    weight_bits, bias_bits
        What they take.
    activations
        Elements of all tensors of an image, the input included.
    peak
        Most elements that are alive at once, when layers run in order, tensors are freed after
        their last use, and none is overwritten by its own reader.
    activation_bits
        Bits of an element.
    """

    weights: int
    biases: int
    weight_bits: float
    bias_bits: float
    activations: int
    peak: int
    activation_bits: float

    @property
    def bits_a_weight(self) -> float:
        """Mean of all weights; 0 if there are none."""
        return self.weight_bits / self.weights if self.weights else 0.0

    @property
    def parameter_bytes(self) -> float:
        """Weights and biases."""
        return (self.weight_bits + self.bias_bits) / 8

    @property
    def running_bytes(self) -> float:
        """Parameters and all tensors of an image, none of which is freed."""
        return self.parameter_bytes + self.activations * self.activation_bits / 8

    @property
    def peak_bytes(self) -> float:
        """Parameters and the tensors of an image that are alive at once."""
        return self.parameter_bytes + self.peak * self.activation_bits / 8


def memory_footprint(
    network: Network,
    bits: float | Mapping[str, float] = 32,
    *,
    bias_bits: float = 32,
    activation_bits: float = 32,
) -> Footprint:
    """Memory that ``network`` takes as it is, its zeros included.

    Parameters
    ----------
    network
        The network; compacted, if zeros are not to be stored.
    bits
        Bits of a weight, of all layers or of each by name, such as those of dyadic codes
        (:func:`~hwgen.approx.costs.code_width`).
    bias_bits, activation_bits
        Bits of a bias, and of an element of a tensor.

    Raises
    ------
    ValueError
        If ``bits`` lacks a layer, or a number of bits is negative.
    """
    table = parameter_table(network)
    each = bits if isinstance(bits, Mapping) else dict.fromkeys((row.layer for row in table), bits)
    if missing := [row.layer for row in table if row.layer not in each]:
        raise ValueError(f"Bits must be given for every layer; {', '.join(missing)} has none")
    if min((*each.values(), bias_bits, activation_bits)) < 0:
        raise ValueError("Bits must not be negative")
    return Footprint(
        weights=sum(row.weights for row in table),
        biases=(biases := sum(row.biases for row in table)),
        weight_bits=sum(row.weights * each[row.layer] for row in table),
        bias_bits=biases * bias_bits,
        activations=sum(_elements(network).values()),
        peak=_peak(network),
        activation_bits=activation_bits,
    )


def _elements(network: Network) -> dict[str, int]:
    shapes = {network.input_name: network.input_shape}
    shapes |= {node.name: node.shape for node in network.nodes}
    return {name: int(np.prod(shape)) for name, shape in shapes.items()}


def _peak(network: Network) -> int:
    elements = _elements(network)
    last_use = {name: i for i, node in enumerate(network.nodes) for name in node.inputs}
    last_use[network.output] = len(network.nodes)
    alive = most = elements[network.input_name]
    for i, node in enumerate(network.nodes):
        alive += elements[node.name]
        most = max(most, alive)
        freed = {*node.inputs, node.name}
        alive -= sum(elements[name] for name in freed if last_use.get(name, i) <= i)
    return most


COLUMNS = ("layer", "kernel", "input", "output", "groups", "weights", "biases", "total", "MACs")
"""Heads of :func:`parameter_rows`; all but the first are numbers."""


def parameter_rows(table: Sequence[LayerParameters]) -> tuple[tuple[str, ...], ...]:
    """Cells of ``table`` under :data:`COLUMNS`, one row a layer and a last one of the sums."""
    rows = [
        (
            row.layer,
            f"{row.height}x{row.width}",
            *map(str, (row.inputs, row.outputs, row.groups)),
            *(f"{n:,}" for n in (row.weights, row.biases, row.total, row.macs)),
        )
        for row in table
    ]
    totals = (
        sum(getattr(row, name) for row in table) for name in ("weights", "biases", "total", "macs")
    )
    return (*rows, ("total", "", "", "", "", *(f"{total:,}" for total in totals)))


def markdown(table: Sequence[LayerParameters]) -> str:
    """``table`` as a table in Markdown, numbers aligned to the right."""
    marks = ["---", *(["---:"] * (len(COLUMNS) - 1))]
    rows = [COLUMNS, tuple(marks), *parameter_rows(table)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
