"""The training loop of float networks whose zeros stay zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hwgen.approx.filters import exact_filters
from hwgen.approx.measure import without_decision
from hwgen.finetune.execute import run_suffix, to_tensor
from hwgen.finetune.proximal import shrink_groups, shrink_rank
from hwgen.finetune.settings import FloatPlan, Penalties
from hwgen.finetune.targets import Labels, Targets
from hwgen.network.execute import affected, run, run_all
from hwgen.network.types import Conv, FloatArray, Network

__all__ = ["train_float", "train_proximal"]

_HELD_OUT = 10
"""One image in so many chooses the epoch instead of training."""
_CALIBRATION = 256
"""Images that the units of the biases come from."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """Trained tensors of one linear layer.

    ``weight`` OIHW in units of ``weight_unit``, the root mean square of its weights that are not 0,
    and ``bias`` (O,) in units of ``bias_unit``, that of the layer's output; their masks are True
    where they may differ from 0.
    """

    op: Conv
    weight: Tensor
    bias: Tensor
    weight_unit: float
    bias_unit: float
    weight_mask: Tensor
    bias_mask: Tensor

    @classmethod
    def of(cls, op: Conv, bias_unit: float) -> _Layer:
        present = op.weight != 0
        weight_unit = _size(op.weight[present])
        filters = present.any(axis=(1, 2, 3)) | (op.bias != 0)
        return cls(
            op,
            to_tensor(op.weight / weight_unit).requires_grad_(exact_filters(op, op.bias) is None),
            to_tensor(op.bias / bias_unit).requires_grad_(),
            weight_unit,
            bias_unit,
            torch.from_numpy(present),
            torch.from_numpy(filters),
        )

    def parameters(self) -> list[Tensor]:
        return [tensor for tensor in (self.weight, self.bias) if tensor.requires_grad]

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Weights and biases as they are now."""
        weight = self.weight * self.weight_mask * self.weight_unit
        return weight, self.bias * self.bias_mask * self.bias_unit

    def value(self) -> Conv:
        """The layer as it is now."""
        weight, bias = (tensor.detach().numpy().astype(np.float64) for tensor in self.tensors())
        if not self.weight.requires_grad:
            weight = self.op.weight
        return replace(self.op, weight=weight, bias=bias)

    def shrink_neurons(self, threshold: float) -> None:
        """Proximal step on the norms of the neurons, each with its bias."""
        weight, bias = self.weight.detach().numpy(), self.bias.detach().numpy()
        neurons = np.concatenate([weight.reshape(len(weight), -1), bias[:, None]], axis=1)
        shrunk = shrink_groups(neurons, threshold)
        weight[:] = shrunk[:, :-1].reshape(weight.shape)
        bias[:] = shrunk[:, -1]

    def shrink_rank(self, threshold: float) -> None:
        """Proximal step on the nuclear norms of the unfolded weights."""
        weight = self.weight.detach().numpy()
        weight[:] = shrink_rank(weight, threshold) * self.weight_mask.numpy()


class _Training:
    """A network in training: its layers, the order of the images and the steps."""

    def __init__(
        self, network: Network, images: FloatArray, targets: Targets, plan: FloatPlan
    ) -> None:
        self.plan = plan
        self._network = network
        self._logits = without_decision(network)
        self._targets = targets
        tensors = run_all(self._logits, images[:: max(1, len(images) // _CALIBRATION)])
        self.layers = {
            node.name: _Layer.of(op, _size(tensors[node.name]))
            for node, op in network.convs()
            if node.name in plan.layers
        }
        self._known = _prefix(self._logits, images, self.layers)
        self.generator = np.random.default_rng(plan.seed)

    def epochs(
        self,
        some: npt.NDArray[np.intp],
        after_step: Callable[[int, float], None],
        progress: Callable[[str, float], None],
    ) -> Iterator[None]:
        """Train on the images ``some``, and stop by after every epoch.

        ``after_step`` is called with the number of the step and its learning rate.
        """
        plan, batches = self.plan, -(-len(some) // self.plan.batch)
        parameters = [tensor for layer in self.layers.values() for tensor in layer.parameters()]
        optimiser = torch.optim.Adam(parameters, lr=plan.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs * batches)
        for epoch in range(plan.epochs):
            order = self.generator.permutation(some)
            for index, batch in enumerate(np.array_split(order, batches)):
                optimiser.zero_grad()
                self._loss_of(batch).backward()
                rate = float(schedule.get_last_lr()[0])
                optimiser.step()
                schedule.step()
                after_step(epoch * batches + index + 1, rate)
                progress("Training", (epoch + (index + 1) / batches) / plan.epochs)
            yield

    def loss(self, some: npt.NDArray[np.intp]) -> float:
        """Mean loss of the images ``some``."""
        parts = np.array_split(some, -(-len(some) // self.plan.batch))
        with torch.no_grad():
            losses = [float(self._loss_of(part)) * len(part) for part in parts]
        return sum(losses) / len(some)

    def value(self) -> Network:
        """The network as it is now."""
        nodes = [
            replace(node, op=self.layers[node.name].value()) if node.name in self.layers else node
            for node in self._network.nodes
        ]
        return replace(self._network, nodes=tuple(nodes))

    def _loss_of(self, some: npt.NDArray[np.intp]) -> Tensor:
        known = {name: to_tensor(tensor[some]) for name, tensor in self._known.items()}
        tensors = {name: layer.tensors() for name, layer in self.layers.items()}
        return self._targets.loss(run_suffix(self._logits, known, tensors), some)


def _size(values: FloatArray) -> float:
    """Root mean square, 1 if it is 0."""
    size = float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0
    return size or 1.0


def _prefix(
    network: Network, images: FloatArray, layers: Mapping[str, _Layer]
) -> dict[str, FloatArray]:
    """Tensors that do not change in training and that others read which do."""
    changing = affected(network, list(layers))
    read = {name for node in network.nodes if node.name in changing for name in node.inputs}
    known = {}
    for name in sorted(read - set(changing)):
        if name == network.input_name:
            known[name] = images
        else:
            ends = next(i for i, node in enumerate(network.nodes) if node.name == name)
            prefix = replace(network, nodes=network.nodes[: ends + 1], output=name)
            known[name] = run(prefix, images)
    return known


def train_float(
    network: Network,
    slim: Network,
    images: FloatArray,
    labels: Labels | None,
    plan: FloatPlan,
    progress: Callable[[str, float], None],
) -> Network:
    """The epoch with the least loss on the held-out images; ``slim`` itself is epoch 0."""
    targets = Targets.of(network, images, labels, plan.distillation)
    training = _Training(slim, images, targets, plan)
    order = training.generator.permutation(len(images))
    held_out, trained = order[::_HELD_OUT], np.delete(order, slice(None, None, _HELD_OUT))
    best, least = slim, training.loss(held_out)
    for _ in training.epochs(trained, lambda _step, _rate: None, progress):
        if (now := training.loss(held_out)) < least:
            best, least = training.value(), now
    return best


def train_proximal(
    network: Network,
    images: FloatArray,
    labels: Labels | None,
    plan: FloatPlan,
    penalties: Penalties,
    progress: Callable[[str, float], None],
) -> Network:
    """The network after the last epoch of forward-backward splitting on all images."""
    targets = Targets.of(network, images, labels, plan.distillation)
    training = _Training(network, images, targets, plan)
    passed = 0.0

    def backward(step: int, rate: float) -> None:
        nonlocal passed
        passed += rate
        if step % penalties.every:
            return
        for name, strength in penalties.ranks.items():
            training.layers[name].shrink_rank(passed * strength)
        for name, strength in penalties.groups.items():
            training.layers[name].shrink_neurons(passed * strength)
        passed = 0.0

    for _ in training.epochs(np.arange(len(images)), backward, progress):
        pass
    return training.value()
