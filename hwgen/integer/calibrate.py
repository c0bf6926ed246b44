"""Calibration: a fixed-point format for every tensor, from the values it takes on real images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwgen.errors import DataError
from hwgen.network.execute import run_all
from hwgen.network.types import FloatArray, Network
from hwgen.numeric import FixedFormat

__all__ = ["Calibration", "best_format", "calibrate"]

_SAMPLES_A_BATCH = 20_000
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Calibration:
    """Samples of every tensor of a float network, by tensor name; each a sorted vector."""

    samples: Mapping[str, FloatArray]

    def format(self, tensor: str, *, width: int, signed: bool | None = None) -> FixedFormat:
        """Format of ``width`` bits for ``tensor``; unsigned if no sample is negative."""
        values = self.samples[tensor]
        return best_format(values, width=width, signed=signed)


def calibrate(network: Network, x: FloatArray, *, seed: int = 0) -> Calibration:
    """Run ``network`` on calibration images ``x`` (N, C, H, W) and sample every tensor.

    Extremes are always kept; beside them at most 20,000 values a batch of 64 images are drawn.

    Raises
    ------
    DataError
        If there is no image, or a tensor is not finite.
    """
    if len(x) == 0:
        raise DataError("Calibration needs at least one image, but the calibration split is empty")
    rng = np.random.default_rng(seed)
    parts: dict[str, list[FloatArray]] = {}
    for start in range(0, len(x), _BATCH):
        for name, tensor in run_all(network, x[start : start + _BATCH]).items():
            values = np.asarray(tensor, dtype=np.float64).ravel()
            if not np.isfinite(values).all():
                raise DataError(f"Tensor {name!r} is not finite on the calibration images")
            extremes = np.array([values.min(), values.max()])
            if values.size > _SAMPLES_A_BATCH:
                values = rng.choice(values, _SAMPLES_A_BATCH, replace=False)
            parts.setdefault(name, []).append(np.concatenate([values, extremes]))
    return Calibration({name: np.sort(np.concatenate(p)) for name, p in parts.items()})


def best_format(values: FloatArray, *, width: int, signed: bool | None = None) -> FixedFormat:
    """Format of ``width`` bits with the least mean squared error on ``values``.

    Candidates run from the finest that saturates nothing to three bits finer, which trades rare
    saturation against resolution.
    """
    if signed is None:
        signed = bool(values.min(initial=0.0) < 0)
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return FixedFormat(width, width - 1, signed)
    covering = width - signed - math.frexp(largest)[1]
    candidates = [FixedFormat(width, covering + finer, signed) for finer in range(4)]
    errors = [float(np.mean((f.dequantise(f.quantise(values)) - values) ** 2)) for f in candidates]
    return candidates[int(np.argmin(errors))]
