"""Fire modules: what a squeeze layer loses folds into both of its readers, of 1x1 and of 3x3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fire_networks import fire_images, fire_onnx
from onnx_build import compare

from hwgen.network.execute import run
from hwgen.network.types import Concat, Conv, Network
from hwgen.slim.channels import tensor_moments
from hwgen.slim.compact import compact
from hwgen.slim.features import Combination, fit_combination, fold, fold_obstacle, materialise

SQUEEZE, CONCAT = "fire2_squeeze_relu", "fire2_concat"
EXPANDS = ("fire2_expand1x1", "fire2_expand3x3")


def conv(network: Network, name: str) -> Conv:
    op = network.node(name).op
    assert isinstance(op, Conv)
    return op


def network(folder: Path) -> Network:
    """Imported, and compared with onnxruntime."""
    return compare(fire_onnx(), folder, x=fire_images(2))


def test_kernels_of_two_sizes_in_one_concatenation(tmp_path: Path) -> None:
    fire = network(tmp_path)
    (concat,) = (node for node in fire.nodes if isinstance(node.op, Concat))
    assert concat.inputs == tuple(f"{name}_relu" for name in EXPANDS)
    kernels = [(conv(fire, name).kernel, conv(fire, name).pads) for name in EXPANDS]
    assert kernels == [((1, 1), (0, 0, 0, 0)), ((3, 3), (1, 1, 1, 1))]


def test_a_map_of_the_squeeze_layer_folds_into_both_expands(tmp_path: Path) -> None:
    fire, x = network(tmp_path), fire_images(6, seed=1)
    moments = tensor_moments(fire, x, [SQUEEZE])[SQUEEZE]
    combination = fit_combination(moments, [2])
    assert fold_obstacle(fire, SQUEEZE, combination) is None
    folded = fold(fire, SQUEEZE, combination)
    for name in EXPANDS:
        before, after = conv(fire, name).weight, conv(folded, name).weight
        assert not after[:, 2].any()
        added = np.einsum("oyx,k->okyx", before[:, 2], combination.coefficients[:, 0])
        np.testing.assert_allclose(after[:, [0, 1, 3]], before[:, [0, 1, 3]] + added)
    assert not conv(folded, "fire2_squeeze").weight[2].any()
    built = materialise(fire, SQUEEZE, combination)
    expected = run(built, x, dtype=np.float64)
    np.testing.assert_allclose(run(folded, x, dtype=np.float64), expected, rtol=1e-9, atol=1e-9)
    small = compact(folded)
    assert small.shape(SQUEEZE) == (3, 8, 8)
    np.testing.assert_allclose(run(small, x, dtype=np.float64), expected, rtol=1e-9, atol=1e-9)


def test_a_constant_may_not_fold_into_the_padded_expand(tmp_path: Path) -> None:
    fire = network(tmp_path)
    constant = Combination((2,), (0, 1, 3), np.zeros((3, 1)), np.ones(1))
    obstacle = fold_obstacle(fire, SQUEEZE, constant)
    assert obstacle is not None
    assert "'fire2_expand3x3' pads" in obstacle


def test_maps_of_one_expand_are_made_of_those_of_the_other(tmp_path: Path) -> None:
    """Dropped behind the concatenation; the kernels before it go, and their places move up."""
    fire, x = network(tmp_path), fire_images(6, seed=2)
    moments = tensor_moments(fire, x, [CONCAT])[CONCAT]
    combination = fit_combination(moments, [1, 7, 8])
    folded = fold(fire, CONCAT, combination)
    small = compact(folded)
    assert small.shape("fire2_expand1x1") == (4, 8, 8)
    assert small.shape("fire2_expand3x3") == (3, 8, 8)
    assert conv(small, "fire3_squeeze").weight.shape[1] == 7
    np.testing.assert_allclose(
        run(small, x, dtype=np.float64),
        run(materialise(fire, CONCAT, combination), x, dtype=np.float64),
        rtol=1e-9,
        atol=1e-9,
    )
