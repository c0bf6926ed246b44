"""Proof that every adder graph of a streaming design is the matrix of its layer.

What is proved is the emitted Verilog, as Yosys reads it, against the weights of the integer
network; the graph itself, and all that made Verilog of it, need not be believed. For every output
field of the module the proof gives an exact linear form of the input fields, as they were so many
registers before (:mod:`hwgen.formal.netlist`), which must be the column of the matrix, the bias,
and the number of registers that the valid bit passes; and the field must hold every number of the
form's range. Inputs are any numbers within their ranges. The matrix is that of a window, or of a
column where a layer is built by rows.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwgen.errors import VerifyError
from hwgen.formal.linear import Input, Linear
from hwgen.formal.netlist import Words
from hwgen.integer.types import Conv, IntegerNetwork, SumPool
from hwgen.numeric import IntArray, Range
from hwgen.stream.blocks import Stage
from hwgen.stream.chain import row_matrix
from hwgen.stream.matrix import conv_matrix
from hwgen.stream.plan import PipelinePlan
from hwgen.stream.pool import sum_matrix
from hwgen.toolchain.yosys import run_yosys

__all__ = ["Product", "Proof", "products", "prove", "read_modules"]

_MODULE = re.compile(r"^module (\S+?) ?\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, eq=False)
class Product:
    """What a module must compute: ``y = x @ matrix + bias``.

    ``module`` is its name, ``verilog`` its text, ``layer`` the layer that it belongs to; ``inputs``
    are the ranges of the fields of its payload and ``matrix`` (inputs, outputs) holds integers.
    """

    module: str
    layer: str
    verilog: str
    inputs: tuple[Range, ...]
    matrix: IntArray
    bias: tuple[int, ...]
    adders: int

    @property
    def outputs(self) -> tuple[Linear, ...]:
        """Form of every output, without the delay."""
        columns = zip(self.matrix.T.tolist(), self.bias, strict=True)
        return tuple(
            Linear.make({Input(k): int(w) for k, w in enumerate(column)}, constant)
            for column, constant in columns
        )

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Exact range of every output."""
        return tuple(form.bounds(self.inputs.__getitem__) for form in self.outputs)


@dataclass(frozen=True)
class Proof:
    """What the words of one module prove: ``fault`` is None, or a sentence on what is wrong."""

    module: str
    layer: str
    inputs: int
    outputs: int
    adders: int
    latency: int | None
    fault: str | None
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the module is the matrix."""
        return self.fault is None


def products(
    network: IntegerNetwork, plan: PipelinePlan, verilog: str
) -> tuple[tuple[Product, ...], tuple[str, ...]]:
    """The modules of a design that are adder graphs, and the names of others that hold one.

    Raises
    ------
    VerifyError
        If the design lacks a module of the plan, or the network its layer.
    """
    texts = {found[1]: found[0] for found in _MODULE.finditer(verilog)}
    nodes = {node.name: node for node in network.nodes}
    stages = {stage.name: stage for stage in plan.stages}
    found, others = [], []
    for stage in plan.stages:
        if stage.graph is None:
            continue
        if stage.form != "adders":
            others.append(stage.name)
            continue
        if stage.name not in texts or stage.node not in nodes:
            raise VerifyError(f"The design has no module {stage.name!r} of tensor {stage.node!r}")
        matrix = _matrix(stage, nodes[stage.node].op)
        source = stages.get(stage.sources[0])
        if source is not None and source.form == "column" and source.scan is not None:
            # a layer by rows: its graph multiplies a column, and a chain adds what columns give
            matrix = row_matrix(matrix, source.scan)
        found.append(
            Product(
                module=stage.name,
                layer=stage.layer,
                verilog=texts[stage.name],
                inputs=stage.ranges[0],
                matrix=matrix,
                bias=stage.bias or (0,) * matrix.shape[1],
                adders=stage.graph.adders,
            )
        )
    return tuple(found), tuple(others)


def prove(product: Product, module: Mapping[str, Any]) -> Proof:
    """Prove a product from the words of its module, as :func:`read_modules` gives them."""
    start = time.monotonic()
    latency, fault = None, None
    try:
        latency = _compare(product, Words(module, "i__payload", product.inputs))
    except VerifyError as error:
        fault = str(error)
    inputs, outputs = product.matrix.shape
    seconds = time.monotonic() - start
    return Proof(
        product.module, product.layer, inputs, outputs, product.adders, latency, fault, seconds
    )


def read_modules(found: Sequence[Product]) -> dict[str, Any]:
    """The modules of products as Yosys reads them, in its own cells of whole words, by name.

    Raises
    ------
    ToolError, ToolNotFoundError, TimeLimitError
        As :func:`hwgen.toolchain.yosys.run_yosys`.
    """
    with tempfile.TemporaryDirectory(prefix="hwgen-formal-") as name:
        folder = Path(name)
        (folder / "products.v").write_text("".join(p.verilog for p in found), encoding="utf-8")
        # registers get their enables, and nothing is optimised that has more than one bit
        commands = ["read_verilog products.v", "proc", "opt_dff", "write_json products.json"]
        run_yosys(commands, directory=folder)
        modules: dict[str, Any] = json.loads((folder / "products.json").read_text())["modules"]
    return modules


def _matrix(stage: Stage, op: object) -> IntArray:
    if isinstance(op, Conv):
        return conv_matrix(op)
    if isinstance(op, SumPool):
        return sum_matrix(op, len(stage.output_ranges))
    raise VerifyError(f"{stage.name} computes {type(op).__name__}, which has no matrix")


def _compare(product: Product, words: Words) -> int:
    """Registers between input and output; :class:`VerifyError` unless the product is right."""
    latency = words.control_delay("o__valid", "i__valid")
    bits = words.port("o__payload")
    place = 0
    for k, (wanted, span) in enumerate(zip(product.outputs, product.ranges, strict=True)):
        field = bits[place : place + span.width]
        place += span.width
        if len(field) < span.width:
            raise VerifyError(f"Output {k} has {len(field)} bits, and {span.lo} .. {span.hi} needs "
                              f"{span.width}")  # fmt: skip
        for _ in range(latency):
            wanted = wanted.delayed()
        got = words.value(field, signed=span.signed)
        if got != wanted:
            raise VerifyError(f"Output {k} is {(got - wanted).text} more than {wanted.text}")
    if place != len(bits):
        raise VerifyError(f"o__payload has {len(bits)} bits, and {place} belong to outputs")
    return latency
