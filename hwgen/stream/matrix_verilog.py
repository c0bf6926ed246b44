"""An adder graph as one Verilog module with plain ports, to be used in any design."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.shiftadd.graph import AdderGraph
from hwgen.stream.common import range_shape
from hwgen.stream.datapath import ShiftAdd
from hwgen.stream.verilog import check_multiplierless
from hwgen.toolchain.yosys import run_yosys

__all__ = ["MatrixProduct", "matrix_verilog"]

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_INNER = re.compile(r"\\product\.((?:n|x)\d+(?:_\w+)?) ")
_PASSES = (
    "read_rtlil design.il",
    "proc",
    "flatten -noscopeinfo",
    "opt_expr -keepdc",
    "opt_clean -purge",
    "write_verilog -noattr design.v",
)


def matrix_verilog(
    graph: AdderGraph,
    *,
    name: str,
    adders_per_stage: int = 1,
    complement: bool = False,
    frac: int = 0,
) -> str:
    """Verilog of a module that computes ``y = x @ graph.matrix`` once a cycle, exactly.

    Parameters
    ----------
    graph : AdderGraph
        What to build; it needs an output.
    name : str
        Name of the module.
    adders_per_stage : int
        Adders on the longest path between two registers, at least 1.
    complement : bool
        Whether registers may hold complements: see :class:`ShiftAdd`.
    frac : int
        Fraction bits of the outputs, for the comment at the head of the file.

    Returns
    -------
    str
        Ports are ``clk``, an input ``x0, x1, ...`` of exactly its range for each input of the
        graph, and an output ``y0, y1, ...`` likewise; the latency is in the comment.

    Raises
    ------
    ValueError
        If ``name`` is no identifier, or ``graph`` has no output.
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    VerifyError
        If a multiplier is in the result.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"Name of a module must be an identifier, not {name!r}")
    product = ShiftAdd(graph, adders_per_stage=adders_per_stage, complement=complement)
    text = rtlil.convert(MatrixProduct(product), name=name, emit_src=False)
    with tempfile.TemporaryDirectory(prefix="hwgen-verilog-") as folder:
        directory = Path(folder)
        (directory / "design.il").write_text(text, encoding="utf-8")
        run_yosys(_PASSES, directory=directory)
        verilog = (directory / "design.v").read_text(encoding="utf-8")
    check_multiplierless(verilog)
    body = verilog[verilog.index("module ") :]
    return _header(product, frac) + _INNER.sub(r"\1", body)


class MatrixProduct(wiring.Component):
    """A product without handshake: a vector in and a vector out in every cycle."""

    def __init__(self, product: ShiftAdd) -> None:
        self._product = product
        ports: dict[str, Any] = {"clk": In(1)}
        for k, span in enumerate(product.graph.inputs):
            ports[f"x{k}"] = In(range_shape(span))
        for k, span in enumerate(product.ranges):
            ports[f"y{k}"] = Out(range_shape(span))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.pipe = pipe = ClockDomain("pipe", reset_less=True)
        m.d.comb += pipe.clk.eq(self.clk)
        product = self._product
        m.submodules.product = DomainRenamer("pipe")(product)
        m.d.comb += [product.i.valid.eq(1), product.o.ready.eq(1)]
        for k, field in enumerate(product.fields):
            m.d.comb += product.i.payload[field].eq(getattr(self, f"x{k}"))
        for k in range(len(product.graph.outputs)):
            m.d.comb += getattr(self, f"y{k}").eq(product.o.payload[f"c{k}"])
        return m


def _header(product: ShiftAdd, frac: int) -> str:
    graph = product.graph
    scale = f" * 2**-{frac}" if frac else ""
    negations = sum(o is not None and o.negate for o in graph.outputs)
    negated = f", {negations} negated outputs" if negations else ""
    lines = [
        f"y = x * M{scale} for a constant matrix M of {len(graph.inputs)} by {len(graph.outputs)}:",
        f"{graph.adders} additions and subtractions{negated}, no multiplication.",
        f"A vector enters at each rising edge of clk; its product is at y{_latency(product)}.",
        "",
        *(f"x{k}: {_range(span)}" for k, span in enumerate(graph.inputs)),
        *(f"y{k}: {_range(span)}" for k, span in enumerate(product.ranges)),
    ]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)


def _latency(product: ShiftAdd) -> str:
    return f" {product.latency} {'edge' if product.latency == 1 else 'edges'} later"


def _range(span: Any) -> str:
    kind = "signed" if span.signed else "unsigned"
    return f"{kind}, {span.width} bits, {span.lo} .. {span.hi}"
