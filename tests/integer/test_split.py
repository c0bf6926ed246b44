"""The two parts of a network, one behind the other, compute what the whole does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from networks import NETWORKS, Sketch, images_for

from hwgen.errors import DataError, UnsupportedError
from hwgen.integer.split import cut_tensor, cuts, split
from hwgen.integer.types import ArgMax, IntegerNetwork
from hwgen.numeric import Range
from hwgen.sim.golden import run, run_all


def _paths(network: IntegerNetwork, name: str) -> Iterator[tuple[str, ...]]:
    """All ways from the image to a tensor."""
    if name == network.input_name:
        yield ()
        return
    for x in network.node(name).inputs:
        yield from ((*path, name) for path in _paths(network, x))


@pytest.mark.parametrize("name", NETWORKS)
def test_cuts_are_the_tensors_on_every_path(name: str) -> None:
    network = NETWORKS[name]()
    paths = [set(path) for path in _paths(network, network.output)]
    ends = {network.output}
    if isinstance(network.node(network.output).op, ArgMax):
        ends.add(network.node(network.output).inputs[0])
    assert set(cuts(network)) == set.intersection(*paths) - ends


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_compute_the_whole(name: str) -> None:
    network = NETWORKS[name]()
    images = images_for(network, 3)
    golden = run_all(network, images)
    for tensor in cuts(network):
        front, back = split(network, tensor)
        between = run(front, images)
        np.testing.assert_array_equal(between, golden[tensor])
        bounds = back.input_format.range
        assert bounds.lo <= between.min() <= between.max() <= bounds.hi
        np.testing.assert_array_equal(run(back, between), golden[network.output])
        assert {n.name for n in front.nodes}.isdisjoint(n.name for n in back.nodes)


def test_the_format_between_is_the_narrowest() -> None:
    s = Sketch((1, 4, 4), signed=True)
    x = s.requantise(s.conv("image", 2), lo=-3, hi=4, name="a")
    network = s.done(s.requantise(s.conv(x, 2, (1, 1)), name="b"))
    whole = replace(
        network, nodes=tuple(replace(n, scale=(0.125,) * n.shape[0]) for n in network.nodes)
    )
    _, back = split(whole, "a")
    assert (back.input_format.width, back.input_format.frac, back.input_format.signed) == (
        4,
        3,
        True,
    )
    assert back.scale("a") == whole.scale("a")
    assert back.ranges("a") == (Range(-8, 7),) * 2


def test_uneven_scales_are_no_cut() -> None:
    network = NETWORKS["chain"]()
    for scale in ((1.0, 1.0, 2.0), (0.75,) * 3):
        nodes = tuple(replace(n, scale=scale) if n.name == "conv1" else n for n in network.nodes)
        found = cuts(replace(network, nodes=nodes))
        assert found == tuple(x for x in cuts(network) if x != "conv1")


def test_names_of_tensors_and_layers() -> None:
    network = NETWORKS["chain"]()
    assert cut_tensor(network, "conv2.sum") == "conv2.sum"
    assert cut_tensor(network, "conv2") == "conv2"
    layers = tuple(replace(n, origin=n.name[:5]) for n in network.nodes)
    assert cut_tensor(replace(network, nodes=layers), "fc1.s") == "fc1.sum"
    with pytest.raises(DataError, match=r"must be cut behind one of its layers .*, not 'fc3'"):
        cut_tensor(network, "fc3")
    with pytest.raises(UnsupportedError, match="cannot be cut at 'image'"):
        split(network, "image")
