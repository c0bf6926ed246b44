"""Output-aware filters of a whole network, layer after layer, each fitted behind those before it.

The filters of a layer depend on its own recipe and on those of the layers that it reads from,
directly or not; two mixes that agree there share them. A search that changes one layer at a time
thus fits only that layer and those behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from hwgen.approx.lockstep import Lockstep
from hwgen.approx.moments import Moments
from hwgen.approx.recipes import Recipe
from hwgen.approx.types import DyadicFilters
from hwgen.network.execute import Tensor, check_input
from hwgen.network.types import Conv, Network

__all__ = ["FilterMemory", "Walk"]

_Fit = Callable[[str, Conv, Recipe, Moments], DyadicFilters]
_Chain = tuple[tuple[str, Recipe], ...]
_Key = TypeVar("_Key")

_KEPT_WEIGHTS = 1 << 24


class FilterMemory(Generic[_Key]):
    """Filters that were made; beyond a number of weights, those not used for longest are dropped.

    Parameters
    ----------
    weights
        Most weights kept, 8 bytes each: 128 MB by default. The last filters always stay.
    """

    def __init__(self, weights: int = _KEPT_WEIGHTS) -> None:
        self._kept: dict[_Key, DyadicFilters] = {}
        self._most, self._held = weights, 0

    def get(self, key: _Key) -> DyadicFilters | None:
        """The filters of ``key``, None if there are none."""
        filters = self._kept.pop(key, None)
        if filters is not None:
            self._kept[key] = filters
        return filters

    def put(self, key: _Key, filters: DyadicFilters) -> None:
        """Keep the filters of a ``key`` that has none."""
        self._kept[key] = filters
        self._held += filters.codes.size
        while self._held > self._most and len(self._kept) > 1:
            self._held -= self._kept.pop(next(iter(self._kept))).codes.size


class Walk:
    """Fits the layers of one network, for one mix after the other.

    Parameters
    ----------
    network
        Float network.
    approximated
        The same with everything but the linear layers approximated; their weights play no part.
    images
        Calibration images (N, C, H, W). All tensors that are still needed are kept for all of
        them, in float32, of both networks.
    fit
        Gives the filters of a layer, named and given by its operator, by a recipe, for the moments
        of its input; always the same for the same arguments.

    Raises
    ------
    DataError
        If the images do not fit the network.
    """

    def __init__(
        self,
        network: Network,
        approximated: Network,
        images: Tensor,
        fit: _Fit,
    ) -> None:
        check_input(network, images)
        self._network, self._approximated, self._fit = network, approximated, fit
        self._images = np.asarray(images, dtype=np.float32)
        self._before = _layers_before(network)
        self._known = FilterMemory[_Chain]()

    def filters(
        self, mix: Mapping[str, Recipe], report: Callable[[str, float], None]
    ) -> tuple[tuple[str, DyadicFilters], ...]:
        """Filters of every layer by the recipes of ``mix``; ``report`` hears of each new layer."""
        chains = {
            name: tuple((each, mix[each]) for each in (*before, name))
            for name, before in self._before.items()
        }
        found = {name: self._known.get(chain) for name, chain in chains.items()}
        done = {name: filters for name, filters in found.items() if filters is not None}
        if missing := [name for name in chains if name not in done]:
            self._fit_missing(mix, done, missing[-1], report)
        for name in missing:
            self._known.put(chains[name], done[name])
        report("all layers are fitted", 1.0)
        return tuple((name, done[name]) for name in chains)

    def _fit_missing(
        self,
        mix: Mapping[str, Recipe],
        done: dict[str, DyadicFilters],
        last: str,
        report: Callable[[str, float], None],
    ) -> None:
        """Add to ``done`` the layers up to ``last`` that it lacks."""
        tensors = Lockstep(self._network, self._network, self._images)
        layers = list(self._before)
        for node in self._network.nodes:
            reading, other = tensors.read(node), self._approximated.node(node.name).op
            if isinstance(node.op, Conv) and isinstance(other, Conv):
                if node.name not in done:
                    report(f"fit layer {node.name}", layers.index(node.name) / len(layers))
                    moments = reading.moments(node)
                    done[node.name] = self._fit(node.name, node.op, mix[node.name], moments)
                    if node.name == last:
                        return
                filters = done[node.name]
                other = replace(other, weight=filters.weight, bias=filters.bias)
            tensors.write(node.name, other, reading)


def _layers_before(network: Network) -> dict[str, tuple[str, ...]]:
    """The linear layers that each linear layer reads from, directly or not, in their order."""
    behind: dict[str, frozenset[str]] = {network.input_name: frozenset()}
    before = {}
    layers = [node.name for node, _ in network.convs()]
    for node in network.nodes:
        seen = frozenset[str]().union(*(behind[name] for name in node.inputs))
        if isinstance(node.op, Conv):
            before[node.name] = tuple(name for name in layers if name in seen)
            seen |= {node.name}
        behind[node.name] = seen
    return before
