"""The host link by itself on boards: LUTs, flip-flops and clock, around a core of registers.

    python benchmarks/bench_link.py [--board NAME]... [--spi] [--seeds N] [--out DIR] [--path]

The core keeps pixels in a register that is as wide as its result, so nothing in it is slow; what is
counted beside it is the link, the reset and the pins. Clocks are the median of several seeds.
``--path`` prints the cells of the slowest path of the last seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import click

from hwgen.boards import Board, find_board
from hwgen.boards.constraints import constraints
from hwgen.boards.top import top_name, top_verilog
from hwgen.boards.types import Wires
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

BOARDS = ("hx8k-evn", "icebreaker", "ulx3s-25f")
CASES = {
    "a decision": ((1, 36, 32), ((8, True),), (1, 1, 1), ((8, True),)),
    "ten sums of 16 bits": ((1, 28, 28), ((8, False),), (10, 1, 1), ((16, True),) * 10),
    "a map of 16 x 16": ((3, 32, 32), ((8, True),) * 3, (3, 16, 16), ((8, True),) * 3),
}
CORE = """module link_core (
  input clk, input rst,
  input [{i}:0] i__payload, input i__valid, output i__ready,
  output [{o}:0] o__payload, output o__valid, input o__ready
);
  reg [{o}:0] kept;
  reg full;
  assign i__ready = 1'b1;
  assign o__payload = kept;
  assign o__valid = full;
  always @(posedge clk) begin
    if (i__valid) kept <= {{kept, i__payload}};
    full <= i__valid | (full & ~o__ready);
    if (rst) full <= 1'b0;
  end
endmodule
"""


@click.command()
@click.option("--board", "names", multiple=True, default=BOARDS, show_default=True)
@click.option("--spi", "link", flag_value="spi", type=str, help="SPI instead of a UART.")
@click.option("--seeds", default=5, show_default=True, help="Of place and route.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/link"), show_default=True)
@click.option("--path", is_flag=True, help="Print the slowest path.")
def main(names: tuple[str, ...], link: Wires | None, seeds: int, out: Path, path: bool) -> None:
    """Measure the link."""
    print("| result | board | LUTs | flip-flops | block RAMs | clock | slowest to fastest |")
    print("|---|---|---|---|---|---|---|")
    for case, layouts in CASES.items():
        design = _design(*layouts)
        core = design.output_layout.width + 1
        for name in names:
            board, folder = find_board(name), out / name / case.replace(" ", "_")
            sources = {"core.v": design.verilog}
            sources["top.v"] = top_verilog(design, board, link=link or "uart")
            job = SynthesisJob(sources, top_name(design), board.family, folder)
            (result,) = synthesise(job)
            clocks = sorted(_clocks(board, design, link or "uart", seeds, folder))
            print(
                f"| {case} | {board.title} | {result.area.luts} | {result.area.ffs - core} "
                f"| {result.area.brams} | {median(clocks):.1f} MHz "
                f"| {clocks[0]:.1f} to {clocks[-1]:.1f} |",
                flush=True,
            )
            if path:
                _print_path(folder / f"{top_name(design)}.report.json")


def _design(
    shape: tuple[int, int, int],
    channels: tuple[tuple[int, bool], ...],
    result: tuple[int, int, int],
    results: tuple[tuple[int, bool], ...],
) -> StreamDesign:
    """A design that is nothing but a register."""
    into, out = PixelLayout(channels), PixelLayout(results)
    text = CORE.format(i=into.width - 1, o=out.width - 1)
    return StreamDesign("link_core", text, shape, into, result, out)


def _clocks(
    board: Board, design: StreamDesign, link: Wires, seeds: int, folder: Path
) -> Iterator[float]:
    for seed in range(1, seeds + 1):
        yield place_and_route(
            board.device,
            name=top_name(design),
            directory=folder,
            constraints=constraints(board, link),
            freq=board.target_mhz,
            seeds=(seed,),
        ).fmax_mhz


def _print_path(report: Path) -> None:
    """Cells and wires of the slowest path between registers, with their delays."""
    paths = json.loads(report.read_text())["critical_paths"]
    inside = [p["path"] for p in paths if p["from"] == p["to"]]
    for step in max(inside, key=lambda path: sum(step["delay"] for step in path)):
        net = step.get("net", "")
        print(f"    {step['delay']:6.2f} ns {step['type']:8} {step['to']['cell']} {net}")


if __name__ == "__main__":
    main()
