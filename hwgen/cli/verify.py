"""``hwgen verify``: compare the Verilog with the golden model, word by word."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._console import progress_bars
from hwgen.cli._options import DIRECTORY, JSON, VERIFY_OPTIONS, add_options
from hwgen.cli._result import finish
from hwgen.flow.options import VerifyOptions
from hwgen.flow.workspace import Workspace

__all__ = ["verify"]


@click.command(short_help="Compare the Verilog with the golden model.")
@DIRECTORY
@add_options(VERIFY_OPTIONS)
@click.option("--fast", is_flag=True, help="Only the compiled simulation, without cocotb.")
@JSON
def verify(
    directory: Path,
    images: int,
    fast_images: int | None,
    layers: bool,
    verify_seed: int,
    fast: bool,
    as_json: bool,
) -> None:
    """Simulate DIR/design.v and compare every output word with the golden model.

    cocotb drives a few images with random gaps and random back-pressure; a compiled simulation
    runs the whole test set. One different bit is a failure, with layer, position, both values
    and a waveform.

    \b
        hwgen verify out/face --layers
        hwgen verify out/face --fast
    """
    workspace = Workspace.open(directory)
    options = VerifyOptions(
        images=0 if fast else images, fast_images=fast_images, layers=layers, seed=verify_seed
    )
    with progress_bars(quiet=as_json) as progress:
        stages.verify(workspace, options, progress)
    finish(workspace, as_json=as_json)
