"""Make the drawings of nfu.md from the parameters that the hardware has.

python docs/nfu_figures.py
"""

from __future__ import annotations

import doctest
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from figure_style import figure_of
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from hwgen.nfu.chart import draw_trace, save
from hwgen.nfu.config import REFERENCE, NfuConfig
from hwgen.nfu.cycles import schedule
from hwgen.nfu.isa import WORD_WIDTH
from hwgen.nfu.stages import read_stage, scale_levels, search_stages, tree_levels, write_stage
from hwgen.nfu.timing import Timing

PAGE = Path(__file__).parent / "nfu.md"
FIGURES = Path(__file__).parent / "figures"
MEMORY, BUFFER, STAGE, CONTROL = "#e9d8a6", "#cfe0f0", "#bcd9c2", "#e6d3e6"


def main() -> None:
    for figure in (blocks, pipeline, worked):
        figure()
        print(f"{figure.__name__}")


def _box(axes: Axes, at: tuple[float, float, float, float], text: str, colour: str) -> None:
    x, y, width, height = at
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            fc=colour,
            ec="#444444",
            lw=0.8,
        )
    )
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7.5)


def _arrow(
    axes: Axes, begin: tuple[float, float], end: tuple[float, float], text: str = ""
) -> None:
    axes.add_patch(
        FancyArrowPatch(begin, end, arrowstyle="-|>", mutation_scale=8, color="#444444", lw=0.8)
    )
    if text:
        middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2 + 0.12)
        axes.text(*middle, text, ha="center", va="bottom", fontsize=6.5)


def blocks(config: NfuConfig = REFERENCE) -> None:
    """Buffers, stages and control, with the widths of the reference point."""
    lane = config.lane
    word = config.ti * config.activation_width
    sums = config.tn * config.accumulator_width
    with figure_of(FIGURES / "nfu-blocks.svg", width=7.5, height=4.2) as figure:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, 13)
        axes.set_ylim(0, 7)
        _box(axes, (0, 0.2, 1.3, 6.6), "memory", MEMORY)
        buffers = (
            (5.6, "index words", config.sb_depth, config.index_width),
            (4.2, "SB", config.sb_depth, config.codes_width),
            (2.8, "NBin", config.nbin_depth, word),
            (1.4, "table", config.table_depth, config.table_width),
        )
        for y, name, depth, width in buffers:
            _box(axes, (3, y, 2, 1.1), f"{name}\n{depth} x {width} bits", BUFFER)
        _arrow(axes, (1.3, 5.45), (3, 5.45), f"{config.row_width} bits")
        for y, _, _, width in buffers[2:]:
            _arrow(axes, (1.3, y + 0.55), (3, y + 0.55), f"{width} bits")
        _box(axes, (3, 0.2, 2, 0.9), f"NBout\n{config.nbout_depth} x {sums} bits", BUFFER)
        _arrow(axes, (3, 0.65), (1.3, 0.65), f"{config.tn} values")
        _box(
            axes,
            (6.2, 2.8, 1.7, 2.5),
            f"NFU-1\n{config.tn} x {config.ti} lanes\nof {lane.terms} terms",
            STAGE,
        )
        _box(
            axes,
            (8.6, 2.8, 1.7, 2.5),
            f"NFU-2\n{config.tn} trees of\n{config.ti * lane.terms} terms,\n"
            f"{config.tn} sums of\n{config.accumulator_width} bits",
            STAGE,
        )
        _box(
            axes,
            (11, 2.8, 1.7, 2.5),
            f"NFU-3\n{config.nfu3_lanes} lanes,\nscales of\n{config.scale_terms} terms,\n"
            f"{config.product_width} bits",
            STAGE,
        )
        _arrow(axes, (5, 4.75), (6.2, 4.75))
        _arrow(axes, (5, 3.35), (6.2, 3.35))
        _arrow(axes, (7.9, 4.05), (8.6, 4.05))
        _arrow(axes, (10.3, 4.05), (11, 4.05))
        axes.plot([5, 11.4, 11.4], [1.95, 1.95, 2.5], color="#444444", lw=0.8)
        _arrow(axes, (11.4, 2.4), (11.4, 2.8))
        axes.plot([12.3, 12.3], [2.8, 0.5], color="#444444", lw=0.8)
        _arrow(axes, (12.3, 0.5), (5, 0.5), "outputs, and sums that go on")
        axes.plot([5, 9.45, 9.45], [0.95, 0.95, 2.5], color="#444444", lw=0.8)
        _arrow(axes, (9.45, 2.4), (9.45, 2.8))
        _box(
            axes,
            (6.2, 5.7, 6.5, 1.0),
            f"control: instructions of {WORD_WIDTH} bits\n"
            "dispatcher, three loaders, sequencer, store",
            CONTROL,
        )
        _arrow(axes, (6.2, 6.2), (5, 6.2), "row")
        axes.plot([4, 4], [5.6, 5.3], color="#444444", lw=0.8)
        axes.plot([3, 2.8, 2.8], [5.9, 5.9, 3.65], color="#444444", lw=0.8)
        _arrow(axes, (2.6, 3.65), (3.0, 3.65))
        axes.text(2.7, 4.8, "offset", fontsize=6.5, rotation=90, ha="right", va="center")


def _stages(config: NfuConfig) -> list[tuple[int, str]]:
    """First stage of each part of the pipeline, and its end."""
    tree = 5 + tree_levels(config)
    adders = tree + 3 + search_stages(config)
    return [
        (0, "index"),
        (1, "address"),
        (read_stage(), "SB, NBin"),
        (3, "NFU-1: shift, complement"),
        (5, f"NFU-2: tree of {tree_levels(config)} levels"),
        (tree, "sum"),
        (tree + 1, "NFU-3: scale, shift"),
        (adders, "adders"),
        (adders + scale_levels(config), "right shift"),
        (adders + scale_levels(config) + 2, "saturation"),
        (write_stage(config) - config.turns + 1, "turns, NBout"),
        (write_stage(config) + 1, ""),
    ]


def pipeline() -> None:
    """Stages of a small NFU and of the reference point."""
    configs = {"4 x 4, one lane of NFU-3": NfuConfig(), "16 x 16, the reference": REFERENCE}
    with figure_of(FIGURES / "nfu-pipeline.svg", width=7.5, height=2.6) as figure:
        axes = figure.subplots()
        for row, config in enumerate(configs.values()):
            stages = _stages(config)
            for k, ((begin, name), (end, _)) in enumerate(pairwise(stages)):
                colour = (BUFFER, STAGE)[k % 2]
                axes.broken_barh([(begin, end - begin)], (row - 0.4, 0.8), facecolors=colour)
                turned = 90 if end - begin < 4 else 0
                text = name.replace(": ", ":\n") if end - begin > 1 else name
                axes.text(
                    (begin + end) / 2,
                    row,
                    text,
                    ha="center",
                    va="center",
                    fontsize=6,
                    rotation=turned,
                )
        axes.set_yticks(range(len(configs)), configs)
        axes.set_ylim(len(configs) - 0.5, -0.5)
        axes.set_xlabel("stage: cycles after the issue of a group's last row")


def worked() -> None:
    """The worked program of the page, on a memory that takes 4 cycles to answer."""
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for example in doctest.DocTestParser().get_examples(block):
            exec(compile(example.source, str(PAGE), "exec"), names)
    config, program = names["config"], names["program"]
    found = schedule(config, program, Timing(latency=4))
    save(draw_trace(config, program, names["image"].rows, found), FIGURES / "nfu-worked.svg")


if __name__ == "__main__":
    main()
