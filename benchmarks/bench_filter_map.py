"""Adders of layers whose filters are overlapping blocks of one shared map ("3D-FilterMap").

    python benchmarks/bench_filter_map.py [--seeds N] [--effort N]

Filter (p, q, r) is the block ``map[p:p+K, q:q+K, r:r+C]`` (arXiv 1801.01609), for P x Q x R offsets
and kernels of K x K pixels and C channels; the map holds integers of 6 bits, drawn evenly without
0. "Shuffled" are filters with the same values in any places. Forms of the layer:

* unshared: a tree for every filter, of canonical signed digits;
* direct: a window of the image times one matrix, C K K inputs by as many outputs as filters, as the
  streaming datapath builds it;
* by rows: a row of the window times a matrix, C K by K outputs a filter; the partial sums of K rows
  are added, a line apart;
* by pixels: a pixel times a matrix, C by K K outputs a filter, and K K - 1 additions behind.

Additions behind the matrix are counted. Medians over seeds.
"""

from __future__ import annotations

import click
import numpy as np

from hwgen.numeric import IntArray, csd_weight
from hwgen.shiftadd import optimize

LAYERS = (
    ((4, 4, 1), 3, 2),
    ((4, 4, 2), 3, 3),
    ((2, 2, 4), 3, 4),
    ((3, 3, 2), 5, 2),
)
"""Offsets, size of a kernel, channels."""


def filters_of_map(
    rng: np.random.Generator, offsets: tuple[int, ...], size: int, depth: int
) -> IntArray:
    """Weights (P Q R, C, K, K)."""
    p, q, r = offsets
    values = np.concatenate([np.arange(-31, 0), np.arange(1, 32)])
    shared = rng.choice(values, size=(p + size - 1, q + size - 1, r + depth - 1))
    blocks = np.lib.stride_tricks.sliding_window_view(shared, (size, size, depth))
    return np.asarray(blocks.reshape(-1, size, size, depth).transpose(0, 3, 1, 2))


def forms(weight: IntArray) -> dict[str, tuple[IntArray, int]]:
    """Matrix (inputs, outputs) of each form, and additions behind it."""
    count, depth, height, width = weight.shape
    return {
        "direct": (weight.reshape(count, -1).T, 0),
        "by rows": (
            weight.transpose(1, 3, 0, 2).reshape(depth * width, -1),
            count * (height - 1),
        ),
        "by pixels": (
            weight.transpose(1, 0, 2, 3).reshape(depth, -1),
            count * (height * width - 1),
        ),
    }


def adders(weight: IntArray, effort: int) -> dict[str, int]:
    """Adders of each form."""
    terms = sum(csd_weight(value) for value in weight.ravel().tolist())
    found = {"unshared": terms - len(weight)}
    for name, (matrix, behind) in forms(weight).items():
        found[name] = optimize(matrix, effort=effort).adders + behind
    return found


@click.command()
@click.option("--seeds", default=5, show_default=True)
@click.option("--effort", default=0, show_default=True)
def main(seeds: int, effort: int) -> None:
    """Print the table."""
    print("| offsets | kernel | filters | | unshared | direct | by rows | by pixels |")
    print("|---|---|---|---|---|---|---|---|")
    for offsets, size, depth in LAYERS:
        found: dict[str, list[dict[str, int]]] = {"map": [], "shuffled": []}
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            weight = filters_of_map(rng, offsets, size, depth)
            found["map"].append(adders(weight, effort))
            shuffled = rng.permutation(weight.ravel()).reshape(weight.shape)
            found["shuffled"].append(adders(shuffled, effort))
        shape = " x ".join(map(str, offsets)), f"{depth} x {size} x {size}"
        for kind, rows in found.items():
            medians = [f"{np.median([row[form] for row in rows]):.0f}" for form in rows[0]]
            print("|", " | ".join([*shape, str(np.prod(offsets)), kind, *medians]), "|", flush=True)


if __name__ == "__main__":
    main()
