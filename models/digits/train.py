"""Train the small digits network: convolutions small enough for fully parallel shift-add hardware.

Usage: pip install torch onnx onnxruntime; python models/digits/train.py [--idx FOLDER]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lenet import MNIST, LeNet, run

DIGITS = LeNet("digits", channels=(6, 16), kernels=(5, 3), hidden=64, epochs=15, l1=2e-5)

if __name__ == "__main__":
    run(DIGITS, MNIST, Path(__file__).resolve().parent)
