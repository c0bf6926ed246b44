"""What a state of a slimmed network is worth: its weights, and its error without running it all.

Weights follow from a state and calibration images alone: layer after layer they are those of least
damped error against what the original network's layer puts out, behind the slimmed layers before it
(:mod:`hwgen.slim.fitting`). So two ways to the same state end at the same network, and an outcome
can be rebuilt from its moves.

A single move is tried on the tensors of the network as it is: only what depends on the changed
layers runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwgen.approx.moments import Moments, patch_moments
from hwgen.network.execute import Tensor, affected, apply, check_input, run_all, run_suffix
from hwgen.network.types import Conv, Network, Op
from hwgen.slim._damped import BoolArray, Damped
from hwgen.slim.fitting import DAMPING
from hwgen.slim.moves import State

__all__ = ["Fitted", "Fitter", "Trials", "put"]

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Fitted:
    """A state with its weights.

    Attributes
    ----------
    state
        Places of weights, and recipes.
    network
        The original's nodes and shapes, with the fitted weights and biases.
    moments
        By Conv node name: of what the layer reads in ``network``, with the original's outputs.
    problems
        By Conv node name: the damped error of the layer as a function of its weights.
    """

    state: State
    network: Network
    moments: dict[str, Moments]
    problems: dict[str, Damped]

    def layer(self, layer: str, op: Conv, mask: BoolArray, rows: Iterable[int]) -> Conv:
        """``op`` of ``layer`` with the filters ``rows`` fitted on the ``mask`` of its weights.

        Filters without weights put out the mean of the original's.
        """
        chosen = list(rows)
        weight, bias = op.weight.copy(), op.bias.copy()
        flat = mask.reshape(len(mask), -1)
        found = self.problems[layer].fit(chosen, flat, None).reshape(weight.shape)
        weight[chosen] = found[chosen]
        bias[chosen] = self.moments[layer].bias(weight)[chosen]
        return replace(op, weight=weight, bias=bias)


class Fitter:
    """Fits the weights of one state of a network after the other.

    Parameters
    ----------
    network
        Original network.
    images
        Calibration images (N, C, H, W). All tensors that are still needed are kept for all of
        them, in float32, of both networks.
    damping
        Trust in the original weights against the images, as in
        :func:`~hwgen.slim.fitting.fit_weights`.

    Raises
    ------
    DataError
        If the images do not fit the network.
    """

    def __init__(self, network: Network, images: Tensor, *, damping: float = DAMPING) -> None:
        check_input(network, images)
        self.network, self.damping = network, damping
        self._images = np.asarray(images, dtype=np.float32)
        self._before = _layers_before(network)
        self._full = {node.name: op.weight != 0 for node, op in network.convs()}
        self._last: Fitted | None = None
        self.count = 0

    def fit(self, state: State, progress: Callable[[str, float], None] | None = None) -> Fitted:
        """The network of ``state``; the same whatever was fitted before."""
        self.count += 1
        uses = Counter(name for node in self.network.nodes for name in node.inputs)
        # original and slimmed tensor; the same object as long as they are equal
        tensors = {self.network.input_name: (self._images, self._images)}
        nodes = []
        made = Fitted(state, self.network, {}, {})
        for index, node in enumerate(self.network.nodes):
            inputs = [tensors[name] for name in node.inputs]
            same = all(exact is seen for exact, seen in inputs)
            op: Op = node.op
            if isinstance(op, Conv):
                if progress is not None:
                    progress(f"fit layer {node.name}", index / len(self.network.nodes))
                moments, problem = self._known(node.name, op, state, *inputs[0])
                made.moments[node.name], made.problems[node.name] = moments, problem
                mask = state.masks[node.name]
                if not (same and np.array_equal(mask, self._full[node.name])):
                    op = made.layer(node.name, op, mask, range(len(mask)))
            nodes.append(node if op is node.op else replace(node, op=op))
            exact = _applied(node.op, [exact for exact, _ in inputs])
            same = same and op is node.op
            tensors[node.name] = exact, exact if same else _applied(op, [y for _, y in inputs])
            for name in node.inputs:
                uses[name] -= 1
                if not uses[name]:
                    del tensors[name]
        self._last = replace(made, network=replace(self.network, nodes=tuple(nodes)))
        return self._last

    def _known(
        self, name: str, op: Conv, state: State, exact: Tensor, seen: Tensor
    ) -> tuple[Moments, Damped]:
        """Moments of a layer and its error; those that were, if nothing before it has changed."""
        last = self._last
        if last is not None and all(
            state.masks[each] is last.state.masks[each]
            and state.recipes.get(each) == last.state.recipes.get(each)
            for each in self._before[name]
        ):
            return last.moments[name], last.problems[name]
        moments = patch_moments(op, exact, None if seen is exact else seen)
        return moments, Damped.of(op, moments, self.damping)


class Trials:
    """Errors of networks that differ from a current one in a few layers.

    Parameters
    ----------
    network
        Current network, up to its logits.
    images
        What it is tried on (N, C, H, W). All its tensors are kept, in float32.
    reference
        The original network's outputs (N, C, H, W) for these images.

    Attributes
    ----------
    network, error
        The current network, and the squared error of its outputs, relative to the original's.
    count
        Trials so far.
    """

    def __init__(self, network: Network, images: Tensor, reference: Tensor) -> None:
        self.network = network
        self.count = 0
        self._work = _multiplications(network)
        self._ran = 0.0
        self._reference = np.asarray(reference, dtype=np.float64)
        self._norm = float(np.square(self._reference).sum()) or 1.0
        self._cached = run_all(network, images)
        self.error = self._error(self._cached[network.output])

    def rebase(self, network: Network) -> None:
        """Let ``network`` be the current one."""
        changed = [
            new.name
            for new, old in zip(network.nodes, self.network.nodes, strict=True)
            if new.op is not old.op
        ]
        for name in affected(network, changed):
            node = network.node(name)
            self._cached[name] = _applied(node.op, [self._cached[each] for each in node.inputs])
        self.network = network
        self.error = self._error(self._cached[network.output])

    def attempt(self, changed: Mapping[str, Conv]) -> float:
        """Squared relative error with the operators ``changed``, by node name, put in."""
        self.count += 1
        self._ran += sum(self._work.get(name, 0) for name in affected(self.network, changed))
        return self._error(run_suffix(put(self.network, changed), self._cached, changed.keys()))

    @property
    def share(self) -> float:
        """Multiplications that a trial ran on average, over those of the whole network."""
        whole = sum(self._work.values())
        return self._ran / (whole * self.count) if whole and self.count else 0.0

    def _error(self, output: Tensor) -> float:
        return float(np.square(output - self._reference).sum()) / self._norm


def _multiplications(network: Network) -> dict[str, int]:
    """Of an image, by Conv node name."""
    return {node.name: op.weight.size * math.prod(node.shape[1:]) for node, op in network.convs()}


def put(network: Network, changed: Mapping[str, Conv]) -> Network:
    """``network`` with the operators ``changed``, by node name, in place."""
    return replace(
        network,
        nodes=tuple(
            replace(node, op=changed[node.name]) if node.name in changed else node
            for node in network.nodes
        ),
    )


def _layers_before(network: Network) -> dict[str, tuple[str, ...]]:
    """The linear layers that each linear layer reads from, directly or not."""
    behind: dict[str, frozenset[str]] = {network.input_name: frozenset()}
    before = {}
    for node in network.nodes:
        seen = frozenset[str]().union(*(behind[name] for name in node.inputs))
        if isinstance(node.op, Conv):
            before[node.name] = tuple(sorted(seen))
            seen |= {node.name}
        behind[node.name] = seen
    return before


def _applied(op: Op, xs: list[Tensor]) -> Tensor:
    batches = range(0, max(len(xs[0]), 1), _BATCH)
    return np.concatenate([apply(op, [x[at : at + _BATCH] for x in xs]) for at in batches])
