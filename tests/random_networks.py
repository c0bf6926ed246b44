"""Random small networks as ONNX models, for tests of every stage.

The same seed always gives the same model. Images are 6 to 14 pixels high and wide and layers at
most 4 channels wide, so that a simulated design is quick; the operators and options are those
that the whole flow supports.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["random_images", "random_onnx"]

_ACTIVATIONS = (
    "Relu",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "ScaledTanh",
)
_MOST_CHANNELS = 4


def random_onnx(seed: int) -> onnx.ModelProto:
    """Model number ``seed``: one to four layers or branches, then a dense end or none.

    Input ``x`` (N, C, H, W) with C from 1 to 3 and an open batch size; operator set 17.
    """
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), int(rng.integers(6, 15)), int(rng.integers(6, 15)))
    writer = _Writer(rng, shape)
    for _ in range(int(rng.integers(1, 5))):
        layer = rng.choice(["conv", "conv", "pool", "residual", "concat"])
        match layer:
            case "conv":
                writer.conv_layer()
            case "pool":
                writer.pool()
            case "residual":
                writer.residual()
            case "concat":
                writer.concat()
    if not any(node.op_type == "Conv" for node in writer.nodes):
        writer.conv_layer()
    match rng.choice(["none", "flatten", "average", "reshape"]):
        case "flatten":
            writer.dense("Flatten")
        case "reshape":
            writer.dense("Reshape")
        case "average":
            writer.add("GlobalAveragePool")
            writer.shape = (writer.shape[0], 1, 1)
            writer.dense("Flatten")
    return writer.model(f"random_{seed}", shape)


def random_images(seed: int, model: onnx.ModelProto, count: int) -> npt.NDArray[np.float32]:
    """Images (count, C, H, W) that suit the input of ``model``: -1 .. 1, the first ones extreme."""
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    images = np.random.default_rng(seed).uniform(-1, 1, size=(count, *dims)).astype(np.float32)
    for index, value in enumerate((0.0, 1.0, -1.0)):
        images[index : index + 1] = value
    return images


@dataclass(eq=False)
class _Writer:
    """A model in the making: ``tensor`` of ``shape`` is the last result."""

    rng: np.random.Generator
    shape: tuple[int, int, int]
    tensor: str = "x"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def integer(self, lo: int, hi: int) -> int:
        return int(self.rng.integers(lo, hi + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def constant(self, values: npt.ArrayLike) -> str:
        array = np.asarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *others: str, **attributes: object) -> None:
        """Apply ``operator`` to the last result and ``others``."""
        result = f"t{len(self.nodes)}"
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, [self.tensor, *others], [result], name, **attributes)
        )
        self.tensor = result

    def conv(self, filters: int, *, same: bool = False) -> None:
        channels, height, width = self.shape
        kernel = [self.integer(1, min(5, height)), self.integer(1, min(5, width))]
        strides, dilations, pads = [1, 1], [1, 1], [0, 0, 0, 0]
        if same:
            kernel = [min(3, height | 1), min(3, width | 1)]
            pads = [kernel[0] // 2, kernel[1] // 2] * 2
        else:
            strides = [self.integer(1, 2), self.integer(1, 2)]
            if self.chance(0.2):
                dilations = [
                    self.integer(1, 2) if 2 * (k - 1) < size else 1
                    for k, size in zip(kernel, (height, width), strict=True)
                ]
            if self.chance(0.5):
                pads = [self.integer(0, min(2, kernel[k % 2] - 1)) for k in range(4)]
        groups = int(self.rng.choice([g for g in (1, 2, 3, 4) if channels % g == 0]))
        filters = -(-filters // groups) * groups
        depth = channels // groups
        spread = 1 / np.sqrt(depth * kernel[0] * kernel[1])
        weight = self.rng.normal(scale=spread, size=(filters, depth, *kernel))
        inputs = [self.constant(weight)]
        if self.chance(0.8):
            inputs.append(self.constant(self.rng.normal(scale=0.2, size=filters)))
        self.add("Conv", *inputs, strides=strides, dilations=dilations, pads=pads, group=groups)
        sizes = [
            (size + pads[k] + pads[k + 2] - dilations[k] * (kernel[k] - 1) - 1) // strides[k] + 1
            for k, size in enumerate((height, width))
        ]
        self.shape = (filters, sizes[0], sizes[1])

    def conv_layer(self) -> None:
        self.conv(self.integer(1, _MOST_CHANNELS))
        if self.chance(0.3):
            channels = self.shape[0]
            self.add(
                "BatchNormalization",
                self.constant(self.rng.uniform(0.5, 1.5, size=channels)),
                self.constant(self.rng.normal(scale=0.2, size=channels)),
                self.constant(self.rng.normal(scale=0.2, size=channels)),
                self.constant(self.rng.uniform(0.5, 1.5, size=channels)),
            )
        if self.chance(0.8):
            self.activation()

    def activation(self) -> None:
        kind = str(self.rng.choice(_ACTIVATIONS))
        match kind:
            case "PRelu":
                slopes = self.rng.uniform(0, 0.5, size=(self.shape[0], 1, 1))
                self.add("PRelu", self.constant(slopes))
            case "Clip":
                self.add("Clip", self.constant(np.float32(0)), self.constant(np.float32(1.5)))
            case "LeakyRelu":
                self.add("LeakyRelu", alpha=float(self.rng.choice([0.01, 0.125, 0.3])))
            case "ScaledTanh":
                self.add("Mul", self.constant(np.float32(2 / 3)))
                self.add("Tanh")
                self.add("Mul", self.constant(np.float32(1.7159)))
            case _:
                self.add(kind)

    def pool(self) -> None:
        channels, height, width = self.shape
        kernel = [self.integer(1, min(3, height)), self.integer(1, min(3, width))]
        strides = [self.integer(1, 3), self.integer(1, 3)]
        pads = [0, 0, 0, 0]
        if self.chance(0.4):
            pads = [self.integer(0, (kernel[k % 2] - 1) // 2) for k in range(4)]
        rooms = [size + pads[k] + pads[k + 2] - kernel[k] for k, size in enumerate((height, width))]
        ceilings = [-(-room // stride) for room, stride in zip(rooms, strides, strict=True)]
        ceil = self.chance(0.4) and all(
            # Implementations disagree on a window that begins past the image.
            ceilings[k] * strides[k] < size + pads[k]
            for k, size in enumerate((height, width))
        )
        floors = [room // stride for room, stride in zip(rooms, strides, strict=True)]
        sizes = [count + 1 for count in (ceilings if ceil else floors)]
        options: dict[str, object] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        if self.chance(0.5):
            self.add("MaxPool", **options, ceil_mode=int(ceil))
        else:
            included = int(self.chance(0.5))
            self.add("AveragePool", **options, ceil_mode=int(ceil), count_include_pad=included)
        self.shape = (channels, sizes[0], sizes[1])

    def residual(self) -> None:
        entry, shape = self.tensor, self.shape
        self.conv(shape[0], same=True)
        if self.chance(0.5):
            self.activation()
            self.conv(shape[0], same=True)
        if self.shape != shape:
            return
        self.add("Add", entry)
        if self.chance(0.5):
            self.activation()

    def concat(self) -> None:
        entry, shape = self.tensor, self.shape
        self.conv(self.integer(1, 2), same=True)
        if self.chance(0.5):
            self.activation()
        first, channels = self.tensor, self.shape[0]
        if self.chance(0.5) and shape[0] <= 2:
            self.add("Concat", entry, axis=1)
            self.shape = (channels + shape[0], *shape[1:])
            return
        self.tensor, self.shape = entry, shape
        self.conv(self.integer(1, 2), same=True)
        self.add("Concat", first, axis=1)
        self.shape = (channels + self.shape[0], *shape[1:])

    def dense(self, layout: str) -> None:
        channels, height, width = self.shape
        inputs, outputs = channels * height * width, self.integer(1, 5)
        weight = self.rng.normal(scale=1 / np.sqrt(inputs), size=(inputs, outputs))
        bias = self.rng.normal(scale=0.2, size=outputs)
        if layout == "Flatten":
            self.add("Flatten")
            transposed = int(self.chance(0.5))
            matrix = weight.T if transposed else weight
            self.add("Gemm", self.constant(matrix), self.constant(bias), transB=transposed)
        else:
            self.add("Reshape", self.constant(np.array([-1, inputs], dtype=np.int64)))
            self.add("MatMul", self.constant(weight))
            self.add("Add", self.constant(bias))
        self.shape = (outputs, 1, 1)

    def model(self, name: str, shape: tuple[int, int, int]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info(self.tensor, TensorProto.FLOAT, None)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)
