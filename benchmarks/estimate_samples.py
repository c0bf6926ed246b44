"""Synthesised and routed samples for the estimates, kept on disk so that none is run twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import apycula
import click
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from apycula.chipdb import load_chipdb
from estimate_networks import folded_network, random_network

from hwgen.boards import Board, find_board
from hwgen.estimate.structure import of_component, structure
from hwgen.nfu.blockram import BlockMemory
from hwgen.nfu.compile import compile_network
from hwgen.nfu.fit import fit_config
from hwgen.nfu.system import NfuSystem
from hwgen.shiftadd.luts import PROFILES
from hwgen.stream import store
from hwgen.stream.blocks import Stage, component
from hwgen.stream.plan import PipelinePlan, plan_pipeline, plan_stages
from hwgen.stream.verilog import emit
from hwgen.toolchain.nextpnr import place_and_route
from hwgen.toolchain.plan import BuildPlan
from hwgen.toolchain.synthesis import FAMILIES, Area, SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog

__all__ = [
    "RESOURCES",
    "Design",
    "Row",
    "alone",
    "folded_stages",
    "nfus",
    "of_family",
    "of_network",
    "of_workspace",
    "planned",
    "routed_mhz",
]

RESOURCES = ("luts", "ffs", "brams")
_BATCH = 28  # blocks in one run of Yosys
_NFUS = ((2, 2), (3, 4))  # seeds of networks, and tiles
_DEPTH = 256
_TOP = "sample"
_OWNER = re.compile(r"(s\d+)(?:\.|__)")
_FREE = {
    "ecp5": ("--lpf-allow-unconstrained",),
    "gowin": (),
    "ice40": ("--pcf-allow-unconstrained",),
}
_CLOCK_PIN = {
    "ecp5": 'LOCATE COMP "clk" SITE "{}";\n',
    "ice40": "set_io clk {}\n",
}
_FOLDED = ("column", "chain", "serialise", "digit_window", "digit_adders", "pool")
_APART = 1000  # the first seed of networks whose stages are taken alone
Taken = dict[str, int]


@dataclass(frozen=True)
class Row:
    """A stage: its form, its parts, and what it took, empty if that is not known."""

    form: str
    parts: Mapping[str, int]
    taken: Taken


@dataclass(frozen=True)
class Design:
    """A whole design: its stages, and what it took."""

    name: str
    plan: PipelinePlan
    rows: Sequence[Row]
    taken: Taken


class _Unpadded(SynthesisJob):
    """Synthesis without the buffers of pins: what is behind them would lose the names of blocks."""

    @property
    def plan(self) -> BuildPlan:
        plan = super().plan
        files = tuple((n, t.replace("synth_gowin", "synth_gowin -noiopads")) for n, t in plan.files)
        return replace(plan, files=files)


class _Sample(wiring.Component):
    """Blocks side by side, all their ports led out."""

    def __init__(self, blocks: Sequence[Any]) -> None:
        self.blocks = {f"s{k}": block for k, block in enumerate(blocks)}
        super().__init__({name: Out(b.signature) for name, b in self.blocks.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, block in self.blocks.items():
            m.submodules[name] = block
            wiring.connect(m, wiring.flipped(getattr(self, name)), block)
        return m


def of_family(stages: Sequence[Stage], family: str) -> list[Stage]:
    """The stages as the planner makes them for a family."""
    keeps = PROFILES[family].inverters
    return [replace(s, complement=keeps and s.graph is not None) for s in stages]


def alone(stages: Sequence[Stage], family: str, cache: Path) -> list[Row]:
    """Each stage, and what it takes alone."""
    taken = _synthesised([component(stage) for stage in stages], family, cache)
    return [_row(stage, family, one) for stage, one in zip(stages, taken, strict=True)]


def nfus(family: str, cache: Path) -> list[Row]:
    """NFUs with program and memory, each for a random network, and what they take alone."""
    systems = [_system(seed, tile) for seed, tile in _NFUS]
    taken = _synthesised(systems, family, cache)
    parts = [of_component(system).parts(family) for system in systems]
    return [Row("nfu", each, one) for each, one in zip(parts, taken, strict=True)]


def _system(seed: int, tile: int) -> NfuSystem:
    network = random_network(seed)
    config = fit_config(network, tn=tile, ti=tile, depth=_DEPTH)
    compiled = compile_network(network, config)
    return NfuSystem(config, compiled, BlockMemory(config, compiled.program, compiled.memory))


def _synthesised(blocks: Sequence[Any], family: str, cache: Path) -> list[Taken]:
    """What each block takes alone; what is in the cache is not run again."""
    folder = cache / family
    folder.mkdir(parents=True, exist_ok=True)
    texts = [rtlil.convert(block, name="stage", emit_src=False) for block in blocks]
    files = [folder / f"{_digest(text)[:24]}.json" for text in texts]
    missing = [k for k, file in enumerate(files) if not file.exists()]
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        verilog = rtlil_to_verilog(rtlil.convert(_Sample([blocks[k] for k in batch]), name=_TOP))
        (result,) = synthesise(_Unpadded({f"{_TOP}.v": verilog}, _TOP, family, folder / "run"))
        counted = _by_block(result.netlist)
        click.echo(f"{family}: {start + len(batch)} of {len(missing)} blocks", err=True)
        for index, k in enumerate(batch):
            area = Area.from_cells(counted.get(f"s{index}", Counter()), FAMILIES[family])
            files[k].write_text(json.dumps(_taken(area)))
    return [json.loads(file.read_text()) for file in files]


def folded_stages(count: int) -> list[Stage]:
    """``count`` stages of each form that only foldings have, of networks that are no samples."""
    found: dict[str, list[Stage]] = {form: [] for form in _FOLDED}
    seed = _APART
    while any(len(some) < count for some in found.values()):
        network, folding = folded_network(seed)
        for stage in plan_stages(network, folding=folding)[0]:
            if len(found.get(stage.form, [None] * count)) < count:
                found[stage.form].append(stage)
        seed += 1
    return [stage for some in found.values() for stage in some]


def of_network(seed: int, family: str, cache: Path) -> Design:
    """A folded random network as a design."""
    plan = planned(seed, family)
    folder = cache / family / f"folded{seed}"
    design = emit(plan)
    file = folder / "area.json"
    digest = _digest(design.verilog)
    if not file.exists() or json.loads(file.read_text())["digest"] != digest:
        job = SynthesisJob({f"{design.name}.v": design.verilog}, design.name, family, folder)
        (result,) = synthesise(job)
        file.write_text(json.dumps({"digest": digest, **_taken(result.area)}))
        click.echo(f"{family}: network {seed}, {result.area.luts} LUTs", err=True)
    known = json.loads(file.read_text())
    rows = alone(plan.stages, family, cache)
    return Design(f"folded{seed}", plan, rows, {name: known[name] for name in RESOURCES})


def routed_mhz(seed: int, board: Board, cache: Path, *, placement: int = 1) -> float:
    """Clock of such a network alone on the FPGA of a board, whose pins are free, in MHz.

    It must have been synthesised. ``placement`` is the seed of place and route.
    """
    folder = cache / board.family / f"folded{seed}"
    digest = json.loads((folder / "area.json").read_text())["digest"]
    file = folder / f"{board.name}-{placement}.json"
    clock = json.loads(file.read_text()) if file.exists() else {}
    if clock.get("digest") != digest:
        netlist = next(path for path in folder.glob("hwgen_*.json") if path.stem.isidentifier())
        found = place_and_route(
            replace(board.device, options=(*board.device.options, *_FREE[board.family])),
            name=netlist.stem,
            directory=folder,
            constraints=_pins(netlist, board),
            freq=board.target_mhz,
            seeds=(placement,),
        )
        clock = {"digest": digest, "mhz": found.fmax_mhz}
        file.write_text(json.dumps(clock))
        click.echo(f"{board.name}: network {seed}, {found.fmax_mhz:.1f} MHz", err=True)
    mhz: float = clock["mhz"]
    return mhz


def _pins(netlist: Path, board: Board) -> str:
    """Where the clock comes in; nextpnr chooses the other pins, but not those of a Gowin."""
    if board.family != "gowin":
        return _CLOCK_PIN[board.family].format(board.clock.site)
    packages = load_chipdb(
        str(files(apycula) / f"{board.device.packer_options[-1]}.msgpack.xz")
    ).pinout[board.part]
    package = packages["QFN88P" if "QN88P" in board.device.options[1] else "QFN88"]
    free = [pin for pin, (_, functions) in package.items() if not functions]
    ports = json.loads(netlist.read_text())["modules"][netlist.stem]["ports"]
    names = [
        f"{name}[{k}]" if len(port["bits"]) > 1 else name
        for name, port in ports.items()
        for k in range(len(port["bits"]))
        if name != "clk"
    ]
    sites = {"clk": board.clock.site, **dict(zip(names, free, strict=False))}
    return "".join(f'IO_LOC "{name}" {site};\n' for name, site in sites.items())


@lru_cache(maxsize=64)
def planned(seed: int, family: str) -> PipelinePlan:
    """Plan of a folded random network."""
    network, folding = folded_network(seed)
    return plan_pipeline(network, family=family, folding=folding)


def of_workspace(workspace: Path) -> tuple[str, Design, float | None] | None:
    """The board, the design and the clock in MHz of a workspace; None unless it is synthesised."""
    plan, result = workspace / "plan.json", workspace / "results" / "synth.json"
    if not plan.exists() or not result.exists():
        return None
    done = json.loads(result.read_text())
    family = find_board(done["board"]).family
    found = store.plan_from_json(plan.read_text())
    rows = [_row(stage, family, {}) for stage in found.stages]
    return done["board"], Design(workspace.name, found, rows, done["core"]), done["fmax_mhz"]


def _row(stage: Stage, family: str, taken: Taken) -> Row:
    return Row(stage.form, structure(stage, family).parts(family), taken)


def _taken(area: Area) -> Taken:
    return {name: getattr(area, name) for name in RESOURCES}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _by_block(netlist: Path) -> dict[str, Counter[str]]:
    """Cells of each block in a :class:`_Sample`, whose names begin with the block's."""
    cells = json.loads(netlist.read_text())["modules"][_TOP]["cells"]
    found: dict[str, Counter[str]] = {}
    for name, cell in cells.items():
        owner = _OWNER.match(name)
        found.setdefault(owner[1] if owner else "", Counter())[cell["type"]] += 1
    return found
