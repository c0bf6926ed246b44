"""Every layer of a network in every form that it can have, with what each costs.

Optimising the adder graphs of every form of a large layer takes minutes, and few of them are in
any answer. So those of large layers are estimated first (:mod:`hwgen.estimate.graphs`); forms that
are sure not to fit the board are left out, and a graph is made when a choice wants it
(:meth:`Candidates.settle`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import add
from typing import Any

from joblib import Parallel, delayed

from hwgen.errors import DataError, UnsupportedError
from hwgen.estimate.choose import Candidate, Room
from hwgen.estimate.design import stage_cost
from hwgen.estimate.elaborated import uncollected
from hwgen.estimate.graphs import expected_digits, expected_parts, matrix_terms
from hwgen.estimate.model import Cost, model_of
from hwgen.flow.progress import Progress
from hwgen.integer.types import Conv, IntegerNetwork
from hwgen.numeric import IntArray
from hwgen.shiftadd.graph import AdderGraph
from hwgen.shiftadd.optimise import optimize
from hwgen.stream.blocks import Stage
from hwgen.stream.forms import LayerForm
from hwgen.stream.plan import GraphKey, graph_key, with_digits, with_graphs
from hwgen.stream.planner import Planner

__all__ = ["Candidates", "System", "find_candidates", "possible_forms"]

_DIGITS = (8, 4, 2, 1)
_WIDEST = 64
_ABREAST = (2, 4)
_SHARING, _BITS = 0.25, 8
"""Adders a digit of the weights, and their bits: both kinder than what is ever reached."""

_SMALL = 100
"""Digits of a matrix whose graph is made at once."""

_MANY_LANES, _BETWEEN = 16, 8
"""Accumulators of a layer in memory form above which so many are counted, beside one and all; costs
of other numbers are in between."""

_MANY = 2000
"""Digits of matrices for which it is worth to start processes."""

_COARSE = 4
"""Bits by which the values of layers that are alike differ at most, on average."""

_FAR = 4
"""How many times larger a form is than one as quick if it is in no answer."""

_HOPE, _SURE = 0.9, 0.6
"""Shares of an estimate: one that few real graphs are below, so that what may be better is looked
at, and one that none is."""


@dataclass(frozen=True)
class System:
    """A whole design that could run a network: what it costs, and its exact cycles an image.

    ``options`` are the fields of :class:`~hwgen.flow.options.GenerateOptions` that build it.
    """

    name: str
    cost: Cost
    cycles: int
    options: Mapping[str, Any]


@dataclass(frozen=True)
class _Part:
    """Stages of a layer in a form, and matrices of all stages that are to have adder graphs."""

    stages: tuple[Stage, ...]
    matrices: Mapping[str, IntArray]

    @property
    def graphless(self) -> tuple[Stage, ...]:
        """The stages that lack a graph."""
        return tuple(stage for stage in self.stages if stage.name in self.matrices)


@dataclass
class Candidates:
    """Candidates of each layer, in order, and what the parts without a form take.

    ``fixed`` is their cost and ``cycles`` those of the slowest of them, or of the input. ``graphs``
    are all that were made, which a plan for the same ``family`` with the same ``effort`` may use;
    ``room`` is what there is for all.
    """

    family: str
    effort: int
    room: Room
    layers: dict[str, list[Candidate]] = field(default_factory=dict)
    fixed: Cost = field(default_factory=Cost)
    cycles: int = 1
    graphs: MutableMapping[GraphKey, AdderGraph] = field(default_factory=dict)
    _parts: dict[tuple[str, LayerForm], _Part] = field(default_factory=dict)
    _alike: dict[Hashable, Cost] = field(default_factory=dict)

    def settle(self, chosen: Iterable[Candidate]) -> bool:
        """Count what was estimated of ``chosen`` with real adder graphs; whether anything was."""
        estimated = [(c.layer, c.form) for c in chosen if not c.exact and c.form is not None]
        self._make_graphs([self._parts[each] for each in estimated])
        for layer, form in estimated:
            self.layers[layer] = [
                self._counted(layer, form, self._parts[layer, form]) if c.form == form else c
                for c in self.layers[layer]
            ]
        return bool(estimated)

    def add(self, layer: str, form: LayerForm, part: _Part) -> None:
        """Add a candidate, unless it is sure not to matter."""
        if _terms(part) <= _SMALL:
            self._make_graphs([part])
        elif self._is_hopeless(layer, part):
            return
        self._parts[layer, form] = part
        self.layers[layer].append(self._counted(layer, form, part))

    def _is_hopeless(self, layer: str, part: _Part) -> bool:
        """Whether graphs alone are larger than the board, or far larger than what is as quick."""
        graphs = [_expected(stage, part, self.family) for stage in part.graphless]
        least = _SURE * self.room.scarcest(reduce(add, graphs))[0]
        pace = max(self.cycles, *(stage.shape[1] * stage.shape[2] for stage in part.stages))
        return least > 1 or any(
            c.cycles <= pace and _FAR * self.room.scarcest(c.cost)[0] < least
            for c in self.layers[layer]
        )

    def add_lanes(self, parts: Mapping[str, Mapping[LayerForm, _Part]]) -> None:
        """Add candidates of each layer in memory form: by their accumulators; and, with as many of
        these as there can be, by what they take at once.

        Some are guessed: their cost is on the line between their neighbours, or through the two
        with fewest inputs, since blocks with many take long to count.
        """
        for layer, some in parts.items():
            self._make_graphs([part for part in some.values() if _terms(part) <= _SMALL])
            by_lanes = sorted((f for f in some if f.abreast == 1), key=lambda form: form.size)
            many = bool(by_lanes) and by_lanes[-1].size > _MANY_LANES
            between = {LayerForm("memory", _BETWEEN)} if many else set()
            by_inputs = sorted(set(some) - set(by_lanes), key=lambda form: form.abreast)
            known: dict[LayerForm, Candidate] = {}
            ends = [f for f in by_lanes if f in {by_lanes[0], by_lanes[-1], *between}]
            inputs = [*by_lanes[-1:], *by_inputs]
            for line, counted, size in (
                (by_lanes, ends, _lanes),
                (inputs, inputs[:2], _abreast),
            ):
                known |= {f: self._counted(layer, f, some[f]) for f in counted if f not in known}
                for form in line:
                    self._parts[layer, form] = some[form]
                    if form not in known:
                        below = sum(size(f) < size(form) for f in counted)
                        above = min(below, len(counted) - 1)
                        low, high = counted[above - 1], counted[above]
                        part = (size(form) - size(low)) / (size(high) - size(low))
                        cost = _between(known[low].cost, known[high].cost, part)
                        cycles = max(stage.cycles for stage in some[form].stages)
                        known[form] = Candidate(layer, form, cost, cycles, exact=False)
            self.layers[layer] += known.values()

    def add_fixed(self, part: _Part) -> None:
        """Let ``part`` be what precedes all layers."""
        self._make_graphs([part])
        counted = self._counted("", None, part)
        self.fixed, self.cycles = counted.cost, max(self.cycles, counted.cycles)

    def _make_graphs(self, parts: Iterable[_Part]) -> None:
        missing = {
            key: part.matrices[stage.name]
            for part in parts
            for stage in part.graphless
            if (key := self._key(stage, part)) not in self.graphs
        }
        # processes take longer to start than small graphs take
        jobs = -1 if sum(map(matrix_terms, missing.values())) > _MANY else 1
        found = Parallel(n_jobs=jobs)(
            delayed(optimize)(matrix, inputs=ranges, objective=objective, effort=self.effort)
            for (_, ranges, objective), matrix in missing.items()
        )
        self.graphs.update(zip(missing, found, strict=True))

    def _cost(self, stage: Stage) -> Cost:
        """Cost of a stage without a graph, or of one that has its shape and other constants."""
        shape = _shape(stage)
        if shape not in self._alike:
            self._alike[shape] = stage_cost(stage, self.family)
        return self._alike[shape]

    def _key(self, stage: Stage, part: _Part) -> GraphKey:
        return graph_key(stage, part.matrices[stage.name], self.family)

    def _counted(self, layer: str, form: LayerForm | None, part: _Part) -> Candidate:
        """A candidate with its graphs if all are there, and else with what is expected of them."""
        keys = {stage.name: self._key(stage, part) for stage in part.graphless}
        exact = all(key in self.graphs for key in keys.values())
        if exact:
            graphs = {name: self.graphs[key] for name, key in keys.items()}
            stages = with_graphs(part.stages, graphs, self.family)
            costs = [
                stage_cost(stage, self.family) if stage.name in keys else self._cost(stage)
                for stage in stages
            ]
        else:
            words = {
                stage.name: expected_digits(stage, part.matrices[stage.name])
                for stage in part.graphless
                if stage.digit
            }
            stages = with_digits(part.stages, words)
            costs = [
                _expected(stage, part, self.family) if stage.name in keys else self._cost(stage)
                for stage in stages
            ]
        cycles = max(stage.cycles for stage in stages)
        return Candidate(layer, form, reduce(add, costs, Cost()), cycles, exact=exact)


def possible_forms(*ops: Conv, room: float) -> Iterator[LayerForm]:
    """Forms that a layer can have, unless they are sure to need more than ``room`` LUTs.

    A layer has several operators if it takes several pixels at once.
    """
    outputs = max(op.weight.shape[0] for op in ops)
    adders = sum(_SHARING * matrix_terms(op.weight) - op.weight.shape[0] for op in ops)
    if adders * _BITS <= room:
        yield LayerForm("parallel")
        if any(op.kernel[1] > 1 for op in ops):
            yield LayerForm("rows")
    yield from (LayerForm("serial", d) for d in _DIGITS if adders * (d + 1) <= room)
    channels = min(op.weight.shape[1] for op in ops)
    abreast = {min(each, channels) for each in _ABREAST} - {1}
    if outputs <= _WIDEST:
        yield from (LayerForm("memory", outputs, each) for each in sorted(abreast))
    lanes = [1 << k for k in range(_WIDEST.bit_length()) if 1 << k < outputs]
    yield from (LayerForm("memory", p) for p in (*lanes, min(outputs, _WIDEST)))


def find_candidates(
    network: IntegerNetwork, family: str, *, room: Room, effort: int, progress: Progress
) -> Candidates:
    """Candidates of every layer on an FPGA family, as far as there is room for them.

    A layer's cost is that of all stages from it to the next layer, in a pipeline whose layers have
    the same form, if they can.
    """
    owners = _owners(network)
    ops: dict[str, list[Conv]] = {}
    for node, op in network.convs():
        ops.setdefault(node.origin, []).append(op)
    least = room.capacity["luts"]
    forms = {layer: tuple(possible_forms(*each, room=least)) for layer, each in ops.items()}
    every = list(
        dict.fromkeys(
            replace(form, size=_WIDEST) if form.abreast > 1 else form
            for some in forms.values()
            for form in some
        )
    )
    # what lies in memory needs no graphs, and tells which graphs cannot matter
    every.sort(key=lambda form: form.kind != "memory")
    found = Candidates(family, effort, room, {layer: [] for layer in ops})
    found.cycles = network.input_shape[1] * network.input_shape[2]
    lanes: dict[str, dict[LayerForm, _Part]] = {layer: {} for layer in ops}
    for k, form in enumerate(every):
        if form.kind != "memory":
            found.add_lanes(lanes)
            lanes = {}
        progress("Forms of layers", k / len(every))
        folding = {layer: _nearest(form, some) for layer, some in forms.items()}
        planner = Planner(network, folding)
        try:
            with uncollected():
                planner.run()
        except (DataError, UnsupportedError):
            continue  # a form that this network cannot have
        for layer, stages in _grouped(planner.stages, owners).items():
            part = _Part(tuple(stages), planner.matrices)
            if layer == "":
                found.add_fixed(part)
            elif form.kind == "memory" and folding[layer].abreast == form.abreast:
                if form.abreast > 1 or folding[layer] == form:
                    lanes[layer][folding[layer]] = part
            elif folding[layer] == form:
                found.add(layer, form, part)
    found.add_lanes(lanes)
    progress("Forms of layers", 1.0)
    return found


def _shape(stage: Stage) -> Hashable:
    """What stages of layers that are alike have in common: all but their constants."""
    op: Any = stage.op
    arrays = [value.shape for value in vars(op).values() if hasattr(value, "shape")] if op else []
    plain = [v for v in vars(op).values() if not hasattr(v, "shape")] if op else []
    all_fields = (*stage.ranges, stage.output_ranges, stage.values)
    bits = [
        round(sum(r.width for r in ranges) / max(len(ranges), 1) / _COARSE) for ranges in all_fields
    ]
    return (
        *(stage.form, stage.shape, stage.output_shape, stage.scan, stage.lanes, stage.abreast),
        *(stage.depth, stage.digit, stage.digits.bit_length(), stage.fields, bool(stage.bias)),
        *(type(op), *arrays, *plain, *map(len, all_fields), *bits),
    )


def _terms(part: _Part) -> int:
    return sum(matrix_terms(part.matrices[stage.name]) for stage in part.graphless)


def _expected(stage: Stage, part: _Part, family: str) -> Cost:
    """Cost of a stage whose graph is not there."""
    parts = expected_parts(stage, part.matrices[stage.name], family)
    cost = model_of(family).cost(parts, stage.form)
    return replace(cost, luts=_HOPE * cost.luts, ffs=_HOPE * cost.ffs)


def _between(low: Cost, high: Cost, part: float) -> Cost:
    """A cost on the line through two; blocks of memory, and what is read of them, are rounded."""
    found = {f.name: getattr(low, f.name) for f in fields(Cost)}
    for name, value in found.items():
        between = value + part * (getattr(high, name) - value)
        found[name] = between if isinstance(value, float) else round(between)
    return Cost(**found)


def _nearest(form: LayerForm, possible: tuple[LayerForm, ...]) -> LayerForm:
    """The form, or what a layer has instead while others have it.

    Of those that take as many channels at once it is the layer's own.
    """
    alike = (f for f in possible if f == form or 1 < f.abreast == form.abreast)
    return next(alike, possible[-1])


def _lanes(form: LayerForm) -> int:
    return form.size


def _abreast(form: LayerForm) -> int:
    return form.abreast


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
