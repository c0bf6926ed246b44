"""Train the large digits network, above 180,000 parameters.

Usage: pip install torch onnx onnxruntime; python models/digits-large/train.py [--idx FOLDER]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lenet import MNIST, LeNet, run

LARGE = LeNet("digits-large", channels=(20, 50), kernels=(5, 5), hidden=192, epochs=8, dropout=0.3)

if __name__ == "__main__":
    run(LARGE, MNIST, Path(__file__).resolve().parent)
