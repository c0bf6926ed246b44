"""The summary of a workspace, whatever stages have run."""

import json
import re
from dataclasses import asdict

import pytest
from small_workspace import CLOCK_MHZ, IMAGES, STAGES, fill, run_stage, verify_report

from hwgen.errors import DataError
from hwgen.flow import summary as module
from hwgen.flow.commands import reproduce
from hwgen.flow.summary import gather, summarise

_GROUP_OF = {
    "import": ("network",),
    "approximate": ("accuracy", "approximation", "operations", "layers"),
    "generate": ("hardware",),
    "verify": ("verification",),
}


@pytest.mark.parametrize("count", range(len(STAGES) + 1))
def test_a_group_is_there_once_its_stage_has_run(tmp_path, count):
    summary = summarise(fill(tmp_path, STAGES[:count]))
    for stage, groups in _GROUP_OF.items():
        for group in groups:
            assert (summary[group] is not None) == (stage in STAGES[:count]), group
    states = [summary["stages"][stage] for stage in STAGES]
    assert states == ["done"] * count + ["not run"] * (len(STAGES) - count)
    assert json.loads(json.dumps(summary)) == summary


def test_the_documented_groups_and_keys_are_those_that_there_are(tmp_path):
    summary = summarise(fill(tmp_path))
    table = re.findall(r"^``(\w+)``", module.__doc__, re.MULTILINE)
    assert sorted(table) == sorted(summary)
    text = module.__doc__
    for group in ("network", "accuracy", "approximation", "operations", "hardware", "verification"):
        missing = [key for key in summary[group] if f"``{key}``" not in text]
        assert not missing, (group, missing)


def test_numbers_of_a_whole_build(tmp_path):
    summary = summarise(fill(tmp_path))
    hardware = summary["hardware"]
    assert summary["network"]["input"] == [1, 6, 6]
    assert summary["accuracy"]["images"] == IMAGES
    assert summary["accuracy"]["held_out"] is False
    assert summary["operations"]["multiplications"] == 0
    assert summary["operations"]["float_multiplications"] > 0
    assert hardware["adders"] == gather(fill(tmp_path)).plan.adders > 0
    assert (hardware["luts"], hardware["core"]["luts"], hardware["dsps"]) == (1200, 1100, 0)
    assert hardware["cycles_per_image"] >= 36
    expected = CLOCK_MHZ * 1e6 / hardware["cycles_per_image"]
    assert hardware["images_per_second"] == pytest.approx(expected)
    assert hardware["latency_us"] == pytest.approx(hardware["latency_cycles"] / CLOCK_MHZ)
    assert hardware["capacity"]["luts"] == 24_288
    verification = summary["verification"]
    assert verification["passed"] is True
    assert (verification["words_compared"], verification["words_differed"]) == (200, 0)
    assert [run["mode"] for run in verification["runs"]] == ["cocotb", "fast"]
    assert summary["seeds"] == {"split": 0, "verification": 1, "routing": 1}
    assert summary["tools"]["yosys"] == "0.70"
    assert "hwgen" in summary["tools"]
    assert summary["files"] == {
        "verilog": "design.v",
        "script": "synthesis/build.sh",
        "bitstream": "synthesis/top.bit",
    }
    assert summary["seconds"]["steps"] == {"synthesis": 12.5}


def test_no_speed_without_place_and_route(tmp_path):
    hardware = summarise(fill(tmp_path, STAGES[:4]))["hardware"]
    assert hardware["cycles_per_image"] > 0
    assert [hardware[key] for key in ("clock_mhz", "images_per_second", "luts")] == [None] * 3


def test_results_of_another_design_are_left_out(tmp_path):
    workspace = fill(tmp_path)
    workspace.write("design.json", '{"other": 1}')
    summary = summarise(workspace)
    assert summary["stages"] == dict.fromkeys(STAGES[:2], "done") | dict.fromkeys(
        STAGES[2:], "out of date"
    )
    assert summary["hardware"] is None
    assert summary["verification"] is None
    assert any("'synth' is left out" in sentence for sentence in summary["limits"])


def test_a_new_approximation_leaves_later_results_out(tmp_path):
    workspace = fill(tmp_path)
    integer = workspace.path("integer.json").read_text()
    workspace.write("integer.json", integer.replace('"tiny"', '"tidy"', 1))
    assert summarise(workspace)["stages"]["approximate"] == "out of date"
    workspace.write("integer.json", integer)
    assert summarise(workspace)["stages"]["synth"] == "done"
    workspace.path("stages/approximate.json").unlink()  # as when it was interrupted
    states = summarise(workspace)["stages"]
    assert (states["approximate"], states["synth"]) == ("not run", "out of date")


def test_a_failed_verification_is_shown(tmp_path):
    workspace = fill(tmp_path)
    workspace.path("stages/verify.json").unlink()
    reports = [asdict(verify_report("fast", differed=4))]
    workspace.write("results/verify.json", json.dumps({"reports": reports}))
    summary = summarise(workspace)
    assert summary["stages"]["verify"] == "failed"
    assert summary["verification"]["passed"] is False
    assert summary["verification"]["words_differed"] == 4
    assert summary["verification"]["runs"][0]["first_difference"]["got"] == 6
    assert "The stage 'verify' failed." in summary["limits"]
    assert "The design was not verified in the mode 'cocotb'." in summary["limits"]


def test_an_interrupted_verification_is_no_proof(tmp_path):
    workspace = fill(tmp_path)
    workspace.path("stages/verify.json").unlink()
    summary = summarise(workspace)
    assert summary["stages"]["verify"] == "not run"
    assert summary["verification"] is None


def test_no_word_compared_is_no_proof(tmp_path):
    workspace = fill(tmp_path, STAGES[:3])
    report = asdict(verify_report("fast"))
    for layer in report["layers"]:
        layer["words_compared"] = 0
    for reports in ([report], []):
        workspace.write("results/verify.json", json.dumps({"reports": reports}))
        assert summarise(workspace)["verification"]["passed"] is False


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_damaged_result_is_named(tmp_path, text):
    workspace = fill(tmp_path, STAGES[:3])
    workspace.write("results/verify.json", text)
    with pytest.raises(DataError, match=r"verify.json' is damaged; run 'hwgen verify' again"):
        summarise(workspace)


def test_commands_make_the_workspace_again(tmp_path):
    workspace = fill(tmp_path, STAGES[:2])
    root = workspace.root
    data = f"--data {tmp_path}/data.npz --test {tmp_path}/test.npz --mix P4"
    assert summarise(workspace)["commands"] == [
        f"hwgen import {tmp_path}/model.onnx --out {root}",
        f"hwgen approximate {root} {data}",
    ]
    for stage in STAGES[2:]:
        run_stage(workspace, stage)
    build = f"hwgen build {tmp_path}/model.onnx --out {root} {data} --images 10 --board ulx3s-25f"
    assert summarise(workspace)["commands"] == [build]


def test_commands_name_the_family_that_the_verilog_is_for(tmp_path):
    workspace = fill(tmp_path)
    record = workspace.root / "stages/generate.json"
    record.write_text(record.read_text().replace('"ecp5"', '"ice40"'))
    commands = summarise(workspace)["commands"]
    assert len(commands) == 5
    assert commands[2] == f"hwgen generate {workspace.root} --family ice40"


def test_commands_name_an_unusual_effort(tmp_path):
    workspace = fill(tmp_path)
    record = workspace.root / "stages/generate.json"
    record.write_text(record.read_text().replace('"effort": 50', '"effort": 7'))
    (command,) = summarise(workspace)["commands"]
    assert "--effort 7" in command


def _options(workspace, stage, **changes):
    record = workspace.root / f"stages/{stage}.json"
    content = json.loads(record.read_text())
    content["options"] |= changes
    record.write_text(json.dumps(content))


def test_commands_name_all_that_was_chosen(tmp_path):
    workspace = fill(tmp_path)
    _options(workspace, "generate", forms="stem=rows", pixels=2, size=[12, 18])
    _options(workspace, "synth", link="spi", baud=9600, clock=30.0)
    (command,) = reproduce(workspace)
    assert "--forms stem=rows --pixels 2 --size 12x18" in command
    assert command.endswith("--board ulx3s-25f --clock 30 --link spi --baud 9600")
    nfu = {"backend": "nfu", "tile": [2, 1], "loadable": True, "room_for": ["out/other"]}
    _options(workspace, "generate", forms="", pixels=1, size=None, **nfu)
    (command,) = reproduce(workspace)
    assert "--backend nfu --tile 2x1 --loadable --room-for out/other" in command


def test_commands_put_the_design_on_its_buses(tmp_path):
    workspace = fill(tmp_path)
    chosen = {"wrappers": ["axis", "wishbone"]}
    workspace.run("wrap", lambda: None, reads=[], writes=[], options=chosen)
    commands = reproduce(workspace)
    assert len(commands) == 5
    assert commands[2].endswith("--family ecp5 --wrapper axis --wrapper wishbone")


def test_results_of_another_version_are_left_out(tmp_path, monkeypatch):
    workspace = fill(tmp_path)
    monkeypatch.setattr(module, "__version__", "0.0.0")
    assert set(summarise(workspace)["stages"].values()) == {"out of date"}


def test_layers_merge_what_hardware_merges(tmp_path):
    layers = {layer["name"]: layer for layer in summarise(fill(tmp_path))["layers"]}
    assert list(layers) == ["stem", "branch", "curve", "sum", "pool", "classes"]
    assert layers["stem"]["parts"] == ["stem", "stem_relu"]
    assert layers["classes"]["parts"] == ["classes", "softmax"]
    assert layers["sum"]["reads"] == ["curve", "stem"]
    assert len(layers["sum"]["buffers"]) == 2
    assert min(layers["sum"]["buffers"]) >= 2
    assert layers["pool"]["buffers"] == []
    assert layers["stem"]["kind"] == "conv 3x3, ReLU"
    assert layers["classes"]["kind"] == "fully connected, softmax"
    assert layers["stem"]["lo"] == 0
    assert layers["stem"]["dyadic_set"] == "P4"
    assert layers["pool"]["adders"] is None
    assert layers["stem"]["adders"] > 0
    assert [layer["luts"] for layer in layers.values()] == [1000, 0, 0, 0, 50, 0]
    for layer in layers.values():
        assert 0 < layer["output_error"] < 0.5, layer["name"]
        assert layer["cycles"] <= 64
    for name in ("stem", "branch", "classes"):
        assert 0 < layers[name]["weight_error"] < 0.5


def test_few_images_are_called_few(tmp_path):
    summary = summarise(fill(tmp_path))
    low, high = summary["accuracy"]["interval"]["integer"]
    assert low < summary["accuracy"]["integer"] < high
    assert any(f"measured on {IMAGES} images only" in text for text in summary["limits"])
