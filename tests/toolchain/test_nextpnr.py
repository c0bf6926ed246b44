"""Routed designs, and what becomes of those that cannot be routed."""

import logging
import sys
from pathlib import Path

import pytest

from hwgen.errors import ResourceError, ToolError
from hwgen.toolchain import nextpnr, process
from hwgen.toolchain.nextpnr import Device, pack, place_and_route, route_plan
from hwgen.toolchain.process import Program, TimeLimitError
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

_UP5K = Device("ice40", ("--up5k", "--package", "sg48"))
_HX1K = Device("ice40", ("--hx1k", "--package", "vq100"))
_COUNTER = """
module counter(input clk, output reg [3:0] y);
  always @(posedge clk) y <= y + 4'd1;
endmodule
"""
_PINS = "set_io clk 35\nset_io y[0] 2\nset_io y[1] 3\nset_io y[2] 4\nset_io y[3] 45\n"
_DELAY = """
module delay(input clk, input d, output q);
  reg [1999:0] line;
  always @(posedge clk) line <= {line[1998:0] ^ line[1999:1], d};
  assign q = line[1999];
endmodule
"""


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    """Directory with the netlist of a counter."""
    synthesise(SynthesisJob({"counter.v": _COUNTER}, "counter", "ice40", tmp_path))
    return tmp_path


def test_counter_is_routed_and_packed(counter: Path) -> None:
    result = place_and_route(
        _UP5K, name="counter", directory=counter, constraints=_PINS, freq=20, seeds=[4, 5]
    )
    assert [clock for clock, _ in result.clocks] == ["clk"]
    assert 20 < result.fmax_mhz < 500
    used = {item.kind: (item.used, item.available) for item in result.utilisation}
    assert used["SB_IO"] == (5, 39)
    assert 4 <= used["ICESTORM_LC"][0] <= 10
    assert used["ICESTORM_LC"][1] == 5280
    assert result.seed == 4
    assert result.attempts == ((4, "routed"),)
    bitstream = pack(_UP5K, name="counter", directory=counter)
    assert bitstream.name == "counter.bin"
    assert bitstream.stat().st_size == 104_090
    assert not list(counter.glob("*.part"))


def test_design_that_is_too_large_is_told_what_it_needs(tmp_path: Path) -> None:
    synthesise(SynthesisJob({"delay.v": _DELAY}, "delay", "ice40", tmp_path))
    with pytest.raises(
        ResourceError,
        match=r"does not fit the device, it needs ICESTORM_LC 2\d\d\d of 1280: choose",
    ):
        place_and_route(_HX1K, name="delay", directory=tmp_path, freq=20)


def test_time_limit_is_followed_by_the_next_seed(
    counter: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_step = nextpnr.run_step

    def hang_with_seed_1(step, directory, *, time_limit, endless):  # type: ignore[no-untyped-def]
        hangs = step.arguments[-1] == "1"
        limit = 0.01 if hangs else time_limit
        return run_step(step, directory, time_limit=limit, endless=endless)

    monkeypatch.setattr(nextpnr, "run_step", hang_with_seed_1)
    with caplog.at_level(logging.WARNING):
        result = place_and_route(_UP5K, name="counter", directory=counter, freq=20, seeds=[1, 2])
    assert result.seed == 2
    assert [seed for seed, _ in result.attempts] == [1, 2]
    assert "did not end within 0.01 s" in result.attempts[0][1]
    assert "nextpnr-ice40 with seed 1" in caplog.text


_ROW = "Info: {:10} | {:8} {:10} | {:4} {:5} |      {:4}|       0.53     123.13|"


@pytest.mark.parametrize(
    ("rows", "stopped"),
    [
        ([(k, k, 900, 1000, 0, 794) for k in range(40)], True),
        ([(k, k, 900 + k // 39, 1000, k // 39, 794) for k in range(40)], False),  # gets on again
        ([(k, k, 900, 1000, 0, 794 - k // 20) for k in range(40)], False),
        ([(k, k, 900, 1000, 0, 794) for k in range(20)], False),
    ],
)
def test_router_in_circles_is_followed_by_the_next_seed(
    rows: list[tuple[int, ...]], stopped: bool, counter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_step = nextpnr.run_step
    log = "\n".join([nextpnr._PLACING, *(_ROW.format(*row) for row in rows)])
    code = f"import time; print({log!r}, flush=True); time.sleep(60 if {stopped} else 0.3)"

    def circle_with_seed_1(step, directory, *, time_limit, endless):  # type: ignore[no-untyped-def]
        if step.arguments[-1] == "2":
            return run_step(step, directory, time_limit=time_limit, endless=endless)
        command = (sys.executable, "-c", f"{code}; raise SystemExit(1)")
        circles = Program(command, step.tool, directory, directory / step.log, endless)
        return process.run_program(circles, time_limit=time_limit)

    monkeypatch.setattr(process, "_LOOK", 0.02)
    monkeypatch.setattr(nextpnr, "run_step", circle_with_seed_1)
    result = place_and_route(_UP5K, name="counter", directory=counter, freq=20, seeds=[1, 2])
    assert result.seed == 2
    reason = result.attempts[0][1]
    assert ("its router has gone in circles with 794 connections left" in reason) == stopped


def test_time_limit_with_every_seed_is_an_error(counter: Path) -> None:
    with pytest.raises(TimeLimitError, match=r"No seed of 7, 9 could be routed: .* within 0\.01 s"):
        place_and_route(
            _UP5K, name="counter", directory=counter, freq=20, seeds=[7, 9], time_limit=0.01
        )


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ("set_io clk 35\n", "IO 'y.3.' is unconstrained"),
        (_PINS.replace("35", "999"), "does not have a pin named '999'"),
    ],
)
def test_pins_that_cannot_be_are_refused_at_once(counter: Path, pins: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        place_and_route(_UP5K, name="counter", directory=counter, constraints=pins, freq=20)


def test_packer_without_a_routed_design_fails(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^icepack "):
        pack(_UP5K, name="counter", directory=tmp_path)


def test_plan_names_seed_router_and_target() -> None:
    plan = route_plan(_UP5K, name="a", constraints=_PINS, freq=12.5, seed=3)
    assert plan.files == (("a.pcf", _PINS),)
    text = " ".join(plan.steps[0].arguments)
    assert "--pcf a.pcf --asc a.config" in text
    assert "--router router1 --freq 12.5 --timing-allow-fail --seed 3" in text
    free = route_plan(_UP5K, name="a", constraints=None, freq=12.5, seed=3)
    assert "--pcf-allow-unconstrained" in free.steps[0].arguments


def test_plan_for_gowin_names_the_part_to_router_and_packer() -> None:
    device = Device("gowin", ("--device", "GW1N-X", "--vopt", "family=GW1N-9C"), ("-d", "GW1N-9C"))
    (route,) = route_plan(device, name="a", constraints="", freq=27, seed=1).steps
    text = " ".join(route.arguments)
    assert text.startswith("--device GW1N-X --vopt family=GW1N-9C --json a.json --vopt cst=a.cst ")
    assert "--write a.config" in text
    (pack_step,) = nextpnr.pack_plan(device, name="a").steps
    assert pack_step.tool == "gowin_pack"
    assert " ".join(pack_step.arguments) == "--compress -d GW1N-9C a.config -o a.fs"


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Family must be one of ecp5, ice40, gowin, not 'xc7'"):
        Device("xc7", ())
    with pytest.raises(ValueError, match="at least one seed"):
        place_and_route(_UP5K, name="a", directory=tmp_path, freq=20, seeds=[])
