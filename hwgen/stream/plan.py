# amaranth: UnusedElaboratable=no
"""The plan of a streaming pipeline: every block, its parameters and its timing, as pure data."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from joblib import Parallel, delayed

from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.network.types import Shape
from hwgen.numeric import IntArray, Range
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.luts import PROFILES
from hwgen.shiftadd.optimise import optimize
from hwgen.stream.blocks import Stage, component
from hwgen.stream.choose import ROWS, layer_luts, open_layers
from hwgen.stream.cycles import Timing, balance, predict
from hwgen.stream.dense import lanes_for
from hwgen.stream.digits import digit_count
from hwgen.stream.forms import LayerForm, check_layers, form_of
from hwgen.stream.planner import Planner, fixed_interval

__all__ = [
    "GraphKey",
    "PipelinePlan",
    "graph_key",
    "plan_pipeline",
    "plan_stages",
    "with_digits",
    "with_graphs",
]

GraphKey = tuple[bytes, tuple[Range, ...], str]
"""What decides an adder graph: its matrix, the ranges of its inputs, and what it saves."""


@dataclass(frozen=True)
class PipelinePlan:
    """A streaming network before elaboration: its stages in topological order, and its timing.

    ``output`` is where the network's output comes from, in the form of :attr:`Stage.sources`.
    """

    name: str
    input_name: str
    input_shape: Shape
    input_ranges: tuple[Range, ...]
    stages: tuple[Stage, ...]
    output: str
    timing: Timing

    @property
    def output_stage(self) -> Stage:
        """The stage at the output."""
        name = self.output.partition(".")[0]
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(dict.fromkeys(stage.layer for stage in self.stages))

    @property
    def adders(self) -> int:
        """Adders in all adder graphs."""
        return sum(stage.graph.adders for stage in self.stages if stage.graph is not None)


def plan_pipeline(
    network: IntegerNetwork,
    *,
    adders_per_stage: int = 1,
    slack: float = 1 / 16,
    jobs: int = 1,
    family: str | None = None,
    effort: int = 0,
    folding: Mapping[str, LayerForm] = MappingProxyType({}),
    known: MutableMapping[GraphKey, AdderGraph] | None = None,
) -> PipelinePlan:
    """Plan the pipeline of an integer network.

    Parameters
    ----------
    network
        Network to build.
    adders_per_stage
        Adders on the longest path between two registers of an adder graph.
    slack
        By how much a fully connected layer may be slower than the slowest other stage, as a
        fraction, if that saves lanes.
    jobs
        Processes that look for adder graphs, one matrix each at a time; -1 for one a core.
    family
        FPGA family that the pipeline is for, by its name in a cost profile
        (:data:`hwgen.shiftadd.luts.PROFILES`); None for any. It decides what adder graphs save
        and how they subtract, not what they compute; and whether a convolution whose form is not
        given is built by windows or by rows, whichever takes fewer LUTs. Without a family, which
        prices adders against registers, it is by windows.
    effort
        Work that is spent on each matrix to save adders, or LUTs of the family, in steps for each
        adder (:func:`hwgen.shiftadd.optimise.optimize`).
    folding
        Forms of linear layers, by their names (:mod:`hwgen.stream.forms`).
    known
        Graphs from plans with the same family and effort, which are not looked for again; new ones
        are added.

    Raises
    ------
    UnsupportedError
        If there is nothing to build.
    DataError
        If the folding names a layer that is not a linear one of the network.
    ValueError
        If there is no profile of this family.
    """
    stages, output = plan_stages(
        network,
        adders_per_stage=adders_per_stage,
        slack=slack,
        jobs=jobs,
        family=family,
        effort=effort,
        folding=folding,
        known=known,
    )
    balanced = balance(stages)
    return PipelinePlan(
        name=network.name,
        input_name=network.input_name,
        input_shape=network.input_shape,
        input_ranges=network.ranges(network.input_name),
        stages=balanced,
        output=output,
        timing=predict(balanced),
    )


def plan_stages(
    network: IntegerNetwork,
    *,
    adders_per_stage: int = 1,
    slack: float = 1 / 16,
    jobs: int = 1,
    family: str | None = None,
    effort: int = 0,
    folding: Mapping[str, LayerForm] = MappingProxyType({}),
    known: MutableMapping[GraphKey, AdderGraph] | None = None,
) -> tuple[list[Stage], str]:
    """The stages of a pipeline and where its output comes from, before buffers get their depths.

    Parameters are those of :func:`plan_pipeline`, which raises the same.
    """
    if family is not None and family not in PROFILES:
        raise ValueError(f"Family must be one of {', '.join(PROFILES)}, not {family!r}")
    planner = Planner(network, folding, adders_per_stage=adders_per_stage)
    output = planner.run()
    check_layers(folding, [node.origin for node in planner.nodes if isinstance(node.op, Conv)])
    choices = open_layers(network, planner.stages, folding) if family is not None else ()
    other = Planner(
        network,
        {**folding, **dict.fromkeys(choices, ROWS)},
        adders_per_stage=adders_per_stage,
    )
    if choices:
        other.run()
    find = partial(
        _graphs,
        jobs=jobs,
        family=family,
        effort=effort,
        known={} if known is None else known,
    )
    layers = {stage.name: stage.layer for stage in other.stages}
    turned = [name for name in other.matrices if layers[name] in choices]
    graphs, by_rows = find([(planner, list(planner.matrices)), (other, turned)])
    if family is not None:
        cost = partial(layer_luts, profile=PROFILES[family], adders_per_stage=adders_per_stage)
        chosen = [
            layer
            for layer in choices
            if cost(other.stages, by_rows, layer) < cost(planner.stages, graphs, layer)
        ]
        planner = Planner(
            network,
            {**folding, **dict.fromkeys(chosen, ROWS)},
            adders_per_stage=adders_per_stage,
        )
        output = planner.run()
        graphs |= {name: graph for name, graph in by_rows.items() if layers[name] in chosen}
    stages = with_graphs(planner.stages, graphs, family)
    busiest = int(fixed_interval(network, stages, folding) * (1 + slack))
    stages = [_timed(stage, busiest, folding) for stage in stages]
    return stages, output


def _graphs(
    wanted: Sequence[tuple[Planner, Sequence[str]]],
    *,
    jobs: int,
    family: str | None,
    effort: int,
    known: MutableMapping[GraphKey, AdderGraph],
) -> list[dict[str, AdderGraph]]:
    """The graphs of the named matrices of each planner; what is not ``known`` is looked for."""
    keys: list[dict[str, GraphKey]] = []
    missing: dict[GraphKey, IntArray] = {}
    for planner, names in wanted:
        stages = {stage.name: stage for stage in planner.stages}
        keys.append(
            {name: graph_key(stages[name], planner.matrices[name], family) for name in names}
        )
        for name, key in keys[-1].items():
            if key not in known:
                missing[key] = planner.matrices[name]
    found = Parallel(n_jobs=jobs)(
        delayed(optimize)(matrix, inputs=ranges, objective=objective, effort=effort)
        for (_, ranges, objective), matrix in missing.items()
    )
    known.update(zip(missing, found, strict=True))
    graphs = [{name: known[key] for name, key in each.items()} for each in keys]
    for (planner, _), each in zip(wanted, graphs, strict=True):
        for name, graph in each.items():
            graph.verify(planner.matrices[name])
    return graphs


def graph_key(stage: Stage, matrix: IntArray, family: str | None) -> GraphKey:
    """What decides the adder graph of a stage with that matrix on an FPGA family."""
    # an adder of digits costs the same whatever the width of its words
    saved = "adders" if family is None or stage.digit else f"luts:{family}"
    return matrix.tobytes(), stage.ranges[0], saved


def with_graphs(
    stages: Sequence[Stage], graphs: Mapping[str, AdderGraph], family: str | None
) -> list[Stage]:
    """The stages with the graphs of those that have one, by their names, and with their digits."""
    complement = family is not None and PROFILES[family].inverters
    found = [
        replace(stage, graph=graphs.get(stage.name), complement=complement and stage.name in graphs)
        for stage in stages
    ]
    return with_digits(found, {s.name: _digits(s) for s in found if s.form == "digit_adders"})


def _digits(stage: Stage) -> int:
    block: Any = component(stage)
    digits: int = block.interval
    return digits


def with_digits(stages: Sequence[Stage], words: Mapping[str, int]) -> list[Stage]:
    """The stages with as many digits a word as what reads them needs.

    ``words`` has the digits of each stage of ``digit_adders``.
    """
    found = {stage.name: stage for stage in stages}
    for stage in stages:
        if stage.form != "digit_adders":
            continue
        digits = words[stage.name]
        reader: Stage | None = stage
        while reader is not None:
            found[reader.name] = replace(reader, digits=digits)
            source = found.get(reader.sources[0])
            if reader.form == "digit_window":
                digits = digit_count(reader.values, reader.digit)
            reader = (
                source
                if source is not None and source.digit and reader.form != "serialise"
                else None
            )
    return list(found.values())


def _timed(stage: Stage, interval: int, folding: Mapping[str, LayerForm]) -> Stage:
    """The stage with its lanes and its latency."""
    if stage.form == "dense" and form_of(folding, stage.layer) is None:
        assert isinstance(stage.op, Conv)
        stage = replace(stage, lanes=lanes_for(stage.op, interval=interval))
    block: Any = component(stage)
    return replace(stage, latency=block.latency)
