"""Convolutions by windows and by rows: adders, and LUTs as the planner expects them.

    python benchmarks/bench_rows.py MODEL.onnx DATA.npz [--mix P4] [--family F] [--effort N]
        [--synthesise]

Layers of the network with the nearest weights of a recipe. By rows, adders are those of the graph
and of the chains behind it; LUTs are those of the graph, of the window's or column's registers and
of the chains, with the registers that spoil LUTs (``hwgen/stream/choose.py``). Line memories are
the same in both. ``--synthesise`` adds what Yosys makes of the whole network, with all these layers
by windows, all by rows, and as the planner chooses.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import process_time

import click
from bench_slim_hardware import approximated, integer

from hwgen.flow.data import count_classes, load_images
from hwgen.network.onnx_import import import_onnx
from hwgen.shiftadd.luts import PROFILES
from hwgen.stream.blocks import component
from hwgen.stream.chain import Chain
from hwgen.stream.choose import ROWS, layer_luts, open_layers
from hwgen.stream.forms import LayerForm
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

IMAGES = 32  # that fit the formats


def adders(plan: PipelinePlan, layer: str) -> int:
    """Adders of a layer's graph and chains."""
    total = 0
    for stage in plan.stages:
        if stage.layer == layer and stage.graph is not None:
            total += stage.graph.adders
        if stage.layer == layer and stage.form == "chain":
            block = component(stage)
            assert isinstance(block, Chain)
            total += len(block.added_bits)
    return total


def luts_of(plan: PipelinePlan, family: str) -> int:
    """LUTs of a pipeline by Yosys."""
    design = emit(plan)
    with tempfile.TemporaryDirectory() as folder:
        job = SynthesisJob({"d.v": design.verilog}, design.name, family, Path(folder))
        (result,) = synthesise(job)
    return result.area.luts


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--mix", "recipe", default="P4", show_default=True, help="Recipe of all weights.")
@click.option("--family", default="ice40", show_default=True, type=click.Choice(list(PROFILES)))
@click.option("--effort", default=0, show_default=True, help="Of the search for graphs.")
@click.option("--synthesise", "yosys", is_flag=True, help="Ask Yosys for the whole network too.")
def main(model: Path, data: Path, recipe: str, family: str, effort: int, yosys: bool) -> None:
    """Compare the forms of a network's convolutions."""
    network = import_onnx(model)
    images = load_images(data, network.input_shape, count_classes(network)).x[:IMAGES]
    whole = integer(approximated(network, images, recipe), images)
    layers = open_layers(whole, plan_pipeline(whole).stages, {})
    plans: dict[str, PipelinePlan] = {}
    seconds: dict[str, float] = {}
    for name, form in (("windows", LayerForm("parallel")), ("rows", ROWS)):
        started = process_time()
        folding = dict.fromkeys(layers, form)
        plans[name] = plan_pipeline(whole, family=family, effort=effort, folding=folding)
        seconds[name] = process_time() - started
    costs: dict[str, list[float]] = {name: [] for name in plans}
    print("| layer | adders, windows | rows | | LUTs, windows | rows | |")
    print("|---|---|---|---|---|---|---|")
    for layer in layers:
        counts = [adders(plan, layer) for plan in plans.values()]
        for name, plan in plans.items():
            graphs = {stage.name: stage.graph for stage in plan.stages if stage.graph is not None}
            costs[name].append(layer_luts(plan.stages, graphs, layer, PROFILES[family]))
        before, after = (cost[-1] for cost in costs.values())
        print(
            f"| {layer} | {counts[0]:,} | {counts[1]:,} | {counts[1] / counts[0] - 1:+.1%} "
            f"| {before:,.0f} | {after:,.0f} | {after / before - 1:+.1%} |",
            flush=True,
        )
    print(f"\nCPU seconds of the plans: {', '.join(f'{s:.1f}' for s in seconds.values())}")
    if not yosys:
        return
    pairs = zip(layers, *costs.values(), strict=True)
    chosen = {layer: ROWS if b < a else LayerForm("parallel") for layer, a, b in pairs}
    plans["chosen"] = plan_pipeline(whole, family=family, effort=effort, folding=chosen)
    for name, plan in plans.items():
        print(f"{name}: {luts_of(plan, family):,} LUTs", flush=True)


if __name__ == "__main__":
    main()
