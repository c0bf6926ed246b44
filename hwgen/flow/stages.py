"""The stages: each reads files of the workspace, calls one package, and writes its results.

Plain results, for people and other programs, are JSON files in ``results/``; what later stages
read are ``network.json``, ``approx.json``, ``integer.json``, ``plan.json``, ``design.json`` and
``design.v``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from hwgen.approx import store as approx_store
from hwgen.boards import find_board
from hwgen.boards.build import build_board
from hwgen.boards.clocking import board_clock
from hwgen.boards.top import link_rate
from hwgen.errors import DataError, ModelError, ResourceError, ToolNotFoundError, VerifyError
from hwgen.flow.approximating import approximate, search, searched_options
from hwgen.flow.backends import (
    GENERATED,
    backend_of,
    check_memories,
    generate_files,
    load_plan,
)
from hwgen.flow.built import built_images, built_network, hardware_network, scanning_network
from hwgen.flow.estimation import predict_core
from hwgen.flow.nfu_candidates import nfu_memory
from hwgen.flow.on_board import fastest_baud
from hwgen.flow.options import (
    ApproximateOptions,
    GenerateOptions,
    PlanOptions,
    SlimOptions,
    SynthOptions,
    VerifyOptions,
)
from hwgen.flow.planning import PLANNED, plan_folding, planned_options
from hwgen.flow.progress import Progress
from hwgen.flow.results import write_result
from hwgen.flow.simulation import Simulation, check_layers, fault
from hwgen.flow.slimming import slim
from hwgen.flow.source import NETWORK, load_source, undo_slim
from hwgen.flow.summary import gather, summarise
from hwgen.flow.testset import TEST_SET
from hwgen.flow.workspace import Workspace
from hwgen.network import storage as network_store
from hwgen.network.onnx_import import import_onnx
from hwgen.report.page import render
from hwgen.sim.verify import Mode
from hwgen.stream import store as stream_store

__all__ = [
    "approximate",
    "build",
    "generate",
    "import_model",
    "report",
    "search",
    "searched_options",
    "slim",
    "synthesise",
    "verify",
]


def import_model(workspace: Workspace, model: Path) -> None:
    """Read the ONNX file ``model`` into ``network.json``; a slimmed other network is removed."""
    if not model.is_file():
        raise ModelError(f"The model {str(model)!r} does not exist or is not a file")

    def work() -> None:
        network = import_onnx(model)
        # what was made of another network ends with it
        undo_slim(workspace)
        workspace.write(NETWORK, network_store.to_json(network))

    workspace.run("import", work, reads=[model], writes=[NETWORK], options={})


def generate(workspace: Workspace, options: GenerateOptions, progress: Progress) -> None:
    """Make the hardware and write ``design.json``, ``design.v`` and what its back end tells of it.

    The Verilog computes the same for any options, but may be smaller, or be another back end's.
    """
    options = planned_options(workspace, options)
    integer = hardware_network(workspace, size=options.size, pixels=options.pixels)
    approx = approx_store.from_json(workspace.read("approx.json", made_by="approximate"))
    rooms = [Workspace.open(Path(root)) for root in options.room_for]
    others = [scanning_network(other) for other in rooms]
    writes = GENERATED[options.backend]

    def work() -> None:
        files = generate_files(integer, approx, options, progress, others=others)
        workspace.write_together(files)
        for other in GENERATED.values():
            for name in set(other) - set(writes):
                workspace.path(name).unlink(missing_ok=True)

    workspace.run(
        "generate",
        work,
        reads=[
            *(workspace.path("integer.json"), workspace.path("approx.json")),
            *(other.path("integer.json") for other in rooms),
        ],
        writes=writes,
        options=asdict(options),
    )


def verify(workspace: Workspace, options: VerifyOptions, progress: Progress) -> None:
    """Compare the design with the golden model, and the cycles of an image with those of the plan.

    Raises
    ------
    VerifyError
        If one bit differs, or a cycle; the report is written all the same.
    """
    check_layers(backend_of(workspace), options)
    integer = built_network(workspace)
    name = "design_taps.json" if options.layers else "design.json"
    design = stream_store.design_from_json(workspace.read(name, made_by="generate"))
    images = built_images(workspace)
    simulation = Simulation(workspace, integer, design, load_plan(workspace), options, progress)

    def work() -> None:
        runs: tuple[tuple[Mode, int | None], ...] = (
            ("cocotb", options.images),
            ("fast", options.fast_images),
        )
        reports, skipped = [], []
        for mode, count in runs:
            if count == 0:
                continue
            chosen = images[:count]
            try:
                reports.append(simulation.compare(mode, chosen))
            except ToolNotFoundError as error:
                # a bare Debian lacks the library that cocotb needs; the other bench does not
                if mode == "fast" or options.fast_images == 0:
                    raise
                skipped.append(str(error))
        fastest: Mode = "cocotb" if options.fast_images == 0 else "fast"
        passed = all(r.passed for r in reports)
        cycles = simulation.count(fastest, images) if passed else None
        result = {
            "reports": [asdict(r) for r in reports],
            "skipped": skipped,
            "cycles": cycles and asdict(cycles),
        }
        write_result(workspace, "verify", result)
        for failed in (r for r in reports if not r.passed):
            raise VerifyError(fault(failed))
        if cycles is not None and not cycles.passed:
            raise VerifyError(
                f"An image takes {cycles.simulated:g} cycles, and {cycles.predicted:g} by the model"
            )

    workspace.run(
        "verify",
        work,
        reads=[workspace.path(n) for n in ("integer.json", name, TEST_SET)],
        writes=["results/verify.json"],
        options=asdict(options),
    )


def synthesise(workspace: Workspace, options: SynthOptions, progress: Progress) -> None:
    """Synthesise, place, route and pack; write the bitstream and ``results/synth.json``."""
    design = stream_store.design_from_json(workspace.read("design.json", made_by="generate"))
    board = find_board(options.board)
    plan = load_plan(workspace)
    check_memories(plan, board)
    clock = board_clock(board, options.clock)
    fastest = fastest_baud(plan, design, clock.hz)
    baud = link_rate(options.link, clock.hz, baud=options.baud, fastest=fastest)

    def work() -> None:
        # the files of the last run are about to be replaced one by one
        workspace.path("results/synth.json").unlink(missing_ok=True)
        result = build_board(
            design,
            board,
            workspace.path("synthesis"),
            clock_mhz=options.clock,
            baud=baud,
            link=options.link,
            frequency=options.frequency,
            time_limit=options.time_limit,
            attempts=options.attempts,
            route=options.route,
            progress=progress,
        )
        predicted = predict_core(plan, board)
        write_result(workspace, "synth", {**asdict(result), "predicted": predicted})

    workspace.run(
        "synth",
        work,
        reads=[workspace.path("design.json")],
        writes=["results/synth.json"],
        options=asdict(options),
    )


def report(workspace: Workspace) -> None:
    """Write ``report.html`` and ``summary.json`` from whatever stages have run."""
    found = gather(workspace)
    summary = summarise(workspace, found)
    summary["files"]["report"] = "report.html"
    page = render(
        summary,
        approx=found.approx,
        original=found.network,
        integer=found.integer,
        front=found.front,
    )
    workspace.write("report.html", page)
    workspace.write("summary.json", json.dumps(summary, indent=1, sort_keys=True) + "\n")


def build(
    workspace: Workspace,
    model: Path,
    slim_options: SlimOptions | None,
    approximate_options: ApproximateOptions,
    generate_options: GenerateOptions,
    verify_options: VerifyOptions,
    synth_options: SynthOptions,
    progress: Progress,
    *,
    plan_options: PlanOptions | None = None,
) -> None:
    """Run every stage; those whose inputs have not changed are skipped.

    Without ``slim_options`` the network is not slimmed. With ``plan_options`` the forms of its
    layers, or the tile of an NFU, are those that fit the board. The hardware is for the family of
    the board, and an NFU has the board's tile and memory if none is given; what slimming saves is
    what that hardware would take.

    Raises
    ------
    DataError
        If the network is not to be slimmed, and the workspace holds it slimmed.
    """
    board = find_board(synth_options.board)
    check_layers(generate_options.backend, verify_options)
    generate_options = replace(generate_options, family=board.family)
    if generate_options.backend != "stream":
        memory = nfu_memory(board)
        if generate_options.memory == "spram" and memory != "spram":
            raise ResourceError(
                f"{board.title} has no single-port RAM: choose another board, or --memory bram"
            )
        generate_options = replace(
            generate_options,
            tile=generate_options.tile or board.nfu_tile,
            memory=generate_options.memory or memory,
        )
    import_model(workspace, model)
    if slim_options is not None:
        tile = generate_options.tile if slim_options.objective == "cycles" else None
        chosen = replace(slim_options, tile=tile, family=board.family)
        slim(workspace, chosen, progress)
    elif load_source(workspace).slimmed is not None:
        raise DataError(
            f"{str(workspace.root)!r} holds a slimmed network: add --slim, or go back with 'hwgen "
            f"slim {workspace.root} --undo'"
        )
    approximate(workspace, approximate_options, progress)
    if plan_options is not None:
        plan_folding(workspace, board.name, plan_options, progress)
        generate_options = planned_options(workspace, replace(generate_options, forms=PLANNED))
        check_layers(generate_options.backend, verify_options)
    generate(workspace, generate_options, progress)
    check_memories(load_plan(workspace), board)
    verify(workspace, verify_options, progress)
    synthesise(workspace, synth_options, progress)
    report(workspace)
