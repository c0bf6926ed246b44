"""Comments of the emitted Verilog: what the network is, what each stage does, where weights go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from hwgen.numeric import Range
from hwgen.shiftadd.graph import AdderGraph, Operand
from hwgen.stream.blocks import Stage
from hwgen.stream.comment import PORTS, as_comment, size_text
from hwgen.stream.plan import PipelinePlan

__all__ = ["header", "stage_comment"]

_WHAT = {
    "accumulate": "sums each channel over the whole frame",
    "add": "adds tensors pixel by pixel",
    "adders": "multiplies by constants with shifts and additions",
    "argmax": "gives the index of the greatest channel",
    "buffer": "holds pixels, first in, first out",
    "chain": "adds the products of a window's columns, one a beat",
    "column": "collects the column of pixels under the kernel at each beat",
    "concat": "joins channels",
    "dense": "sums of products one after the other, weights as codes in memory",
    "digit_adders": "multiplies by constants, scales, rounds and saturates, a digit at a time",
    "digit_window": "collects the window of each output position, a digit at a time",
    "fork": "copies a stream",
    "gather": "collects pixels that come one channel at a time",
    "max": "takes the greatest value of each channel's window",
    "piecewise": "piecewise-linear function with dyadic slopes",
    "pool": "greatest value or sum of each patch, one channel after the other",
    "requantise": "scales, rounds and saturates each channel",
    "serialise": "gives pixels a digit at a time",
    "window": "collects the window of each output position",
}


def header(plan: PipelinePlan, name: str, tapped: Sequence[Stage]) -> str:
    """Comment at the head of the file."""
    return as_comment(_header(plan, name, tapped))


def stage_comment(stage: Stage, note: str) -> str:
    """Comment before the module of a stage; ``note`` says where its weights come from."""
    return as_comment(_stage(stage, note))


def _header(plan: PipelinePlan, name: str, tapped: Sequence[Stage]) -> Iterator[str]:
    timing, last = plan.timing, plan.output_stage
    yield f"{name}: the network {plan.name!r} as a stream of pixels, without a multiplier."
    yield ""
    yield from PORTS
    yield ""
    yield f"  i  {size_text(plan.input_shape)}: {_fields(plan.input_ranges)}"
    yield f"  o  {size_text(last.output_shape)}: {_fields(last.output_ranges)}"
    for k, stage in enumerate(tapped):
        yield f"  tap{k}  tensor {stage.node}, {size_text(stage.output_shape)}: " + _fields(
            stage.output_ranges
        )
    if tapped:
        yield "  tap*__valid is high in each cycle in which a pixel of that tensor passes."
        if any(stage.serial_out for stage in tapped):
            yield "  A tensor of 1 x H*W*C x 1 passes one channel of a pixel a transfer."
    yield ""
    yield f"{timing.interval:g} cycles an image; the first result after {timing.first} cycles, the"
    yield f"last of the first image after {timing.image}, if neither side waits."
    yield ""
    width = max(len(stage.name) for stage in plan.stages)
    columns = ("adders", "depth", "lanes", "latency", "cycles", "pixels")
    titles = "".join(f"{column:>8}" for column in columns)
    yield f"{'module':<{width}}  {'output':<14}{titles}"
    for stage in plan.stages:
        graph = stage.graph
        figures = (
            graph.adders if graph else "",
            graph.depth if graph else "",
            stage.lanes or "",
            stage.latency,
            stage.cycles,
            stage.depth if stage.form == "buffer" else "",
        )
        row = "".join(f"{figure:>8}" for figure in figures)
        yield f"{stage.name:<{width}}  {size_text(stage.output_shape):<14}{row}".rstrip()


def _stage(stage: Stage, note: str) -> Iterator[str]:
    yield "-" * 76
    yield f"{stage.name}: {_WHAT[stage.form]} (layer {stage.layer}, tensor {stage.node})"
    yield f"in  {size_text(stage.shape)}: {_fields(stage.ranges[0])}"
    yield f"out {size_text(stage.output_shape)}: {_fields(stage.output_ranges)}"
    if note and stage.form in ("adders", "dense", "digit_adders"):
        yield f"weights: {note}"
    if stage.form in ("adders", "digit_adders"):
        yield from _adders(stage)
    if stage.digit:
        yield f"words of {stage.digits} digits of {stage.digit} bits, the least significant first"
    if stage.form == "dense":
        yield f"{stage.lanes} lanes; filters k, k + {stage.lanes}, ... share lane k"
        if stage.abreast > 1:
            yield f"each takes {stage.abreast} channels of a tap in a cycle"
    if stage.form == "buffer":
        yield f"{stage.depth} pixels"
    if stage.scan is not None:
        scan = stage.scan
        kh, kw = scan.kernel
        if stage.form == "window":
            yield f"field c * {kh * kw} + r * {kw} + s is channel c, row r, column s of the window"
        elif stage.form == "column":
            yield f"field c * {kh} + r is channel c, row r of the kernel"
        elif stage.form == "chain":
            outputs = stage.output_shape[0]
            yield f"field s * {outputs} + o is what column s of the kernel adds to output o"
        yield f"kernel {scan.kernel}, strides {scan.strides}, pads {scan.pads},"
        yield f"dilations {scan.dilations}; {stage.cycles} cycles a frame"


def _adders(stage: Stage) -> Iterator[str]:
    """Every filter as a sum of its inputs, and every node."""
    graph = stage.graph
    assert graph is not None
    yield f"{graph.adders} adders, depth {graph.depth}; c<k> is filter k, in terms of the inputs:"
    matrix = graph.matrix
    for k, output in enumerate(graph.outputs):
        taps = [(int(w), i) for i, w in enumerate(matrix[:, k].tolist()) if w]
        terms = " ".join(f"{w:+d}*x{i}" for w, i in taps) or "0"
        bias = f" {stage.bias[k]:+d}" if stage.bias and stage.bias[k] else ""
        source = "0" if output is None else _operand(graph, output)
        yield from _wrapped(f"  c{k} = {source}{bias} = {terms}{bias}")


def _operand(graph: AdderGraph, operand: Operand) -> str:
    count = len(graph.inputs)
    source = operand.source
    name = f"x{source}" if source < count else f"n{source - count}"
    shift = operand.shift
    shifted = f"({name} {'<<' if shift > 0 else '>>'} {abs(shift)})" if shift else name
    return f"-{shifted}" if operand.negate else shifted


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        if len(line) + len(word) > 92:
            yield line
            line = "      "
        line += word + " "
    yield line.rstrip()


def _fields(ranges: Sequence[Range]) -> str:
    """Widths of the fields, runs of equal ones together."""
    kinds = [f"{'s' if r.signed else 'u'}{r.width}" for r in ranges]
    runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    return " ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in runs)
