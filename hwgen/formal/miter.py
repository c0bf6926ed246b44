"""The same statement put to a SAT solver, which shares nothing with the proof by words.

A miter compares the module, its registers taken for wires and always enabled, with the matrix
written in Verilog, products and all. Solvers are slow on sums, so that only small modules are
asked about, and for a limited time.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hwgen.errors import ToolError
from hwgen.formal.products import Product
from hwgen.numeric import Range
from hwgen.toolchain.yosys import run_yosys

__all__ = ["Answer", "ask"]

Answer = Literal["equal", "different", "no answer"]
"""What the solver found; no answer within its time."""

_WIRES = r"""
module \$dff (CLK, D, Q);
  parameter WIDTH = 1;
  parameter CLK_POLARITY = 1;
  input CLK;
  input [WIDTH-1:0] D;
  output [WIDTH-1:0] Q;
  assign Q = D;
endmodule
"""
_VERDICT = re.compile(r"SAT proof finished - (?P<found>no model|model) found|(?P<late>TIMEOUT!)")


def ask(product: Product, *, seconds: int) -> Answer:
    """Whether the module of a product computes its matrix, for all inputs in their ranges.

    Raises
    ------
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    """
    commands = [
        "read_verilog product.v miter.v",
        "hierarchy -check -top miter",
        "proc",
        "flatten",
        "opt",  # enables are constant now, and registers have no way back
        "techmap -map wires.v",
        "opt",
        f"sat -prove differs 0 -timeout {seconds} miter",
    ]
    with tempfile.TemporaryDirectory(prefix="hwgen-formal-") as name:
        folder = Path(name)
        (folder / "product.v").write_text(product.verilog, encoding="utf-8")
        (folder / "miter.v").write_text("\n".join(_miter(product)), encoding="utf-8")
        (folder / "wires.v").write_text(_WIRES, encoding="utf-8")
        log = run_yosys(commands, directory=folder).log
    verdict = _VERDICT.search(log)
    if verdict is None:
        raise ToolError(f"Yosys gave no verdict on {product.module}")
    if verdict["late"]:
        return "no answer"
    return "equal" if verdict["found"] == "no model" else "different"


def _miter(product: Product) -> Iterator[str]:
    inputs, ranges = product.inputs, product.ranges
    yield f"module miter(input clk, input [{_bits(inputs) - 1}:0] x, output differs);"
    yield f"  wire [{_bits(ranges) - 1}:0] y;"
    yield f"  {product.module} product(.clk(clk), .rst(1'b0), .i__valid(1'b1), .i__payload(x),"
    yield "    .o__ready(1'b1), .o__payload(y));"
    within = []
    for k, (field, span) in enumerate(_fields("x", inputs)):
        yield f"  wire signed [{span.width}:0] x{k} = {field};"
        within.append(f"x{k} >= {span.lo} && x{k} <= {span.hi}")
    wrong = []
    columns = zip(product.matrix.T.tolist(), product.bias, _fields("y", ranges), strict=True)
    for k, (column, bias, (field, span)) in enumerate(columns):
        terms = [f"({weight}) * x{i}" for i, weight in enumerate(column) if weight]
        # 64 bits hold every sum on the way
        yield f"  wire signed [63:0] wanted{k} = {' + '.join([*terms, f'({bias})'])};"
        yield f"  wire signed [{span.width}:0] y{k} = {field};"
        wrong.append(f"y{k} != wanted{k}")
    yield f"  assign differs = {' && '.join(within)} && ({' || '.join(wrong)});"
    yield "endmodule"
    yield ""


def _bits(ranges: tuple[Range, ...]) -> int:
    return sum(span.width for span in ranges)


def _fields(port: str, ranges: tuple[Range, ...]) -> Iterator[tuple[str, Range]]:
    """Verilog of every field as a signed number, and its range."""
    place = 0
    for span in ranges:
        part = f"{port}[{place + span.width - 1}:{place}]"
        yield f"$signed({part})" if span.signed else f"$signed({{1'b0, {part}}})", span
        place += span.width
