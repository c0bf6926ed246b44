"""How much of a layer's own error reaches the output of the network.

A few options of a layer are put into the float network one at a time; the squared error of its
output follows from that of the layer by a factor that changes slowly with the size of the error.
Between two probes the factor is interpolated on logarithmic axes. Where a probe contradicts what
was interpolated, its neighbourhood is probed as well, so that hundreds of options cost a few runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hwgen.approx.candidates import Option
from hwgen.approx.measure import Yardstick
from hwgen.network.execute import Tensor, run_suffix
from hwgen.network.types import Conv, Network

__all__ = ["Probe", "predict", "probe_layer"]

_MOST_PROBES = 8
_TOLERANCE = 1.4
_TINY = 1e-30


@dataclass(frozen=True)
class Probe:
    """A layer tried alone: squared errors, relative, of the layer and of the network's output."""

    layer: str
    recipe: str
    layer_error: float
    network_error: float


def probe_layer(
    network: Network,
    cached: Mapping[str, Tensor],
    yardstick: Yardstick,
    layer: str,
    options: Sequence[Option],
) -> tuple[Probe, ...]:
    """Try as many of ``options`` in ``layer`` as it takes to predict the others.

    Parameters
    ----------
    network
        Float network up to its logits.
    cached
        Its tensors, from :func:`~hwgen.network.execute.run_all`.
    yardstick
        Its outputs on the same images.
    layer
        Node name of the layer.
    options
        From fine to coarse; an option without error is not tried.
    """
    ranked = [option for option in options if option.error > 0]
    found: dict[int, Probe] = {}

    def probe(index: int) -> None:
        option = ranked[index]
        changed = _with_weights(network, layer, option)
        error = yardstick.measure(run_suffix(changed, cached, [layer])).error
        found[index] = Probe(layer, option.recipe.name, option.error, error**2)

    if ranked:
        probe(len(ranked) - 1)
        probe(0)
    gaps = [(0, len(ranked) - 1)]
    while gaps and len(found) < _MOST_PROBES:
        low, high = gaps.pop(0)
        if high - low < 2:
            continue
        middle = _middle(ranked, low, high)
        (expected,) = predict([ranked[middle].error], [found[low], found[high]])
        probe(middle)
        ratio = (found[middle].network_error + _TINY) / (expected + _TINY)
        if not 1 / _TOLERANCE <= ratio <= _TOLERANCE:
            gaps += [(low, middle), (middle, high)]
    return tuple(found[index] for index in sorted(found))


def predict(errors: Sequence[float], probes: Sequence[Probe]) -> list[float]:
    """Squared error of the network's output for squared ``errors`` of one layer.

    ``probes`` of that layer; between their layer errors the ratio of the two is interpolated on
    logarithmic axes, outside it is that of the nearest probe.
    """
    known = sorted((probe.layer_error, probe.network_error) for probe in probes)
    points = [(math.log(own), math.log((whole + _TINY) / own)) for own, whole in known]
    predicted = []
    for error in errors:
        if error <= 0 or not points:
            predicted.append(0.0)
            continue
        x = math.log(error)
        below = max((p for p in points if p[0] <= x), default=points[0])
        above = min((p for p in points if p[0] >= x), default=points[-1])
        share = (x - below[0]) / (above[0] - below[0]) if above[0] > below[0] else 0.0
        predicted.append(error * math.exp(below[1] + share * (above[1] - below[1])))
    return predicted


def _middle(ranked: Sequence[Option], low: int, high: int) -> int:
    """Index strictly between, of the error nearest to the geometric mean of those at the ends."""
    target = (math.log(ranked[low].error) + math.log(ranked[high].error)) / 2
    return min(range(low + 1, high), key=lambda k: abs(math.log(ranked[k].error) - target))


def _with_weights(network: Network, layer: str, option: Option) -> Network:
    """``network`` with the filters of ``option`` in ``layer``."""
    node = network.node(layer)
    assert isinstance(node.op, Conv)
    filters = option.filters
    changed = replace(node, op=replace(node.op, weight=filters.weight, bias=filters.bias))
    return replace(network, nodes=tuple(changed if n is node else n for n in network.nodes))
