"""SiLU, GELU and their kin from ONNX to the golden model and to Verilog."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper
from onnx_build import N, build, reference, save

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import Recipe
from hwgen.approx.sets import LADDER
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.types import IntegerNetwork
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Activation
from hwgen.sim import golden
from hwgen.sim.types import Stall
from hwgen.sim.verify import verify
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit

_SHAPE = (2, 9, 8)
_KINDS = ["silu", "gelu", "gelu_tanh", "hard_swish", "mish", "elu", "softplus", "erf", "exp"]


def _model(seed: int) -> tuple[onnx.ModelProto, list[str]]:
    """Convolutions with two activations each way of the list, SiLU and GELU spelt out."""
    rng = np.random.default_rng(seed)
    constants: dict[str, npt.ArrayLike] = {
        "root": np.float32(2**0.5),
        "one": np.float32(1),
        "half": np.float32(0.5),
    }
    nodes: list[onnx.NodeProto] = []
    tensor, channels = "x", _SHAPE[0]

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        result = f"t{len(nodes)}"
        nodes.append(
            helper.make_node(kind, list(inputs), [result], f"{kind}{len(nodes)}", **attributes)
        )
        return result

    others = [str(kind) for kind in rng.choice(_KINDS[2:], size=2, replace=False)]
    kinds = ["silu", "gelu", *others]
    for kind in kinds:
        filters = int(rng.integers(1, 4))
        # what enters an exponential must stay small for outputs to be comparable
        spread = (0.1 if kind == "exp" else 1.0) / np.sqrt(channels)
        weight = rng.normal(scale=spread, size=(filters, channels, 2, 2))
        constants[f"w{len(nodes)}"] = weight
        constants[f"b{len(nodes)}"] = rng.normal(scale=0.3, size=filters)
        tensor = add("Conv", tensor, f"w{len(nodes)}", f"b{len(nodes)}")
        channels = filters
        match kind:
            case "silu":
                tensor = add("Mul", tensor, add("Sigmoid", tensor))
            case "gelu":
                gate = add("Add", add("Erf", add("Div", tensor, "root")), "one")
                tensor = add("Mul", add("Mul", tensor, gate), "half")
            case "gelu_tanh":
                tensor = add("Gelu", tensor, approximate="tanh")
            case "hard_swish":
                tensor = add("HardSwish", tensor)
            case _:
                tensor = add(kind.capitalize(), tensor)
    model = build(nodes, (N, *_SHAPE), constants, opset=20, output=tensor)
    return model, kinds


def _integer(seed: int, directory: Path) -> tuple[IntegerNetwork, onnx.ModelProto]:
    model, kinds = _model(seed)
    network = import_onnx(save(model, directory))
    ops = [node.op for node in network.nodes if isinstance(node.op, Activation)]
    assert [op.kind for op in ops] == kinds
    calibration = np.random.default_rng(seed).normal(size=(48, *_SHAPE))
    samples = calibrate(network, calibration).samples
    ranges = {name: (float(s[0]), float(s[-1])) for name, s in samples.items()}
    approx = approximate(network, recipes=Recipe(LADDER[-1]), ranges=ranges)
    assert len(approx.activations) == len(kinds)
    return quantise(approx, calibrate(approx.to_network(), calibration), activation_bits=10), model


@pytest.mark.parametrize("seed", range(6))
def test_golden_model_is_near_the_float_model(seed: int, tmp_path: Path) -> None:
    integer, model = _integer(seed, tmp_path)
    images = np.random.default_rng(seed + 1000).normal(size=(16, *_SHAPE))
    expected = reference(model, images.astype(np.float32)).astype(np.float64)
    found = golden.run(integer, integer.input_format.quantise(images))
    scale = np.array(integer.scale(integer.output))[:, None, None]
    error = np.sqrt(np.mean((found * scale - expected) ** 2) / np.mean(expected**2))
    assert error < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_verilog_is_the_golden_model(seed: int, tmp_path: Path, build_dir: Path) -> None:
    integer, _ = _integer(seed, tmp_path)
    # wilder than the calibration images, so that every saturation is met
    images = 3 * np.random.default_rng(seed + 2000).normal(size=(4, *_SHAPE))
    report = verify(
        integer,
        emit(plan_pipeline(integer), taps=True),
        images,
        mode="fast",
        layers=True,
        seed=seed,
        stall=Stall(0.3, 0.3),
        build_dir=build_dir,
        waves=False,
    )
    assert report.passed, report
    output = int(np.prod(integer.shape(integer.output)[1:])) * len(images)
    assert report.layers[-1].words_compared == output
