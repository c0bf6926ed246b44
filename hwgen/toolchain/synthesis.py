"""Synthesis: Verilog to a netlist of one FPGA family's cells, without multipliers or DSPs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from hwgen.errors import ToolError, VerifyError
from hwgen.toolchain.carry_maps import ECP5_CARRIES, CarryMaps
from hwgen.toolchain.plan import BuildPlan, Step, step_program
from hwgen.toolchain.process import run_together

__all__ = [
    "FAMILIES",
    "Area",
    "Family",
    "Multipliers",
    "SynthesisJob",
    "SynthesisResult",
    "synthesis_plan",
    "synthesise",
]

Multipliers = Literal["none", "logic", "dsp"]
"""``none``: a multiplier is an error. The baselines: multipliers in ``logic``, or in ``dsp``."""

_MULTIPLIERS = "t:$mul t:$macc t:$macc_v2 t:$div t:$mod t:$divfloor t:$modfloor t:$pow"
_SELECTED = re.compile(r"selection is not empty:(?P<types>.*)\nSelection contains:\n(?P<cell>.*)")
_CHECKED = re.compile(r"Executing CHECK pass(?s:.)*?Warning: (?P<problem>.*)(?s:.)*'check -assert'")
_LATCHES = "t:$dlatch t:$adlatch t:$dlatchsr"

_ADDER_MAP = r"""
// Each adder becomes one carry chain of its own. Left to itself, Yosys merges adders whose sums
// are not registered into carry-save trees, which cost more LUTs.
(* techmap_celltype = "$add" *)
module add_to_alu (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire [Y_WIDTH-1:0] propagate, carry;
  \$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH),
          .Y_WIDTH(Y_WIDTH))
      alu (.A(A), .B(B), .BI(1'b0), .CI(1'b0), .X(propagate), .Y(Y), .CO(carry));
endmodule

(* techmap_celltype = "$sub" *)
module sub_to_alu (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  wire [Y_WIDTH-1:0] propagate, carry;
  \$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH),
          .Y_WIDTH(Y_WIDTH))
      alu (.A(A), .B(B), .BI(1'b1), .CI(1'b1), .X(propagate), .Y(Y), .CO(carry));
endmodule
"""


@dataclass(frozen=True)
class Family:
    """What synthesis must know of an FPGA family.

    ``primitives`` is the file in which Yosys declares the cells that a design may instantiate;
    ``cells`` maps patterns of cell names to (resource of :class:`Area`, how many of it a cell
    takes); a cell that takes two resources has two patterns. ``attributes`` of cells, each as
    (cell, name, value), are set for place and route. ``carries`` are the maps of carry chains.
    """

    name: str
    synthesis: str
    primitives: str
    no_dsp: str
    dsp: str
    dsp_cells: tuple[str, ...]
    cells: tuple[tuple[str, str, int], ...]
    attributes: tuple[tuple[str, str, int], ...] = ()
    carries: CarryMaps | None = None


_ECP5 = Family(
    name="ecp5",
    synthesis="synth_ecp5",
    primitives="+/lattice/cells_bb_ecp5.v",
    no_dsp=" -nodsp",
    dsp="",
    dsp_cells=("MULT9X9D", "MULT18X18D", "ALU24B", "ALU54B"),
    cells=(
        ("LUT4", "luts", 1),
        ("CCU2C", "luts", 2),
        ("CCU2C", "carries", 2),
        ("TRELLIS_DPR16X4", "luts", 4),
        ("TRELLIS_DPR16X4", "lutrams", 1),
        ("TRELLIS_FF", "ffs", 1),
        ("DP16KD|PDPW16KD", "brams", 1),
        ("MULT9X9D|MULT18X18D|ALU24B|ALU54B", "dsps", 1),
    ),
    # the loop filter that Lattice's tools choose; nextpnr would leave it without current
    attributes=(
        ("EHXPLLL", "ICP_CURRENT", 12),
        ("EHXPLLL", "LPF_RESISTOR", 8),
        ("EHXPLLL", "MFG_ENABLE_FILTEROPAMP", 1),
        ("EHXPLLL", "MFG_GMCREF_SEL", 2),
    ),
    carries=ECP5_CARRIES,
)
_ICE40 = Family(
    name="ice40",
    synthesis="synth_ice40",
    primitives="+/ice40/cells_sim.v",
    no_dsp="",
    dsp=" -dsp",
    dsp_cells=("SB_MAC16",),
    cells=(
        ("SB_LUT4", "luts", 1),
        ("SB_CARRY", "carries", 1),
        ("SB_DFF.*", "ffs", 1),
        ("SB_RAM40_4K.*", "brams", 1),
        ("SB_MAC16", "dsps", 1),
    ),
)
_GOWIN = Family(
    name="gowin",
    synthesis="synth_gowin",
    primitives="+/gowin/cells_sim.v",
    no_dsp=" -nodsp",
    dsp="",
    dsp_cells=("MULT*", "PADD*", "ALU54*"),
    cells=(
        ("LUT[1-4]", "luts", 1),
        ("ALU", "luts", 1),
        ("ALU", "carries", 1),
        ("RAM16S(DP)?[124]", "luts", 4),
        ("RAM16S(DP)?[124]", "lutrams", 1),
        ("DFF[A-Z]*", "ffs", 1),
        ("(SP|SDP|DP|pROM)(X9)?B?", "brams", 1),
        ("MULT.*|PADD.*|ALU54.*", "dsps", 1),
    ),
)
_ELEMENT = re.compile(r"\\\S*\[")  # an escaped name, as elements of arrays have in Amaranth
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (_ECP5, _ICE40, _GOWIN)}
)


@dataclass(frozen=True)
class Area:
    """Resources of a netlist before placement.

    ``luts`` counts four-input LUTs, those in carry cells and LUT memories included (two in an ECP5
    CCU2C, one in a Gowin ALU, four in a 16x4 LUT memory); ``carries`` bits of carry chain, ``ffs``
    flip-flops, ``brams`` memory blocks, ``lutrams`` 16x4 LUT memories, ``dsps`` multiplier blocks.
    ``cells`` lists every cell type with its number.
    """

    luts: int
    carries: int
    ffs: int
    brams: int
    lutrams: int
    dsps: int
    cells: tuple[tuple[str, int], ...]

    @classmethod
    def from_cells(cls, cells: Mapping[str, int], family: Family) -> Area:
        """Resources of the cells that ``stat -json`` counted."""
        totals = dict.fromkeys(("luts", "carries", "ffs", "brams", "lutrams", "dsps"), 0)
        for cell, number in cells.items():
            for pattern, resource, each in family.cells:
                if re.fullmatch(pattern, cell):
                    totals[resource] += each * number
        return cls(**totals, cells=tuple(sorted(cells.items())))


@dataclass(frozen=True)
class SynthesisResult:
    """A netlist: its resources, its JSON file for place and route, and the seconds it took."""

    area: Area
    netlist: Path
    seconds: float


def synthesis_plan(
    sources: Mapping[str, str],
    *,
    top: str,
    family: str,
    multipliers: Multipliers = "none",
) -> BuildPlan:
    """Plan the synthesis of module ``top`` of the Verilog files ``sources`` (name to text).

    The netlist becomes ``TOP.json``, the cell counts ``TOP.stat.json``, the log ``TOP.synth.log``.
    Unless multipliers are asked for, the plan fails if there is a multiplier before mapping or a
    DSP block after it, and adders are mapped one by one (on trees of unregistered adders this
    saves up to 39 % of the LUTs that Yosys's own merging takes).

    Raises
    ------
    ValueError
        If ``family`` or ``multipliers`` is unknown, or there are no sources.
    """
    if family not in FAMILIES:
        raise ValueError(f"Family must be one of {', '.join(FAMILIES)}, not {family!r}")
    if multipliers not in ("none", "logic", "dsp"):
        raise ValueError(f"Multipliers must be none, logic or dsp, not {multipliers!r}")
    if not sources:
        raise ValueError("Synthesis needs at least one source file")
    chosen = FAMILIES[family]
    strict = multipliers == "none"
    adders = f"{top}.adders.v"
    # abc9 mistakes a wire that is named \\x[0] for a bit of x, and fails on some designs
    purge = family != "ice40" and any(map(_ELEMENT.search, sources.values()))
    before = [
        "proc",
        f"select -assert-none {_MULTIPLIERS}",
        f"select -assert-none {_LATCHES}",
        "check -assert",
        "flatten",
        "opt_expr",
        "opt_clean",
        "wreduce",
        "opt_clean -purge" if purge else "opt_clean",
        f"techmap -map {adders} t:$add t:$sub",
    ]
    after = [f"select -assert-none {' '.join(f't:{cell}' for cell in chosen.dsp_cells)}"]
    dsp = chosen.dsp if multipliers == "dsp" else chosen.no_dsp
    commands = [
        f"read_verilog -lib {chosen.primitives}",
        *(f"read_verilog {name}" for name in sources),
        f"hierarchy -check -top {top}",
        *(before if strict else ()),
        *_mapping(f"{chosen.synthesis}{dsp} -top {top}", top, chosen.carries),
        *(after if strict else ()),
        "delete t:$scopeinfo",
        *(f"setattr -set {name} {value} t:{cell}" for cell, name, value in chosen.attributes),
        f"tee -q -o {top}.stat.json stat -json",
        f"write_json {top}.json",
    ]
    files = dict(sources)
    if strict:
        files[adders] = _ADDER_MAP
    if chosen.carries is not None:
        files[_sums(top)] = chosen.carries.sums
        files[_ends(top)] = chosen.carries.ends
    files[f"{top}.ys"] = "".join(f"{command}\n" for command in commands)
    return BuildPlan(
        tuple(files.items()), (Step("yosys", ("-s", f"{top}.ys"), f"{top}.synth.log"),)
    )


def _mapping(synthesis: str, top: str, carries: CarryMaps | None) -> Sequence[str]:
    """The commands of the synthesis, with the maps of carry chains where there are some."""
    if carries is None:
        return (synthesis,)
    return (
        f"{synthesis} -run begin:map_gates",
        f"techmap -map {_sums(top)} t:$alu",
        f"{synthesis} -run map_gates:",
        *carries.close,
        f"techmap -map {_ends(top)} {' '.join(f't:{cell}' for cell in carries.cells)}",
        "clean",
    )


def _sums(top: str) -> str:
    return f"{top}.sums.v"


def _ends(top: str) -> str:
    return f"{top}.chains.v"


@dataclass(frozen=True)
class SynthesisJob:
    """One synthesis: module ``top`` of ``sources`` for ``family``, in ``directory``."""

    sources: Mapping[str, str]
    top: str
    family: str
    directory: Path
    multipliers: Multipliers = "none"

    @property
    def plan(self) -> BuildPlan:
        """What the job runs, as :func:`synthesis_plan`."""
        return synthesis_plan(
            self.sources, top=self.top, family=self.family, multipliers=self.multipliers
        )


def synthesise(*jobs: SynthesisJob, time_limit: float = 3600) -> tuple[SynthesisResult, ...]:
    """Run syntheses at the same time, each as :func:`synthesis_plan` plans it.

    Raises
    ------
    VerifyError
        If a design holds a multiplier, a DSP block or a latch.
    ToolError, ToolNotFoundError, TimeLimitError
        If Yosys fails, is missing, or takes longer than ``time_limit`` seconds.
    """
    programs = []
    for job in jobs:
        plan = job.plan
        plan.write_files(job.directory)
        programs.append(step_program(plan.steps[0], job.directory))
    try:
        finished = run_together(programs, time_limit=time_limit)
    except ToolError:
        for job, program in zip(jobs, programs, strict=True):
            _raise_if_refused(job.top, program.log)
        raise
    return tuple(_result(job, one.seconds) for job, one in zip(jobs, finished, strict=True))


def _result(job: SynthesisJob, seconds: float) -> SynthesisResult:
    text = (job.directory / f"{job.top}.stat.json").read_text(encoding="utf-8")
    cells: dict[str, int] = json.loads(text)["design"].get("num_cells_by_type", {})
    area = Area.from_cells(cells, FAMILIES[job.family])
    return SynthesisResult(area, job.directory / f"{job.top}.json", seconds)


def _raise_if_refused(top: str, log: Path) -> None:
    """Raise :class:`VerifyError` if one of the plan's own checks stopped the synthesis."""
    if not log.is_file():
        return
    text = log.read_text(encoding="utf-8", errors="replace")
    if found := _SELECTED.search(text):
        kind = "a latch" if "$dlatch" in found["types"] else "a multiplier"
        raise VerifyError(
            f"Module {top!r} must hold no multiplier, DSP block or latch, but {kind} is there: "
            f"{found['cell'].strip()}"
        )
    if found := _CHECKED.search(text):
        problem = found["problem"].strip().rstrip(":")
        raise VerifyError(f"Module {top!r} is not sound hardware: {problem} (log: {log})")
