"""``hwgen verify``: compare the Verilog with the golden model, word by word."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.checks as checks
import hwgen.flow.stages as stages
from hwgen.cli._console import progress_bars
from hwgen.cli._options import DIRECTORY, JSON, VERIFY_OPTIONS, add_options
from hwgen.cli._result import finish
from hwgen.flow.options import FormalOptions, NetlistOptions, VerifyOptions
from hwgen.flow.workspace import Workspace
from hwgen.toolchain.synthesis import FAMILIES

__all__ = ["verify"]

_N, _F = NetlistOptions(), FormalOptions()


@click.command(short_help="Compare the Verilog with the golden model.")
@DIRECTORY
@add_options(VERIFY_OPTIONS)
@click.option("--fast", is_flag=True, help="Only the compiled simulation, without cocotb.")
@click.option(
    "--netlist",
    is_flag=True,
    help="Also simulate the netlist of the last 'hwgen synth', gate by gate.",
)
@click.option(
    "--family",
    type=click.Choice(sorted(FAMILIES)),
    help="With --netlist: synthesise for this FPGA family instead.",
)
@click.option(
    "--netlist-images",
    type=click.IntRange(1),
    default=_N.images,
    show_default=True,
    help="Test images for the netlist.",
)
@click.option("--formal", is_flag=True, help="Also prove every adder graph equal to its matrix.")
@click.option(
    "--solver-time",
    type=click.IntRange(0),
    default=_F.solver,
    show_default=True,
    metavar="SECONDS",
    help="Time of the SAT solver for each small adder graph, beside the proof by words; 0: none.",
)
@JSON
def verify(
    directory: Path,
    images: int,
    fast_images: int | None,
    layers: bool,
    verify_seed: int,
    fast: bool,
    netlist: bool,
    family: str | None,
    netlist_images: int,
    formal: bool,
    solver_time: int,
    as_json: bool,
) -> None:
    """Simulate DIR/design.v and compare every output word with the golden model.

    cocotb drives a few images with random gaps and random back-pressure; a compiled simulation
    runs the whole test set. One different bit is a failure, with layer, position, both values
    and a waveform.

    \b
        hwgen verify out/face --layers
        hwgen verify out/face --fast
        hwgen verify out/face --netlist                  # after 'hwgen synth'
        hwgen verify out/face --netlist --family ice40   # without it
        hwgen verify out/face --formal
    """
    if family is not None and not netlist:
        raise click.UsageError("--family says what a netlist is made for; add --netlist")
    workspace = Workspace.open(directory)
    options = VerifyOptions(
        images=0 if fast else images, fast_images=fast_images, layers=layers, seed=verify_seed
    )
    with progress_bars(quiet=as_json) as progress:
        stages.verify(workspace, options, progress)
        if netlist:
            chosen = NetlistOptions(family=family, images=netlist_images, seed=verify_seed)
            checks.verify_netlist(workspace, chosen, progress)
        if formal:
            checks.verify_formal(workspace, FormalOptions(solver=solver_time), progress)
    finish(workspace, as_json=as_json)
