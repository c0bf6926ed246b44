"""Carry chains of ECP5: the same sums, and nothing at the ends of chains that costs cells."""

import json
from pathlib import Path

from hwgen.toolchain.synthesis import SynthesisJob, synthesise
from hwgen.toolchain.yosys import run_yosys

_WIDTHS = range(4, 13)
_OPERATORS = ("u{0} + u{1}", "u{0} - s{1}", "s{0} - s{1}", "u{0} < u{1}", "s{0} >= s{1}")


def _sums() -> str:
    """Sums, differences and comparisons of every width, and sums with a variable carry."""
    expressions = [
        operator.format(width, other)
        for operator in _OPERATORS
        for width, other in zip(_WIDTHS, (7, 4, *_WIDTHS), strict=False)
    ]
    expressions += [f"{{u{width}, 1'b1}} + {{s{width}, c}}" for width in _WIDTHS]
    expressions += [f"{{u{width}, 1'b0}} - {{s{width}, c}}" for width in _WIDTHS]
    inputs = [f"input {'signed ' * (k == 's')}[{w - 1}:0] {k}{w}" for k in "us" for w in _WIDTHS]
    outputs = [f"output [{7 + k % 7}:0] y{k}" for k in range(len(expressions))]
    body = [f"assign y{k} = {expression};" for k, expression in enumerate(expressions)]
    ports = ", ".join(["input c", *inputs, *outputs])
    return "\n".join([f"module sums({ports});", *body, "endmodule", ""])


def test_chains_compute_the_same_and_have_no_ends(tmp_path: Path) -> None:
    verilog = _sums()
    (result,) = synthesise(SynthesisJob({"sums.v": verilog}, "sums", "ecp5", tmp_path))
    netlist = json.loads(result.netlist.read_text())["modules"]["sums"]
    cells = netlist["cells"].values()
    read = {bit for port in netlist["ports"].values() for bit in port["bits"]}
    for cell in cells:
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                read |= {*bits}
    chains = [cell["connections"] for cell in cells if cell["type"] == "CCU2C"]
    assert all(pins["COUT"] == ["x"] or pins["COUT"][0] in read for pins in chains)
    heads = [pins["CIN"][0] for pins in chains if pins["CIN"][0] in ("0", "1", "x")]
    # half of the chains are of odd width, and begin by themselves
    assert heads.count("x") > len(heads) // 3
    run_yosys(
        [
            "read_verilog sums.v",
            "rename sums gold",
            "proc",
            "read_json sums.json",
            "rename sums gate",
            "setundef -anyconst gate",  # what is left open may be anything
            "read_verilog -lib +/lattice/cells_bb_ecp5.v",
            "techmap -map +/lattice/cells_sim_ecp5.v gate",
            "miter -equiv -flatten gold gate miter",
            "hierarchy -top miter",
            "flatten",
            "sat -verify -prove trigger 0 miter",
        ],
        directory=tmp_path,
        time_limit=120,
    )
