"""The models of cells: each does what the vendor's model of it does, as Yosys ships that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgen.errors import UnsupportedError
from hwgen.sim.fast import run_fast
from hwgen.sim.types import Stall
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.gates import netlist_to_verilog
from hwgen.toolchain.yosys import run_yosys

_INPUTS = 48
_CLOCK, _FIRST = 2, 3
_CLOCKS = ("C", "CLK", "RCLK", "WCLK", "WCK")
_MODELS = {
    "ecp5": "+/lattice/cells_sim_ecp5.v",
    "gowin": "+/gowin/cells_sim.v",
    "ice40": "+/ice40/cells_sim.v",
}

# kind, parameters, pins that are inputs and outputs, each NAME or NAME:WIDTH
_Kind = tuple[str, Mapping[str, str], str, str]


def _number(rng: np.random.Generator, width: int) -> str:
    return "".join(str(bit) for bit in rng.integers(2, size=width))


def _ice40(rng: np.random.Generator) -> Iterator[_Kind]:
    for _ in range(40):
        yield "SB_LUT4", {"LUT_INIT": _number(rng, 16)}, "I0 I1 I2 I3", "O"
    yield "SB_CARRY", {}, "I0 I1 CI", "CO"
    for enable, reset in product(("", "E"), ("", "R", "S")):
        yield f"SB_DFF{enable}{reset and 'S' + reset}", {}, f"C D {enable} {reset}", "Q"
    pins = "RCLK RCLKE RE RADDR:11 WCLK WCLKE WE WADDR:11 MASK:16 WDATA:16"
    for write, read in ((0, 0), (1, 1), (2, 2), (3, 3), (0, 3), (3, 0), (2, 1)):
        modes = {"WRITE_MODE": f"{write:02b}", "READ_MODE": f"{read:02b}"}
        contents = {f"INIT_{i:X}": _number(rng, 256) for i in range(16)}
        yield "SB_RAM40_4K", modes | contents, pins, "RDATA:16"


def _ecp5(rng: np.random.Generator) -> Iterator[_Kind]:
    for _ in range(10):
        yield "LUT4", {"INIT": _number(rng, 16)}, "A B C D", "Z"
    yield "PFUMX", {}, "ALUT BLUT C0", "Z"
    yield "L6MUX21", {}, "D0 D1 SD", "Z"
    yield "INV", {}, "A", "Z"
    for kind in ("VHI", "VLO"):
        yield kind, {}, "", "Z"
    for first, second in product(("YES", "NO"), repeat=2):
        tables = {f"INIT{i}": _number(rng, 16) for i in range(2)}
        isolated = {"INJECT1_0": first, "INJECT1_1": second}
        yield "CCU2C", tables | isolated, "CIN A0 B0 C0 D0 A1 B1 C1 D1", "S0 S1 COUT"
    for enable, reset, preset in product(
        ("1 ", "0 ", "CE", "INV"), ("LSR", "INV"), ("SET", "RESET")
    ):
        chosen = {"CEMUX": enable, "LSRMUX": reset, "REGSET": preset, "SRMODE": "LSR_OVER_CE"}
        yield "TRELLIS_FF", chosen, "CLK LSR CE DI", "Q"
    for enable in ("WRE", "INV", "1 ", "0 "):
        chosen = {"WREMUX": enable, "INITVAL": _number(rng, 64)}
        yield "TRELLIS_DPR16X4", chosen, "DI:4 WAD:4 WRE WCK RAD:4", "DO:4"


def _gowin(rng: np.random.Generator) -> Iterator[_Kind]:
    for _, size in product(range(5), (1, 2, 3, 4)):
        pins = " ".join(f"I{i}" for i in range(size))
        yield f"LUT{size}", {"INIT": _number(rng, 1 << size)}, pins, "F"
    for suffix in ("", "_LUT5", "_LUT6", "_LUT7", "_LUT8"):
        yield f"MUX2{suffix}", {}, "I0 I1 S0", "O"
    for kind in ("IBUF", "OBUF"):
        yield kind, {}, "I", "O"
    yield "VCC", {}, "", "V"
    yield "GND", {}, "", "G"
    for mode in range(10):
        yield "ALU", {"ALU_MODE": f"{mode:032b}"}, "I0 I1 I3 CIN", "SUM COUT"
    for enable, (short, pin) in product(("", "E"), (("", ""), ("R", "RESET"), ("S", "SET"))):
        yield f"DFF{short}{enable}", {}, f"CLK D {'CE' if enable else ''} {pin}", "Q"
    for width in (1, 2, 4):
        contents = {f"INIT_{i}": _number(rng, 16) for i in range(width)}
        yield f"RAM16SDP{width}", contents, f"DI:{width} WAD:4 RAD:4 WRE CLK", f"DO:{width}"


_KINDS = {"ecp5": _ecp5, "gowin": _gowin, "ice40": _ice40}


def _pins(text: str) -> Iterator[tuple[str, int]]:
    for pin in text.split():
        name, _, width = pin.partition(":")
        yield name, int(width or 1)


def _netlist(kinds: Sequence[_Kind], rng: np.random.Generator) -> tuple[dict[str, Any], list[str]]:
    """All cells side by side, on inputs drawn at random; and the cell of each bit of output."""
    cells, outputs, free = {}, [], _FIRST + _INPUTS
    for number, (kind, parameters, reads, drives) in enumerate(kinds):
        pins: dict[str, list[int | str]] = {}
        for name, width in _pins(reads):
            bits: list[int | str] = (_FIRST + rng.integers(_INPUTS, size=width)).tolist()
            if name in _CLOCKS:
                bits = [_CLOCK]
            elif name.endswith("ADDR"):  # what is written shall be read soon
                bits[3:8] = ["0", "1", "0", "1", "1"]
            elif width == 1 and rng.random() < 0.1:
                bits = ["0"]
            pins[name] = bits
        for name, width in _pins(drives):
            pins[name] = list(range(free, free + width))
            outputs += [f"{kind} {dict(list(parameters.items())[:4])} {name}"] * width
            free += width
        directions = {name: "input" for name, _ in _pins(reads)}
        directions |= {name: "output" for name, _ in _pins(drives)}
        cells[f"cell{number}"] = {
            "type": kind,
            "parameters": parameters,
            "attributes": {},
            "port_directions": directions,
            "connections": pins,
        }
    ports = {
        "clk": {"direction": "input", "bits": [_CLOCK]},
        "d": {"direction": "input", "bits": list(range(_FIRST, _FIRST + _INPUTS))},
        "q": {"direction": "output", "bits": list(range(_FIRST + _INPUTS, free))},
    }
    module = {"attributes": {}, "ports": ports, "cells": cells, "netnames": {}}
    return {"creator": "tests", "modules": {"cells": module}}, outputs


def _vendor(netlist: Path, family: str) -> str:
    """The Verilog of the netlist with the models of cells that Yosys ships."""
    commands = [
        f"read_json {netlist}",
        f'read_verilog -defer -overwrite "{_MODELS[family]}"',
        "hierarchy -check -top cells",
        "setattr -mod -unset whitebox -unset lib_whitebox =*",
        "proc",
        "memory_collect",
        "flatten -noscopeinfo",
        "setundef -zero -init",
        "opt -full",
        "write_verilog -noattr vendor.v",
    ]
    run_yosys(commands, directory=netlist.parent, name="vendor", time_limit=120)
    return (netlist.parent / "vendor.v").read_text()


def _bench(width: int) -> str:
    return f"""
module bench(input clk, input rst, input [{_INPUTS - 1}:0] i__payload, input i__valid,
             output i__ready, output reg [{width - 1}:0] o__payload, output reg o__valid,
             input o__ready);
  wire [{width - 1}:0] models, vendor;
  models m(.clk(clk), .d(i__payload), .q(models));
  vendor v(.clk(clk), .d(i__payload), .q(vendor));
  assign i__ready = 1;
  always @(posedge clk) begin
    o__valid <= i__valid & ~rst;
    o__payload <= rst ? 0 : o__payload | (models ^ vendor);  // that it ever differed
  end
endmodule
"""


@pytest.mark.parametrize("family", ["ecp5", "gowin", "ice40"])
def test_models_are_those_of_the_vendor(family: str, tmp_path: Path, build_dir: Path) -> None:
    rng = np.random.default_rng(4)
    netlist, outputs = _netlist(list(_KINDS[family](rng)), rng)
    path = tmp_path / "cells.json"
    path.write_text(json.dumps(netlist))
    models = netlist_to_verilog(path, top="cells", family=family)
    verilog = "\n".join(
        [
            models.replace("module cells", "module models"),
            _vendor(path, family).replace("module cells", "module vendor"),
            _bench(len(outputs)),
        ]
    )
    layouts = [PixelLayout(((1, False),) * width) for width in (_INPUTS, len(outputs))]
    shape, result = (_INPUTS, 40, 50), (len(outputs), 40, 50)
    design = StreamDesign("bench", verilog, shape, layouts[0], result, layouts[1])
    found = run_fast(
        design,
        rng.integers(2, size=(1, *shape)),
        seed=1,
        stall=Stall(),
        build_dir=build_dir,
        timeout=200,
    ).outputs[0, :, -1, -1]
    assert [name for name, differs in zip(outputs, found, strict=True) if differs] == []


def test_single_port_ram(tmp_path: Path, build_dir: Path) -> None:
    """Yosys's model begins with unknown words, so that a list of words is the oracle."""
    pins: dict[str, list[int | str]] = {
        "CLOCK": [_CLOCK],
        "CHIPSELECT": [_FIRST],
        "WREN": [_FIRST + 1],
    }
    fields = (("MASKWREN", 4), ("DATAIN", 16), ("ADDRESS", 14))
    first = _FIRST + 2
    for name, width in fields:
        pins[name], first = list(range(first, first + width)), first + width
    pins["DATAOUT"] = list(range(100, 116))
    pins |= {"STANDBY": ["0"], "SLEEP": ["0"], "POWEROFF": ["1"]}
    cell = {
        "type": "SB_SPRAM256KA",
        "parameters": {},
        "port_directions": dict.fromkeys(pins, "input") | {"DATAOUT": "output"},
        "connections": pins,
    }
    ports = {
        "clk": {"direction": "input", "bits": [_CLOCK]},
        "d": {"direction": "input", "bits": list(range(_FIRST, first))},
        "q": {"direction": "output", "bits": pins["DATAOUT"]},
    }
    path = tmp_path / "cells.json"
    path.write_text(json.dumps({"modules": {"cells": {"ports": ports, "cells": {"ram": cell}}}}))
    verilog = (
        netlist_to_verilog(path, top="cells", family="ice40")
        + """
module bench(input clk, input rst, input [34:0] i__payload, input i__valid, output i__ready,
             output [15:0] o__payload, output reg o__valid, input o__ready);
  cells ram(.clk(clk), .d({i__payload, i__valid}), .q(o__payload));
  assign i__ready = 1;
  always @(posedge clk) o__valid <= i__valid & ~rst;
endmodule
"""
    )
    rng = np.random.default_rng(1)
    write, mask, data = (rng.integers(1 << bits, size=2000) for bits in (1, 4, 16))
    address = rng.integers(20, size=2000) * 819
    layouts = [PixelLayout(((1, False), (4, False), (16, False), (14, False)))]
    layouts.append(PixelLayout(((16, False),)))
    design = StreamDesign("bench", verilog, (4, 40, 50), layouts[0], (1, 40, 50), layouts[1])
    images = np.stack([write, mask, data, address]).reshape(1, 4, 40, 50)
    found = run_fast(design, images, stall=Stall(), build_dir=build_dir, timeout=200).outputs
    words, expected = [0] * 16384, []
    for writes, lanes, word, place in zip(write, mask, data, address, strict=True):
        expected.append(0 if writes else words[place])
        chosen = sum(0xF << 4 * lane for lane in range(4) if lanes >> lane & 1)
        if writes:
            words[place] = words[place] & ~chosen | int(word) & chosen
    assert found.reshape(-1).tolist() == expected


@pytest.mark.parametrize(
    ("family", "kind", "parameters", "message"),
    [
        ("ice40", "SB_MAC16", {}, "no model of the ice40 cell SB_MAC16"),
        ("ecp5", "TRELLIS_FF", {"SRMODE": "ASYNC"}, "cell TRELLIS_FF with SRMODE 'ASYNC'"),
        ("gowin", "ALU", {"ALU_MODE": f"{15:032b}"}, "cell ALU in mode 15"),
        ("gowin", "SDPB", {"READ_MODE": "1"}, "cell SDPB with READ_MODE set"),
    ],
)
def test_what_has_no_model_is_refused(
    family: str, kind: str, parameters: dict[str, str], message: str, tmp_path: Path
) -> None:
    netlist, _ = _netlist([(kind, parameters, "A", "Z")], np.random.default_rng(1))
    path = tmp_path / "cells.json"
    path.write_text(json.dumps(netlist))
    with pytest.raises(UnsupportedError, match=message):
        netlist_to_verilog(path, top="cells", family=family)


def test_two_clocks_are_refused(tmp_path: Path) -> None:
    netlist, _ = _netlist([("SB_DFF", {}, "C D", "Q")] * 2, np.random.default_rng(1))
    netlist["modules"]["cells"]["cells"]["cell1"]["connections"]["C"] = [_FIRST]
    path = tmp_path / "cells.json"
    path.write_text(json.dumps(netlist))
    with pytest.raises(UnsupportedError, match="several clocks"):
        netlist_to_verilog(path, top="cells", family="ice40")
