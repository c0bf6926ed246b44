"""A slice of a fire module of the shipped SqueezeNet: real weights of a few channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx_build import N, build

__all__ = ["fire_images", "fire_onnx"]

_MODEL = Path(__file__).resolve().parents[1] / "models" / "squeezenet" / "squeezenet.onnx"
INPUTS, SQUEEZED, EXPANDED, OUTPUTS = 6, 4, 5, 3


def fire_onnx() -> onnx.ModelProto:
    """fire2 (1x1 squeeze, 1x1 and padded 3x3 expand, concatenation), and fire3's squeeze behind.

    Of 6 channels of 8 x 8 pixels.
    """
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(_MODEL).graph.initializer}
    expands = [*range(EXPANDED), *range(64, 64 + EXPANDED)]  # fire3 reads 64 maps of each
    constants = {}
    for name, outputs, inputs in (
        ("fire2.squeeze", SQUEEZED, [*range(INPUTS)]),
        ("fire2.expand1x1", EXPANDED, [*range(SQUEEZED)]),
        ("fire2.expand3x3", EXPANDED, [*range(SQUEEZED)]),
        ("fire3.squeeze", OUTPUTS, expands),
    ):
        constants[f"{name}.weight"] = stored[f"{name}.weight"][:outputs, inputs]
        constants[f"{name}.bias"] = stored[f"{name}.bias"][:outputs]

    def conv(name: str, source: str, pad: int = 0) -> list[onnx.NodeProto]:
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        made = helper.make_node("Conv", inputs, [name], name, pads=[pad] * 4)
        return [made, helper.make_node("Relu", [name], [f"{name}.relu"], f"{name}.relu")]

    halves = ["fire2.expand1x1.relu", "fire2.expand3x3.relu"]
    nodes = [
        *conv("fire2.squeeze", "x"),
        *conv("fire2.expand1x1", "fire2.squeeze.relu"),
        *conv("fire2.expand3x3", "fire2.squeeze.relu", pad=1),
        helper.make_node("Concat", halves, ["fire2.concat"], "fire2.concat", axis=1),
        *conv("fire3.squeeze", "fire2.concat"),
    ]
    return build(nodes, (N, INPUTS, 8, 8), constants, output="fire3.squeeze.relu")


def fire_images(count: int, *, seed: int = 0) -> np.ndarray:
    """Maps (count, C, H, W) as a ReLU leaves them."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(20, 60, (count, INPUTS, 8, 8)), 0).astype(np.float32)
