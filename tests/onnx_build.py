"""Build small ONNX models and compare their import with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network

__all__ = ["N", "build", "compare", "reference", "save"]

N = "N"
"""A batch size that the model leaves open."""


def build(
    nodes: Iterable[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: Mapping[str, npt.ArrayLike] | None = None,
    *,
    opset: int = 17,
    output: str = "y",
    domains: Sequence[str] = (),
    input_type: int = TensorProto.FLOAT,
    output_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Model with the input ``x`` of ``shape``; Python floats in ``constants`` become float32."""
    initializers = []
    for name, value in (constants or {}).items():
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        initializers.append(numpy_helper.from_array(array, name))
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", input_type, list(shape))],
        [helper.make_tensor_value_info(output, output_type, None)],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write ``model`` into ``folder``."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def reference(model: onnx.ModelProto, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What onnxruntime makes of ``x``, unoptimised."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: npt.NDArray[Any] = session.run(None, {"x": x})[0]
    return result


def compare(
    model: onnx.ModelProto,
    folder: Path,
    *,
    x: npt.NDArray[Any] | None = None,
    seed: int = 0,
    images_first: bool = True,
) -> Network:
    """Import ``model``; assert that it agrees with onnxruntime to 1e-4 relative, and return it.

    ``images_first`` is false if the model takes and returns (N, H, W, C), which the network does
    as (N, C, H, W).
    """
    network = import_onnx(save(model, folder))
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    if x is None:
        rng = np.random.default_rng(seed)
        x = rng.normal(scale=2, size=(dims[0] or 3, *dims[1:])).astype(np.float32)
    expected = reference(model, x).astype(np.float64)
    images = x if images_first else x.transpose(0, 3, 1, 2)
    images = images.reshape(-1, *network.input_shape)
    for dtype in (np.float32, np.float64):
        found = run(network, images, dtype=dtype)
        assert found.dtype == dtype
        if not images_first and expected.ndim == 4:
            found = found.transpose(0, 2, 3, 1)
        assert found.size == expected.size
        scale = float(np.abs(expected).max(initial=0.0))
        np.testing.assert_allclose(
            found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-6 + 1e-5 * scale
        )
    return network
