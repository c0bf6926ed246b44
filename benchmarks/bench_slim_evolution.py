"""Evolution against the greedy search: the same sets of filters, and equally many evaluations.

    python benchmarks/bench_slim_evolution.py MODEL.onnx DATA.npz [TEST.npz] [--seeds N]

Both remove whole filters to save multiplications, and fit the weights that are left to the same
calibration images. Evolution rates as many genomes as the greedy search made trials and checks,
or ``--evaluations``. Equal numbers favour evolution: a genome is fitted and measured as a whole, a
trial runs only what is behind its layer, on some of the images. CPU seconds tell. Test images
choose nothing; the loss on them has its paired 95 % interval.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
from bench_slim import measured

from hwgen.flow.data import Images, count_classes, load_images
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.slim import evolve as evolution
from hwgen.slim import search as greedy
from hwgen.slim.objectives import MACS


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("test", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--budget", default=0.01, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Runs of evolution.")
@click.option("--evaluations", type=int, help="Genomes that evolution rates.")
@click.option("--choosing", default=1000, show_default=True)
@click.option("--calibration", default=256, show_default=True)
@click.option("--block", default=1, show_default=True, help="Filters of a greedy move.")
def main(
    model: Path,
    data: Path,
    test: Path | None,
    budget: float,
    seeds: int,
    evaluations: int | None,
    choosing: int,
    calibration: int,
    block: int,
) -> None:
    """Print the table."""
    network = import_onnx(model)
    every = load_images(data, network.input_shape, count_classes(network))
    order = np.random.default_rng(0).permutation(len(every))
    fitting = every.take(order[:calibration])
    chosen = every.take(order[calibration : calibration + choosing])
    images = (
        None if test is None else load_images(test, network.input_shape, count_classes(network))
    )
    print("| search | evaluations | saved | loss, choosing | loss, test | 95 % interval | CPU s |")
    print("|---|---|---|---|---|---|---|")

    begin = time.process_time()
    found = greedy.search(
        *(network, fitting.x, chosen.x, chosen.y),
        budget=budget,
        objective=MACS,
        families=("features",),
        settings=greedy.Settings(block=block),
    )
    count = found.effort.trials + found.effort.checks
    seconds = time.process_time() - begin
    show(
        "greedy", count, found.saved, found.steps[-1].loss, network, found.network, images, seconds
    )
    for seed in range(seeds):
        begin = time.process_time()
        evolved = evolution.evolve(
            *(network, fitting.x, chosen.x, chosen.y),
            budget=budget,
            objective=MACS,
            evaluations=evaluations or count,
            settings=evolution.Settings(seed=seed),
        )
        seconds = time.process_time() - begin
        show(
            *(f"evolution, seed {seed}", evolved.evaluations, evolved.saved, evolved.best.loss),
            *(network, evolved.network, images, seconds),
        )


def show(
    name: str,
    evaluations: int,
    saved: float,
    loss: float,
    before: Network,
    after: Network,
    images: Images | None,
    seconds: float,
) -> None:
    """Print a line of the table."""
    cells = [name, f"{evaluations:,}", f"{saved:.1%}", f"{loss:.2%}", "", ""]
    if images is not None:
        on_test = measured(before, after, images)
        cells[4] = f"{on_test['loss']:.2%}"
        cells[5] = f"{on_test['low']:.2%} to {on_test['high']:.2%}"
    print(f"| {' | '.join(cells)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
