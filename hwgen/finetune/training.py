"""The training loop of fine-tuning: latent weights, straight-through gradients, losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hwgen.approx.filters import rounded
from hwgen.approx.measure import without_decision
from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.approx.verify import verify
from hwgen.finetune.execute import run_torch, straight_through, to_tensor
from hwgen.finetune.projection import BIAS_BITS, LayerRule, Steps, dyadic_scales
from hwgen.finetune.settings import Plan
from hwgen.finetune.targets import Labels, Targets
from hwgen.network.types import Conv, FloatArray, Network

__all__ = ["train"]

_HELD_OUT = 10
"""One image in so many chooses the epoch instead of training."""
_OVERSHOOT = 0.5
"""How far, as a share of the greatest number of the set, a latent weight may lie beyond it."""

_RESTRAINTS = 20
"""How often an epoch the steps follow the weights and scales, so that limits hold all along."""


@dataclass(eq=False)
class _Layer:
    """Trained tensors of one linear layer.

    ``latent`` (R, n) in units of the rows' scales; ``growth`` (O,) or (1,), logarithm of what the
    scales gained; ``shift`` (O,), what the bias gained in units of ``unit``, for filters that are
    ``audible``, which those without weights and bias are not. Layers that stay as they are have a
    rule of None, and only their bias is trained.
    """

    rule: LayerRule | None
    start: DyadicFilters
    latent: Tensor
    growth: Tensor
    shift: Tensor
    scale: FloatArray
    unit: FloatArray
    audible: Tensor
    penalty: float = 0.0
    steps: Steps | None = None

    @classmethod
    def of(cls, op: Conv, filters: DyadicFilters) -> _Layer:
        scale = np.array([float(s) for s in filters.scale])
        rule = LayerRule.of(op.weight, filters)
        unit = np.sqrt((op.weight**2).sum(axis=(1, 2, 3)))
        weighs = (op.weight != 0) | (filters.codes != 0)
        audible = weighs.any(axis=(1, 2, 3)) | (filters.bias != 0)
        latent, groups = np.zeros((1, 1)), 1
        if rule is not None:
            latent = _start(rule, op.weight, filters, scale)
            groups = 1 if rule.shared else len(scale)
        return cls(
            rule,
            filters,
            to_tensor(latent).requires_grad_(),
            torch.zeros(groups, requires_grad=True),
            torch.zeros(len(scale), requires_grad=True),
            scale,
            np.maximum(unit, 1e-6),
            torch.from_numpy(audible),
        )

    def parameters(self) -> list[Tensor]:
        return [self.shift] if self.rule is None else [self.latent, self.growth, self.shift]

    def _shift(self) -> Tensor:
        return self.shift * self.audible

    def current_scale(self) -> FloatArray:
        """Dyadic scales (O,) as they are now."""
        growth = np.exp(self.growth.detach().numpy().astype(np.float64))
        return dyadic_scales(self.scale * growth)

    def restrain(self) -> None:
        """Keep the latent weights near the set, and find the steps that keep the term limit."""
        if self.rule is None:
            return
        greatest = math.ldexp(float(self.rule.levels[-1]), -self.rule.frac) * (1 + _OVERSHOOT)
        with torch.no_grad():
            self.latent.clamp_(-greatest, greatest)
        latent, scale = self.latent.detach().numpy().astype(np.float64), self.current_scale()
        self.penalty = self.rule.penalty(latent, scale)
        self.steps = self.rule.steps(scale, self.penalty)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Weights and biases as they will be in hardware, with gradients."""
        free_bias = to_tensor(self.start.bias) + self._shift() * to_tensor(self.unit)
        short = rounded(free_bias.detach().numpy().astype(np.float64), BIAS_BITS)
        bias = straight_through(to_tensor(short), free_bias)
        if self.rule is None or self.steps is None:
            return to_tensor(self.start.weight), bias
        bounds = torch.from_numpy(self.steps.bounds.astype(np.float32))
        latent = self.latent * torch.from_numpy(self.rule.free)
        picked = torch.searchsorted(bounds, latent.detach().abs(), right=True)
        codes = torch.from_numpy(self.steps.codes).gather(1, picked) * latent.detach().sign()
        near = straight_through(codes * 2.0**-self.rule.frac, latent)
        free_scale = to_tensor(self.scale) * self.growth.exp()
        scale = straight_through(to_tensor(self.current_scale()), free_scale)
        rows = scale.repeat_interleave(self.rule.rows // len(self.scale))
        rows = rows * torch.from_numpy(self.rule.factors)
        return (near * rows[:, None]).reshape(self.rule.shape), bias

    def filters(self) -> DyadicFilters:
        """The layer as a value."""
        shift = self._shift().detach().numpy().astype(np.float64)
        bias = self.start.bias + shift * self.unit
        if self.rule is None:
            return replace(self.start, bias=rounded(bias, BIAS_BITS))
        latent = self.latent.detach().numpy().astype(np.float64)
        return self.rule.filters(latent, self.current_scale(), bias)


def _start(
    rule: LayerRule, weight: FloatArray, filters: DyadicFilters, scale: FloatArray
) -> FloatArray:
    """Latent weights (R, n) that become the codes of ``filters``.

    The float weights where they do; the codes themselves where the filters' codes are others, as
    they are if the filters came from the layer's output.
    """
    units = rule.row_scales(scale)[:, None]
    latent = weight.reshape(rule.rows, -1) / units
    given = filters.codes.reshape(rule.rows, -1) // rule.factors[:, None]
    found = rule.steps(scale, rule.penalty(latent, scale))(latent)
    return np.where(found == given, latent, np.ldexp(given.astype(np.float64), -rule.frac))


def _restrain(layers: Mapping[str, _Layer]) -> None:
    for layer in layers.values():
        layer.restrain()


def train(
    network: Network,
    approx: ApproxNetwork,
    images: FloatArray,
    labels: Labels | None,
    plan: Plan,
    progress: Callable[[str, float], None],
) -> ApproxNetwork:
    """The epoch with the least loss on the held-out images; ``approx`` itself is epoch 0."""
    targets = Targets.of(network, images, labels, plan.distillation)
    hardware = without_decision(approx.to_network())
    approximated = dict(approx.activations)
    smooth = {node.name: node.op for node in approx.network.nodes if node.name in approximated}
    filters = dict(approx.filters)
    layers = {node.name: _Layer.of(op, filters[node.name]) for node, op in approx.network.convs()}
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(len(images))
    held_out, training = order[::_HELD_OUT], np.delete(order, slice(None, None, _HELD_OUT))

    def loss_of(some: npt.NDArray[np.intp], trained: Mapping[str, _Layer]) -> Tensor:
        tensors = {name: layer.tensors() for name, layer in trained.items()}
        output = run_torch(hardware, to_tensor(images[some]), tensors, smooth)
        return targets.loss(output, some)

    def held_out_loss(trained: Mapping[str, _Layer]) -> float:
        parts = np.array_split(held_out, -(-len(held_out) // plan.batch))
        with torch.no_grad():
            losses = [float(loss_of(part, trained)) * len(part) for part in parts]
        return sum(losses) / len(held_out)

    batches = -(-len(training) // plan.batch)
    parameters = [tensor for layer in layers.values() for tensor in layer.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs * batches)
    period = -(-batches // _RESTRAINTS)
    _restrain(layers)
    best, least = approx, held_out_loss({})
    for epoch in range(plan.epochs):
        rng.shuffle(training)
        for index, batch in enumerate(np.array_split(training, batches)):
            optimiser.zero_grad()
            loss_of(batch, layers).backward()
            optimiser.step()
            schedule.step()
            if (index + 1) % period == 0:
                _restrain(layers)
            progress("Fine-tuning", (epoch + (index + 1) / batches) / plan.epochs)
        _restrain(layers)
        if (now := held_out_loss(layers)) < least:
            found = tuple((name, layer.filters()) for name, layer in layers.items())
            best, least = verify(replace(approx, filters=found)), now
    return best
