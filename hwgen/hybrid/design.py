# amaranth: UnusedElaboratable=no
"""A hybrid as a streaming design: its Verilog, its program, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from amaranth.back import rtlil

from hwgen.hybrid.plan import HybridPlan, PlannedHybrid
from hwgen.hybrid.system import Hybrid, VerilogPart
from hwgen.nfu.compile import CompiledNetwork
from hwgen.stream.comment import PORTS, as_comment, size_text
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.verilog import check_multiplierless, emit
from hwgen.toolchain.yosys import rtlil_to_verilog

__all__ = ["HybridBuild", "build_hybrid"]


@dataclass(frozen=True, eq=False)
class HybridBuild:
    """A network as a hybrid: its plan, the compiled program of its NFU, and the hardware."""

    plan: HybridPlan
    compiled: CompiledNetwork
    design: StreamDesign


def build_hybrid(
    planned: PlannedHybrid,
    *,
    name: str = "hwgen_hybrid",
    notes: Mapping[str, str] = MappingProxyType({}),
    jobs: int = 1,
) -> HybridBuild:
    """Write the hardware of a hybrid.

    ``notes`` and ``jobs`` are those of :func:`hwgen.stream.verilog.emit`.

    Raises
    ------
    ToolError, ToolNotFoundError
        If Yosys fails or is missing.
    VerifyError
        If a multiplier is in the result, or the program breaks a rule of the golden executor.
    """
    planned.unit.check()
    plan, compiled, system = planned.plan, planned.unit.compiled, planned.unit.system
    front = emit(plan.front, name=f"{name}_front", notes=notes, jobs=jobs)
    between = plan.front.output_stage.output_ranges
    top = Hybrid(
        VerilogPart(front.name, plan.front.input_ranges, between),
        VerilogPart(f"{name}_unit", system.input_ranges, system.result_ranges),
    )
    both = rtlil_to_verilog(rtlil.convert(top, name=name, emit_src=False), flatten=True)
    unit = planned.unit.verilog(name=f"{name}_unit")
    check_multiplierless(unit)
    design = StreamDesign(
        name=name,
        verilog=as_comment(_header(plan, compiled, name)) + "\n".join([both, front.verilog, unit]),
        input_shape=front.input_shape,
        input_layout=front.input_layout,
        output_shape=(1, 1, 1) if compiled.decides else compiled.output.shape,
        output_layout=PixelLayout.from_ranges(system.result_ranges),
    )
    return HybridBuild(plan, compiled, design)


def _header(plan: HybridPlan, compiled: CompiledNetwork, name: str) -> Iterator[str]:
    config = plan.unit.config
    yield f"{name}: the network {plan.network!r} without a multiplier. Up to the tensor"
    yield f"{plan.cut!r} it is a stream of pixels ({name}_front), behind it a program of"
    yield f"{plan.unit.instructions:,} instructions for an NFU of {config.tn} x {config.ti}"
    yield f"({name}_unit). Between them is a queue of {plan.queue:,} pixels, so that the next image"
    yield "comes in while the program runs."
    yield ""
    yield from PORTS
    yield ""
    yield f"  i  {size_text(plan.front.input_shape)}"
    yield f"  o  {size_text(compiled.output.shape)}"
    yield ""
    yield f"{plan.timing.interval:g} cycles an image, of which the program takes"
    yield f"{plan.unit.program_cycles:,}."
    yield ""
