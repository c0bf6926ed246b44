"""How important each feature map of each linear layer is: rankings for what to drop first.

Each method gives every channel of every linear layer a score; the least is dropped first. Scores
compare within a layer; those of ``ablation`` and ``taylor``, in units of the loss, also between
layers. Maps are taken where they enter the next layers, behind activation and pooling
(:func:`~hwgen.slim.channels.feature_tensor`).

The paper (Nagaraju and Chandrachoodan, *Slimmer CNNs*, 2023) ranks features; its measure is not
known to us. ``qr`` is our reading of it; the others are usual in pruning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.special

from hwgen.approx.measure import without_decision
from hwgen.errors import DataError
from hwgen.network.execute import Tensor, run_suffix
from hwgen.network.gradients import gradients
from hwgen.network.types import FloatArray, Network
from hwgen.numeric import IntArray
from hwgen.slim.channels import feature_tensor, in_batches

__all__ = ["METHODS", "FeatureQr", "Method", "channel_importance"]

Method = Literal["qr", "norm", "ablation", "taylor"]

_ROWS = 8192
"""Rows of maps that are decomposed at a time: 32 MB for 512 channels."""


def channel_importance(
    network: Network,
    images: Tensor,
    labels: npt.NDArray[np.integer] | None = None,
    *,
    method: Method,
) -> dict[str, FloatArray]:
    """Score (O,) of every channel of every linear layer, by node name; large is important.

    Parameters
    ----------
    network
        Float network.
    images
        Calibration images (N, C, H, W), at least one.
    labels
        Classes (N,) for the loss of ``ablation`` and ``taylor``; without them what the network
        decides counts as right.
    method
        Name of one of :data:`METHODS`.

    Raises
    ------
    DataError
        If the images do not fit the network, there are none, or not one label an image.
    ValueError
        If there is no such method.
    """
    if method not in METHODS:
        raise ValueError(f"Method must be one of {', '.join(get_args(Method))}, not {method!r}")
    if len(images) == 0:
        raise DataError("Importance of features needs at least one image")
    if labels is not None and np.shape(labels) != (len(images),):
        raise DataError(f"Labels must be one an image, not {len(labels)} for {len(images)}")
    return METHODS[method](without_decision(network), images, labels)


class FeatureQr:
    """Column-pivoted QR of maps that come in pieces, of which only R is kept.

    A QR decomposition of R and the next rows has the R of all rows, as accurately as one of all at
    once (TSQR: Demmel, Grigori, Hoemmen and Langou 2012), and the pivots of R are theirs. Cholesky
    of the sums of products would lose half the digits.
    """

    def __init__(self, channels: int) -> None:
        self._r = np.zeros((0, channels))
        self._rows = 0

    def add(self, maps: Tensor) -> None:
        """Take in maps (N, C, H, W)."""
        columns = maps.swapaxes(0, 1).reshape(maps.shape[1], -1)
        for start in range(0, columns.shape[1], _ROWS):
            rows = columns[:, start : start + _ROWS].T.astype(np.float64)
            self._r = np.asarray(np.linalg.qr(np.concatenate([self._r, rows]), mode="r"))
        self._rows += columns.shape[1]

    def pivots(self) -> tuple[IntArray, FloatArray]:
        """Channels (C,) in the order in which they are taken, and what each adds (C,).

        That is |R_jj| over the root of the number of rows: the root-mean-square of what those
        before it do not explain. It falls along the order.
        """
        r, order = scipy.linalg.qr(self._r, mode="r", pivoting=True)
        diagonal = np.zeros(r.shape[1])
        size = min(r.shape)
        diagonal[:size] = np.abs(r.diagonal()[:size]) / math.sqrt(max(1, self._rows))
        return order.astype(np.int64), diagonal


def _qr(network: Network, images: Tensor, labels: object) -> dict[str, FloatArray]:
    """What a map adds to those before it, by column-pivoted QR."""
    del labels
    tensors = {node.name: feature_tensor(network, node.name) for node, _ in network.convs()}
    sums = {name: FeatureQr(network.shape(name)[0]) for name in set(tensors.values())}
    for _, found in in_batches(network, images):
        for name, each in sums.items():
            each.add(found[name])
    scores = {}
    for name, each in sums.items():
        order, added = each.pivots()
        scores[name] = np.zeros(len(order))
        scores[name][order] = added
    return {layer: scores[name] for layer, name in tensors.items()}


def _norm(network: Network, images: Tensor, labels: object) -> dict[str, FloatArray]:
    """Sum of the magnitudes of a filter's weights (Li et al., *Pruning Filters*, ICLR 2017)."""
    del images, labels
    return {node.name: np.abs(op.weight).sum(axis=(1, 2, 3)) for node, op in network.convs()}


def _ablation(
    network: Network, images: Tensor, labels: npt.NDArray[np.integer] | None
) -> dict[str, FloatArray]:
    """How much the loss grows when the map is zero; only what is behind it runs again."""
    total = {node.name: np.zeros(len(op.weight)) for node, op in network.convs()}
    for part, tensors in in_batches(network, images):
        loss = _Loss.of(tensors[network.output], None if labels is None else labels[part])
        before = loss.value(tensors[network.output])
        for layer, scores in total.items():
            name = feature_tensor(network, layer)
            readers = [node.name for node in network.consumers(name)]
            for channel in range(len(scores)):
                maps = tensors[name].copy()
                maps[:, channel] = 0
                output = maps
                if name != network.output:
                    output = run_suffix(network, {**tensors, name: maps}, readers)
                scores[channel] += (loss.value(output) - before) / len(images)
    return total


def _taylor(
    network: Network, images: Tensor, labels: npt.NDArray[np.integer] | None
) -> dict[str, FloatArray]:
    """The same to first order: mean over images of |gradient * map| (Molchanov et al., ICLR 2017).

    Of an output that makes no decision the mean square stands in for the loss, since the squared
    error has a gradient of 0 where there is no error yet.
    """
    names = {node.name: feature_tensor(network, node.name) for node, _ in network.convs()}
    total = {layer: np.zeros(network.shape(name)[0]) for layer, name in names.items()}
    for part, tensors in in_batches(network, images, dtype=np.float64):
        output = tensors[network.output]
        loss = _Loss.of(output, None if labels is None else labels[part])
        slopes = gradients(network, tensors, loss.gradient(output), set(names.values()))
        for layer, name in names.items():
            change = (slopes[name] * tensors[name]).sum(axis=(2, 3))
            total[layer] += np.abs(change).sum(axis=0) / len(images)
    return total


@dataclass(frozen=True, eq=False)
class _Loss:
    """Cross-entropy of decisions between ``classes`` (N,); without any, distance of outputs."""

    reference: Tensor
    classes: npt.NDArray[np.integer] | None

    @classmethod
    def of(cls, output: Tensor, labels: npt.NDArray[np.integer] | None) -> _Loss:
        """The loss for the images whose output is ``output`` as the network is."""
        if output.shape[1] == 1 or output.shape[2:] != (1, 1):
            return cls(output, None)
        decided = output[:, :, 0, 0].argmax(axis=1)
        return cls(output, decided if labels is None else labels)

    def value(self, output: Tensor) -> float:
        """Loss of all images together."""
        if self.classes is None:
            distance = (output - self.reference).reshape(len(output), -1)
            return float(np.square(distance, dtype=np.float64).mean(axis=1).sum())
        logits = output[:, :, 0, 0].astype(np.float64)
        right = np.take_along_axis(logits, self.classes[:, None], axis=1)[:, 0]
        return float((scipy.special.logsumexp(logits, axis=1) - right).sum())

    def gradient(self, output: Tensor) -> Tensor:
        """Gradient of each image's loss by its output, of the mean square if nothing is decided."""
        if self.classes is None:
            return 2 * output / math.prod(output.shape[1:])
        gradient = scipy.special.softmax(output, axis=1)
        gradient[np.arange(len(output)), self.classes] -= 1
        return np.asarray(gradient)


METHODS: Mapping[
    Method,
    Callable[[Network, Tensor, npt.NDArray[np.integer] | None], dict[str, FloatArray]],
] = MappingProxyType({"qr": _qr, "norm": _norm, "ablation": _ablation, "taylor": _taylor})
"""Every method by its name."""
