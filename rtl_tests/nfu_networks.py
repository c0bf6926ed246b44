"""Random networks that the NFU's compiler takes, in a row and with branches."""

from __future__ import annotations

import numpy as np
from networks import Sketch

from hwgen.integer.types import Add, ArgMax, Concat, IntegerNetwork
from hwgen.nfu.config import DyadicLane, NfuConfig

__all__ = ["random_graph", "random_layers", "suitable_config"]


def random_layers(rng: np.random.Generator, *, layers: int, size: int = 6) -> IntegerNetwork:
    """Layers of any stride, padding, dilation and groups; perhaps a fully connected one last."""
    s = _sketch(rng, size)
    x = "image"
    for number in range(layers):
        if number == layers - 1 and rng.random() < 0.5:
            x = s.dense(x, int(rng.integers(1, 10)))
        else:
            x = _conv(s, rng, x)
        if number < layers - 1 or rng.random() < 0.5:
            x = _rounded(s, rng, x)
    return s.done(x)


def random_graph(
    rng: np.random.Generator, *, layers: int, size: int = 6, maximum: bool = False
) -> IntegerNetwork:
    """Layers of all operators, each of which reads tensors made before; perhaps an ArgMax last."""
    s = _sketch(rng, size)
    x = "image"
    tensors = [x]
    kinds = ["conv", "sum_pool", "add", "concat", "clip", *["max_pool"] * maximum]
    for _ in range(layers):
        # most layers follow each other
        x = tensors[-1] if rng.random() < 0.7 else str(rng.choice(tensors))
        shape = s.network.shape(x)
        kernel = tuple(int(rng.integers(1, min(3, room) + 1)) for room in shape[1:])
        strides = tuple(int(k) for k in rng.integers(1, 3, 2))
        pads = tuple(int(rng.integers(0, kernel[k % 2])) for k in range(4))
        others = [
            t
            for t in tensors
            if s.network.shape(t)[1:] == shape[1:] and _signed(s, t) == _signed(s, x)
        ]
        match str(rng.choice(kinds)):
            case "conv":
                x = _rounded(s, rng, _conv(s, rng, x))
            case "sum_pool":
                x = _rounded(s, rng, s.sum_pool(x, kernel, strides, pads))
            case "max_pool":
                signed_pads = (0, 0, 0, 0) if _signed(s, x) else pads
                x = s.max_pool_of(x, kernel, strides, signed_pads)
            case "add":
                same = [t for t in tensors if s.network.shape(t) == shape]
                terms = [x, *rng.choice(same, int(rng.integers(1, 3))).tolist()]
                shifts = tuple(int(k) for k in rng.integers(0, 3, len(terms)))
                x = _rounded(s, rng, s.add(Add(shifts), *terms, shape=shape))
            case "concat":
                parts = [x, *rng.choice(others, int(rng.integers(1, 3))).tolist()]
                shifts = tuple(int(k) for k in rng.integers(0, 2, len(parts)))
                channels = sum(s.network.shape(part)[0] for part in parts)
                x = s.add(Concat(shifts), *parts, shape=(channels, *shape[1:]))
            case "clip":
                x = _rounded(s, rng, x)
        tensors.append(x)
    if rng.random() < 0.3:
        x = s.dense(x, 5)
        if rng.random() < 0.5:
            x = s.add(ArgMax(), x, shape=(1, 1, 1))
    return s.done(x)


def _sketch(rng: np.random.Generator, size: int) -> Sketch:
    shape = (int(rng.integers(1, 7)), int(rng.integers(1, size)), int(rng.integers(1, size)))
    return Sketch(shape, signed=bool(rng.integers(0, 2)), seed=int(rng.integers(1 << 30)))


def _conv(s: Sketch, rng: np.random.Generator, x: str) -> str:
    channels, height, width = s.network.shape(x)
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
    return s.conv(x, outputs, kernel, strides, pads, dilations, groups)


def _rounded(s: Sketch, rng: np.random.Generator, x: str) -> str:
    signed = bool(rng.integers(0, 2))
    return s.requantise(x, lo=-128 if signed else 0, hi=127 if signed else 255)


def _signed(s: Sketch, tensor: str) -> bool:
    return any(r.lo < 0 for r in s.network.ranges(tensor))


def suitable_config(
    rng: np.random.Generator, *, tiles: tuple[int, ...] = (1, 2, 4), exponents: int = 4
) -> NfuConfig:
    """Parameters wide enough for these networks, with buffers that need tiling."""
    tn = int(rng.choice(tiles))
    return NfuConfig(
        tn=tn,
        nfu3_lanes=int(rng.choice([n for n in (1, 2, 4, 8, 16) if n <= tn])),
        ti=int(rng.choice(tiles)),
        lane=DyadicLane(int(rng.integers(1, 3)), exponents),
        sb_depth=int(rng.choice([128, 512])),
        nbin_depth=int(rng.choice([128, 1024])),
        nbout_depth=int(rng.choice([8, 64])),
        table_depth=int(rng.choice([32, 256])),
        product_width=48,
        scale_exponents=32,
    )
