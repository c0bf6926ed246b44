"""``hwgen generate``: write the Verilog."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
import hwgen.flow.wrapping as wrapping
from hwgen.cli._console import progress_bars
from hwgen.cli._options import (
    DIRECTORY,
    GENERATE_OPTIONS,
    JSON,
    add_options,
    generate_options,
)
from hwgen.cli._result import finish
from hwgen.flow.options import Backend, Memory
from hwgen.flow.workspace import Workspace
from hwgen.flow.wrapping import WRAPPERS, Wrapper
from hwgen.toolchain.synthesis import FAMILIES

__all__ = ["generate"]


@click.command(short_help="Write the Verilog.")
@DIRECTORY
@click.option("--family", type=click.Choice(sorted(FAMILIES)), help="FPGA family to save LUTs on.")
@add_options(GENERATE_OPTIONS)
@click.option(
    "--wrapper",
    "wrappers",
    type=click.Choice(WRAPPERS),
    multiple=True,
    help="Put the design on a bus too: DIR/design_axis.v has AXI4-Stream, DIR/design_wishbone.v is "
    "a Wishbone slave. May be given twice.",
)
@JSON
def generate(
    directory: Path,
    family: str | None,
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
    wrappers: tuple[Wrapper, ...],
    as_json: bool,
) -> None:
    """Build hardware for the integer network in DIR and write DIR/design.v.

    The NFU back end also writes its program, DIR/program.nfu, and what lies in its memory,
    DIR/image.npz for 'hwgen nfu' and DIR/image.bin as bytes. DIR/design.core is for FuseSoC.

    \b
        hwgen generate out/face
        hwgen generate out/face --family ice40
        hwgen generate out/face --effort 1000    # fewer adders, slower
        hwgen generate out/face --forms 'conv1=parallel,*=memory:2'
        hwgen generate out/face --pixels 4       # four pixels a cycle
        hwgen generate out/face --backend nfu --tile 4x8
        hwgen generate out/face --backend nfu --loadable --room-for out/digits
        hwgen generate out/face --size 120x160   # scans pictures of 120 rows of 160 pixels
        hwgen generate out/face --wrapper axis --wrapper wishbone
    """
    options = generate_options(
        family=family,
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
    workspace = Workspace.open(directory)
    with progress_bars(quiet=as_json) as progress:
        stages.generate(workspace, options, progress)
        wrapping.write_wrappers(workspace, wrappers)
    finish(workspace, as_json=as_json)
