"""The stages: each reads files of the workspace, calls one package, and writes its results.

Plain results, for people and other programs, are JSON files in ``results/``; what later stages
read are ``network.json``, ``approx.json``, ``integer.json``, ``plan.json``, ``design.json`` and
``design.v``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hwgen.approx import front as front_store
from hwgen.approx import store as approx_store
from hwgen.boards import find_board
from hwgen.boards.build import build_board
from hwgen.errors import (
    BudgetError,
    DataError,
    ModelError,
    ResourceError,
    ToolNotFoundError,
    VerifyError,
)
from hwgen.finetune.finetune import require_torch
from hwgen.flow.approximation import build_mix
from hwgen.flow.approximation import search as search_recipes
from hwgen.flow.backends import (
    GENERATED,
    backend_of,
    check_memories,
    generate_files,
    load_plan,
)
from hwgen.flow.built import built_images, built_network
from hwgen.flow.data import count_classes, load_images, split
from hwgen.flow.layers import output_errors
from hwgen.flow.options import (
    ApproximateOptions,
    GenerateOptions,
    Memory,
    SlimOptions,
    SynthOptions,
    VerifyOptions,
)
from hwgen.flow.progress import Progress
from hwgen.flow.searches import FRONT, CheckMemory, load_front
from hwgen.flow.simulation import Simulation, check_layers, fault
from hwgen.flow.slimming import slim
from hwgen.flow.source import (
    NETWORK,
    check_same_images,
    load_source,
    undo_slim,
)
from hwgen.flow.summary import gather, read_result, summarise
from hwgen.flow.testset import TEST_SET, encode_test_set
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.integer.resize import resized
from hwgen.network import storage as network_store
from hwgen.network.onnx_import import import_onnx
from hwgen.report.front import front_csv
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

_ERROR_IMAGES = 16
"""Test images on which the errors of the layers' outputs are measured."""

_OF_BUILDING = (
    "objective",
    "calibration",
    "finetune",
    "bits",
    "activation",
    "prescale",
    "seed",
)
"""Options on which the built networks depend, beside the mix."""


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


def search(workspace: Workspace, options: ApproximateOptions, progress: Progress) -> None:
    """Search recipes inside the budget; write ``front.json`` and ``front.csv``.

    The test images are checked but not used, so that they choose nothing. Checks of the whole
    network are kept as they are made: a search that was interrupted does not repeat them.
    """
    source = load_source(workspace)
    network = source.original
    held_out = options.test is None
    check_same_images(workspace, source, options.data, seed=options.seed, held_out=held_out)

    def work() -> None:
        data = load_images(options.data, network.input_shape, count_classes(network))
        # given test images leave all of the data to the search
        held = None if options.test is None else data
        if options.test is not None:
            # only to refuse an unfit file now and not after the search
            load_images(options.test, network.input_shape, count_classes(network))
        splits = split(data, held, seed=options.seed, calibration=options.calibration)
        memory = CheckMemory.open(workspace, key)
        try:
            found = search_recipes(
                source.network,
                splits,
                options,
                progress,
                reference=source.reference,
                known=memory.checks,
                keep=memory.keep,
            )
        except BudgetError as error:
            memory.forget()
            if source.slimmed is None:
                raise
            raise BudgetError(
                f"{error}, slim less, or go back with 'hwgen slim {workspace.root} --undo'"
            ) from None
        given = {"data": str(options.data), "test": str(options.test) if options.test else None}
        probes, checks = map(asdict, found.probes), map(asdict, found.checks)
        result = {"given": given, "probes": list(probes), "checks": list(checks)}
        files = {
            FRONT: front_store.to_json(found.front),
            "front.csv": front_csv(found.front),
            "results/search.json": _result_text(result),
        }
        workspace.write_together(files)
        if workspace.record("approximate").get("options", {}).get("point") is not None:
            # the name of the point that it was built from means another one now
            workspace.forget("approximate")
        memory.forget()

    stage = "search"
    reads = [*source.paths, options.data]
    chosen = options.of_search()
    key = workspace.key(stage, reads, chosen)
    writes = [FRONT, "front.csv", "results/search.json"]
    workspace.run(stage, work, reads=reads, writes=writes, options=chosen)


def searched_options(workspace: Workspace) -> ApproximateOptions:
    """The options of the last search in the workspace; :class:`DataError` if there was none."""
    load_front(workspace)
    chosen: dict[str, Any] = dict(workspace.record("search")["options"])
    del chosen["held_out"]
    result = read_result(workspace, "search") or {"given": {}}
    chosen |= {key: Path(value) for key, value in result["given"].items() if value}
    return ApproximateOptions(**chosen)


def approximate(workspace: Workspace, options: ApproximateOptions, progress: Progress) -> None:
    """Choose dyadic constants and formats; write ``approx.json`` and ``integer.json``.

    Unless ``options`` name a mix, a search comes first, which does not run again for another point
    of the front that it found. A slimmed network takes the place of the imported one, which every
    loss stays measured against, so that one budget covers both; if recipes were chosen when it was
    slimmed, they are taken.
    """
    source = load_source(workspace)
    network = source.original
    held_out = options.test is None
    check_same_images(workspace, source, options.data, seed=options.seed, held_out=held_out)
    if options.finetune:
        # only the built mix is trained, but a long search should not end in this
        require_torch()
    point, mix, of_slim = None, options.mix, False
    if mix is None and options.point is None and source.slimmed is not None:
        mix = source.slimmed.mix
        of_slim = mix is not None
    if mix is None:
        search(workspace, options, progress)
        front = load_front(workspace)
        point = front.chosen if options.point is None else options.point
        mix = front.point(point).mix
    mixed = mix
    reads = [*source.paths, options.data]
    reads += [options.test] if options.test is not None else []

    def work() -> None:
        data = load_images(options.data, network.input_shape, count_classes(network))
        test = None
        if options.test is not None:
            test = load_images(options.test, network.input_shape, count_classes(network))
        splits = split(data, test, seed=options.seed, calibration=options.calibration)
        found = build_mix(
            source.network, splits, mixed, options, progress, reference=source.reference
        )
        errors = output_errors(source.network, found.integer, splits.test.x[:_ERROR_IMAGES])
        files: dict[str, str | bytes] = {
            "approx.json": approx_store.to_json(found.approx),
            "integer.json": integer_store.to_json(found.integer),
            TEST_SET: encode_test_set(splits.test),
            "results/approximate.json": _result_text(found.record() | {"output_errors": errors}),
        }
        workspace.write_together(files)

    workspace.run(
        "approximate",
        work,
        reads=reads,
        writes=["approx.json", "integer.json", TEST_SET, "results/approximate.json"],
        options={"mix": mix, "point": point, "chosen": options.point is None}
        | ({"of_slim": True} if of_slim else {})
        | {name: getattr(options, name) for name in _OF_BUILDING},
    )


def generate(workspace: Workspace, options: GenerateOptions, progress: Progress) -> None:
    """Make the hardware and write ``design.json``, ``design.v`` and what its back end tells of it.

    The Verilog computes the same for any options, but may be smaller, or be another back end's.
    """
    integer = integer_store.from_json(workspace.read("integer.json", made_by="approximate"))
    approx = approx_store.from_json(workspace.read("approx.json", made_by="approximate"))
    if options.size is not None:
        integer = resized(integer, options.size)

    writes = GENERATED[options.backend]

    def work() -> None:
        files = generate_files(integer, approx, options, progress)
        workspace.write_together(files)
        for other in GENERATED.values():
            for name in set(other) - set(writes):
                workspace.path(name).unlink(missing_ok=True)

    workspace.run(
        "generate",
        work,
        reads=[workspace.path("integer.json"), workspace.path("approx.json")],
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
        _write_result(workspace, "verify", result)
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
    check_memories(load_plan(workspace), board)

    def work() -> None:
        # the files of the last run are about to be replaced one by one
        workspace.path("results/synth.json").unlink(missing_ok=True)
        result = build_board(
            design,
            board,
            workspace.path("synthesis"),
            frequency=options.frequency,
            time_limit=options.time_limit,
            attempts=options.attempts,
            route=options.route,
            progress=progress,
        )
        _write_result(workspace, "synth", asdict(result))

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
) -> None:
    """Run every stage; those whose inputs have not changed are skipped.

    Without ``slim_options`` the network is not slimmed. The hardware is for the family of the
    board, and an NFU has the board's tile and memory if none is given; what slimming saves is what
    that hardware would take.

    Raises
    ------
    DataError
        If the network is not to be slimmed, and the workspace holds it slimmed.
    """
    board = find_board(synth_options.board)
    check_layers(generate_options.backend, verify_options)
    generate_options = replace(generate_options, family=board.family)
    if generate_options.backend == "nfu":
        memory: Memory = "spram" if board.capacity.spram_bits else "bram"
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
    generate(workspace, generate_options, progress)
    check_memories(load_plan(workspace), board)
    verify(workspace, verify_options, progress)
    synthesise(workspace, synth_options, progress)
    report(workspace)


def _write_result(workspace: Workspace, stage: str, result: Mapping[str, object]) -> None:
    workspace.write(f"results/{stage}.json", _result_text(result))


def _result_text(result: Mapping[str, object]) -> str:
    return json.dumps(result, indent=1, sort_keys=True, default=str) + "\n"
