"""Second moments of what a linear layer reads, from which the error of its output follows.

A layer sees patches x (im2col columns) in the float network and x^ in the approximated one. With
float weights w, bias b and approximated weights q, the bias b' that makes the mean error zero is

    b' = E[w.x + b] - q.E[x^]

and what is left of the squared error of the output is a quadratic in q:

    E[(w.x + b - q.x^ - b')^2] = q'Hq - 2 q'r + v,
    H = Cov(x^),  r = Cov(x^, w.x),  v = Var(w.x).

These few numbers replace all calibration images (Hassibi and Stork, *Second order derivatives for
network pruning*, NIPS 1992, use the same matrix for one weight at a time).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwgen.network.execute import Tensor, check_input, run_all
from hwgen.network.types import Conv, FloatArray, Network

__all__ = ["Accumulator", "Moments", "layer_moments", "patch_moments", "patches"]

_MOST_ENTRIES = 4096
"""Longest patch whose entries' covariances are all kept: 128 MB a group."""

_PATCH_ELEMENTS = 1 << 22
"""Most elements of unfolded patches at a time."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of the patches of one linear layer of G groups, O filters and K weights a filter.

    A patch of more than 4,096 entries is cut into B equal blocks of k (padded with zeros at the
    end); covariances between blocks are taken as 0. Otherwise B is 1 and k is K.

    Attributes
    ----------
    count
        Patches seen.
    second
        (G, B, k, k) float64, covariances H of the approximated patches.
    cross
        (O, K) float64, covariances r of the approximated patches with the float filters' outputs.
    mean
        (G, K) float64, means of the approximated patches.
    output_mean, output_variance
        (O,) float64, mean and variance (summed over blocks) of the float filters' outputs.
    """

    count: int
    second: FloatArray
    cross: FloatArray
    mean: FloatArray
    output_mean: FloatArray
    output_variance: FloatArray

    def errors(self, weight: FloatArray) -> FloatArray:
        """Mean squared error (O,) of the outputs with ``weight`` OIHW and the best bias."""
        flat = weight.reshape(len(weight), -1)
        product = self.product(flat)
        error: FloatArray = (flat * (product - 2 * self.cross)).sum(axis=1) + self.output_variance
        return error

    def product(self, flat: FloatArray) -> FloatArray:
        """H times each filter, (O, K) for (O, K)."""
        groups, blocks, k, _ = self.second.shape
        filters, entries = flat.shape
        padded = np.zeros((filters, blocks * k))
        padded[:, :entries] = flat
        pieces = padded.reshape(groups, filters // groups, blocks, k).transpose(0, 2, 1, 3)
        product = np.matmul(pieces, self.second).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(product.reshape(filters, blocks * k)[:, :entries])

    def bias(self, weight: FloatArray) -> FloatArray:
        """Bias (O,) with which ``weight`` OIHW gives the float filters' mean outputs."""
        groups = len(self.mean)
        flat = weight.reshape(groups, len(weight) // groups, -1)
        means = np.matmul(flat, self.mean[:, :, None]).reshape(-1)
        bias: FloatArray = self.output_mean - means
        return bias


class Accumulator:
    """Sums the moments of one layer over batches of its input.

    Parameters
    ----------
    op
        The float layer.
    most_entries
        Longest patch that is not cut into blocks.
    """

    def __init__(self, op: Conv, *, most_entries: int = _MOST_ENTRIES) -> None:
        self._op = op
        filters, entries = len(op.weight), op.weight[0].size
        self._blocks = -(-entries // most_entries)
        self._k = -(-entries // self._blocks)
        shape = (op.groups, self._blocks, self._k)
        self._count = 0
        self._offsets: tuple[Tensor, Tensor] | None = None
        self._second = np.zeros((*shape, self._k))
        self._sum = np.zeros(shape)
        self._cross = np.zeros((op.groups, self._blocks, self._k, filters // op.groups))
        self._output = np.zeros((op.groups, self._blocks, filters // op.groups))
        self._square = np.zeros_like(self._output)

    def add(self, exact: Tensor, approximated: Tensor | None = None) -> None:
        """Take in the layer's input (N, C, H, W) in the float and in the approximated network.

        ``approximated`` None: the same. Products are in the inputs' precision, relative to the
        first patch; sums over batches of patches are float64.
        """
        op = self._op
        _, _, oh, ow = _output_shape(op, exact)
        each = op.weight[0].size * op.groups * oh * ow
        step = max(1, _PATCH_ELEMENTS // max(1, each))
        for start in range(0, len(exact), step):
            part = slice(start, start + step)
            x = self._blocked(patches(op, exact[part]))
            seen = x if approximated is None else self._blocked(patches(op, approximated[part]))
            self._add(x, seen, same=approximated is None)

    def _blocked(self, x: Tensor) -> Tensor:
        """(G, B, k, n) from (G, K, n), padded with zeros."""
        groups, entries, count = x.shape
        if (padding := self._blocks * self._k - entries) > 0:
            x = np.concatenate([x, np.zeros((groups, padding, count), x.dtype)], axis=1)
        return x.reshape(groups, self._blocks, self._k, count)

    def _add(self, x: Tensor, seen: Tensor, *, same: bool) -> None:
        if self._offsets is None:
            # about the first patch: what never varies has moments of exactly 0
            self._offsets = (x[..., :1].copy(), seen[..., :1].copy())
        seen = seen - self._offsets[1]
        self._count += x.shape[3]
        self._sum += seen.sum(axis=3, dtype=np.float64)
        self._second += np.matmul(seen, seen.swapaxes(2, 3))
        x = seen if same else x - self._offsets[0]
        output = np.matmul(self._weight().astype(x.dtype), x)
        self._cross += np.matmul(seen, output.swapaxes(2, 3))
        self._output += output.sum(axis=3, dtype=np.float64)
        self._square += np.square(output).sum(axis=3, dtype=np.float64)

    def _weight(self) -> FloatArray:
        """(G, B, O / G, k) weights, padded with zeros."""
        op = self._op
        flat = op.weight.reshape(op.groups, len(op.weight) // op.groups, -1)
        padded = np.zeros((*flat.shape[:2], self._blocks * self._k))
        padded[:, :, : flat.shape[2]] = flat
        blocked = padded.reshape(*flat.shape[:2], self._blocks, self._k)
        return np.ascontiguousarray(blocked.transpose(0, 2, 1, 3))

    def moments(self) -> Moments:
        """The moments of everything taken in.

        Raises
        ------
        ValueError
            If there was nothing.
        """
        if self._offsets is None:
            raise ValueError("Moments need at least one image")
        op, n = self._op, self._count
        groups, entries = op.groups, op.weight[0].size
        mean, output = self._sum / n, self._output / n
        second = self._second / n - mean[..., :, None] * mean[..., None, :]
        cross = self._cross / n - mean[..., None] * output[..., None, :]
        variance = (self._square / n - output**2).sum(axis=1)
        exact, seen = (each.astype(np.float64) for each in self._offsets)
        of_offset = np.matmul(self._weight(), exact)[..., 0]
        return Moments(
            n,
            second,
            cross.transpose(0, 3, 1, 2).reshape(len(op.weight), -1)[:, :entries].copy(),
            (mean + seen[..., 0]).reshape(groups, -1)[:, :entries].copy(),
            (output + of_offset).sum(axis=1).reshape(-1) + op.bias,
            np.maximum(variance, 0.0).reshape(-1),
        )


def patches(op: Conv, x: Tensor) -> Tensor:
    """Patches (G, K, n) that the layer ``op`` reads from ``x`` (N, C, H, W).

    K runs over the weights of a filter in their order (channel, row, column); n over images and
    output pixels.
    """
    top, left, bottom, right = op.pads
    if any(op.pads):
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw = op.kernel
    (dy, dx), (sy, sx) = op.dilations, op.strides
    window = ((kh - 1) * dy + 1, (kw - 1) * dx + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, window, axis=(2, 3))
    taps = view[:, :, ::sy, ::sx, ::dy, ::dx].transpose(1, 4, 5, 0, 2, 3)
    return np.ascontiguousarray(taps).reshape(op.groups, op.weight[0].size, -1)


def _output_shape(op: Conv, x: Tensor) -> tuple[int, int, int, int]:
    top, left, bottom, right = op.pads
    (kh, kw), (dy, dx), (sy, sx) = op.kernel, op.dilations, op.strides
    oh = (x.shape[2] + top + bottom - (kh - 1) * dy - 1) // sy + 1
    ow = (x.shape[3] + left + right - (kw - 1) * dx - 1) // sx + 1
    return (len(x), len(op.weight), oh, ow)


def patch_moments(op: Conv, exact: Tensor, approximated: Tensor | None = None) -> Moments:
    """Moments of the layer ``op`` for its input (N, C, H, W) in the two networks.

    ``approximated`` None: the layers before it are exact.
    """
    accumulator = Accumulator(op)
    accumulator.add(exact, approximated)
    return accumulator.moments()


def layer_moments(network: Network, images: Tensor, *, batch: int = 64) -> Mapping[str, Moments]:
    """Moments of every linear layer of the float ``network``, by node name, in one pass.

    Parameters
    ----------
    network
        Float network.
    images
        Calibration images (N, C, H, W), at least one.
    batch
        Images that are worked on at a time; bounds the memory.
    """
    check_input(network, images)
    sums = {node.name: Accumulator(op) for node, op in network.convs()}
    for start in range(0, len(images), batch):
        tensors = run_all(network, images[start : start + batch])
        for node, _ in network.convs():
            sums[node.name].add(tensors[node.inputs[0]])
    return {name: accumulator.moments() for name, accumulator in sums.items()}
