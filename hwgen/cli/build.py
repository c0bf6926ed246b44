"""``hwgen build``: every stage, from the model to the bitstream."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.boards import Wires
from hwgen.cli._console import progress_bars
from hwgen.cli._options import (
    APPROXIMATE_OPTIONS,
    GENERATE_OPTIONS,
    JSON,
    RATE_OPTIONS,
    SYNTH_OPTIONS,
    VERIFY_OPTIONS,
    add_options,
    approximate_options,
    build_plan_options,
    generate_options,
)
from hwgen.cli._result import finish
from hwgen.cli._slim import BUILD_SLIM_OPTIONS, build_slim_options
from hwgen.flow.options import Backend, Memory, SlimObjective, SynthOptions, VerifyOptions
from hwgen.flow.workspace import Workspace

__all__ = ["build"]


@click.command(short_help="Everything: from the model to a verified bitstream.")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.onnx")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output directory.")
@add_options(APPROXIMATE_OPTIONS)
@add_options(BUILD_SLIM_OPTIONS)
@add_options(RATE_OPTIONS)
@add_options(GENERATE_OPTIONS)
@add_options(VERIFY_OPTIONS)
@add_options(SYNTH_OPTIONS)
@JSON
def build(
    model: Path,
    out: Path,
    slimmed: bool,
    slim_budget: float | None,
    slim_objective: SlimObjective | None,
    fps: float | None,
    fit: bool,
    effort: int,
    forms: str,
    backend: Backend,
    tile: tuple[int, int] | None,
    memory: Memory | None,
    cut: str | None,
    size: tuple[int, int] | None,
    pixels: int,
    loadable: bool,
    room_for: tuple[Path, ...],
    images: int,
    fast_images: int | None,
    layers: bool,
    verify_seed: int,
    board: str,
    clock: float | None,
    link: Wires,
    baud: int | None,
    frequency: float | None,
    time_limit: float,
    attempts: int,
    no_route: bool,
    as_json: bool,
    **_: object,
) -> None:
    """Approximate MODEL.onnx, generate its hardware, verify it and build the bitstream.

    Runs import, slim if --slim is given, approximate, generate, verify, synth and report. A stage
    whose inputs have not changed since it last ran is not run again, so an interrupted build
    continues.

    \b
        hwgen build face.onnx --data train.npz --test test.npz --board ulx3s-25f --out out/face
        hwgen build face.onnx --data train.npz --board ulx3s-25f --backend nfu --out out/face-nfu
        hwgen build face.onnx --data train.npz --board icebreaker --fps 30 --out out/face-30
    """
    hardware = generate_options(
        effort=effort,
        forms=forms,
        backend=backend,
        tile=tile,
        memory=memory,
        cut=cut,
        size=size,
        pixels=pixels,
        loadable=loadable,
        room_for=room_for,
    )
    planned = build_plan_options(fps, fit=fit, hardware=hardware)
    workspace = Workspace.create(out)
    options = approximate_options(workspace)
    slim_options = build_slim_options(
        options, backend, slimmed=slimmed, budget=slim_budget, objective=slim_objective
    )
    with progress_bars(quiet=as_json) as progress:
        stages.build(
            workspace,
            model,
            slim_options,
            options,
            hardware,
            VerifyOptions(images=images, fast_images=fast_images, layers=layers, seed=verify_seed),
            SynthOptions(
                board=board,
                clock=clock,
                link=link,
                baud=baud,
                frequency=frequency,
                time_limit=time_limit,
                attempts=attempts,
                route=not no_route,
            ),
            progress,
            plan_options=planned,
        )
    finish(workspace, as_json=as_json)
