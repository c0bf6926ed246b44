"""Record a tensor inside a network, as input data for a network cut out of it.

Usage: python models/block_data.py MODEL.onnx TENSOR IMAGES.npz OUT.npz [--count 16]

Runs the first images of IMAGES.npz and writes ``x``: the tensor's values as multiples of 1/16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def main() -> None:
    """Run the images and write the tensor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("tensor")
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=16)
    arguments = parser.parse_args()
    model = onnx.load_model(arguments.model)
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=arguments.tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    with np.load(arguments.images) as archive:
        x = archive["x"][: arguments.count].astype(np.float32)
    (values,) = session.run(None, {session.get_inputs()[0].name: x})
    rounded = (np.rint(values * 16) / 16).astype(np.float32)
    np.savez_compressed(arguments.out, x=rounded)
    print(f"{arguments.out}: {rounded.shape}, {rounded.min()} to {rounded.max()}")


if __name__ == "__main__":
    main()
