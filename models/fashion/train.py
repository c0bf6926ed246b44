"""Train the LeNet-style network on Fashion-MNIST.

Usage: pip install torch onnx onnxruntime; python models/fashion/train.py [--idx FOLDER]

``models/fashion_mnist.py`` says where FOLDER comes from.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lenet import FASHION, LeNet, run

NETWORK = LeNet("fashion", channels=(20, 50), kernels=(5, 5), hidden=128, epochs=16, dropout=0.3)

if __name__ == "__main__":
    run(NETWORK, FASHION, Path(__file__).resolve().parent)
