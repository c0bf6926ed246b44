"""One readable Verilog file from a plan: a module for each stage, and a top that connects them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from amaranth.back import rtlil
from joblib import Parallel, delayed

from hwgen.errors import VerifyError
from hwgen.stream.blocks import Stage, component
from hwgen.stream.describe import header, stage_comment
from hwgen.stream.design import PixelLayout, StreamDesign, Tap
from hwgen.stream.plan import PipelinePlan
from hwgen.toolchain.yosys import run_yosys

__all__ = ["check_multiplierless", "emit", "emit_both"]

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MODULE = re.compile(r"^module (\S+?) ?\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  wire (?:width \d+ )?(?:input|output) \d+ +\\(\S+)$", re.MULTILINE)
_PARALLEL = re.compile(r"(case[xz]? \(\w+\)) // synopsys parallel_case$", re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\(\*.*?\*\)", re.DOTALL)
_MULTIPLIER = re.compile(r"\*|\$mul|\$macc|\bMULT\w*|\bSB_MAC16\b|\bDSP\w*")


def emit(
    plan: PipelinePlan,
    *,
    taps: bool = False,
    name: str = "hwgen_net",
    notes: Mapping[str, str] = MappingProxyType({}),
    jobs: int = 1,
) -> StreamDesign:
    """Write the Verilog of a pipeline.

    Parameters
    ----------
    plan
        What to build.
    taps
        Whether each tensor that a stage gives is visible at ports of its own.
    name
        Name of the top module.
    notes
        For a layer's name, where its weights come from: set, scale, terms. Goes into comments.
    jobs
        Processes that elaborate stages; -1 for one a core.

    Returns
    -------
    StreamDesign
        The Verilog and its ports. The text depends on the arguments and the tools' versions only.

    Raises
    ------
    ValueError
        If ``name`` is no identifier or is the name of a stage.
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    VerifyError
        If a multiplier is in the result.
    """
    return _emit(plan, (taps,), name, notes, jobs)[0]


def emit_both(
    plan: PipelinePlan,
    *,
    name: str = "hwgen_net",
    notes: Mapping[str, str] = MappingProxyType({}),
    jobs: int = 1,
) -> tuple[StreamDesign, StreamDesign]:
    """The design without and with taps, as :func:`emit` makes them, in half the time."""
    plain, tapped = _emit(plan, (False, True), name, notes, jobs)
    return plain, tapped


def _emit(
    plan: PipelinePlan,
    variants: Sequence[bool],
    name: str,
    notes: Mapping[str, str],
    jobs: int,
) -> list[StreamDesign]:
    if not _IDENTIFIER.fullmatch(name) or name in {stage.name for stage in plan.stages}:
        raise ValueError(f"Name of the top must be an identifier that no stage has, not {name!r}")
    found = Parallel(n_jobs=jobs)(delayed(_stage_rtlil)(stage) for stage in plan.stages)
    texts = dict(zip((stage.name for stage in plan.stages), found, strict=True))
    modules = _modules("\n".join(texts.values()))
    parts = []
    for stage in plan.stages:
        parts.append(stage_comment(stage, notes.get(stage.layer, "")) + modules.pop(stage.name))
        inner = sorted(m for m in modules if m.startswith(f"{stage.name}_"))
        parts += [modules.pop(m) for m in inner if m not in texts]
    body = "\n".join(parts)
    check_multiplierless(body)
    return [_design(plan, name, taps, texts, body) for taps in variants]


def _design(
    plan: PipelinePlan, name: str, taps: bool, texts: Mapping[str, str], body: str
) -> StreamDesign:
    tapped = [stage for stage in plan.stages if stage.gives] if taps else []
    last = plan.output_stage
    return StreamDesign(
        name=name,
        verilog="\n".join([header(plan, name, tapped), _top(plan, name, tapped, texts), body]),
        input_shape=plan.input_shape,
        input_layout=PixelLayout.from_ranges(plan.input_ranges),
        output_shape=last.output_shape,
        output_layout=PixelLayout.from_ranges(last.output_ranges),
        taps=tuple(
            Tap(k, stage.node, stage.output_shape, PixelLayout.from_ranges(stage.output_ranges))
            for k, stage in enumerate(tapped)
        ),
    )


def check_multiplierless(verilog: str) -> None:
    """Raise :class:`VerifyError` if Verilog multiplies or names a multiplier, comments apart."""
    code = _COMMENT.sub("", verilog.replace("@(*)", "").replace("@*", ""))
    found = _MULTIPLIER.search(code)
    if found is not None:
        line = code[: found.start()].count("\n") + 1
        raise VerifyError(f"The Verilog has a multiplier: {code.splitlines()[line - 1].strip()!r}")


def _stage_rtlil(stage: Stage) -> str:
    """RTLIL of one stage; inner modules are named after it."""
    text = rtlil.convert(component(stage), name=stage.name, emit_src=False)
    inner = re.compile(rf"^(module|  cell) \\{stage.name}\.(\S+)", re.MULTILINE)
    return inner.sub(lambda m: f"{m[1]} \\{stage.name}_{m[2].replace('.', '_')}", text)


def _modules(text: str) -> dict[str, str]:
    """Verilog of every module in RTLIL, by name."""
    with tempfile.TemporaryDirectory(prefix="hwgen-verilog-") as folder:
        directory = Path(folder)
        (directory / "design.il").write_text(text, encoding="utf-8")
        commands = [
            "read_rtlil design.il",
            "proc",
            "memory_collect",
            "opt_expr -keepdc -mux_undef",
            "opt_clean",
            "opt_dff -keepdc",
            "opt_expr -keepdc -mux_undef",
            "opt_clean",
            "write_verilog -noattr design.v",
        ]
        run_yosys(commands, directory=directory)
        verilog = (directory / "design.v").read_text(encoding="utf-8")
    verilog = _PARALLEL.sub(r"(* parallel_case *) \1", verilog)
    return {found[1]: found[0] for found in _MODULE.finditer(verilog)}


def _top(plan: PipelinePlan, name: str, tapped: list[Stage], texts: Mapping[str, str]) -> str:
    last = plan.output_stage
    ports = [
        ("clock, rising edge", "input", 1, "clk"),
        ("synchronous reset, active high", "input", 1, "rst"),
        ("images in", "input", PixelLayout.from_ranges(plan.input_ranges).width, "i__payload"),
        ("", "input", 1, "i__valid"),
        ("", "output", 1, "i__ready"),
        ("results out", "output", PixelLayout.from_ranges(last.output_ranges).width, "o__payload"),
        ("", "output", 1, "o__valid"),
        ("", "input", 1, "o__ready"),
    ]
    for k, stage in enumerate(tapped):
        width = PixelLayout.from_ranges(stage.output_ranges).width
        ports += [
            (f"tensor {stage.node}", "output", width, f"tap{k}__payload"),
            ("", "output", 1, f"tap{k}__valid"),
        ]
    lines = [f"module {name} ("]
    for k, (comment, direction, width, port) in enumerate(ports):
        comma = "," if k + 1 < len(ports) else ""
        note = f"  // {comment}" if comment else ""
        lines.append(f"  {direction:<6} wire {_bits(width):<9} {port}{comma}{note}")
    lines.append(");")
    for stage in plan.stages:
        lines += ["", *_instance(stage, texts[stage.name])]
    lines.append("")
    source = _stream(plan.output)
    lines += [
        f"  assign o__payload = {source}__payload;",
        f"  assign o__valid = {source}__valid;",
        f"  assign {source}__ready = o__ready;",
    ]
    for k, stage in enumerate(tapped):
        lines += [
            f"  assign tap{k}__payload = {stage.name}__payload;",
            f"  assign tap{k}__valid = {stage.name}__valid & {stage.name}__ready;",
        ]
    return "\n".join([*lines, "endmodule", ""])


def _instance(stage: Stage, text: str) -> Iterator[str]:
    """Declarations of the stage's output streams, and its instance."""
    forks = stage.form == "fork"
    outputs = [f"{stage.name}.{k}" for k in range(stage.depth)] if forks else [stage.name]
    width = PixelLayout.from_ranges(stage.output_ranges).width
    for output in map(_stream, outputs):
        yield f"  wire {_bits(width):<9} {output}__payload;"
        yield f"  wire           {output}__valid, {output}__ready;"
    module = text[text.index(f"module \\{stage.name}\n") :]
    connected = {"clk": "clk", "rst": "rst"}
    present = set(_PORT.findall(module[: module.index("\nend\n")]))
    for k, source in enumerate(stage.sources):
        port = f"i{k}" if f"i{k}__payload" in present else "i"
        connected |= {f"{port}__{f}": f"{_stream(source)}__{f}" for f in _FLAGS}
    for k, output in enumerate(outputs):
        port = f"o{k}" if forks else "o"
        connected |= {f"{port}__{f}": f"{_stream(output)}__{f}" for f in _FLAGS}
    yield f"  {stage.name} {stage.name} ("
    lines = [f"    .{port}({net})" for port, net in connected.items() if port in present]
    yield ",\n".join(lines)
    yield "  );"


_FLAGS = ("payload", "valid", "ready")


def _stream(source: str) -> str:
    """Prefix of the nets of a stream."""
    return source.replace(".", "__") or "i"


def _bits(width: int) -> str:
    return f"[{width - 1}:0]" if width > 1 else ""
