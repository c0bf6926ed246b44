"""Random stages of every form, to calibrate estimates with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hwgen.integer.types import Add, Concat, Conv, PiecewiseLinear, Requantise, SumPool
from hwgen.numeric import IntArray, Range
from hwgen.shiftadd import csd_graph
from hwgen.stream.blocks import Stage
from hwgen.stream.scan import Scan

__all__ = ["random_stages"]

Rng = np.random.Generator
_MORE = {"piecewise": 3}


def random_stages(seed: int, count: int) -> Iterator[Stage]:
    """``count`` stages of each form, the same for the same seed; more of those that vary most."""
    for form, make in MAKERS.items():
        for index in range(count * _MORE.get(form, 1)):
            rng = np.random.default_rng([seed, index, *form.encode()])
            yield make(rng, f"{form}_{index}")


def _range(rng: Rng, lo: int = 4, hi: int = 12) -> Range:
    width = int(rng.integers(lo, hi + 1))
    if rng.random() < 0.5:
        return Range(0, int(rng.integers(1 << (width - 1), 1 << width)))
    most = int(rng.integers(1 << (width - 2), 1 << (width - 1)))
    return Range(-most, most)


def _ranges(rng: Rng, count: int, lo: int = 4, hi: int = 12) -> tuple[Range, ...]:
    if rng.random() < 0.5:
        return (_range(rng, lo, hi),) * count
    return tuple(_range(rng, lo, hi) for _ in range(count))


def _dyadic(rng: Rng, shape: tuple[int, ...], terms: int = 2, span: int = 5) -> IntArray:
    signs = rng.choice([-1, 0, 1], size=(terms, *shape), p=[0.35, 0.3, 0.35])
    found: IntArray = (signs << rng.integers(0, span, size=(terms, *shape))).sum(axis=0)
    return found.astype(np.int64)


def _stage(
    name: str,
    form: str,
    shape: tuple[int, int, int],
    ranges: tuple[tuple[Range, ...], ...],
    **parameters: Any,
) -> Stage:
    parameters = {"output_shape": shape, "output_ranges": ranges[0]} | parameters
    sources = ("",) * len(ranges)
    return Stage(name, form, "t", "layer", sources, shape, ranges, **parameters)


def _window(rng: Rng, name: str) -> Stage:
    channels, height, width = (int(rng.integers(lo, hi)) for lo, hi in ((1, 7), (6, 33), (6, 33)))
    kernel = (int(rng.integers(1, 6)), int(rng.integers(2, 6)))
    padded = rng.random() < 0.5
    pads = (kernel[0] // 2, kernel[1] // 2) * 2 if padded else (0,) * 4
    strides = (1, 1) if rng.random() < 0.7 else (2, 2)
    scan = Scan(height, width, kernel, strides, pads)
    ranges = _ranges(rng, channels)
    fill = tuple(r.lo for r in ranges) if rng.random() < 0.3 else (0,) * channels
    return _stage(name, "window", (channels, height, width), (ranges,), scan=scan, fill=fill)


def _adders(rng: Rng, name: str) -> Stage:
    inputs, outputs = int(rng.integers(3, 20)), int(rng.integers(1, 7))
    matrix = _dyadic(rng, (inputs, outputs))
    ranges = _ranges(rng, inputs)
    bias = tuple(rng.integers(-200, 200, outputs).tolist()) if rng.random() < 0.5 else ()
    graph = csd_graph(matrix, inputs=ranges)
    return _stage(name, "adders", (inputs, 4, 4), (ranges,), graph=graph, bias=bias, depth=1)


def _max(rng: Rng, name: str) -> Stage:
    channels, taps = int(rng.integers(1, 9)), int(rng.choice([2, 4, 4, 9]))
    ranges = tuple(r for r in _ranges(rng, channels) for _ in range(taps))
    fields = tuple(tuple(range(c * taps, (c + 1) * taps)) for c in range(channels))
    return _stage(name, "max", (len(ranges), 4, 4), (ranges,), fields=fields)


def _scaling(rng: Rng, channels: int) -> Requantise:
    count = channels if rng.random() < 0.7 else 1
    multiplier = np.maximum(_dyadic(rng, (count, 1, 1), int(rng.integers(1, 4))), 1)
    shift = rng.integers(3, 10, (count, 1, 1))
    lo, hi = (0, 255) if rng.random() < 0.6 else (-127, 127)
    return Requantise(multiplier, shift, lo, hi)


def _requantise(rng: Rng, name: str) -> Stage:
    channels = int(rng.integers(1, 13))
    ranges = _ranges(rng, channels, 10, 18)
    bias = tuple(rng.integers(-900, 900, channels).tolist()) if rng.random() < 0.7 else ()
    return _stage(
        name, "requantise", (channels, 4, 4), (ranges,), op=_scaling(rng, channels), bias=bias
    )


def _serial_requantise(rng: Rng, name: str) -> Stage:
    channels = int(rng.integers(4, 33))
    values = _ranges(rng, channels, 10, 18)
    one = (Range(min(r.lo for r in values), max(r.hi for r in values)),)
    bias = tuple(rng.integers(-900, 900, channels).tolist())
    op = _scaling(rng, channels)
    return _stage(name, "requantise", (1, channels, 1), (one,), op=op, bias=bias, values=values)


def _piecewise(rng: Rng, name: str) -> Stage:
    """Sigmoid-like functions, continuous and odd but for a constant, or two slopes that meet."""
    channels = int(rng.integers(1, 4))
    ranges = _ranges(rng, channels, 8, 13)
    reach = min(max(-r.lo, r.hi) for r in ranges)
    bends, shift = int(rng.integers(0, 6)), int(rng.integers(3, 7))
    if not bends:
        slopes = np.abs(_dyadic(rng, (channels, 1), 2, 4))
        both = np.column_stack([slopes, np.full(channels, 1 << shift)])
        breaks, offsets = (np.zeros((channels, n), dtype=np.int64) for n in (1, 2))
        op = PiecewiseLinear(breaks, both, offsets, shift, -127, 127)
        return _stage(name, "piecewise", (channels, 4, 4), (ranges,), op=op)
    half = np.sort(rng.choice(reach, bends, replace=False)) + 1
    falling = np.sort(np.abs(_dyadic(rng, (bends + 1,), 2, 6)))[::-1]
    steps = np.concatenate([[0], np.cumsum((falling[:-1] - falling[1:]) * half)])
    constant = int(rng.integers(0, 2)) * int(rng.integers(1, 2000))
    breaks = np.concatenate([-half[::-1], half])[None]
    slopes = np.concatenate([falling[:0:-1], falling])[None]
    offsets = np.concatenate([-steps[:0:-1], steps])[None] + constant
    op = PiecewiseLinear(breaks, slopes, offsets, shift, -128, 127)
    return _stage(name, "piecewise", (channels, 4, 4), (ranges,), op=op)


def _dense(rng: Rng, name: str) -> Stage:
    outputs, channels = int(rng.integers(4, 25)), int(rng.integers(1, 13))
    serial_in = rng.random() < 0.3
    size = 1 if serial_in else int(rng.integers(1, 6))
    channels = max(4, channels) if serial_in else channels
    ranges = _ranges(rng, channels, 5, 10)
    values = ranges if serial_in else ()
    op = Conv(_dyadic(rng, (outputs, channels, size, size)), np.zeros(outputs))
    lanes = int(rng.integers(1, outputs // 3 + 2))
    serial_out = rng.random() < 0.6
    several = channels > 1 and rng.random() < 0.4
    abreast = int(rng.integers(2, min(channels, 5) + 1)) if several else 1
    one = (Range(min(r.lo for r in ranges), max(r.hi for r in ranges)),)
    shape = (1, channels, 1) if serial_in else (channels, size, size)
    scan = Scan(size, size, (size, size))
    return _stage(
        name,
        "dense",
        shape,
        (one if serial_in else ranges,),
        op=op,
        scan=scan,
        lanes=lanes,
        abreast=abreast,
        values=values,
        output_shape=(1, outputs, 1) if serial_out else (outputs, 1, 1),
    )


def _gather(rng: Rng, name: str) -> Stage:
    values = _ranges(rng, int(rng.integers(4, 17)))
    one = (Range(min(r.lo for r in values), max(r.hi for r in values)),)
    return _stage(name, "gather", (1, len(values), 1), (one,), values=values)


def _accumulate(rng: Rng, name: str) -> Stage:
    channels, size = int(rng.integers(1, 9)), int(rng.integers(3, 9))
    op = SumPool((size, size), (size, size))
    return _stage(name, "accumulate", (channels, size, size), (_ranges(rng, channels),), op=op)


def _argmax(rng: Rng, name: str) -> Stage:
    channels = int(rng.integers(2, 13))
    return _stage(name, "argmax", (channels, 1, 1), (_ranges(rng, channels),))


def _add(rng: Rng, name: str) -> Stage:
    channels, count = int(rng.integers(1, 9)), int(rng.integers(2, 4))
    shifts = tuple(rng.integers(0, 3, count).tolist())
    ranges = tuple(_ranges(rng, channels) for _ in range(count))
    return _stage(name, "add", (channels, 4, 4), ranges, op=Add(shifts))


def _concat(rng: Rng, name: str) -> Stage:
    ranges = tuple(_ranges(rng, int(rng.integers(1, 6))) for _ in range(2))
    return _stage(name, "concat", (len(ranges[0]), 4, 4), ranges, op=Concat((0, 1)))


def _fork(rng: Rng, name: str) -> Stage:
    return _stage(name, "fork", (2, 4, 4), (_ranges(rng, 2),), depth=int(rng.integers(2, 4)))


def _buffer(rng: Rng, name: str) -> Stage:
    channels = int(rng.integers(1, 13))
    depth = 2 if rng.random() < 0.5 else int(rng.integers(3, 80))
    return _stage(name, "buffer", (channels, 4, 4), (_ranges(rng, channels),), depth=depth)


MAKERS: Mapping[str, Callable[[Rng, str], Stage]] = {
    "window": _window,
    "adders": _adders,
    "max": _max,
    "requantise": _requantise,
    "serial_requantise": _serial_requantise,
    "piecewise": _piecewise,
    "dense": _dense,
    "gather": _gather,
    "accumulate": _accumulate,
    "argmax": _argmax,
    "add": _add,
    "concat": _concat,
    "fork": _fork,
    "buffer": _buffer,
}
"""A maker for each form of stage."""
