"""The cheaper of the forms of a parallel convolution: by windows or by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.luts import Profile, luts
from hwgen.stream.blocks import Stage, component
from hwgen.stream.chain import Chain
from hwgen.stream.forms import LayerForm, form_of

__all__ = ["ROWS", "layer_luts", "open_layers"]

ROWS = LayerForm("rows")


def open_layers(
    network: IntegerNetwork, stages: Sequence[Stage], folding: Mapping[str, LayerForm]
) -> tuple[str, ...]:
    """Layers built by windows that could be built by rows, as the folding leaves the choice."""
    return tuple(
        dict.fromkeys(
            stage.layer
            for stage in stages
            if stage.form == "window"
            and stage.scan is not None
            and stage.scan.kernel[1] > 1
            and isinstance(network.node(stage.node).op, Conv)
            and form_of(folding, stage.layer) is None
        )
    )


def layer_luts(
    stages: Sequence[Stage],
    graphs: Mapping[str, AdderGraph],
    layer: str,
    profile: Profile,
    *,
    adders_per_stage: int = 1,
) -> float:
    """LUTs of the windows or columns of a layer, of its adder graph and of its chains.

    Registers that no LUT feeds cost what the profile says. Line memories and counters are the same
    in both forms and not counted.
    """
    total = 0.0
    before = {stage.name: stage for stage in stages}
    idle = profile.delay + profile.register
    for stage in stages:
        if stage.layer != layer:
            continue
        if stage.name in graphs:
            graph = graphs[stage.name]
            total += luts(graph, profile, adders_per_stage=adders_per_stage)
            read = before.get(stage.sources[0])
            if read is not None and read.form in ("window", "column"):
                total += idle * _input_bits(read, graph)
        elif stage.form == "chain":
            block = component(stage)
            assert isinstance(block, Chain)
            cells = sum(profile.step * -(-bits // profile.step) for bits in block.added_bits)
            total += profile.cell * cells + profile.register * sum(block.added_bits)
            total += idle * block.kept_bits + block.masked_bits
    return total


def _input_bits(stage: Stage, graph: AdderGraph) -> int:
    """Bits of the registers of a window or a column, as far as a graph reads them.

    A window's row is a chain of registers, up to the oldest column that is read.
    """
    assert stage.scan is not None
    (kh, kw), (_, dilation) = stage.scan.kernel, stage.scan.dilations
    columns = kw if stage.form == "window" else 1
    read = graph.matrix.any(axis=1).reshape(-1, kh, columns)
    oldest = np.where(read.any(axis=2), (columns - 1 - read.argmax(axis=2)) * dilation + 1, 0)
    widths = [r.width for r in stage.output_ranges[columns - 1 :: columns]]
    return int(oldest.ravel() @ np.array(widths))
