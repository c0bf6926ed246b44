"""What commands print: tables whole in a pipe, JSON that parses, statuses for scripts."""

import json

import pytest
from click.testing import CliRunner
from small_workspace import STAGES, fill

from hwgen.boards import BOARDS
from hwgen.cli import doctor as doctor_module
from hwgen.cli._result import finish
from hwgen.cli.boards import boards
from hwgen.cli.doctor import doctor
from hwgen.flow.summary import summarise
from hwgen.toolchain.doctor import ToolStatus

_HERE = ToolStatus("yosys", "synthesises", True, "0.70.0.0.post1234567890", "")
_OPTIONAL = ToolStatus("loader", "loads", False, None, "apt install loader")
_MISSING = ToolStatus("cocotb", "drives the simulation", True, None, "pip install cocotb")


@pytest.mark.parametrize(
    ("tools", "status", "sentence"),
    [
        ((_HERE, _OPTIONAL), 0, "'hwgen build' has all that it needs."),
        ((_HERE, _MISSING, _OPTIONAL), 1, "'hwgen build' cannot run without cocotb."),
    ],
)
def test_doctor(monkeypatch, tools, status, sentence):
    monkeypatch.setattr(doctor_module, "diagnose", lambda: tools)
    result = CliRunner().invoke(doctor)
    assert result.exit_code == status
    assert result.output.splitlines()[-1] == sentence
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    for tool in tools:
        assert (tool.version or "missing") in lines[tool.name]
        assert tool.purpose in lines[tool.name]
        assert tool.remedy in lines[tool.name]
    assert "(optional)" in lines["loader"]

    as_json = CliRunner().invoke(doctor, ["--json"])
    assert as_json.exit_code == status
    found = json.loads(as_json.output)
    assert found["ready"] is (status == 0)
    assert found["tools"]["yosys"]["found"] is True
    assert found["tools"]["loader"]["remedy"] == "apt install loader"


def test_boards():
    result = CliRunner().invoke(boards)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    for name, board in BOARDS.items():
        assert f"{board.capacity.luts:,}" in lines[name]
        assert f"{board.capacity.brams}" in lines[name]
        assert board.part in lines[name]
    found = json.loads(CliRunner().invoke(boards, ["--json"]).output)
    assert list(found) == sorted(BOARDS)
    assert found["ulx3s-25f"]["luts"] == 24_288
    assert found["ulx3s-25f"]["clock_mhz"] == 25.0
    assert found["icebreaker"]["spram_bits"] == 1 << 20
    assert found["tang-nano-20k"]["uart"] == {"rx": "70", "tx": "69"}


def test_the_summary_as_json_is_the_summary(tmp_path, capsys):
    workspace = fill(tmp_path, STAGES[:2])
    finish(workspace, as_json=True)
    assert json.loads(capsys.readouterr().out) == summarise(workspace)


def test_the_end_of_a_build_names_what_was_made_and_proved(tmp_path, capsys):
    workspace = fill(tmp_path)
    finish(workspace, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Bit-exact on 10 images, without a multiplier; bitstream built"
    told = dict(line.split(maxsplit=1) for line in lines[1:])
    assert told["bitstream"] == str(workspace.path("synthesis/top.bit"))
    assert told["verilog"] == str(workspace.path("design.v"))
    assert told["next"] == f"hwgen report {workspace.root}"
    assert told["verified"].startswith("200 words compared, 0 differed")
    assert all(line == line.rstrip() for line in lines)
