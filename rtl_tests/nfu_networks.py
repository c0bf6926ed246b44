"""Random networks that the NFU's compiler takes: convolutions of every kind in a row."""

from __future__ import annotations

import numpy as np
from networks import Sketch

from hwgen.integer.types import IntegerNetwork
from hwgen.nfu.config import DyadicLane, NfuConfig

__all__ = ["random_layers", "suitable_config"]


def random_layers(rng: np.random.Generator, *, layers: int, size: int = 6) -> IntegerNetwork:
    """Layers of any stride, padding, dilation and groups; perhaps a fully connected one last."""
    shape = (int(rng.integers(1, 7)), int(rng.integers(1, size)), int(rng.integers(1, size)))
    s = Sketch(shape, signed=bool(rng.integers(0, 2)), seed=int(rng.integers(1 << 30)))
    x = "image"
    for number in range(layers):
        channels, height, width = s.network.shape(x)
        if number == layers - 1 and rng.random() < 0.5:
            x = s.dense(x, int(rng.integers(1, 10)))
        else:
            pads = tuple(int(p) for p in rng.integers(0, 2, 4))
            dilations = tuple(int(d) for d in rng.integers(1, 3, 2))
            room = (height + pads[0] + pads[2], width + pads[1] + pads[3])
            kernel = tuple(
                int(rng.integers(1, min(3, 1 + (r - 1) // d) + 1))
                for r, d in zip(room, dilations, strict=True)
            )
            groups = channels if rng.random() < 0.2 else 1
            outputs = groups * int(rng.integers(1, 3 if groups > 1 else 10))
            strides = tuple(int(k) for k in rng.integers(1, 3, 2))
            x = s.conv(x, outputs, kernel, strides, pads, dilations, groups)
        if number < layers - 1 or rng.random() < 0.5:
            signed = bool(rng.integers(0, 2))
            x = s.requantise(x, lo=-128 if signed else 0, hi=127 if signed else 255)
    return s.done(x)


def suitable_config(rng: np.random.Generator, *, tiles: tuple[int, ...] = (1, 2, 4)) -> NfuConfig:
    """Parameters wide enough for :func:`random_layers`, with buffers that need tiling."""
    tn = int(rng.choice(tiles))
    return NfuConfig(
        tn=tn,
        nfu3_lanes=int(rng.choice([n for n in (1, 2, 4, 8, 16) if n <= tn])),
        ti=int(rng.choice(tiles)),
        lane=DyadicLane(int(rng.integers(1, 3)), 4),
        sb_depth=int(rng.choice([128, 512])),
        nbin_depth=int(rng.choice([128, 1024])),
        nbout_depth=int(rng.choice([8, 64])),
        table_depth=int(rng.choice([32, 256])),
        product_width=48,
        scale_exponents=32,
    )
