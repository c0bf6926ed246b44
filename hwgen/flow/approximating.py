"""The stages ``search`` and ``approximate``: recipes within the budget, and what is made by them.

Both work on the slimmed network where there is one (:mod:`hwgen.flow.source`).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwgen.approx import front as front_store
from hwgen.approx import store as approx_store
from hwgen.errors import BudgetError
from hwgen.finetune.finetune import require_torch
from hwgen.flow.approximation import build_mix
from hwgen.flow.approximation import search as search_recipes
from hwgen.flow.data import count_classes, load_images, split
from hwgen.flow.layers import output_errors
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import Progress
from hwgen.flow.results import read_result, result_text
from hwgen.flow.searches import FRONT, CheckMemory, load_front
from hwgen.flow.source import check_same_images, load_source
from hwgen.flow.testset import TEST_SET, encode_test_set
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.report.front import front_csv

__all__ = ["approximate", "search", "searched_options"]

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
            "results/search.json": result_text(result),
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
            "results/approximate.json": result_text(found.record() | {"output_errors": errors}),
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
