"""A workspace of a tiny network, filled by the real packages as far as that is quick.

What takes a simulator or a synthesiser is written as the results of those stages, made up.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from hwgen.approx import store as approx_store
from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.boards.build import BuildResult
from hwgen.flow.accuracy import compare
from hwgen.flow.data import Images
from hwgen.flow.layers import output_errors
from hwgen.flow.options import SynthOptions, VerifyOptions
from hwgen.flow.testset import TEST_SET, encode_test_set
from hwgen.flow.workspace import Workspace
from hwgen.integer import store as integer_store
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network import storage as network_store
from hwgen.network.types import Activation, Add, Conv, MaxPool, Network, Node, Softmax
from hwgen.sim.types import Difference, LayerCheck, Stall, VerifyReport
from hwgen.stream import store as stream_store
from hwgen.stream.plan import plan_pipeline
from hwgen.toolchain.nextpnr import Utilisation
from hwgen.toolchain.synthesis import Area

STAGES = ("import", "approximate", "generate", "verify", "synth")
IMAGES = 12
CLOCK_MHZ = 50.0


def tiny_network(*, prefix: str = "", name: str = "tiny") -> Network:
    """Two branches that are added, pooled, and decided among three classes."""
    rng = np.random.default_rng(7)

    def conv(outputs: int, inputs: int, size: int, pads: tuple[int, int, int, int]) -> Conv:
        weight = rng.normal(size=(outputs, inputs, size, size)) / size
        return Conv(weight, rng.normal(size=outputs) / 8, pads=pads)

    def called(text: str) -> str:
        return f"{prefix}{text}"

    wide = (2, 6, 6)
    nodes = (
        Node(called("stem"), conv(2, 1, 3, (1, 1, 1, 1)), ("image",), wide),
        Node(called("stem_relu"), Activation("relu"), (called("stem"),), wide),
        Node(called("branch"), conv(2, 2, 1, (0, 0, 0, 0)), (called("stem_relu"),), wide),
        Node(called("curve"), Activation("tanh"), (called("branch"),), wide),
        Node(called("sum"), Add(), (called("curve"), called("stem_relu")), wide),
        Node(called("pool"), MaxPool((2, 2), (2, 2)), (called("sum"),), (2, 3, 3)),
        Node(called("classes"), conv(3, 2, 3, (0, 0, 0, 0)), (called("pool"),), (3, 1, 1)),
        Node(called("softmax"), Softmax(), (called("classes"),), (3, 1, 1)),
    )
    return Network(name, "image", (1, 6, 6), nodes, called("softmax"))


def verify_report(mode: str, *, differed: int = 0) -> VerifyReport:
    """A report of a simulation in which ``differed`` words differed."""
    first = Difference("classes", 3, 1, 0, 0, expected=5, got=6) if differed else None
    checks = (LayerCheck("pool", 90, 0), LayerCheck("classes", 10, differed, first))
    return VerifyReport(
        mode=mode,
        images=10,
        layers=checks,
        fault=None,
        cycles=400,
        cycles_per_image=40.0,
        seed=1,
        stall=Stall(0.25, 0.25),
        simulator="Verilator 5.48",
    )


def build_result(*, routed: bool = True) -> BuildResult:
    """A result of synthesis, and of place and route if ``routed``."""
    area = Area(1200, 300, 900, 2, 0, 0, (("LUT4", 1200),))
    return BuildResult(
        board="ulx3s-25f",
        part="LFE5U-25F",
        core=replace(area, luts=1100),
        instances=(
            ("", replace(area, luts=50)),
            ("pool_max", replace(area, luts=50)),
            ("stem_adders", replace(area, luts=700)),
            ("stem_relu_requantise", replace(area, luts=300)),
        ),
        top=area,
        utilisation=(Utilisation("TRELLIS_COMB", 1500, 24288),),
        baud=1_000_000,
        clock_mhz=25.0,
        target_mhz=100.0,
        fmax_mhz=CLOCK_MHZ if routed else None,
        seed=1 if routed else None,
        attempts=((1, "routed"),) if routed else (),
        bitstream="top.bit" if routed else None,
        script="build.sh",
        tools=(("yosys", "0.70"),),
        seconds=(("synthesis", 12.5),),
    )


def fill(
    root: Path, stages: tuple[str, ...] = STAGES, *, network: Network | None = None
) -> Workspace:
    """A workspace in which ``stages`` have run."""
    workspace = Workspace.create(root / "out")
    for stage in stages:
        _RUN[stage](workspace, root, network or tiny_network())
    return workspace


def run_stage(workspace: Workspace, stage: str, *, network: Network | None = None) -> None:
    """Run one stage, whether it must or not."""
    workspace.path(f"stages/{stage}.json").unlink(missing_ok=True)
    _RUN[stage](workspace, workspace.root.parent, network or tiny_network())


def _import(workspace: Workspace, root: Path, network: Network) -> None:
    (root / "model.onnx").write_bytes(b"model")
    workspace.run(
        "import",
        lambda: workspace.write("network.json", network_store.to_json(network)),
        reads=[root / "model.onnx"],
        writes=["network.json"],
        options={},
    )


def _approximate(workspace: Workspace, root: Path, network: Network) -> None:
    for name in ("data.npz", "test.npz"):
        (root / name).write_bytes(name.encode())

    def work() -> None:
        rng = np.random.default_rng(1)
        images = Images(rng.normal(size=(IMAGES, 1, 6, 6)), np.arange(IMAGES) % 3)
        approx = approximate(network, recipes=parse_recipe("P4"))
        integer = quantise(approx, calibrate(approx.to_network(), images.x))
        compared = asdict(compare(network, approx.to_network(), integer, images))
        workspace.write("approx.json", approx_store.to_json(approx))
        workspace.write("integer.json", integer_store.to_json(integer))
        workspace.write(TEST_SET, encode_test_set(images))
        errors = output_errors(network, integer, images.x)
        result = {
            "accuracy": compared,
            "choosing": compared,
            "output_errors": errors,
        }
        workspace.write("results/approximate.json", json.dumps(result))

    workspace.run(
        "approximate",
        work,
        reads=[workspace.path("network.json"), root / "data.npz", root / "test.npz"],
        writes=["approx.json", "integer.json", TEST_SET, "results/approximate.json"],
        options={
            "mix": "P4",
            "point": None,
            "chosen": True,
            "objective": "output",
            "calibration": 256,
            "bits": 8,
            "seed": 0,
        },
    )


def _generate(workspace: Workspace, root: Path, network: Network) -> None:
    def work() -> None:
        integer = integer_store.from_json(workspace.path("integer.json").read_text())
        workspace.write("plan.json", stream_store.plan_to_json(plan_pipeline(integer)))
        workspace.write("design.json", "{}")
        workspace.write("design.v", "module hwgen_net; endmodule\n")

    workspace.run(
        "generate",
        work,
        reads=[workspace.path("integer.json"), workspace.path("approx.json")],
        writes=["plan.json", "design.json", "design.v"],
        options={"family": "ecp5", "effort": 50},
    )


def _verify(workspace: Workspace, root: Path, network: Network) -> None:
    reports = [asdict(verify_report(mode)) for mode in ("cocotb", "fast")]
    text = json.dumps({"reports": reports})
    workspace.run(
        "verify",
        lambda: workspace.write("results/verify.json", text),
        reads=[workspace.path(name) for name in ("integer.json", "design.json", TEST_SET)],
        writes=["results/verify.json"],
        options=asdict(VerifyOptions(images=10)),
    )


def _synth(workspace: Workspace, root: Path, network: Network) -> None:
    def work() -> None:
        workspace.write("results/synth.json", json.dumps(asdict(build_result())))
        workspace.write("synthesis/top.bit", b"\x00")
        workspace.write("synthesis/build.sh", "")

    workspace.run(
        "synth",
        work,
        reads=[workspace.path("design.json")],
        writes=["results/synth.json"],
        options=asdict(SynthOptions(board="ulx3s-25f")),
    )


_RUN = {
    "import": _import,
    "approximate": _approximate,
    "generate": _generate,
    "verify": _verify,
    "synth": _synth,
}
