"""Designs that take several pixels a beat: the network and the images that the stages give them."""

from pathlib import Path

import numpy as np
import pytest
from small_workspace import fill

from hwgen.errors import UnsupportedError
from hwgen.flow import stages
from hwgen.flow.backends import load_plan
from hwgen.flow.built import built_images, built_network
from hwgen.flow.options import GenerateOptions
from hwgen.integer import store as integer_store
from hwgen.sim.golden import run
from hwgen.stream.plan import PipelinePlan


def _quiet(task: str, fraction: float) -> None:
    pass


def test_the_stages_group_columns(tmp_path: Path) -> None:
    made = fill(tmp_path, ("import", "approximate"))
    network = integer_store.from_json(made.path("integer.json").read_text())
    images = built_images(made)
    stages.generate(made, GenerateOptions(pixels=2, effort=0), _quiet)
    wide, plan = built_network(made), load_plan(made)
    assert isinstance(plan, PipelinePlan)
    assert wide.input_shape == plan.input_shape == (2, 6, 3)
    golden = run(network, network.input_format.quantise(images))
    found = run(wide, wide.input_format.quantise(built_images(made)))
    np.testing.assert_array_equal(found.reshape(golden.shape), golden)


def test_widths_must_divide(tmp_path: Path) -> None:
    made = fill(tmp_path, ("import", "approximate"))
    with pytest.raises(UnsupportedError, match="must divide the 6 columns of an image, not 4"):
        stages.generate(made, GenerateOptions(pixels=4), _quiet)
