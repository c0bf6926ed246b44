"""Forms of layers as texts, and the plans that they make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import NETWORKS

from hwgen.errors import DataError
from hwgen.integer.types import Conv
from hwgen.stream.forms import (
    KINDS,
    LayerForm,
    folding_name,
    form_of,
    parse_folding,
    parse_form,
)
from hwgen.stream.plan import plan_pipeline


@settings(derandomize=True, max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["*", "conv1", "a/b"]),
        st.sampled_from(["parallel", "rows", "memory:3", "memory:3x4", "serial:2"]),
        min_size=1,
    )
)
def test_a_folding_reads_back(texts: dict[str, str]) -> None:
    folding = {layer: parse_form(text) for layer, text in texts.items()}
    assert parse_folding(folding_name(folding)) == folding


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memory",
        "memory:0",
        "memory:2x",
        "memory:2x0",
        "serial:2x2",
        "parallel:2",
        "wide",
        "memory:x",
        "serial:0",
    ],
)
def test_forms_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"Form must be one of parallel, rows, memory:1 to"):
        parse_form(text)
    with pytest.raises(DataError, match=r"Form must be one of parallel, rows, memory:1 to"):
        parse_folding(f"conv={text}")


def test_foldings_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="LAYER=FORM"):
        parse_folding("parallel")
    with pytest.raises(DataError, match="one form, not two"):
        parse_folding("a=parallel,a=memory:1")
    with pytest.raises(ValueError, match="parallel"):
        LayerForm("parallel", 2)


def test_a_named_layer_goes_before_the_rest() -> None:
    folding = parse_folding("a=memory:2,*=parallel")
    assert form_of(folding, "a") == LayerForm("memory", 2)
    assert form_of(folding, "b") == LayerForm("parallel")
    assert form_of({}, "b") is None
    assert {"parallel", "rows", "memory"} <= set(KINDS)


def test_a_fully_connected_layer_has_the_lanes_it_is_given() -> None:
    network = NETWORKS["chain"]()
    for lanes in (1, 2, 7):
        plan = plan_pipeline(network, folding={"fc1": LayerForm("memory", lanes)})
        stage = next(s for s in plan.stages if s.form == "dense" and s.layer == "fc1")
        assert stage.lanes == min(lanes, 6)
    plan = plan_pipeline(network, folding={"fc1": LayerForm("parallel")})
    assert not any(s.form == "dense" and s.layer == "fc1" for s in plan.stages)
    product = next(s for s in plan.stages if s.form == "adders" and s.layer == "fc1")
    op = next(n.op for n in network.nodes if n.name == "fc1.sum")
    assert product.graph is not None
    assert isinstance(op, Conv)
    np.testing.assert_array_equal(product.graph.matrix, op.weight.reshape(6, -1).T)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"Folding must name layers among .*, not 'nowhere'"):
        plan_pipeline(NETWORKS["chain"](), folding=parse_folding("nowhere=parallel"))
