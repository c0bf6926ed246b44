"""What states of a slimmed network cost and lose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hwgen.approx.measure import Loss, Yardstick
from hwgen.approx.types import DyadicFilters
from hwgen.network.execute import Tensor, run
from hwgen.network.types import Conv, Network
from hwgen.slim._damped import BoolArray
from hwgen.slim.moves import State
from hwgen.slim.objectives import Objective

__all__ = ["Costs", "Draft", "Judge"]

_TRIAL_ELEMENTS = 1 << 27
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Draft:
    """A state, and the dyadic filters of its layers that have a recipe.

    Filters may be from before a move: then those of their codes count that have a place.
    """

    state: State
    filters: Mapping[str, DyadicFilters]


class Costs:
    """Costs of drafts; a layer that is as it was in the last one is not rated again."""

    def __init__(self, network: Network, objective: Objective) -> None:
        self._network, self._objective = network, objective
        self._known: dict[str, tuple[BoolArray, DyadicFilters | None, float]] = {}

    def total(self, draft: Draft) -> float:
        """Cost of the whole network, which from now on is the last one."""
        self._known = {
            name: (mask, draft.filters.get(name), self._layer(name, draft))
            for name, mask in draft.state.masks.items()
        }
        return sum(cost for _, _, cost in self._known.values())

    def saved(self, before: Draft, behind: Draft) -> float:
        """What a draft costs less than one before it."""
        return sum(
            self._layer(name, before) - self._layer(name, behind)
            for name, mask in behind.state.masks.items()
            if mask is not before.state.masks[name]
            or behind.filters.get(name) is not before.filters.get(name)
        )

    def layer(self, name: str, mask: BoolArray, filters: DyadicFilters | None) -> float:
        """Cost of the layer ``name`` with weights on ``mask``, or dyadic ``filters``."""
        node = self._network.node(name)
        assert isinstance(node.op, Conv)
        op = replace(node.op, weight=np.where(mask, node.op.weight, 0.0))
        if filters is not None and filters.codes[~mask].any():
            filters = replace(filters, codes=np.where(mask, filters.codes, 0))
        shape = self._network.shape(node.inputs[0])
        return self._objective.layer(replace(node, op=op), shape, filters)

    def _layer(self, name: str, draft: Draft) -> float:
        mask, filters = draft.state.masks[name], draft.filters.get(name)
        known = self._known.get(name)
        if known is not None and known[0] is mask and known[1] is filters:
            return known[2]
        return self.layer(name, mask, filters)


class Judge:
    """Losses on all choosing images, and whether they keep the budget.

    Parameters
    ----------
    network
        Original network, up to its logits.
    x, y
        Images (N, C, H, W), and labels (N,) if there are any.
    budget
        Largest loss.
    """

    def __init__(
        self, network: Network, x: Tensor, y: npt.NDArray[np.integer] | None, budget: float
    ) -> None:
        self.budget, self.checks = budget, 0
        self._network, self._images = network, x
        self._yardstick = Yardstick.of(network, run(network, x), y)

    @property
    def metric(self) -> str:
        """What a loss means: ``accuracy``, ``agreement`` or ``error``."""
        return self._yardstick.metric

    def loss(self, network: Network) -> Loss:
        """Loss of ``network`` on all images."""
        self.checks += 1
        return self._yardstick.measure(run(network, self._images))

    def keeps(self, loss: Loss) -> bool:
        """Whether a loss is within the budget."""
        return loss.loss <= self.budget + _SLACK

    def sample(self, most: int) -> tuple[Tensor, Tensor]:
        """At most so many of the images, and the original's outputs for them."""
        nodes, shape = self._network.nodes, self._network.input_shape
        size = sum(math.prod(node.shape) for node in nodes) + math.prod(shape)
        count = max(1, min(most, len(self._images), _TRIAL_ELEMENTS // size))
        indices = np.linspace(0, len(self._images) - 1, count).astype(np.intp)
        return self._images[indices], self._yardstick.reference[indices]
