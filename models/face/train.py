"""Train the face/non-face network of Garcia and Delakis on scikit-image's data alone.

Writes face.onnx, train.npz, test.npz and accuracy.json beside itself; takes about three minutes on
one core. The layers are those of C. Garcia and M. Delakis, "Convolutional Face Finder", IEEE Trans.
PAMI 26(11), 2004: 951 trainable parameters, 38 kernels.

Usage: pip install torch scikit-image onnx onnxruntime; python models/face/train.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage
import torch
from skimage import color, io, transform
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from onnx_graph import GraphWriter, trainable_parameters

PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
TRAIN_PICTURES = (
    "brick.png",
    "cell.png",
    "chelsea.png",
    "coins.png",
    "grass.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
TEST_PICTURES = ("clock_motion.png", "coffee.png", "gravel.png", "moon.png", "page.png")
HEIGHT, WIDTH = 36, 32
HELD_OUT = 40  # of the 100 faces and of the 100 non-faces
STEPS = 4000
BATCH = 32  # faces a step, and as many non-faces


def connections() -> npt.NDArray[np.bool_]:
    """Which S1 map each C2 map reads, (14, 4): maps 0 to 7 one each, 8 to 13 a pair each."""
    table = np.zeros((14, 4), dtype=np.bool_)
    for index in range(8):
        table[index, index // 2] = True
    for index, pair in enumerate(PAIRS, start=8):
        table[index, list(pair)] = True
    return table


def squash(x: Tensor) -> Tensor:
    """1.7159 * tanh(2/3 * x)."""
    return 1.7159 * torch.tanh(x * (2 / 3))


class FaceNet(nn.Module):
    """The network on pixels scaled to [-1, 1), (N, 1, 36, 32); one output, positive for a face."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 4, 5)
        self.a1 = nn.Parameter(torch.ones(4))
        self.b1 = nn.Parameter(torch.zeros(4))
        self.c2 = nn.Conv2d(4, 14, 3)
        self.a2 = nn.Parameter(torch.ones(14))
        self.b2 = nn.Parameter(torch.zeros(14))
        self.n1 = nn.Conv2d(14, 14, (7, 6), groups=14)
        self.n2 = nn.Linear(14, 1)
        self.register_buffer(
            "mask", torch.tensor(connections(), dtype=torch.float32)[..., None, None]
        )

    def forward(self, x: Tensor) -> Tensor:
        c1 = self.c1(x)
        s1 = squash(functional.avg_pool2d(c1, 2) * self.a1[:, None, None] + self.b1[:, None, None])
        c2 = functional.conv2d(s1, self.c2.weight * self.mask, self.c2.bias)
        s2 = squash(functional.avg_pool2d(c2, 2) * self.a2[:, None, None] + self.b2[:, None, None])
        n1 = squash(self.n1(s2)).flatten(1)
        return squash(self.n2(n1))[:, 0]


@dataclass(frozen=True)
class Images:
    """Grey images (N, 25, 25) in 0..1: faces, and non-faces of the same origin and of pictures."""

    faces: npt.NDArray[np.float32]
    others: npt.NDArray[np.float32]
    patches: npt.NDArray[np.float32]


def cut_patches(names: Sequence[str], count: int, seed: int) -> npt.NDArray[np.float32]:
    """``count`` square patches of random size and place, evenly from the pictures ``names``."""
    rng = np.random.default_rng(seed)
    folder = Path(skimage.__file__).parent / "data"
    patches = []
    for index, name in enumerate(names):
        picture = skimage.util.img_as_float32(io.imread(folder / name))
        grey = color.rgb2gray(picture[..., :3]) if picture.ndim == 3 else picture
        share = count // len(names) + (index < count % len(names))
        while share:
            side = int(25 * 2 ** rng.uniform(0, 2.7))
            if side > min(grey.shape):
                continue
            top = rng.integers(grey.shape[0] - side + 1)
            left = rng.integers(grey.shape[1] - side + 1)
            patch = grey[top : top + side, left : left + side]
            if patch.std() < 0.03:  # a flat patch teaches and proves nothing
                continue
            patches.append(transform.resize(patch, (25, 25), anti_aliasing=True))
            share -= 1
    return np.array(patches, dtype=np.float32)


def resample(images: Tensor, theta: Tensor) -> Tensor:
    """Images (N, 25, 25) through the affine maps ``theta`` (N, 2, 3) to (N, 1, 36, 32)."""
    size = [len(images), 1, HEIGHT, WIDTH]
    grid = functional.affine_grid(theta, size, align_corners=False)
    return functional.grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)


def to_pixels(images: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """What the shipped network reads: 36x32 images of pixel - 128, int8 (N, 1, 36, 32)."""
    identity = torch.eye(2, 3).expand(len(images), 2, 3)
    scaled = resample(torch.tensor(images), identity).numpy()
    return (np.clip(np.rint(scaled * 255), 0, 255) - 128).astype(np.int8)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random mirror, shift, zoom, rotation, brightness and contrast, as the network's input."""

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=generator) - 1) * bound

    angle, zoom = uniform(0.12), 1 + uniform(0.08)
    mirror = torch.sign(uniform(1.0))
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = mirror * zoom * torch.cos(angle)
    theta[:, 0, 1] = -mirror * zoom * torch.sin(angle)
    theta[:, 1, 0] = zoom * torch.sin(angle)
    theta[:, 1, 1] = zoom * torch.cos(angle)
    theta[:, 0, 2], theta[:, 1, 2] = uniform(0.10), uniform(0.10)
    contrast, brightness = 1 + uniform(0.3), uniform(0.12)
    x = resample(images, theta)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * contrast[:, None, None, None] + mean + brightness[:, None, None, None]
    return (x.clamp(0, 1) * 255 - 128) / 128


def score(net: FaceNet, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Output for images (N, 25, 25) as shipped, without augmentation; float32 (N,)."""
    x = torch.tensor(to_pixels(images), dtype=torch.float32) / 128
    with torch.no_grad():
        return net(x).numpy()


def train(images: Images, seed: int) -> FaceNet:
    """Train from scratch; from half-way on, a third of the non-faces are mined false positives."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    faces, others, patches = (
        torch.tensor(part) for part in (images.faces, images.others, images.patches)
    )
    net = FaceNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, STEPS, pct_start=0.05)
    target = torch.cat([torch.ones(BATCH), -torch.ones(BATCH)])
    mined = patches

    def draw(pool: Tensor, count: int) -> Tensor:
        return pool[torch.randint(len(pool), (count,), generator=generator)]

    for step in range(STEPS):
        if step >= STEPS // 2 and step % 250 == 0:
            worst = np.argsort(score(net, images.patches))[-len(patches) // 50 :]
            mined = patches[torch.tensor(worst.copy())]
        third = BATCH // 3
        batch = torch.cat(
            [
                draw(faces, BATCH),
                draw(others, third),
                draw(patches, third),
                draw(mined, BATCH - 2 * third),
            ]
        )
        loss = functional.mse_loss(net(augment(batch, generator)), target)
        loss = loss + 1e-4 * sum(p.square().sum() for p in net.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


def hits(net: FaceNet, images: Images) -> dict[str, list[int]]:
    """[right, all] on each kind of image."""
    return {
        "faces": [int((score(net, images.faces) > 0).sum()), len(images.faces)],
        "non-faces": [int((score(net, images.others) <= 0).sum()), len(images.others)],
        "patches": [int((score(net, images.patches) <= 0).sum()), len(images.patches)],
    }


def ratio(counts: dict[str, list[int]], kinds: Sequence[str]) -> float:
    """Share of right answers over some kinds of image."""
    return sum(counts[kind][0] for kind in kinds) / sum(counts[kind][1] for kind in kinds)


def export(net: FaceNet, path: Path) -> None:
    """Write the network for inputs pixel - 128: C1 takes over the division by 128."""
    value = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    graph = GraphWriter("face", (1, HEIGHT, WIDTH))
    c1 = graph.conv("c1", "x", value["c1.weight"] / 128, value["c1.bias"])
    s1 = pool(graph, "s1", c1, value["a1"], value["b1"])
    c2 = graph.conv("c2", s1, value["c2.weight"] * value["mask"], value["c2.bias"])
    s2 = pool(graph, "s2", c2, value["a2"], value["b2"])
    n1 = graph.conv("n1", s2, value["n1.weight"], value["n1.bias"], group=14)
    flat = graph.node("Flatten", "flat", graph.scaled_tanh("n1_tanh", n1))
    n2 = graph.gemm("n2", flat, value["n2.weight"], value["n2.bias"])
    graph.save(path, graph.scaled_tanh("y", n2), outputs=(1,))


def pool(
    graph: GraphWriter,
    name: str,
    source: str,
    coefficient: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
) -> str:
    """Trainable pooling: 2x2 mean times a coefficient plus a bias a map, then the activation."""
    mean = graph.node("AveragePool", f"{name}_mean", source, kernel_shape=[2, 2], strides=[2, 2])
    gain = graph.parameter(f"{name}.coefficient", coefficient[:, None, None])
    scaled = graph.node("Mul", f"{name}_scaled", mean, gain)
    offset = graph.parameter(f"{name}.bias", bias[:, None, None])
    biased = graph.node("Add", f"{name}_biased", scaled, offset)
    return graph.scaled_tanh(name, biased)


def save_data(path: Path, images: Images, patches: int) -> None:
    """Write ``x`` and ``y`` (1 for a face); ``patches`` of the patches, mixed well."""
    parts = [
        images.faces,
        images.others,
        images.patches[:: len(images.patches) // patches][:patches],
    ]
    y = np.repeat(np.array([1, 0, 0], dtype=np.uint8), [len(part) for part in parts])
    order = np.random.default_rng(0).permutation(len(y))
    np.savez_compressed(path, x=to_pixels(np.concatenate(parts))[order], y=y[order])


def main() -> None:
    """Cross-validate, train on the split that ships, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(__file__).resolve().parent

    subset = np.load(Path(skimage.__file__).parent / "data" / "lfw_subset.npy").astype(np.float32)
    order = np.random.default_rng(0).permutation(100)
    faces, others = subset[:100][order], subset[100:][order]
    patches = cut_patches(TRAIN_PICTURES, 4000, seed=0)
    test = Images(faces[:HELD_OUT], others[:HELD_OUT], cut_patches(TEST_PICTURES, 120, seed=1))

    folds = []
    for fold in range(arguments.folds):
        inside = np.arange(100) % arguments.folds == fold
        net = train(Images(faces[~inside], others[~inside], patches), arguments.seed)
        folds.append(hits(net, Images(faces[inside], others[inside], test.patches)))
        print(f"fold {fold}: {folds[-1]}", flush=True)

    images = Images(faces[HELD_OUT:], others[HELD_OUT:], patches)
    net = train(images, arguments.seed)
    counts = hits(net, test)
    print(f"held out: {counts}")
    export(net, folder / "face.onnx")
    save_data(folder / "train.npz", images, 120)
    save_data(folder / "test.npz", test, 120)
    record = {
        "parameters": trainable_parameters(folder / "face.onnx"),
        "test": ratio(counts, ("faces", "non-faces", "patches")),
        "test_counts": counts,
        "cross_validation": float(np.mean([ratio(f, ("faces", "non-faces")) for f in folds])),
        "cross_validation_counts": folds,
        "seed": arguments.seed,
    }
    (folder / "accuracy.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
