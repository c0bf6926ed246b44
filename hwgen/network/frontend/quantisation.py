"""Quantisers: QuantizeLinear with DequantizeLinear, and QONNX Quant and BipolarQuant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hwgen.network.frontend.layout import Codes, View
from hwgen.network.frontend.lowering import Handler, Lowering, Result, broadcasts
from hwgen.network.frontend.read import Array, OnnxNode
from hwgen.network.steps import step
from hwgen.network.types import FloatArray, Quantise

__all__ = ["HANDLERS", "QONNX_DOMAINS", "QONNX_HANDLERS"]

QONNX_DOMAINS = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})
"""Domains that tools have written QONNX nodes in."""

_LARGEST_WIDTH = 32

_ROUNDINGS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.trunc,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


def _one(node: OnnxNode, what: str, values: FloatArray | None, default: float) -> float:
    """The one number that all of ``values`` equal."""
    if values is None:
        return default
    if values.size == 0 or (values != values.flat[0]).any():
        raise node.unsupported(f"hwgen quantises activations with one {what} a tensor")
    return float(values.flat[0])


def _scale_and_zero(low: Lowering, node: OnnxNode) -> tuple[float, float]:
    scale = _one(node, "scale", low.required(node, 1), 1.0)
    zero = _one(node, "zero point", low.numbers(node, 2), 0.0)
    if scale <= 0:
        raise node.wrong(f"its scale must be positive, not {scale}")
    return scale, zero


def _quantize_linear(low: Lowering, node: OnnxNode) -> Result:
    """Codes ``saturate(round(x / scale) + zero_point)``; only DequantizeLinear can use them.

    The zero point is a whole number, so it moves into the bounds, and ties round as ONNX says.
    """
    view = low.view(node)
    scale, zero = _scale_and_zero(low, node)
    kind = low.constant(node, 2)
    dtype = np.dtype(np.uint8) if kind is None else kind.dtype
    if dtype.kind not in "iu" or (kind is None and node.integer("output_dtype", 2) != 2):
        raise node.unsupported(f"hwgen quantises to integers, not to {dtype}")
    half = 1 << (8 * dtype.itemsize - 1)
    lo, hi = (-half, half - 1) if dtype.kind == "i" else (0, 2 * half - 1)
    made = low.pointwise(node, view, Quantise(scale, 0.0, lo - int(zero), hi - int(zero)))
    return replace(made, codes=Codes(scale, zero))


def _dequantize_linear(low: Lowering, node: OnnxNode) -> Result:
    view = low.view(node, codes=True)
    scale, zero = _scale_and_zero(low, node)
    codes = view.codes or Codes(1.0, 0.0)
    plain = replace(view, codes=None)
    if (scale, zero) == (codes.scale, codes.zero_point):
        return plain
    gain, offset = np.array(scale / codes.scale), np.array((codes.zero_point - zero) * scale)
    return low.scaled(node, plain, gain, offset)


def _bounds(low: Lowering, node: OnnxNode) -> tuple[int, int]:
    width = _one(node, "bit width", low.required(node, 3), 8.0)
    if width != int(width) or not 1 <= width <= _LARGEST_WIDTH:
        raise node.unsupported(f"its bit width must be 1 to {_LARGEST_WIDTH}, not {width}")
    narrow = node.integer("narrow", 0)
    if node.integer("signed", 1):
        return -(1 << (int(width) - 1)) + narrow, (1 << (int(width) - 1)) - 1
    return 0, (1 << int(width)) - 1 - narrow


def _quant(low: Lowering, node: OnnxNode) -> Result:
    """QONNX Quant: weights are folded, activations become :class:`Quantise`."""
    value = low.value(node, 0)
    mode = node.text("rounding_mode", "ROUND").upper()
    if mode not in _ROUNDINGS:
        raise node.unsupported(f"hwgen has no rounding mode {mode!r}")
    lo, hi = _bounds(low, node)
    if not isinstance(value, View):
        return _quantised_constant(low, node, mode, lo, hi)
    if mode not in {"ROUND", "HALF_EVEN"}:
        raise node.unsupported("hwgen rounds quantised activations to the nearest integer")
    scale, zero = _scale_and_zero(low, node)
    return low.pointwise(node, low.view(node), Quantise(scale, zero, lo, hi))


def _quantised_constant(low: Lowering, node: OnnxNode, mode: str, lo: int, hi: int) -> Array:
    x, scale, zero = low.required(node, 0), low.required(node, 1), low.required(node, 2)
    if scale.size == 0 or scale.min() <= 0:
        raise node.wrong("its scale must be positive")
    if not broadcasts(scale.shape, x.shape) or not broadcasts(zero.shape, x.shape):
        raise node.wrong(f"its scale {scale.shape} or zero point does not fit {x.shape}")
    codes = _ROUNDINGS[mode](np.clip(x / scale + zero, lo, hi))
    result: Array = (codes - zero) * scale
    return result


def _bipolar_quant(low: Lowering, node: OnnxNode) -> Result:
    """QONNX BipolarQuant: ``scale`` times the sign, +1 at zero."""
    if not isinstance(low.value(node, 0), View):
        x, scales = low.required(node, 0), low.required(node, 1)
        if not broadcasts(scales.shape, x.shape):
            raise node.wrong(f"its scale {scales.shape} does not fit {x.shape}")
        signs: Array = np.where(x < 0, -1.0, 1.0) * scales
        return signs
    scale = _one(node, "scale", low.required(node, 1), 1.0)
    if scale <= 0:
        raise node.wrong(f"its scale must be positive, not {scale}")
    signs_view = low.pointwise(node, low.view(node), step([0], [-1, 1]))
    return low.scaled(node, signs_view, np.array(scale), np.zeros(()))


HANDLERS: dict[str, Handler] = {
    "DequantizeLinear": _dequantize_linear,
    "QuantizeLinear": _quantize_linear,
}

QONNX_HANDLERS: dict[str, Handler] = {"BipolarQuant": _bipolar_quant, "Quant": _quant}
