"""Recognise activations that a model spells out as a product, such as ``x * sigmoid(x)``.

A product of two tensors that depend on the image needs a multiplier, but exporters write SiLU, GELU
and the like as products of a tensor with a function of itself. Whatever a model's operators are,
what they compute from one number is sampled and compared with the known functions, so that every
way of writing one is recognised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf

from hwgen.network.execute import apply
from hwgen.network.frontend.read import OnnxModel, OnnxNode
from hwgen.network.types import Activation, FloatArray

__all__ = ["Gates", "find_gates"]

_KINDS = ("silu", "gelu", "gelu_tanh", "hard_swish", "mish")
_FAR = 1e3
_TOLERANCE = 1e-5
_PLACES = np.exp2(np.linspace(-10, 10, 401))
_HALF_OPEN = 0.8
"""Part of the slope at infinity where the functions are told apart best."""


@dataclass(frozen=True)
class Gates:
    """What was recognised.

    ``functions`` gives for the output tensor of a product the tensor that it is a function of and
    the function; ``spent`` are the outputs of nodes that nothing else reads.
    """

    functions: dict[str, tuple[str, Activation]]
    spent: frozenset[str]


def find_gates(model: OnnxModel) -> Gates:
    """The products in ``model`` that are an activation of one tensor."""
    writers = {name: node for node in model.nodes for name in node.outputs if name}
    functions: dict[str, tuple[str, Activation]] = {}
    inside: set[str] = set()
    for node in model.nodes:
        if node.kind != "Mul" or node.domain or len(node.inputs) != 2:
            continue
        reached = [_reached(name, writers, model) for name in node.inputs]
        if not all(reached):
            continue
        for root in (name for name in reached[0] if name in reached[1]):
            region = _Region(root, writers, model)
            op = _recognised(partial(region.value, node.outputs[0]))
            if op is not None:
                functions[node.outputs[0]] = (root, op)
                inside |= region.seen
                break
    return Gates(functions, frozenset(inside - _needed(model, functions) - functions.keys()))


def _needed(model: OnnxModel, functions: dict[str, tuple[str, Activation]]) -> set[str]:
    """Tensors that the output still depends on."""
    needed = {model.output_name}
    for node in reversed(model.nodes):
        if needed.isdisjoint(node.outputs):
            continue
        function = functions.get(node.outputs[0])
        needed.update([function[0]] if function is not None else node.inputs)
    return needed


def _number(name: str, writers: dict[str, OnnxNode], model: OnnxModel) -> float | None:
    """The constant ``name`` if it is one number."""
    value: object = model.constants.get(name)
    writer = writers.get(name)
    if writer is not None and writer.kind == "Constant":
        value = writer.attributes.get("value", writer.attributes.get("value_float"))
    array = np.asarray(value) if value is not None else np.zeros(0)
    return float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind in "iuf" else None


def _reached(name: str, writers: dict[str, OnnxNode], model: OnnxModel) -> dict[str, None]:
    """Tensors that ``name`` may be a function of, itself first; none if it is constant."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop(0)
        if each in found or not each or _number(each, writers, model) is not None:
            continue
        if each in model.constants:
            continue
        found[each] = None
        writer = writers.get(each)
        if writer is not None and not writer.domain and writer.kind in _FUNCTIONS:
            waiting.extend(writer.inputs)
    return found


@dataclass(eq=False)
class _Region:
    """The operators between the tensor ``root`` and what is computed from it alone."""

    root: str
    writers: dict[str, OnnxNode]
    model: OnnxModel

    def __post_init__(self) -> None:
        self.seen: set[str] = set()

    def value(self, name: str, x: FloatArray) -> FloatArray | None:
        """The tensor ``name`` where the root is ``x``; None if it depends on anything else."""
        known: dict[str, FloatArray | None] = {self.root: x}
        waiting = [name]
        while waiting:
            each = waiting[-1]
            number = _number(each, self.writers, self.model) if each not in known else None
            writer = self.writers.get(each)
            if each in known:
                waiting.pop()
            elif number is not None:
                known[each] = np.full_like(x, number)
            elif writer is None or writer.domain or writer.kind not in _FUNCTIONS:
                return None
            elif missing := [i for i in writer.inputs if i and i not in known]:
                waiting.extend(missing)
            else:
                inputs = [known[i] if i else None for i in writer.inputs]
                try:
                    with np.errstate(all="ignore"):
                        known[each] = np.asarray(_FUNCTIONS[writer.kind](writer, inputs))
                except (TypeError, ValueError, IndexError):
                    return None
                self.seen.add(each)
        return known[name]


def _recognised(function: Callable[[FloatArray], FloatArray | None]) -> Activation | None:
    """The known activation that ``function`` is, with its factors; None if it is none."""
    far = function(np.array([_FAR]))
    places = function(_PLACES)
    if far is None or places is None or far.shape != (1,) or places.shape != _PLACES.shape:
        return None
    slope = float(far[0]) / _FAR
    if not math.isfinite(slope) or slope == 0 or not np.isfinite(places).all():
        return None
    opened = places / (slope * _PLACES)
    place = int(np.argmin(np.abs(opened - _HALF_OPEN)))
    for kind in _KINDS:
        pre = _argument(kind, float(opened[place])) / float(_PLACES[place])
        pre = 1.0 if abs(pre - 1) < _TOLERANCE else pre
        op = Activation(kind, (), pre, slope / pre)
        x = np.linspace(-20 / pre, 20 / pre, 801)
        expected, found = _values(op, x), function(x)
        if found is not None and np.abs(found - expected).max() <= _TOLERANCE * abs(slope / pre):
            return op
    return None


def _values(op: Activation, x: FloatArray) -> FloatArray:
    return np.asarray(apply(op, [x.reshape(1, 1, 1, -1)])).ravel()


def _argument(kind: str, opened: float) -> float:
    """The z > 0 with ``kind(z) == opened * z``."""

    def excess(z: float) -> float:
        return float(_values(Activation(kind), np.array([z]))[0]) / z - opened

    lo, hi = 1e-6, 40.0
    if excess(lo) >= 0 or excess(hi) <= 0:
        return 1.0
    return float(brentq(excess, lo, hi, xtol=1e-13))


_Inputs = list[FloatArray | None]


def _clip(node: OnnxNode, inputs: _Inputs) -> FloatArray:
    lo, hi = (
        node.attributes.get(name, inputs[k] if len(inputs) > k else None)
        for k, name in ((1, "min"), (2, "max"))
    )
    return np.asarray(np.clip(_given(inputs)[0], lo, hi))  # type: ignore[call-overload]


def _given(inputs: Iterable[FloatArray | None]) -> list[FloatArray]:
    return [x for x in inputs if x is not None]


def _unary(function: Callable[[FloatArray], FloatArray]) -> Callable[[OnnxNode, _Inputs], object]:
    return lambda node, inputs: function(*_given(inputs))


def _activation(kind: str) -> Callable[[OnnxNode, _Inputs], object]:
    return lambda node, inputs: _values(Activation(kind), *_given(inputs))


def _hard_sigmoid(node: OnnxNode, inputs: _Inputs) -> FloatArray:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return np.asarray(np.clip(_given(inputs)[0] * alpha + beta, 0, 1))


_FUNCTIONS: dict[str, Callable[[OnnxNode, _Inputs], object]] = {
    "Add": lambda node, inputs: np.add(*_given(inputs)),
    "Clip": _clip,
    "Div": lambda node, inputs: np.divide(*_given(inputs)),
    "Erf": _unary(erf),
    "Exp": _unary(np.exp),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _unary(lambda x: x),
    "Log": _unary(np.log),
    "Mul": lambda node, inputs: np.multiply(*_given(inputs)),
    "Neg": _unary(np.negative),
    "Pow": lambda node, inputs: np.power(*_given(inputs)),
    "Reciprocal": _unary(np.reciprocal),
    "Relu": _unary(lambda x: np.maximum(x, 0)),
    "Sigmoid": _activation("sigmoid"),
    "Softplus": _activation("softplus"),
    "Sqrt": _unary(np.sqrt),
    "Sub": lambda node, inputs: np.subtract(*_given(inputs)),
    "Tanh": _unary(np.tanh),
}
"""Operators that work element by element, as functions of their inputs."""
