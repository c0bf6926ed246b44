"""One row a layer: what it is, how it was approximated, and what it costs in hardware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.integer.types import IntegerNetwork, Requantise
from hwgen.network import types as real
from hwgen.network.execute import run_all as run_float
from hwgen.network.types import FloatArray, Node, Shape
from hwgen.numeric import csd_weight
from hwgen.sim import golden
from hwgen.stream.blocks import Stage
from hwgen.stream.plan import PipelinePlan

__all__ = ["Layer", "layer_table", "output_errors"]


@dataclass(frozen=True)
class Layer:
    """One layer: an operator of the float network and those that hardware merges into it.

    ``name`` is that of the first operator, ``parts`` names all: a ReLU behind a convolution is
    only the bounds of its saturation, and a final Softmax, which changes no decision, is left out.
    ``reads`` are the layers that it reads, by name, or the network's input.

    ``weights`` counts those of the layer, zeros included; ``terms`` the signed powers of two in
    all their codes, ``terms_a_weight`` that over ``weights``; ``scale_lo`` and ``scale_hi`` bound
    the scales of the filters. ``weight_error`` is the root-mean-square error of the weights
    relative to their root mean square; ``output_error`` the same of the integer layer's output
    against the float one's, the errors of all layers before it included.

    ``form`` says how the weights become hardware: ``adders`` (an adder graph of ``adders`` adders,
    ``depth`` on the longest path, of ``digit`` bits each if words pass a digit a cycle), ``memory``
    (codes in memory, read by ``lanes`` accumulators that take ``abreast`` channels a cycle), or
    nothing. ``luts`` counts those of the netlist, for all that the layer is made of. ``bits`` are
    those of the widest output channel, ``stream_bits`` those of all channels, ``lo`` and ``hi``
    bound the output integers. ``buffers`` are the items that the branches of a sum or a
    concatenation are held in, one for each of ``reads``. ``cycles`` is how long an image keeps the
    layer busy.
    """

    name: str
    parts: tuple[str, ...]
    kind: str
    reads: tuple[str, ...]
    shape: Shape
    weights: int = 0
    dyadic_set: str | None = None
    scale_lo: float | None = None
    scale_hi: float | None = None
    terms: int | None = None
    terms_a_weight: float | None = None
    weight_error: float | None = None
    output_error: float | None = None
    form: str = ""
    adders: int | None = None
    depth: int | None = None
    digit: int | None = None
    lanes: int | None = None
    abreast: int | None = None
    luts: int | None = None
    buffers: tuple[int, ...] = ()
    stream_bits: int | None = None
    bits: int | None = None
    lo: int | None = None
    hi: int | None = None
    cycles: int | None = None


def layer_table(
    approx: ApproxNetwork,
    integer: IntegerNetwork,
    plan: PipelinePlan | None = None,
    errors: Mapping[str, float] | None = None,
    luts: Mapping[str, int] | None = None,
) -> tuple[Layer, ...]:
    """A row for every layer, in order.

    Parameters
    ----------
    approx, integer
        The network with dyadic constants, and in integers.
    plan
        Its pipeline, once there is one.
    errors
        What :func:`output_errors` gave.
    luts
        LUTs of each stage of the plan, by name, once there is a netlist; 0 if missing.
    """
    filters = dict(approx.filters)
    errors = errors or {}
    groups = _groups(approx.network, integer)
    owner = {part.name: parts[0].name for parts in groups for part in parts}
    rows = []
    for parts in groups:
        first, names = parts[0], {part.name for part in parts}
        row = Layer(
            name=first.name,
            parts=tuple(part.name for part in parts),
            kind=", ".join(_kind(approx.network, part) for part in parts),
            reads=tuple(owner.get(name, name) for name in first.inputs),
            shape=parts[-1].shape,
            output_error=next((errors[p.name] for p in reversed(parts) if p.name in errors), None),
        )
        if first.name in filters:
            row = _with_weights(row, first, filters[first.name])
        row = _with_ranges(row, names, integer)
        if plan is not None:
            stages = [stage for stage in plan.stages if stage.layer in names]
            row = replace(_with_hardware(row, stages), buffers=_buffers(plan, stages))
            if luts is not None:
                row = replace(row, luts=sum(luts.get(stage.name, 0) for stage in stages))
        rows.append(row)
    return tuple(rows)


def output_errors(
    network: real.Network, integer: IntegerNetwork, images: FloatArray
) -> dict[str, float]:
    """Error of every tensor that the float and the integer network share, on float ``images``.

    Root mean square of the difference, relative to that of the float tensor (N, C, H, W).
    """
    exact = run_float(network, images)
    computed = golden.run_all(integer, integer.input_format.quantise(images))
    errors = {}
    for node in integer.nodes:
        if node.name in exact:
            reference = exact[node.name]
            scale = np.array(node.scale).reshape(-1, 1, 1)
            norm = float(np.linalg.norm(reference))
            difference = float(np.linalg.norm(computed[node.name] * scale - reference))
            errors[node.name] = difference / norm if norm else 0.0
    return errors


def _groups(network: real.Network, integer: IntegerNetwork) -> tuple[tuple[Node, ...], ...]:
    """The nodes of the float network, each with those that the integer network merges into it."""
    names = {node.name for node in network.nodes} | {network.input_name}
    own = {node.origin: node for node in integer.nodes}
    groups: dict[str, list[Node]] = {}
    owner: dict[str, str] = {}
    for node in network.nodes:
        last = own.get(node.name)
        merged = last is None or (
            isinstance(last.op, Requantise)
            and last.inputs[0] not in names
            and integer.node(last.inputs[0]).origin != node.name
        )
        before = owner.get(node.inputs[0]) if merged else None
        owner[node.name] = before or node.name
        groups.setdefault(owner[node.name], []).append(node)
    return tuple(tuple(parts) for parts in groups.values())


def _with_weights(row: Layer, node: Node, filters: DyadicFilters) -> Layer:
    assert isinstance(node.op, real.Conv)
    codes = filters.codes.ravel().tolist()
    terms = sum(map(csd_weight, codes))
    scales = [float(scale) for scale in filters.scale]
    norm = float(np.linalg.norm(node.op.weight))
    error = float(np.linalg.norm(filters.weight - node.op.weight))
    return replace(
        row,
        weights=len(codes),
        dyadic_set=filters.recipe,
        scale_lo=min(scales),
        scale_hi=max(scales),
        terms=terms,
        terms_a_weight=terms / len(codes),
        weight_error=error / norm if norm else 0.0,
    )


def _with_ranges(row: Layer, names: set[str], integer: IntegerNetwork) -> Layer:
    own = [node for node in integer.nodes if node.origin in names]
    if not own:
        return row
    ranges = own[-1].ranges
    return replace(
        row,
        stream_bits=sum(r.width for r in ranges),
        bits=max(r.width for r in ranges),
        lo=min(r.lo for r in ranges),
        hi=max(r.hi for r in ranges),
    )


def _with_hardware(row: Layer, stages: Sequence[Stage]) -> Layer:
    graphs = [stage.graph for stage in stages if stage.graph is not None]
    lanes = max((stage.lanes for stage in stages), default=0)
    return replace(
        row,
        form="memory" if lanes else "adders" if graphs else "",
        adders=sum(graph.adders for graph in graphs) if graphs else None,
        depth=max(graph.depth for graph in graphs) if graphs else None,
        digit=max((stage.digit for stage in stages), default=0) or None,
        lanes=lanes or None,
        abreast=max((stage.abreast for stage in stages), default=0) if lanes else None,
        cycles=max((stage.cycles for stage in stages), default=None),
    )


def _buffers(plan: PipelinePlan, stages: Sequence[Stage]) -> tuple[int, ...]:
    """Depths of the buffers before the stage that joins branches, if there is one."""
    held = {stage.name: stage.depth for stage in plan.stages if stage.form == "buffer"}
    joins = [stage for stage in stages if stage.form in ("add", "concat")]
    return tuple(held.get(source, 0) for join in joins for source in join.sources)


def _kind(network: real.Network, node: Node) -> str:
    """What the operator is, in a few words."""
    match node.op:
        case real.Conv() as op:
            height, width = op.kernel
            if op.kernel == network.shape(node.inputs[0])[1:] and op.groups == 1:
                return "fully connected"
            depthwise = op.groups > 1 and op.weight.shape[1] == 1
            groups = f" in {op.groups} groups" if op.groups > 1 else ""
            return f"conv {height}x{width}{' depthwise' if depthwise else groups}"
        case real.MaxPool() as op:
            return f"max pool {op.kernel[0]}x{op.kernel[1]}"
        case real.AveragePool() as op:
            return f"average pool {op.kernel[0]}x{op.kernel[1]}"
        case real.Activation() as op:
            return {"relu": "ReLU", "prelu": "PReLU"}.get(op.kind, op.kind.replace("_", " "))
        case real.PiecewiseLinear():
            return "piecewise linear"
        case _:
            return type(node.op).__name__.lower()
