"""Areas of the instances of a flattened design."""

import json
from pathlib import Path

import pytest

from hwgen.toolchain.instances import area_by_instance
from hwgen.toolchain.synthesis import FAMILIES, Area, SynthesisJob, synthesise

_DESIGN = """
module adder(input clk, input [7:0] a, b, output reg [8:0] y);
  reg [8:0] sum;
  always @(posedge clk) begin sum <= a + b; y <= sum ^ 9'd1; end
endmodule
module small(input clk, input [3:0] a, b, output reg [3:0] y);
  reg [3:0] odd;
  always @(posedge clk) begin odd <= a ^ b; y <= ~odd; end
endmodule
module pair(input clk, input [7:0] a, b, output reg [8:0] y, output reg [3:0] z);
  wire [8:0] one;
  wire [3:0] two;
  adder first(.clk(clk), .a(a), .b(b), .y(one));
  small second(.clk(clk), .a(a[3:0]), .b(b[3:0]), .y(two));
  always @(posedge clk) begin y <= one; z <= two; end
endmodule
"""


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_shares_add_up_and_belong_where_they_came_from(family: str, tmp_path: Path) -> None:
    (result,) = synthesise(
        SynthesisJob({"pair.v": _DESIGN}, "pair", family, tmp_path, "none"), time_limit=120
    )
    shares = dict(area_by_instance(result.netlist, top="pair", family=family))
    assert set(shares) == {"", "first", "second"}
    for resource in ("luts", "ffs", "carries"):
        total = sum(getattr(area, resource) for area in shares.values())
        assert total == getattr(result.area, resource), resource
    assert shares["first"].ffs >= 9
    assert shares["second"].ffs >= 4
    assert shares["first"].carries == result.area.carries >= 8
    assert shares["second"].luts >= 4


def test_a_name_without_an_instance_belongs_to_none(tmp_path: Path) -> None:
    cells = {
        "a.n1_LUT4": {"type": "LUT4", "connections": {}},
        "b": {"type": "LUT4"},
        "$specify.1": {"type": "LUT4"},
    }
    netlist = tmp_path / "top.json"
    netlist.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    shares = dict(area_by_instance(netlist, top="top", family="ecp5"))
    assert shares == {
        "": Area.from_cells({"LUT4": 2}, FAMILIES["ecp5"]),
        "a": Area.from_cells({"LUT4": 1}, FAMILIES["ecp5"]),
    }


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Family must be one of"):
        area_by_instance(tmp_path / "none.json", top="top", family="gate array")
