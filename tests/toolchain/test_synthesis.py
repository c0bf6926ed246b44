"""Areas, checks and equivalence of what synthesis makes."""

from pathlib import Path

import pytest

from hwgen.errors import ToolError, VerifyError
from hwgen.toolchain.synthesis import (
    FAMILIES,
    Area,
    Multipliers,
    SynthesisJob,
    synthesis_plan,
    synthesise,
)
from hwgen.toolchain.yosys import run_yosys

_SUM = """
module sum(input clk, input [7:0] a, b, c, d, output reg [9:0] y);
  always @(posedge clk) y <= (a + b) + (c + d);
endmodule
"""
_PRODUCT = "module product(input [7:0] a, b, output [15:0] y); assign y = a * b; endmodule\n"
_CONSTANT = "module product(input [7:0] a, output [15:0] y); assign y = a * 8'd105; endmodule\n"
_MEMORY = """
module memory(input clk, input write, input [8:0] to, from, input [15:0] d, output reg [15:0] q);
  reg [15:0] words [511:0];
  always @(posedge clk) begin
    if (write) words[to] <= d;
    q <= words[from];
  end
endmodule
"""
_LATCH = """
module latch(input enable, d, output reg q);
  always @* if (enable) q = d;
endmodule
"""


def _area(
    directory: Path, verilog: str, top: str, family: str, multipliers: Multipliers = "none"
) -> Area:
    job = SynthesisJob({f"{top}.v": verilog}, top, family, directory, multipliers)
    (result,) = synthesise(job, time_limit=120)
    assert result.netlist.is_file()
    assert result.seconds > 0
    return result.area


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_area_of_adders(family: str, tmp_path: Path) -> None:
    area = _area(tmp_path, _SUM, "sum", family)
    assert area.ffs == 10
    # three separate carry chains; one carry-save tree would have a single chain of 9 or 10 bits
    assert 24 <= area.carries <= 32
    assert area.luts <= 32
    assert (area.brams, area.lutrams, area.dsps) == (0, 0, 0)


@pytest.mark.parametrize(("family", "brams"), [("ecp5", 1), ("ice40", 2), ("gowin", 1)])
def test_memory_becomes_blocks(family: str, brams: int, tmp_path: Path) -> None:
    assert _area(tmp_path, _MEMORY, "memory", family).brams == brams


def test_area_counts_every_kind_of_cell() -> None:
    cells = {"CCU2C": 3, "LUT4": 5, "TRELLIS_DPR16X4": 2, "PFUMX": 9, "MULT18X18D": 1, "DP16KD": 4}
    area = Area.from_cells(cells, FAMILIES["ecp5"])
    assert area == Area(19, 6, 0, 4, 2, 1, tuple(sorted(cells.items())))
    ice40 = {"SB_DFFESR": 2, "SB_DFF": 3, "SB_LUT4": 4, "SB_CARRY": 5, "SB_RAM40_4KNW": 6}
    assert Area.from_cells(ice40, FAMILIES["ice40"]).ffs == 5
    assert Area.from_cells(ice40, FAMILIES["ice40"]).brams == 6
    cells = {"LUT1": 1, "LUT4": 2, "MUX2_LUT5": 3, "ALU": 5, "DFF": 2, "DFFNRE": 3, "RAM16SDP4": 2}
    cells |= {"SDPX9B": 1, "pROM": 2, "SP": 3, "MULT9X9": 1, "ALU54D": 2, "VCC": 1, "OBUF": 4}
    area = Area.from_cells(cells, FAMILIES["gowin"])
    assert area == Area(16, 5, 5, 6, 2, 3, tuple(sorted(cells.items())))


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("verilog", [_PRODUCT, _CONSTANT], ids=["signals", "constant"])
def test_multipliers_are_refused(family: str, verilog: str, tmp_path: Path) -> None:
    with pytest.raises(
        VerifyError, match=r"^Module 'product' must hold no multiplier, .* a multiplier is there: "
    ):
        _area(tmp_path, verilog, "product", family)


@pytest.mark.parametrize(
    ("family", "cell", "output"),
    [("ice40", "SB_MAC16", "O"), ("ecp5", "MULT9X9D", "P"), ("gowin", "MULTALU36X18", "DOUT")],
)
def test_dsp_blocks_are_refused(family: str, cell: str, output: str, tmp_path: Path) -> None:
    box = f"(* blackbox *) module {cell}(input [15:0] A, B, output [31:0] {output}); endmodule\n"
    block = (
        "module block(input [15:0] a, b, output [31:0] y);\n"
        f"{cell} m(.A(a), .B(b), .{output}(y));\nendmodule\n"
    )
    with pytest.raises(VerifyError, match="a multiplier is there: block/m"):
        _area(tmp_path, box + block, "block", family)


def test_latches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="a latch is there: latch/"):
        _area(tmp_path, _LATCH, "latch", "ecp5")


def test_combinational_loops_are_refused(tmp_path: Path) -> None:
    loop = "module loop(input a, output y); assign y = ~(y & a); endmodule\n"
    with pytest.raises(VerifyError, match="'loop' is not sound hardware: found logic loop"):
        _area(tmp_path, loop, "loop", "ice40")


def test_undriven_wires_are_refused(tmp_path: Path) -> None:
    floating = "module floating(output y); wire x; assign y = ~x; endmodule\n"
    with pytest.raises(VerifyError, match=r"not sound hardware: Wire floating\.\\x .* no driver"):
        _area(tmp_path, floating, "floating", "ecp5")


def test_missing_modules_are_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"`.b' referenced in module `.a'"):
        _area(tmp_path, "module a(input x); b b(.x(x)); endmodule\n", "a", "ecp5")


@pytest.mark.parametrize("family", ["ecp5", "gowin"])
def test_baselines_keep_their_multipliers(family: str, tmp_path: Path) -> None:
    logic = _area(tmp_path / "logic", _PRODUCT, "product", family, "logic")
    dsp = _area(tmp_path / "dsp", _PRODUCT, "product", family, "dsp")
    assert (logic.dsps, dsp.dsps) == (0, 1)
    assert logic.luts > 64 > dsp.luts


def test_plan_is_a_pure_value() -> None:
    plan = synthesis_plan({"sum.v": _SUM}, top="sum", family="ecp5")
    assert plan == synthesis_plan({"sum.v": _SUM}, top="sum", family="ecp5")
    assert "synth_ecp5 -nodsp -top sum -run begin:map_gates\n" in dict(plan.files)["sum.ys"]
    assert plan.steps[0].arguments == ("-s", "sum.ys")


def test_second_names_of_elements_are_dropped() -> None:
    named = _SUM.replace("endmodule", "wire \\x[0] ;\nendmodule")
    for source, command in ((_SUM, "opt_clean\n"), (named, "opt_clean -purge\n")):
        plan = synthesis_plan({"sum.v": source}, top="sum", family="ecp5")
        assert f"wreduce\n{command}" in dict(plan.files)["sum.ys"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "xc7"}, "Family must be one of ecp5, ice40, gowin, not 'xc7'"),
        ({"multipliers": "some"}, "Multipliers must be none, logic or dsp, not 'some'"),
        ({"sources": {}}, "at least one source file"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"sources": {"sum.v": _SUM}, "top": "sum", "family": "ecp5", **changes}
    with pytest.raises(ValueError, match=message):
        synthesis_plan(**arguments)  # type: ignore[arg-type]


def test_mapped_adders_compute_the_same(tmp_path: Path) -> None:
    """Sums and differences of every mixture of widths and signs, proved equal by SAT."""
    expressions = [
        f"{left}{width} {sign} {right}{other}"
        for sign in "+-"
        for left in ("u", "s")
        for right in ("u", "s")
        for width, other in ((1, 1), (3, 5), (5, 2), (4, 4))
    ]
    outputs = [f"output [{4 + k % 5}:0] y{k}" for k in range(len(expressions))]
    inputs = [
        f"input {'signed ' * (k == 's')}[{w - 1}:0] {k}{w}" for k in "us" for w in range(1, 6)
    ]
    sums = [f"assign y{k} = {expression};" for k, expression in enumerate(expressions)]
    ports = ", ".join([*inputs, *outputs])
    (tmp_path / "gold.v").write_text(f"module gold({ports});\n" + "\n".join(sums) + "\nendmodule\n")
    plan = synthesis_plan({"sum.v": _SUM}, top="sum", family="ecp5")
    (tmp_path / "map.v").write_text(dict(plan.files)["sum.adders.v"])
    run_yosys(
        [
            "read_verilog gold.v",
            "proc",
            f"select -assert-count {len(expressions)} t:$add t:$sub",
            "copy gold gate",
            "techmap -map map.v gate/t:$add gate/t:$sub",
            f"select -assert-count {len(expressions)} gate/t:$alu",
            "select -assert-none gate/t:$add gate/t:$sub",
            "miter -equiv -flatten gold gate miter",
            "sat -verify -prove trigger 0 miter",
        ],
        directory=tmp_path,
        time_limit=120,
    )
