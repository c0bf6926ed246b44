"""The stages: each reads files of the workspace, calls one package, and writes its results.

Plain results, for people and other programs, are JSON files in ``results/``; what later stages
read are ``network.json``, ``approx.json``, ``integer.json``, ``plan.json``, ``design.json`` and
``design.v``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwgen.approx import front as front_store
from hwgen.approx import store as approx_store
from hwgen.boards import find_board
from hwgen.boards.build import build_board
from hwgen.errors import BudgetError, ModelError, ToolNotFoundError, VerifyError
from hwgen.finetune.finetune import require_torch
from hwgen.flow.approximation import build_mix
from hwgen.flow.approximation import search as search_recipes
from hwgen.flow.data import count_classes, load_images, split
from hwgen.flow.layers import output_errors
from hwgen.flow.notes import weight_notes
from hwgen.flow.options import ApproximateOptions, GenerateOptions, SynthOptions, VerifyOptions
from hwgen.flow.progress import Progress
from hwgen.flow.searches import FRONT, CheckMemory, load_front
from hwgen.flow.summary import gather, read_result, summarise
from hwgen.flow.testset import TEST_SET, encode_test_set, load_test_set
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.integer.types import IntegerNetwork
from hwgen.network import storage as network_store
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import FloatArray
from hwgen.report.front import front_csv
from hwgen.report.page import render
from hwgen.sim.types import VerifyReport
from hwgen.sim.verify import Mode
from hwgen.sim.verify import verify as verify_design
from hwgen.stream import store as stream_store
from hwgen.stream.design import StreamDesign
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit_both

__all__ = [
    "approximate",
    "build",
    "generate",
    "import_model",
    "report",
    "search",
    "searched_options",
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
    """Read the ONNX file ``model`` into ``network.json``."""
    if not model.is_file():
        raise ModelError(f"The model {str(model)!r} does not exist or is not a file")

    def work() -> None:
        network = import_onnx(model)
        workspace.write("network.json", network_store.to_json(network))

    workspace.run("import", work, reads=[model], writes=["network.json"], options={})


def search(workspace: Workspace, options: ApproximateOptions, progress: Progress) -> None:
    """Search recipes inside the budget; write ``front.json`` and ``front.csv``.

    The test images are checked but not used, so that they choose nothing. Checks of the whole
    network are kept as they are made: a search that was interrupted does not repeat them.
    """
    network = network_store.from_json(workspace.read("network.json", made_by="import"))

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
                network, splits, options, progress, known=memory.checks, keep=memory.keep
            )
        except BudgetError:
            memory.forget()
            raise
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
    reads = [workspace.path("network.json"), options.data]
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
    of the front that it found.
    """
    network = network_store.from_json(workspace.read("network.json", made_by="import"))
    if options.finetune:
        # only the built mix is trained, but a long search should not end in this
        require_torch()
    point, mix = None, options.mix
    if mix is None:
        search(workspace, options, progress)
        front = load_front(workspace)
        point = front.chosen if options.point is None else options.point
        mix = front.point(point).mix
    mixed = mix
    reads = [workspace.path("network.json"), options.data]
    reads += [options.test] if options.test is not None else []

    def work() -> None:
        data = load_images(options.data, network.input_shape, count_classes(network))
        test = None
        if options.test is not None:
            test = load_images(options.test, network.input_shape, count_classes(network))
        splits = split(data, test, seed=options.seed, calibration=options.calibration)
        found = build_mix(network, splits, mixed, options, progress)
        errors = output_errors(network, found.integer, splits.test.x[:_ERROR_IMAGES])
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
        | {name: getattr(options, name) for name in _OF_BUILDING},
    )


def generate(workspace: Workspace, options: GenerateOptions, progress: Progress) -> None:
    """Plan the pipeline and write ``plan.json``, ``design.json`` and ``design.v``.

    The Verilog computes the same for any options, but may be smaller.
    """
    integer = integer_store.from_json(workspace.read("integer.json", made_by="approximate"))
    approx = approx_store.from_json(workspace.read("approx.json", made_by="approximate"))

    def work() -> None:
        progress("Adder graphs", 0.0)
        plan = plan_pipeline(integer, jobs=-1, family=options.family, effort=options.effort)
        progress("Adder graphs", 1.0)
        progress("Verilog", 0.0)
        design, tapped = emit_both(plan, notes=weight_notes(approx), jobs=-1)
        files = {
            "plan.json": stream_store.plan_to_json(plan),
            "design.v": design.verilog,
            "design.json": stream_store.design_to_json(design),
            "design_taps.json": stream_store.design_to_json(tapped),
        }
        workspace.write_together(files)
        progress("Verilog", 1.0)

    workspace.run(
        "generate",
        work,
        reads=[workspace.path("integer.json"), workspace.path("approx.json")],
        writes=["plan.json", "design.json", "design_taps.json", "design.v"],
        options=asdict(options),
    )


def verify(workspace: Workspace, options: VerifyOptions, progress: Progress) -> None:
    """Compare the design with the golden model.

    Raises
    ------
    VerifyError
        If one bit differs; the report is written all the same.
    """
    integer = integer_store.from_json(workspace.read("integer.json", made_by="approximate"))
    name = "design_taps.json" if options.layers else "design.json"
    design = stream_store.design_from_json(workspace.read(name, made_by="generate"))
    images = load_test_set(workspace, integer.input_shape)

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
                reports.append(
                    _simulate(workspace, integer, design, mode, chosen, options, progress)
                )
            except ToolNotFoundError as error:
                # a bare Debian lacks the library that cocotb needs; the other bench does not
                if mode == "fast" or options.fast_images == 0:
                    raise
                skipped.append(str(error))
        _write_result(
            workspace, "verify", {"reports": [asdict(r) for r in reports], "skipped": skipped}
        )
        for failed in (r for r in reports if not r.passed):
            raise VerifyError(_fault(failed))

    workspace.run(
        "verify",
        work,
        reads=[workspace.path(n) for n in ("integer.json", name, TEST_SET)],
        writes=["results/verify.json"],
        options=asdict(options),
    )


def _simulate(
    workspace: Workspace,
    integer: IntegerNetwork,
    design: StreamDesign,
    mode: Mode,
    images: FloatArray,
    options: VerifyOptions,
    progress: Progress,
) -> VerifyReport:
    task = f"Verification of {len(images)} images ({mode})"
    progress(task, 0.0)
    report = verify_design(
        integer,
        design,
        images,
        mode=mode,
        layers=options.layers,
        seed=options.seed,
        jobs=-1,
        build_dir=workspace.path("simulation"),
        progress=lambda done, total: progress(task, done / total),
    )
    progress(task, 1.0)
    return report


def _fault(report: VerifyReport) -> str:
    """One sentence on what a simulation found wrong."""
    what = report.fault or (
        f"{report.words_differed} of {report.words_compared} words differ, the first at "
        f"{report.first_difference}"
    )
    waveform = f"; waveform: {report.waveform}" if report.waveform else ""
    return f"The Verilog is not the golden model ({report.mode}): {what}{waveform}"


def synthesise(workspace: Workspace, options: SynthOptions, progress: Progress) -> None:
    """Synthesise, place, route and pack; write the bitstream and ``results/synth.json``."""
    design = stream_store.design_from_json(workspace.read("design.json", made_by="generate"))
    board = find_board(options.board)

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
    page = render(summary, approx=found.approx, integer=found.integer, front=found.front)
    workspace.write("report.html", page)
    workspace.write("summary.json", json.dumps(summary, indent=1, sort_keys=True) + "\n")


def build(
    workspace: Workspace,
    model: Path,
    approximate_options: ApproximateOptions,
    effort: int,
    verify_options: VerifyOptions,
    synth_options: SynthOptions,
    progress: Progress,
) -> None:
    """Run every stage; those whose inputs have not changed are skipped."""
    board = find_board(synth_options.board)
    import_model(workspace, model)
    approximate(workspace, approximate_options, progress)
    generate(workspace, GenerateOptions(family=board.family, effort=effort), progress)
    verify(workspace, verify_options, progress)
    synthesise(workspace, synth_options, progress)
    report(workspace)


def _write_result(workspace: Workspace, stage: str, result: Mapping[str, object]) -> None:
    workspace.write(f"results/{stage}.json", _result_text(result))


def _result_text(result: Mapping[str, object]) -> str:
    return json.dumps(result, indent=1, sort_keys=True, default=str) + "\n"
