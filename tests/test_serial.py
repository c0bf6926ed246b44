"""The JSON codec: exact round trips of everything it accepts, one clear error for all else."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hwgen.errors import DataError
from hwgen.numeric import Dyadic, FixedFormat, Range
from hwgen.serial import dumps, loads


@dataclass(frozen=True)
class Leaf:
    value: object
    note: str = ""


@dataclass(frozen=True)
class Branch:
    left: object
    right: object
    total: int = field(init=False, default=3)


def same(a: object, b: object) -> bool:
    """Equality that also compares types, signs of zero, NaNs and arrays bit for bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        assert isinstance(b, float)
        return repr(a) == repr(b)
    if isinstance(a, tuple | list):
        assert isinstance(b, tuple | list)
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return same(list(a.items()), list(b.items()))
    if isinstance(a, Leaf):
        assert isinstance(b, Leaf)
        return same(a.value, b.value) and a.note == b.note
    if isinstance(a, Branch):
        assert isinstance(b, Branch)
        return same(a.left, b.left) and same(a.right, b.right)
    return a == b


NAMES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
ARRAYS = st.sampled_from([*NAMES, "float32", "float64"]).flatmap(
    lambda name: hnp.arrays(
        np.dtype(name), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    )
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.builds(Leaf, inner, st.text())
        | st.builds(Branch, inner, inner)
    ),
    max_leaves=8,
)


@given(VALUES)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_round_trip_is_exact(value: object) -> None:
    text = dumps(value)
    assert same(loads(text, (Leaf, Branch)), value)
    assert dumps(loads(text, (Leaf, Branch))) == text


def test_values_of_numeric_survive() -> None:
    value = (Range(-3, 2**70), FixedFormat(8, -2, True), Dyadic(3, -5), 2**200, -0.0, math.pi)
    assert loads(dumps(value), (Range, FixedFormat, Dyadic)) == value


def test_numpy_scalars_become_numbers() -> None:
    value = (np.int64(3), np.float64(0.1), np.bool_(True), np.float32(0.5))
    assert same(loads(dumps(value), ()), (3, 0.1, True, 0.5))


def test_arrays_of_any_layout_are_stored_in_c_order() -> None:
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1).astype(">f8")
    loaded = loads(dumps(array), ())
    assert isinstance(loaded, np.ndarray)
    assert not loaded.flags.writeable
    np.testing.assert_array_equal(loaded, array)


def test_text_is_deterministic_and_readable() -> None:
    assert dumps(Leaf((1, None, np.array([[1, -2]])), "a")) == (
        '{"$class":"Leaf","value":[1,null,{"$array":"int64","shape":[1,2],"values":[1,-2]}],'
        '"note":"a"}'
    )


def test_root_states_the_class() -> None:
    assert loads(dumps(Range(1, 2)), (Range,), Range).hi == 2
    with pytest.raises(DataError, match="must be a Range, not a Dyadic"):
        loads(dumps(Dyadic(1, 2)), (Range, Dyadic), Range)


@pytest.mark.parametrize("value", [object(), {1}, b"x", np.array([1j]), np.array(["a"]), Range])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="to store must"):
        dumps((value,))


def test_two_classes_of_one_name_are_refused() -> None:
    twin = dataclass(frozen=True)(type("Leaf", (), {}))
    with pytest.raises(ValueError, match="unique, not twice 'Leaf'"):
        loads("1", (Leaf, twin))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,",
        "[" * 100_000,
        '{"$class":"Range","lo":1}',
        '{"$class":"Range","lo":1,"hi":2,"more":3}',
        '{"$class":"Range","lo":2,"hi":1}',
        '{"$class":"Range","lo":"a","hi":1}',
        '{"$class":"Other"}',
        '{"$class":["Range"]}',
        '{"$array":"int64","shape":[2],"values":[1]}',
        '{"$array":"int64","shape":[-1],"values":[1]}',
        '{"$array":"int64","shape":[1],"values":[1.5]}',
        '{"$array":"int64","shape":[1],"values":[[1]]}',
        '{"$array":"int8","shape":[1],"values":[300]}',
        '{"$array":"int64","shape":[1],"values":[99999999999999999999]}',
        '{"$array":"int64","shape":[1000000000000],"values":[1]}',
        '{"$array":"object","shape":[1],"values":[1]}',
        '{"$array":"float64","shape":[1],"base64":"AAAA"}',
        '{"$array":"float64","shape":[1],"base64":"*"}',
        '{"$array":"float64","shape":[1],"base64":"\\u00e9"}',
        '{"$float":"1"}',
        '{"$dict":[[1,2,3]]}',
        '{"$dict":[[{"$list":[]},1]]}',
        '{"plain":1}',
        "{}",
    ],
)
def test_damage_is_a_data_error(text: str) -> None:
    with pytest.raises(DataError, match="damaged"):
        loads(text, (Range,))


def test_truncated_text_is_a_data_error() -> None:
    text = dumps((Range(1, 2), np.arange(3.0), "x"))
    for end in range(len(text)):
        with pytest.raises(DataError):
            loads(text[:end], (Range,))
    assert json.loads(text)
