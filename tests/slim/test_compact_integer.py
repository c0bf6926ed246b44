"""A compacted network and the one with zeros are the same integer network but for the zeros."""

from dataclasses import replace

import numpy as np
from approx_networks import classifier
from sparse_networks import with_convs

from hwgen.approx.approximate import approximate
from hwgen.approx.recipes import parse_recipe
from hwgen.integer.calibrate import calibrate
from hwgen.integer.quantise import quantise
from hwgen.network.types import Conv, FloatArray, Network
from hwgen.numeric import IntArray
from hwgen.sim import golden
from hwgen.slim.compact import compact
from hwgen.slim.remove import remove_neurons

IMAGES = np.random.default_rng(52).uniform(-1, 1, (60, 1, 8, 8))
GONE = {"conv1": [2, 5], "conv2": [0, 3, 4]}


def small_kernels() -> Network:
    """A classifier of signed powers of two, whose kernels have zeros above and below."""
    network = classifier(np.random.default_rng(51))
    ops = {}
    for node, op in network.convs():
        weight = np.sign(op.weight) * 2.0 ** np.rint(np.log2(np.abs(op.weight).clip(2**-6)))
        if node.name != "dense":
            weight[:, :, [0, -1]] = 0.0
        ops[node.name] = replace(op, weight=weight)
    return with_convs(network, ops)


def logits(network: Network) -> tuple[IntArray, FloatArray]:
    """What the golden model of the dyadic ``network`` computes, and what one unit of it is."""
    approx = approximate(network, recipes=parse_recipe("P6"))
    quantised = quantise(approx, calibrate(approx.to_network(), IMAGES))
    codes = golden.run(quantised, quantised.input_format.quantise(IMAGES))
    return codes[:, :, 0, 0], np.array(quantised.scale(quantised.output))


def test_golden_model_gives_the_same_without_zeros() -> None:
    network = remove_neurons(small_kernels(), GONE)
    compacted = compact(network)
    assert [op.weight.shape for _, op in compacted.convs()][:2] == [(4, 1, 1, 3), (5, 4, 3, 3)]
    (before, unit), (after, same) = logits(network), logits(compacted)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(unit, same)


def test_golden_model_gives_nearly_the_same_without_constants() -> None:
    """A constant is rounded as an activation in one network, and within a bias in the other."""
    network = small_kernels()
    ops = {}
    for name, gone in GONE.items():
        op = network.node(name).op
        assert isinstance(op, Conv)
        weight, bias = op.weight.copy(), op.bias.copy()
        weight[gone], bias[gone] = 0.0, 0.4
        ops[name] = replace(op, weight=weight, bias=bias)
    network = with_convs(network, ops)
    compacted = compact(network)
    assert [len(op.weight) for _, op in compacted.convs()] == [4, 5, 5]
    before, after = (codes * unit for codes, unit in (logits(network), logits(compacted)))
    error = np.abs(before - after).max()
    assert 0 < error < 0.02 * np.ptp(before)
    first, second = -np.sort(-before, axis=1)[:, :2].T
    clear = first - second > 2 * error
    assert clear.mean() > 0.9
    assert (before.argmax(axis=1) == after.argmax(axis=1))[clear].all()
