"""JSON text for the frozen dataclasses that the stages exchange: exact, deterministic, strict.

Numbers, strings, booleans and ``None`` are themselves and a tuple is a JSON array; everything else
is an object whose first key says what it is:

====================  ==========================================================================
``$class``            a dataclass by its name, followed by its fields
``$array``            a NumPy array by its data type, then ``shape`` and either ``values`` (integers
                      and booleans, in C order) or ``base64`` (floats, little-endian, in C order)
``$float``            ``nan``, ``inf`` or ``-inf``
``$list``, ``$dict``  a list; a dictionary as an array of pairs, in its own order
====================  ==========================================================================
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
from collections.abc import Iterable
from typing import TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from hwgen.errors import DataError

__all__ = ["dumps", "loads"]

_T = TypeVar("_T")
_Classes = dict[str, type]
_WHOLE = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"})
_FLOATS = frozenset({"float32", "float64"})


def dumps(value: object) -> str:
    """JSON text of ``value``, one line, the same for equal values.

    Parameters
    ----------
    value
        Any nesting of dataclasses, tuples, lists, dictionaries, strings, booleans, integers of any
        size, floats, ``None`` and arrays of booleans, integers or floats. A NumPy scalar is written
        as the Python number that it equals. Fields with ``init=False`` are left out.

    Raises
    ------
    TypeError
        If something else is inside.
    """
    return json.dumps(_encode(value), separators=(",", ":"), allow_nan=False)


@overload
def loads(text: str, classes: Iterable[type]) -> object: ...
@overload
def loads(text: str, classes: Iterable[type], root: type[_T]) -> _T: ...
def loads(text: str, classes: Iterable[type], root: type[_T] | None = None) -> object:
    """The value that :func:`dumps` wrote; arrays are read-only.

    Parameters
    ----------
    text
        What :func:`dumps` returned.
    classes
        The dataclasses that may occur, each known by its ``__name__``. Only these are constructed.
    root
        The class that the whole value must have; also gives the result its type.

    Raises
    ------
    DataError
        If the text is damaged, or was written for other classes.
    ValueError
        If two of ``classes`` share a name.
    """
    table: _Classes = {}
    for cls in classes:
        if table.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"Class names must be unique, not twice {cls.__name__!r}")
    try:
        value = _decode(json.loads(text), table)
    except RecursionError:
        raise DataError("Stored value is damaged: it is nested too deeply") from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"Stored value is damaged or was written by another version of hwgen ({error}); "
            "run the stage that wrote it again"
        ) from None
    if root is not None and not isinstance(value, root):
        raise DataError(f"Stored value must be a {root.__name__}, not a {type(value).__name__}")
    return value


def _encode(value: object) -> object:
    match value:
        case np.generic():
            return _encode(value.item())
        case str() | bool() | int() | None:
            return value
        case float():
            return float(value) if math.isfinite(value) else {"$float": str(value)}
        case tuple():
            return [_encode(item) for item in value]
        case np.ndarray():
            return _encode_array(value)
        case list():
            return {"$list": [_encode(item) for item in value]}
        case dict():
            return {"$dict": [[_encode(k), _encode(v)] for k, v in value.items()]}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [field.name for field in dataclasses.fields(value) if field.init]
            return {
                "$class": type(value).__name__,
                **{name: _encode(getattr(value, name)) for name in fields},
            }
        case _:
            raise TypeError(f"Value to store must be data, not a {type(value).__name__}")


def _encode_array(array: npt.NDArray[np.generic]) -> dict[str, object]:
    dtype = array.dtype.name
    head: dict[str, object] = {"$array": dtype, "shape": list(array.shape)}
    if dtype in _WHOLE:
        return head | {"values": array.ravel().tolist()}
    if dtype in _FLOATS:
        little = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return head | {"base64": base64.b64encode(little).decode("ascii")}
    raise TypeError(f"Array to store must hold booleans, integers or floats, not {dtype}")


def _decode(tree: object, classes: _Classes) -> object:
    match tree:
        case list():
            return tuple(_decode(item, classes) for item in tree)
        case dict():
            return _decode_object(tree, classes)
        case _:
            return tree


def _decode_object(tree: dict[str, object], classes: _Classes) -> object:
    match tree:
        case {"$class": str(name), **fields}:
            if name not in classes:
                raise ValueError(f"class {name!r} is not expected here")
            cls = classes[name]
            expected = {field.name for field in dataclasses.fields(cls) if field.init}
            if fields.keys() != expected:
                odd = sorted(fields.keys() ^ expected)
                raise ValueError(f"fields of {name} differ in {', '.join(odd)}")
            made: object = cls(**{key: _decode(item, classes) for key, item in fields.items()})
            return made
        case {"$array": str(dtype), "shape": list(shape), "values": list(values)}:
            if dtype not in _WHOLE:
                raise ValueError(f"array of {dtype!r}")
            if not all(isinstance(v, bool if dtype == "bool" else int) for v in values):
                raise ValueError(f"array of {dtype} holds something else")
            return _shaped(np.array(values, dtype=dtype), shape)
        case {"$array": str(dtype), "shape": list(shape), "base64": str(coded)}:
            if dtype not in _FLOATS:
                raise ValueError(f"array of {dtype!r}")
            try:
                raw = base64.b64decode(coded, validate=True)
            except binascii.Error as error:
                raise ValueError(f"array data: {error}") from None
            little = np.frombuffer(raw, dtype=np.dtype(dtype).newbyteorder("<"))
            return _shaped(little.astype(dtype), shape)
        case {"$float": ("nan" | "inf" | "-inf") as text}:
            return float(cast(str, text))
        case {"$list": list(items)}:
            return [_decode(item, classes) for item in items]
        case {"$dict": list(pairs)}:
            return {_decode(key, classes): _decode(item, classes) for key, item in pairs}
        case _:
            raise ValueError(f"object with keys {', '.join(map(repr, tree))}")


def _shaped(flat: npt.NDArray[np.generic], shape: list[object]) -> npt.NDArray[np.generic]:
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    if len(sizes) != len(shape) or math.prod(sizes) != flat.size:
        raise ValueError(f"array of {flat.size} values with shape {shape}")
    array = flat.reshape(sizes)
    array.flags.writeable = False
    return array
