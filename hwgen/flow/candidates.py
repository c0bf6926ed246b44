"""Every layer of a network in every form that it can have, with what each costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from hwgen.errors import DataError, UnsupportedError
from hwgen.estimate.choose import Candidate
from hwgen.estimate.design import stage_cost
from hwgen.estimate.model import Cost
from hwgen.flow.progress import Progress
from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.shiftadd.graph import AdderGraph
from hwgen.stream.blocks import Stage
from hwgen.stream.forms import LayerForm
from hwgen.stream.plan import GraphKey, plan_stages

__all__ = ["Candidates", "find_candidates", "possible_forms"]

_DIGITS = (8, 4, 2, 1)
_WIDEST = 64
_SHARING, _BITS = 4, 8
"""Most weights that share an adder, and its bits: both kinder than what is ever reached."""


@dataclass
class Candidates:
    """Candidates of each layer, in order, and what the parts without a form take.

    ``fixed`` is their cost and ``cycles`` those of the slowest of them.
    """

    layers: dict[str, list[Candidate]] = field(default_factory=dict)
    fixed: Cost = field(default_factory=Cost)
    cycles: int = 1


def possible_forms(op: Conv, *, room: float) -> Iterator[LayerForm]:
    """Forms that a layer can have, unless they are sure to need more than ``room`` LUTs."""
    outputs = op.weight.shape[0]
    adders = np.count_nonzero(op.weight) / _SHARING
    if adders * _BITS <= room:
        yield LayerForm("parallel")
        if op.kernel[1] > 1:
            yield LayerForm("rows")
    yield from (LayerForm("serial", d) for d in _DIGITS if adders * (d + 1) <= room)
    lanes = [1 << k for k in range(_WIDEST.bit_length()) if 1 << k < outputs]
    yield from (LayerForm("memory", p) for p in (*lanes, min(outputs, _WIDEST)))


def find_candidates(
    network: IntegerNetwork, family: str, *, room: float, effort: int, progress: Progress
) -> Candidates:
    """Candidates of every layer on an FPGA family with ``room`` LUTs.

    A layer's cost is that of all stages from it to the next layer, in a pipeline whose layers have
    the same form, if they can.
    """
    owners = _owners(network)
    ops = {node.origin: op for node, op in network.convs()}
    forms = {layer: tuple(possible_forms(op, room=room)) for layer, op in ops.items()}
    every = list(dict.fromkeys(form for some in forms.values() for form in some))
    found = Candidates({layer: [] for layer in ops})
    known: MutableMapping[GraphKey, AdderGraph] = {}
    for k, form in enumerate(every):
        progress("Forms of layers", k / len(every))
        folding = {layer: _nearest(form, some) for layer, some in forms.items()}
        try:
            stages, _ = plan_stages(
                network, family=family, effort=effort, folding=folding, known=known, jobs=-1
            )
        except (DataError, UnsupportedError):
            continue  # a form that this network cannot have
        for layer, group in _grouped(stages, owners).items():
            cost = reduce(add, (stage_cost(stage, family) for stage in group), Cost())
            cycles = max(stage.cycles for stage in group)
            if layer == "":
                found.fixed, found.cycles = cost, cycles
            elif folding[layer] == form:
                found.layers[layer].append(Candidate(layer, form, cost, cycles))
    progress("Forms of layers", 1.0)
    return found


def _nearest(form: LayerForm, possible: tuple[LayerForm, ...]) -> LayerForm:
    """The form, or what a layer has instead while others have it."""
    return form if form in possible else possible[-1]


def _owners(network: IntegerNetwork) -> dict[str, str]:
    """For each tensor the linear layer that it comes from; none for what precedes them all."""
    owners = {network.input_name: ""}
    for node in network.nodes:
        linear = isinstance(node.op, Conv)
        owners[node.name] = node.origin if linear else owners[node.inputs[0]]
    return owners


def _grouped(stages: list[Stage], owners: Mapping[str, str]) -> dict[str, list[Stage]]:
    groups: dict[str, list[Stage]] = {}
    for stage in stages:
        groups.setdefault(owners[stage.node], []).append(stage)
    return groups
