"""From the approximated network to the integer network.

Each linear operator (convolution, average pool, addition) gives an exact integer tensor; the chain
of clipping functions behind it, if any, is fused into the one requantisation that follows it.

What rounding constants costs, beside the rounding of the tensor itself, at most:

* A bias is rounded to the unit of the layer's sum, which is at most a quarter of a step of the
  output: an eighth of a step.
* A filter's scale is the one that its codes were fitted with, and is exact.
* A layer of which only a sign is used, as in binary networks, compares its exact sum with an
  integer and rounds nothing (:mod:`hwgen.integer.steps`).
* The gain of a clip or a pool, if it has one, has three signed powers of two: one part in 43 of the
  output; powers of two and sums of three of them are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np

from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.errors import UnsupportedError
from hwgen.integer import types as integer
from hwgen.integer.calibrate import Calibration, best_format
from hwgen.integer.ranges import output_ranges
from hwgen.integer.steps import step_of, threshold
from hwgen.integer.types import IntegerNetwork, IntNode, IntOp
from hwgen.integer.verify import verify
from hwgen.network import types as real
from hwgen.network.shapes import average_divisors
from hwgen.network.types import FloatArray, Network, Node
from hwgen.numeric import Dyadic, FixedFormat, IntArray, Range

__all__ = ["quantise"]

_INPUT_GUARD_BITS = 2
_BIAS_GUARD_BITS = 2
_GAIN_TERMS = 3


def quantise(
    approx: ApproxNetwork,
    calibration: Calibration,
    *,
    activation_bits: int = 8,
    output_bits: int = 16,
) -> IntegerNetwork:
    """Give every tensor a fixed-point format and every operator its exact integer form.

    Parameters
    ----------
    approx
        Network whose constants are dyadic.
    calibration
        Samples of every tensor of ``approx.to_network()``.
    activation_bits
        Bits of the input and of every tensor between layers, 2 to 16. The argument of a
        piecewise-linear activation has two more.
    output_bits
        Bits of the network's output if a linear operator computes it.

    Raises
    ------
    ValueError
        If a number of bits is out of range.
    UnsupportedError
        If an operator has no integer form.
    """
    if not 2 <= activation_bits <= 16:
        raise ValueError(f"Activation bits must be between 2 and 16, not {activation_bits!r}")
    if not 2 <= output_bits <= 32:
        raise ValueError(f"Output bits must be between 2 and 32, not {output_bits!r}")
    builder = _Builder(approx, calibration, activation_bits, output_bits)
    return verify(builder.build())


@dataclass(frozen=True)
class _Clip:
    """``clip(gain * x, lo, hi)`` in real numbers; ``format`` if the model prescribes one."""

    lo: float = -math.inf
    hi: float = math.inf
    gain: float = 1.0
    format: FixedFormat | None = None

    def then(self, after: _Clip) -> _Clip:
        """``after`` applied to the result."""

        def through(x: float) -> float:
            return min(max(x * after.gain, after.lo), after.hi)

        return _Clip(
            through(self.lo), through(self.hi), self.gain * after.gain, after.format or self.format
        )


_IDENTITY = _Clip()


@dataclass
class _Builder:
    approx: ApproxNetwork
    calibration: Calibration
    activation_bits: int
    output_bits: int
    nodes: list[IntNode] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # float tensor -> integer tensor
    fused: set[str] = field(default_factory=set)

    @property
    def network(self) -> Network:
        return self.approx.network

    def build(self) -> IntegerNetwork:
        network = self.network
        input_format = self._input_format()
        self.result = IntegerNetwork(
            network.name, network.input_name, network.input_shape, input_format, (), ""
        )
        self.names[network.input_name] = network.input_name
        for node in network.nodes:
            if node.name not in self.fused:
                self._lower(node)
        output = self.names[network.output]
        return replace(self.result, nodes=tuple(self.nodes), output=output)

    def _input_format(self) -> FixedFormat:
        samples = self.calibration.samples[self.network.input_name]
        return best_format(samples, width=self.activation_bits)

    # -- one float node ------------------------------------------------------------------------

    def _lower(self, node: Node) -> None:
        match node.op:
            case real.Conv():
                self._lower_conv(node, node.op)
            case real.AveragePool():
                self._lower_average_pool(node, node.op)
            case real.Add():
                self._lower_add(node)
            case real.Concat():
                self._lower_concat(node)
            case real.MaxPool() as op:
                pool = integer.MaxPool(op.kernel, op.strides, op.pads, op.dilations)
                self._emit(node.name, pool, node, scale=self._scale(node.inputs[0]))
            case real.Activation() | real.PiecewiseLinear() | real.Quantise():
                self._lower_pointwise(node)
            case real.ArgMax():
                self._emit(node.name, integer.ArgMax(), node, scale=(1.0,))
            case real.Softmax():
                # monotone in every logit, so the decision is the same without it
                self.names[node.name] = self.names[node.inputs[0]]
            case _:
                assert_never(node.op)

    def _lower_conv(self, node: Node, op: real.Conv) -> None:
        filters = dict(self.approx.filters)[node.name]
        if self._lower_step(node, op, filters):
            return
        step = self._step(node.inputs[0])
        tensors, clip = self._fuse([node])
        target = self._target_format(tensors[-1].name, clip)
        weight, unit = _integer_filters(filters, step, target.step / clip.gain)
        bias = np.floor(filters.bias / unit + 0.5).astype(np.int64)
        conv = integer.Conv(weight, bias, op.strides, op.pads, op.dilations, op.groups)
        exact = self._emit(f"{node.name}.sum", conv, node, scale=tuple(unit.tolist()))
        self._requantise(exact, tensors, clip, target, [Dyadic.exact(float(u)) for u in unit])

    def _lower_step(self, node: Node, op: real.Conv, filters: DyadicFilters) -> bool:
        """Lower a layer with the step that alone reads it, if one does."""
        consumers = self.network.consumers(node.name)
        if len(consumers) != 1 or node.name == self.network.output:
            return False
        after = consumers[0]
        step = step_of(after.op)
        if step is None:
            return False
        source = node.inputs[0]
        reach = max(abs(end) for r in self._ranges(source) for end in (r.lo, r.hi))
        weight, bias = threshold(filters, step, self._step(source), reach)
        conv = integer.Conv(weight, bias, op.strides, op.pads, op.dilations, op.groups)
        # what the sum is in real numbers no longer matters, only its sign does
        channels = node.shape[0]
        exact = self._emit(f"{node.name}.sum", conv, node, scale=(1.0,) * channels)
        ones, zeros = (np.full((channels, 1, 1), k, dtype=np.int64) for k in (1, 0))
        clip = integer.Requantise(ones, zeros, step.levels[0], step.levels[-1])
        self._emit(after.name, clip, after, scale=(step.scale,) * channels, inputs=(exact,))
        self.names[node.name] = after.name
        self.fused.add(after.name)
        return True

    def _lower_average_pool(self, node: Node, op: real.AveragePool) -> None:
        source = node.inputs[0]
        step = self._step(source)
        top, left, bottom, right = op.pads
        pads = (top, left, bottom + op.ceil_pads[0], right + op.ceil_pads[1])
        pool = integer.SumPool(op.kernel, op.strides, pads)
        scale = (step,) * node.shape[0]
        exact = self._emit(f"{node.name}.sum", pool, node, scale=scale)
        coefficients = dict(dict(self.approx.pool_coefficients)[node.name])
        divisors = average_divisors(op, self.network.shape(source))
        tensors, clip = self._fuse([node])
        target = self._target_format(tensors[-1].name, clip)
        gain = Dyadic.nearest(op.gain, terms=_GAIN_TERMS)
        units: list[Dyadic] | list[list[Dyadic]]
        if len(np.unique(divisors)) == 1:
            coefficient = coefficients[int(divisors[0, 0])]
            units = [coefficient * gain * Dyadic.exact(step)] * node.shape[0]
        else:
            units = [
                [coefficients[int(d)] * gain * Dyadic.exact(step) for d in row] for row in divisors
            ]
        self._requantise(exact, tensors, clip, target, units)

    def _lower_add(self, node: Node) -> None:
        steps = [self._step(name) for name in node.inputs]
        shifts = tuple(int(math.log2(step / min(steps))) for step in steps)
        exact = self._emit(
            f"{node.name}.sum", integer.Add(shifts), node, scale=(min(steps),) * node.shape[0]
        )
        tensors, clip = self._fuse([node])
        target = self._target_format(tensors[-1].name, clip)
        self._requantise(exact, tensors, clip, target, [Dyadic.exact(min(steps))] * node.shape[0])

    def _lower_concat(self, node: Node) -> None:
        steps = [self._step(name) for name in node.inputs]
        shifts = tuple(int(math.log2(step / min(steps))) for step in steps)
        scale = (min(steps),) * node.shape[0]
        self._emit(node.name, integer.Concat(shifts), node, scale=scale)

    def _lower_pointwise(self, node: Node) -> None:
        approximated = dict(self.approx.activations).get(node.name)
        if approximated is None and isinstance(node.op, real.PiecewiseLinear):
            approximated = node.op
        if approximated is not None:
            source_step = self._step(node.inputs[0])
            target = self.calibration.format(node.name, width=self.activation_bits)
            op = _integer_piecewise(approximated, source_step, target)
            self._emit(node.name, op, node, scale=(target.step,) * node.shape[0])
            return
        # a clipping function that stands alone, such as ReLU behind a max pool
        clip = _clip_of(node)
        if clip is None:
            raise UnsupportedError(f"Node {node.name!r} ({type(node.op).__name__}) is not dyadic")
        source = node.inputs[0]
        tensors, clip = self._fuse([node], clip)
        target = self._target_format(tensors[-1].name, clip)
        units = [Dyadic.exact(self._step(source))] * node.shape[0]
        self._requantise(self.names[source], tensors, clip, target, units)

    # -- requantisation ------------------------------------------------------------------------

    def _fuse(self, tensors: list[Node], clip: _Clip = _IDENTITY) -> tuple[list[Node], _Clip]:
        """Follow single consumers that only clip, and mark them as done.

        Returns the nodes whose tensors coincide, the last of which names the result, and the
        clipping functions of all in one.
        """
        last = tensors[-1]
        consumers = self.network.consumers(last.name)
        if last.name == self.network.output or len(consumers) != 1:
            return tensors, clip
        after = _clip_of(consumers[0])
        if after is None or consumers[0].name in dict(self.approx.activations):
            return tensors, clip
        self.fused.add(consumers[0].name)
        return self._fuse([*tensors, consumers[0]], clip.then(after))

    def _target_format(self, name: str, clip: _Clip) -> FixedFormat:
        """Format of the tensor ``name``, which ``clip`` bounds."""
        if clip.format is not None:
            return clip.format
        width = self.activation_bits
        consumers = self.network.consumers(name)
        if any(_is_piecewise(self.approx, c) for c in consumers):
            width += _INPUT_GUARD_BITS
        if self._reaches_output(name):
            width = self.output_bits
        signed = None if clip.lo < 0 else False
        return self.calibration.format(name, width=width, signed=signed)

    def _reaches_output(self, name: str) -> bool:
        """Whether the tensor is the output, or only Softmax or ArgMax stand between."""
        if name == self.network.output:
            return True
        consumers = self.network.consumers(name)
        return bool(consumers) and all(
            isinstance(c.op, real.Softmax | real.ArgMax) for c in consumers
        )

    def _requantise(
        self,
        exact: str,
        tensors: list[Node],
        clip: _Clip,
        target: FixedFormat,
        units: Sequence[Dyadic] | Sequence[Sequence[Dyadic]],
    ) -> None:
        """Bring ``exact``, with real units a channel (or a row and column), to ``target``."""
        gain = Dyadic.nearest(clip.gain, terms=_GAIN_TERMS)
        pairs = np.array(
            [
                [_multiplier_shift(unit * gain, target.frac) for unit in row]
                if isinstance(row, Sequence)
                else _multiplier_shift(row * gain, target.frac)
                for row in units
            ],
            dtype=np.int64,
        )
        shape = (-1, 1, 1) if pairs.ndim == 2 else (1, *pairs.shape[:2])
        lo = max(target.range.lo, _grid(clip.lo, target))
        hi = min(target.range.hi, _grid(clip.hi, target))
        multiplier, shift = (pairs[..., k].reshape(shape) for k in (0, 1))
        last = tensors[-1]
        op = integer.Requantise(multiplier, shift, lo, hi)
        scale = (target.step,) * last.shape[0]
        self._emit(last.name, op, last, scale=scale, inputs=(exact,))
        for node in tensors:
            self.names[node.name] = last.name

    # -- bookkeeping ---------------------------------------------------------------------------

    def _scale(self, tensor: str) -> tuple[float, ...]:
        name = self.names[tensor]
        if name == self.network.input_name:
            return self.result.scale(name)
        return next(node.scale for node in reversed(self.nodes) if node.name == name)

    def _ranges(self, tensor: str) -> tuple[Range, ...]:
        return replace(self.result, nodes=tuple(self.nodes)).ranges(self.names[tensor])

    def _step(self, tensor: str) -> float:
        """The unit that all channels of a tensor between layers share."""
        return self._scale(tensor)[0]

    def _emit(
        self,
        name: str,
        op: IntOp,
        node: Node,
        *,
        scale: tuple[float, ...],
        inputs: tuple[str, ...] | None = None,
    ) -> str:
        sources = inputs or tuple(self.names[i] for i in node.inputs)
        so_far = replace(self.result, nodes=tuple(self.nodes))
        ranges = output_ranges(
            op, [so_far.ranges(s) for s in sources], so_far.shape(sources[0]), node.shape
        )
        self.nodes.append(IntNode(name, op, sources, node.shape, ranges, scale, node.name))
        self.names[node.name] = name
        return name


def _clip_of(node: Node) -> _Clip | None:
    """What the node clips, or None if it does something else."""
    match node.op:
        case real.Activation(kind="relu") as op if op.pre > 0 and op.post > 0:
            return _Clip(0.0, math.inf, gain=op.pre * op.post)
        case real.Activation(kind="clip") as op if op.pre > 0 and op.post > 0:
            if any(p.size > 1 for p in op.parameters):
                return None
            lo, hi = (op.post * float(p.item()) for p in op.parameters)
            return _Clip(lo, hi, gain=op.pre * op.post)
        case real.Quantise() as op:
            lo, hi = (op.lo - op.zero_point) * op.scale, (op.hi - op.zero_point) * op.scale
            return _Clip(lo, hi, format=_dyadic_format(op))
        case _:
            return None


def _dyadic_format(op: real.Quantise) -> FixedFormat | None:
    """The fixed-point format that a quantiser already has, if its scale is a power of two."""
    mantissa, exponent = math.frexp(op.scale)
    if mantissa != 0.5 or op.zero_point != 0:
        return None
    width = max(op.hi.bit_length(), (-op.lo - 1).bit_length() if op.lo < 0 else 0) + (op.lo < 0)
    return FixedFormat(max(width, 1 + (op.lo < 0)), 1 - exponent, op.lo < 0)


def _is_piecewise(approx: ApproxNetwork, node: Node) -> bool:
    return node.name in dict(approx.activations) or isinstance(node.op, real.PiecewiseLinear)


def _integer_filters(
    filters: DyadicFilters, step: float, target_step: float
) -> tuple[IntArray, FloatArray]:
    """Integer weights of a layer and the real value of one unit of each filter's sum.

    The weights are shifted left, which costs wires only, until one unit of the sum is at most a
    quarter of a step of the output, so that rounding the bias to it changes at most an eighth.
    """
    scale = np.array([float(s) for s in filters.scale])
    empty = ~filters.codes.reshape(len(scale), -1).any(axis=1)
    unit = scale * math.ldexp(step, -filters.frac)
    finest = math.ldexp(target_step, -_BIAS_GUARD_BITS)
    unit = np.where(empty | (unit == 0), math.ldexp(1.0, math.frexp(finest)[1] - 1), unit)
    guard = np.maximum(np.frexp(np.abs(unit) / finest)[1], 0)
    guard[empty] = 0
    weight = filters.codes << guard.reshape(-1, 1, 1, 1).astype(np.int64)
    return weight, np.ldexp(unit, -guard)


def _integer_piecewise(
    op: real.PiecewiseLinear, source_step: float, target: FixedFormat
) -> integer.PiecewiseLinear:
    """Integer form of a piecewise-linear function with dyadic slopes, between two formats."""
    gain = source_step / target.step
    slopes = [[Dyadic.exact(float(s) * gain) for s in row] for row in op.slopes]
    shift = max(0, *(-s.exponent for row in slopes for s in row))
    offsets = np.floor(np.ldexp(op.offsets / target.step, shift) + 0.5)
    return integer.PiecewiseLinear(
        breakpoints=np.ceil(op.breakpoints / source_step).astype(np.int64),
        slopes=np.array(
            [[s.mantissa << (s.exponent + shift) for s in row] for row in slopes], dtype=np.int64
        ),
        offsets=offsets.astype(np.int64),
        shift=shift,
        lo=target.range.lo,
        hi=target.range.hi,
    )


def _grid(x: float, target: FixedFormat) -> int:
    if math.isinf(x):
        return target.range.hi if x > 0 else target.range.lo
    return math.floor(math.ldexp(x, target.frac) + 0.5)


def _multiplier_shift(unit: Dyadic, frac: int) -> tuple[int, int]:
    """``(m, s)`` with ``m / 2**s == unit * 2**frac``."""
    exponent = unit.exponent + frac
    if exponent >= 0:
        return unit.mantissa << exponent, 0
    return unit.mantissa, -exponent
