"""Streaming datapaths of several pixels a beat: cycles, and what the first layer's windows share.

    python benchmarks/bench_pixels.py MODEL.onnx DATA.npz [--mix P4] [--family F] [1 2 4]

Networks with the nearest weights of a recipe. Adders and LUTs (of the graph and its registers, by
the cost model) are those of the first layer, a window of every pixel of a beat at once; "a pixel"
compares with as many copies of the graph of one pixel. Cycles are those of the whole pipeline.
"""

from __future__ import annotations

from pathlib import Path

import click
from bench_slim_hardware import approximated, integer

from hwgen.flow.data import count_classes, load_images
from hwgen.integer.widen import widen
from hwgen.network.onnx_import import import_onnx
from hwgen.shiftadd.luts import PROFILES, luts
from hwgen.stream.forms import parse_folding
from hwgen.stream.plan import plan_pipeline

IMAGES = 32  # that fit the formats


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.argument("pixels", type=int, nargs=-1)
@click.option("--mix", "recipe", default="P4", show_default=True, help="Recipe of all weights.")
@click.option("--family", default="ice40", show_default=True, type=click.Choice(list(PROFILES)))
@click.option("--effort", default=0, show_default=True, help="Of the search for graphs.")
def main(
    model: Path, data: Path, pixels: tuple[int, ...], recipe: str, family: str, effort: int
) -> None:
    """Compare widths of the stream."""
    network = import_onnx(model)
    images = load_images(data, network.input_shape, count_classes(network)).x[:IMAGES]
    whole = integer(approximated(network, images, recipe), images)
    first = next(node.origin for node, _ in whole.convs())
    one = 0.0
    print("| pixels | cycles an image | adders | a pixel | LUTs | a pixel | |")
    print("|---|---|---|---|---|---|---|")
    for count in pixels or (1, 2, 4):
        wide = widen(whole, count)
        folding = parse_folding(f"{first}=parallel")
        plan = plan_pipeline(wide, family=family, effort=effort, folding=folding)
        (graph,) = (s.graph for s in plan.stages if s.graph is not None and s.layer == first)
        cost = luts(graph, family)
        one = one or cost
        print(
            f"| {count} | {plan.timing.interval:g} | {graph.adders:,} "
            f"| {graph.adders / count:.1f} | {cost:,.0f} | {cost / count:,.0f} "
            f"| {cost / count / one - 1:+.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
