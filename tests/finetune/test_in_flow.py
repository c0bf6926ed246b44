"""Fine-tuning as an option of the approximation stage."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.flow.approximation import build_mix
from hwgen.flow.data import Images, Splits
from hwgen.flow.options import ApproximateOptions
from hwgen.flow.progress import silent
from hwgen.network.types import Conv, Network, Node

RNG = np.random.default_rng(4)
X = RNG.normal(size=(600, 8, 1, 1))


def test_only_images_that_are_not_held_out_train() -> None:
    pytest.importorskip("torch")
    weight = RNG.normal(size=(5, 8, 1, 1))
    labels = (X[:, :, 0, 0] @ weight[:, :, 0, 0].T).argmax(axis=1)
    node = Node("fc", Conv(weight, np.zeros(5)), ("x",), (5, 1, 1))
    network = Network("n", "x", (8, 1, 1), (node,), "fc")
    parts = [Images(X[i : i + 200], labels[i : i + 200]) for i in (0, 200, 400)]
    found = {}
    for name, held_out, epochs in (
        ("before", parts[2], 0),
        ("after", parts[2], 3),
        ("other test images", Images(-parts[2].x, parts[2].y), 3),
    ):
        options = ApproximateOptions(
            data=__file__,
            mix="P1",
            objective="frobenius",
            finetune=epochs,  # type: ignore[arg-type]
        )
        splits = Splits(parts[0], parts[1], held_out)
        found[name] = build_mix(network, splits, "P1", options, silent)
    before, after = found["before"], found["after"]
    assert before.test.loss is not None
    assert after.test.loss is not None
    assert after.test.loss.loss < before.test.loss.loss
    for mine, other in zip(
        after.approx.filters, found["other test images"].approx.filters, strict=True
    ):
        assert np.array_equal(mine[1].codes, other[1].codes)
        assert mine[1].scale == other[1].scale


def test_a_slimmed_network_follows_what_it_was_made_of() -> None:
    pytest.importorskip("torch")
    weight = RNG.normal(size=(5, 8, 1, 1))
    reference, slim = (
        Network("n", "x", (8, 1, 1), (Node("fc", Conv(weight, bias), ("x",), (5, 1, 1)),), "fc")
        for bias in (np.zeros(5), np.array([0.3, -0.3, 0.3, -0.3, 0.0]))
    )
    splits = Splits(*(Images(X[i : i + 200], None) for i in (0, 200, 400)))
    errors = []
    for epochs in (0, 10):
        options = ApproximateOptions(
            data=__file__,
            mix="P8",
            objective="frobenius",
            finetune=epochs,
        )
        found = build_mix(slim, splits, "P8", options, silent, reference=reference)
        errors.append(found.test.approximated.error)
    assert errors[1] < 0.7 * errors[0]


def test_joined_images_keep_their_labels() -> None:
    labelled, bare = Images(X[:2], np.array([1, 2])), Images(X[2:5], None)
    joined = labelled.join(Images(X[5:6], np.array([0])))
    assert joined.y is not None
    assert joined.y.tolist() == [1, 2, 0]
    assert np.array_equal(joined.x, X[[0, 1, 5]])
    assert labelled.join(bare).y is None
    assert len(bare.join(labelled)) == 5
