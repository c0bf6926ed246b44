"""Areas of the instances of a flattened design."""

import json
from pathlib import Path

import pytest

from hwgen.toolchain.instances import area_by_instance
from hwgen.toolchain.synthesis import FAMILIES, Area, SynthesisJob, synthesise

_DESIGN = """
module adder(input clk, input [7:0] a, b, output reg [8:0] y);
  always @(posedge clk) y <= a + b;
endmodule
module small(input clk, input [3:0] a, b, output reg [3:0] y);
  always @(posedge clk) y <= a ^ b;
endmodule
module pair(input clk, input [7:0] a, b, output [8:0] y, output [3:0] z, output reg q);
  adder first(.clk(clk), .a(a), .b(b), .y(y));
  small second(.clk(clk), .a(a[3:0]), .b(b[3:0]), .y(z));
  always @(posedge clk) q <= a[7] & b[7] & a[6] & b[6];
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
    assert (shares["first"].ffs, shares["second"].ffs, shares[""].ffs) == (9, 4, 1)
    assert (shares["second"].luts, shares["second"].carries) == (4, 0)
    assert shares["first"].carries >= 8


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
