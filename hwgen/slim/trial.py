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

from hwgen.approx.approximate import Settings as DyadicSettings
from hwgen.approx.filters import exact_filters
from hwgen.approx.moments import Moments, patch_moments, patches
from hwgen.approx.recipes import Recipe, parse_recipe
from hwgen.approx.types import DyadicFilters
from hwgen.network.execute import Tensor, apply, check_input, run_all
from hwgen.network.types import Add, Conv, Network, Op
from hwgen.slim._damped import Damped
from hwgen.slim.fitting import DAMPING
from hwgen.slim.moves import State
from hwgen.slim.partial import run_changed

__all__ = ["Dyadic", "Fitted", "Fitter", "Trials", "put"]

Dyadic = Callable[[Conv, Recipe, Moments], DyadicFilters]
"""Dyadic filters of a layer by a recipe, for what it reads."""

_BATCH = 64
_PATCH_ELEMENTS = 1 << 22


@dataclass(frozen=True, eq=False)
class Fitted:
    """A state with its weights.

    Attributes
    ----------
    state
        Places of weights, and recipes.
    network
        The original's nodes and shapes, with the fitted weights and biases.
    filters
        By Conv node name: the dyadic filters of each layer that has a recipe, which are its weights
        in ``network``.
    moments
        By Conv node name: of what the layer reads in ``network``, with the outputs that it should
        have.
    problems
        By Conv node name: the damped error of the layer as a function of its weights; None if they
        are not to be fitted.
    dyadic
        What makes weights dyadic.
    """

    state: State
    network: Network
    filters: dict[str, DyadicFilters]
    moments: dict[str, Moments]
    problems: dict[str, Damped | None]
    dyadic: Dyadic

    def layer(
        self, layer: str, op: Conv, state: State, rows: Iterable[int]
    ) -> tuple[Conv, DyadicFilters | None]:
        """``op`` of ``layer`` with the filters ``rows`` fitted on their places in ``state``.

        Filters without weights put out the mean of the original's. If the layer has a recipe, all
        its filters are made dyadic; these come as well.
        """
        mask, chosen = state.masks[layer], list(rows)
        weight, bias = op.weight * mask, op.bias.copy()
        problem = self.problems[layer]
        if problem is not None:
            flat = mask.reshape(len(mask), -1)
            weight[chosen] = problem.fit(chosen, flat, None).reshape(weight.shape)[chosen]
        bias[chosen] = self.moments[layer].bias(weight)[chosen]
        return self.made_dyadic(layer, replace(op, weight=weight, bias=bias), state)

    def made_dyadic(self, layer: str, op: Conv, state: State) -> tuple[Conv, DyadicFilters | None]:
        """``op`` of ``layer`` as its recipe has it, if it has one."""
        recipe = state.recipes.get(layer)
        if recipe is None:
            return op, None
        filters = self.dyadic(op, parse_recipe(recipe), self.moments[layer])
        return replace(op, weight=filters.weight, bias=filters.bias), filters


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
    dyadic
        Makes the weights of a layer dyadic by a recipe; weights that are 0 stay so.

    Raises
    ------
    DataError
        If the images do not fit the network.
    """

    def __init__(
        self,
        network: Network,
        images: Tensor,
        *,
        damping: float = DAMPING,
        dyadic: Dyadic | None = None,
    ) -> None:
        check_input(network, images)
        self.network, self.damping = network, damping
        self.dyadic: Dyadic = dyadic or DyadicSettings().filters
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
        made = Fitted(state, self.network, {}, {}, {}, self.dyadic)
        for index, node in enumerate(self.network.nodes):
            inputs = [tensors[name] for name in node.inputs]
            exact = _applied(node.op, [x for x, _ in inputs])
            op: Op = node.op
            if isinstance(op, Conv):
                if progress is not None:
                    progress(f"fit layer {node.name}", index / len(self.network.nodes))
                target = self._target(node.name, exact, tensors)
                known = self._known(node.name, op, state, *inputs[0], target)
                made.moments[node.name], made.problems[node.name] = known
                same = target is None and inputs[0][0] is inputs[0][1]
                op = self._fitted(made, node.name, op, same=same)
            nodes.append(node if op is node.op else replace(node, op=op))
            same = op is node.op and all(x is seen for x, seen in inputs)
            tensors[node.name] = exact, exact if same else _applied(op, [x for _, x in inputs])
            for name in node.inputs:
                uses[name] -= 1
                if not uses[name]:
                    del tensors[name]
        self._last = replace(made, network=replace(self.network, nodes=tuple(nodes)))
        return self._last

    def _fitted(self, made: Fitted, name: str, op: Conv, *, same: bool) -> Conv:
        mask = made.state.masks[name]
        if same and np.array_equal(mask, self._full[name]):
            found, filters = made.made_dyadic(name, op, made.state)
        else:
            found, filters = made.layer(name, op, made.state, range(len(mask)))
        if filters is not None:
            made.filters[name] = filters
        return found

    def _target(
        self, name: str, exact: Tensor, tensors: Mapping[str, tuple[Tensor, Tensor]]
    ) -> Tensor | None:
        """What the layer ``name`` should put out, None if that is its own ``exact`` output.

        Where its output is added to others that are known, it makes up for their errors as well
        (as in He, Zhang and Sun, *Channel pruning*, ICCV 2017).
        """
        readers = self.network.consumers(name)
        if name == self.network.output or len(readers) != 1 or not isinstance(readers[0].op, Add):
            return None
        others = [tensors[each] for each in readers[0].inputs if each in tensors]
        errors = [x - seen for x, seen in others if x is not seen]
        return sum(errors, start=exact) if errors else None

    def _known(
        self,
        name: str,
        op: Conv,
        state: State,
        exact: Tensor,
        seen: Tensor,
        target: Tensor | None,
    ) -> tuple[Moments, Damped | None]:
        """Moments of a layer and its error; those that were, if nothing that matters changed."""
        last = self._last
        if last is not None and all(
            state.masks[each] is last.state.masks[each]
            and state.recipes.get(each) == last.state.recipes.get(each)
            for each in self._before[name]
        ):
            return last.moments[name], last.problems[name]
        moments = patch_moments(op, exact, None if seen is exact else seen)
        if target is not None:
            moments = _for_target(moments, op, seen, target)
        rigid = exact_filters(op, op.bias) is not None
        return moments, None if rigid else Damped.of(op, moments, self.damping)


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
        self._ran = 0
        self._reference = np.asarray(reference, dtype=np.float64)
        self._norm = float(np.square(self._reference).sum()) or 1.0
        self._cached = run_all(network, images)
        self.error = self._error(self._cached[network.output])

    def rebase(self, network: Network) -> None:
        """Let ``network``, which differs in some linear layers, be the current one."""
        changed = {
            new.name: new.op
            for new, old in zip(network.nodes, self.network.nodes, strict=True)
            if new.op is not old.op and isinstance(new.op, Conv)
        }
        tensors, _ = run_changed(self.network, self._cached, changed)
        self._cached.update(tensors)
        self.network = network
        self.error = self._error(self._cached[network.output])

    def attempt(self, changed: Mapping[str, Conv]) -> float:
        """Squared relative error with the operators ``changed``, by node name, put in."""
        tensors, work = run_changed(self.network, self._cached, changed)
        self.count += 1
        self._ran += work
        output = self.network.output
        return self._error(tensors.get(output, self._cached[output]))

    @property
    def share(self) -> float:
        """Multiplications that a trial ran on average, over those of the whole network."""
        return self._ran / (self._work * self.count) if self._work and self.count else 0.0

    def _error(self, output: Tensor) -> float:
        return float(np.square(output - self._reference).sum()) / self._norm


def _multiplications(network: Network) -> int:
    """Of an image, those by weights that are 0 included."""
    return sum(op.weight.size * math.prod(node.shape[1:]) for node, op in network.convs())


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
    """The linear layers whose weights matter to how each linear layer is fitted.

    Those that it reads from, directly or not, and those of what its output is added to.
    """
    behind: dict[str, frozenset[str]] = {network.input_name: frozenset()}
    before = {}
    for node in network.nodes:
        seen = frozenset[str]().union(*(behind[name] for name in node.inputs))
        if isinstance(node.op, Conv):
            added = frozenset[str]().union(
                *(
                    behind.get(name, frozenset())
                    for reader in network.consumers(node.name)
                    if isinstance(reader.op, Add)
                    for name in reader.inputs
                )
            )
            before[node.name] = tuple(sorted(seen | added))
            seen |= {node.name}
        behind[node.name] = seen
    return before


def _for_target(moments: Moments, op: Conv, seen: Tensor, target: Tensor) -> Moments:
    """``moments`` of what a layer has ``seen``, with ``target`` (N, O, H, W) as its output.

    Those of blocks, which know nothing of each other, stay as they are.
    """
    groups, blocks, entries, _ = moments.second.shape
    if blocks > 1:
        return moments
    each = entries * groups * math.prod(target.shape[2:])
    step = max(1, _PATCH_ELEMENTS // each)
    mean = target.mean(axis=(0, 2, 3), dtype=np.float64)
    cross = np.zeros((groups, entries, len(op.weight) // groups))
    for at in range(0, len(seen), step):
        x = patches(op, seen[at : at + step])
        wanted = target[at : at + step] - mean.astype(target.dtype)[:, None, None]
        wanted = wanted.swapaxes(0, 1).reshape(groups, -1, x.shape[2])
        x = x - moments.mean.astype(x.dtype)[:, :, None]
        cross += np.matmul(x, wanted.swapaxes(1, 2))
    return replace(
        moments,
        cross=np.ascontiguousarray(cross.transpose(0, 2, 1)).reshape(len(mean), -1) / moments.count,
        output_mean=mean,
        output_variance=target.var(axis=(0, 2, 3), dtype=np.float64),
    )


def _applied(op: Op, xs: list[Tensor]) -> Tensor:
    batches = range(0, max(len(xs[0]), 1), _BATCH)
    return np.concatenate([apply(op, [x[at : at + _BATCH] for x in xs]) for at in batches])
