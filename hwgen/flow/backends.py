"""The back ends: each makes a streaming design of an integer network, and a plan that tells of it.

``stream`` builds every layer as a datapath of its own; ``nfu`` compiles the network for a
programmable unit; ``hybrid`` does the one with the first layers and the other with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import assert_never

from hwgen.approx.types import ApproxNetwork
from hwgen.boards import Board
from hwgen.errors import DataError, ResourceError
from hwgen.flow.notes import weight_notes
from hwgen.flow.options import Backend, GenerateOptions
from hwgen.flow.progress import Progress
from hwgen.flow.workspace import Workspace
from hwgen.hybrid import store as hybrid_store
from hwgen.hybrid.design import build_hybrid
from hwgen.hybrid.plan import HybridPlan, plan_hybrid
from hwgen.integer.split import cut_tensor
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu import store as nfu_store
from hwgen.nfu.assembler import disassemble
from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.design import NfuPlan, build_system
from hwgen.nfu.files import image_bytes
from hwgen.nfu.fit import buffer_depth
from hwgen.nfu.image import memory_bytes
from hwgen.nfu.loadable_design import build_loadable
from hwgen.stream import store as stream_store
from hwgen.stream.forms import parse_folding
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.verilog import emit_both

__all__ = [
    "GENERATED",
    "PLAN_FILES",
    "Plan",
    "backend_name",
    "backend_of",
    "check_memories",
    "generate_files",
    "interval",
    "latency",
    "load_plan",
    "parts",
]

Plan = PipelinePlan | NfuPlan | HybridPlan

PLAN_FILES: Mapping[Backend, str] = MappingProxyType(
    {"stream": "plan.json", "nfu": "nfu.json", "hybrid": "hybrid.json"}
)
"""File of the plan of each back end."""

_PROGRAM = ("program.nfu", "image.npz", "image.bin")

GENERATED: Mapping[Backend, tuple[str, ...]] = MappingProxyType(
    {
        "stream": (PLAN_FILES["stream"], "design.json", "design_taps.json", "design.v"),
        "nfu": (PLAN_FILES["nfu"], "design.json", "design.v", *_PROGRAM),
        "hybrid": (PLAN_FILES["hybrid"], "design.json", "design.v", *_PROGRAM),
    }
)
"""Files that each back end writes."""

_TILE = (4, 4)


def generate_files(
    integer: IntegerNetwork,
    approx: ApproxNetwork,
    options: GenerateOptions,
    progress: Progress,
    *,
    others: Sequence[IntegerNetwork] = (),
) -> dict[str, str | bytes]:
    """Contents of the files that the chosen back end writes, by name.

    ``others`` are networks that an NFU which takes programs has room for.
    """
    match options.backend:
        case "stream":
            return _stream(integer, approx, options, progress)
        case "nfu":
            return _nfu(integer, others, options, progress)
        case "hybrid":
            return _hybrid(integer, approx, options, progress)
        case _:
            assert_never(options.backend)


def _stream(
    integer: IntegerNetwork, approx: ApproxNetwork, options: GenerateOptions, progress: Progress
) -> dict[str, str | bytes]:
    progress("Adder graphs", 0.0)
    plan = plan_pipeline(
        integer,
        jobs=-1,
        family=options.family,
        effort=options.effort,
        folding=parse_folding(options.forms),
    )
    progress("Adder graphs", 1.0)
    progress("Verilog", 0.0)
    design, tapped = emit_both(plan, notes=weight_notes(approx), jobs=-1)
    progress("Verilog", 1.0)
    return {
        "plan.json": stream_store.plan_to_json(plan),
        "design.v": design.verilog,
        "design.json": stream_store.design_to_json(design),
        "design_taps.json": stream_store.design_to_json(tapped),
    }


def _nfu(
    integer: IntegerNetwork,
    others: Sequence[IntegerNetwork],
    options: GenerateOptions,
    progress: Progress,
) -> dict[str, str | bytes]:
    progress("NFU", 0.0)
    tile, depth = options.tile or _TILE, buffer_depth(options.family)
    single_port = options.memory == "spram"
    if options.loadable:
        built = build_loadable(integer, others, tile=tile, depth=depth, single_port=single_port)
    else:
        built = build_system(integer, tile=tile, depth=depth, single_port=single_port)
    progress("NFU", 1.0)
    return {
        "nfu.json": nfu_store.plan_to_json(built.plan),
        "design.v": built.design.verilog,
        "design.json": stream_store.design_to_json(built.design),
        **_program(built.plan.config, built.compiled),
    }


def _hybrid(
    integer: IntegerNetwork, approx: ApproxNetwork, options: GenerateOptions, progress: Progress
) -> dict[str, str | bytes]:
    if options.cut is None:
        raise DataError("A hybrid needs a layer to be cut behind: add --cut LAYER")
    cut = cut_tensor(integer, options.cut)
    progress("Hybrid", 0.0)
    planned = plan_hybrid(
        integer,
        cut=cut,
        tile=options.tile or _TILE,
        depth=buffer_depth(options.family),
        single_port=options.memory == "spram",
        folding=parse_folding(options.forms),
        family=options.family,
        effort=options.effort,
        jobs=-1,
    )
    progress("Hybrid", 0.5)
    built = build_hybrid(planned, notes=weight_notes(approx), jobs=-1)
    progress("Hybrid", 1.0)
    return {
        "hybrid.json": hybrid_store.plan_to_json(built.plan),
        "design.v": built.design.verilog,
        "design.json": stream_store.design_to_json(built.design),
        **_program(built.plan.unit.config, built.compiled),
    }


def _program(config: NfuConfig, compiled: CompiledNetwork) -> dict[str, str | bytes]:
    """Files of what an NFU runs."""
    return {
        "program.nfu": disassemble(compiled.program),
        "image.npz": image_bytes(config, compiled.memory),
        "image.bin": memory_bytes(config, compiled.program, compiled.memory),
    }


def backend_of(workspace: Workspace) -> Backend:
    """The back end that generated the design in a workspace."""
    chosen: Backend = workspace.record("generate").get("options", {}).get("backend", "stream")
    return chosen


def load_plan(workspace: Workspace) -> Plan:
    """The plan of the design in a workspace.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    """
    backend = backend_of(workspace)
    text = workspace.read(PLAN_FILES[backend], made_by="generate")
    return _READERS[backend](text)


_READERS: Mapping[Backend, Callable[[str], Plan]] = MappingProxyType(
    {
        "stream": stream_store.plan_from_json,
        "nfu": nfu_store.plan_from_json,
        "hybrid": hybrid_store.plan_from_json,
    }
)


def parts(plan: Plan) -> tuple[PipelinePlan | None, NfuPlan | None]:
    """The streaming datapath and the NFU that a design consists of."""
    match plan:
        case PipelinePlan():
            return plan, None
        case NfuPlan():
            return None, plan
        case HybridPlan():
            return plan.front, plan.unit
        case _:
            assert_never(plan)


def backend_name(plan: Plan) -> Backend:
    """The back end whose plan it is."""
    match plan:
        case PipelinePlan():
            return "stream"
        case NfuPlan():
            return "nfu"
        case HybridPlan():
            return "hybrid"
        case _:
            assert_never(plan)


def interval(plan: Plan) -> float:
    """Cycles from one image to the next if neither side waits."""
    return plan.interval if isinstance(plan, NfuPlan) else plan.timing.interval


def latency(plan: Plan) -> int:
    """Cycles from the first pixel of an image to the last of its result."""
    return plan.latency if isinstance(plan, NfuPlan) else plan.timing.image + 1


def check_memories(plan: Plan, board: Board) -> None:
    """Refuse a design whose memories alone are larger than the board's.

    Raises
    ------
    ResourceError
        If they are; the message has the sizes.
    """
    _, unit = parts(plan)
    if unit is None:
        return
    capacity = board.capacity
    needed = sum(bits for _, bits in unit.memories)
    if needed > capacity.bram_bits:
        sizes = ", ".join(f"{what} {bits:,}" for what, bits in unit.memories)
        raise ResourceError(
            f"The NFU's memories need {needed:,} bits ({sizes}) beside its buffers, and the block "
            f"RAM of {board.title} has {capacity.bram_bits:,}: choose a larger board or a smaller "
            "network"
        )
    if unit.single_port > capacity.spram_bits:
        raise ResourceError(
            f"Activations need {unit.single_port:,} bits of single-port RAM, and {board.title} has "
            f"{capacity.spram_bits:,}: choose another board, or --memory bram"
        )
