"""Damaged models: whatever is in the file, the importer answers with one clear sentence."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import Message
from onnx import helper
from onnx_build import build
from random_networks import random_onnx

from hwgen.errors import ModelError
from hwgen.network.execute import run
from hwgen.network.onnx_import import import_onnx
from hwgen.network.types import Network
from hwgen.network.verify import verify

_INTERESTING = (0, 1, -1, 2, 3, 7, 64, 255, 65536, 1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1)
_NUMBERS = (0.0, -1.0, 1e-40, 1e30, 3e38, float("inf"), float("-inf"), float("nan"))
_OPERATORS = (
    "Conv MatMul Gemm Add Mul Div Sub Concat Relu Clip Softmax ArgMax MaxPool AveragePool Reshape "
    "Transpose Flatten Slice Gather Pad Split Squeeze Unsqueeze QuantizeLinear DequantizeLinear "
    "ReduceMean BatchNormalization Cast Expand Dropout PRelu ConstantOfShape Tile Range Shape If"
).split()
_SECONDS = 5.0
_KILOBYTES = 1_500_000


def seeds() -> list[bytes]:
    """Valid models to damage: shipped ones that are small, random ones and quantised ones."""
    models = Path(__file__).parents[2] / "models"
    shipped = sorted(p for p in models.glob("*/*.onnx") if p.stat().st_size < 40_000)
    constants = {
        "s": np.float32(0.1),
        "z": np.array(3, np.uint8),
        "w": np.ones((2, 3, 2, 2), np.int8),
        "order": np.array([0, -1], np.int64),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["v"]),
        helper.make_node("Pad", ["d", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "v"], ["c"], strides=[1, 2]),
        helper.make_node("Split", ["c"], ["a", "b"], axis=1),
        helper.make_node("Concat", ["b", "a"], ["e"], axis=1),
        helper.make_node("Transpose", ["e"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "order"], ["f"]),
        helper.make_node("Softmax", ["f"], ["y"]),
    ]
    built = [build(nodes, ("N", 3, 6, 7), constants), *map(random_onnx, range(12))]
    return [p.read_bytes() for p in shipped] + [model.SerializeToString() for model in built]


def damaged_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """``data`` with a few bytes changed, removed, repeated or cut off."""
    raw = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, max(1, len(raw))))
        match int(rng.integers(0, 6)):
            case 0:
                raw[at : at + 1] = bytes([int(rng.integers(0, 256))])
            case 1 if raw:
                raw[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                del raw[at : at + int(rng.integers(1, 20))]
            case 3:
                raw[at:at] = raw[at : at + int(rng.integers(1, 40))]
            case 4:
                raw[at:at] = rng.bytes(int(rng.integers(1, 12)))
            case 5 if rng.random() < 0.3:
                del raw[at:]
    return bytes(raw)


def messages(message: Message) -> Iterator[Message]:
    """``message`` and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                yield from messages(each)


def damaged_message(rng: np.random.Generator, data: bytes) -> bytes:
    """The model ``data`` with a few fields of its messages changed; still valid protobuf."""
    model = onnx.load_model_from_string(data)
    for _ in range(int(rng.integers(1, 5))):
        everything = list(messages(model))
        change_field(rng, everything[int(rng.integers(0, len(everything)))], model)
    return model.SerializeToString()


def change_field(rng: np.random.Generator, message: Message, model: onnx.ModelProto) -> None:
    """Change, repeat or remove one field of ``message``."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = fields[int(rng.integers(0, len(fields)))]
    if rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated and len(value) and rng.random() < 0.5:
        at = int(rng.integers(0, len(value)))
        if rng.random() < 0.5:
            del value[at]
        elif field.type == field.TYPE_MESSAGE:
            value.add().CopyFrom(value[at])
        else:
            value.append(value[at])
    elif field.type == field.TYPE_MESSAGE:
        return
    elif field.is_repeated:
        if len(value):
            at = int(rng.integers(0, len(value)))
            value[at] = other_value(rng, field, value[at], model)
    else:
        setattr(message, field.name, other_value(rng, field, value, model))


def other_value(
    rng: np.random.Generator, field: Any, value: object, model: onnx.ModelProto
) -> object:
    """A value of the same type as ``value``, likely to surprise."""
    match value:
        case bool():
            return not value
        case int():
            if field.enum_type is not None:
                return int(rng.choice([each.number for each in field.enum_type.values]))
            number = _INTERESTING[int(rng.integers(0, len(_INTERESTING)))]
            return number % 24 if field.cpp_type == field.CPPTYPE_INT32 else number
        case float():
            return float(rng.choice(_NUMBERS))
        case str():
            if field.name == "op_type":
                return str(rng.choice(_OPERATORS))
            names = [name for node in model.graph.node for name in (*node.input, *node.output)]
            return str(rng.choice([*names, "", "é\n", "axis", "pads", "kernel_shape"]))
        case bytes():
            return damaged_bytes(rng, value)
        case _:
            return value


def attempt(path: Path, data: bytes) -> bool:
    """Import ``data``; returns whether it was accepted, and then runs and checks."""
    path.write_bytes(data)
    start = time.perf_counter()
    complaint, network = outcome(path)
    if network is None:
        assert complaint
        assert "\n" not in complaint, complaint
        assert len(complaint) < 2000, complaint
    else:
        verify(network)
        if np.prod(network.input_shape) < 10_000 and network.parameters < 100_000:
            with np.errstate(all="ignore"):
                run(network, np.zeros((1, *network.input_shape)))
    assert time.perf_counter() - start < _SECONDS
    return network is not None


def outcome(path: Path) -> tuple[str, Network | None]:
    """The network in ``path``, or what the importer says about it."""
    try:
        return "", import_onnx(path)
    except ModelError as error:
        return str(error), None


def campaign(path: Path, count: int, seed: int) -> None:
    """``count`` mutations, half of bytes and half of fields."""
    models = seeds()
    accepted = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, damage in zip(
        range(count), itertools.cycle([damaged_bytes, damaged_message]), strict=False
    ):
        rng = np.random.default_rng([seed, number])
        data = damage(rng, models[int(rng.integers(0, len(models)))])
        try:
            accepted += attempt(path, data)
        except Exception as error:
            raise AssertionError(f"mutation {number} of campaign {seed}: {error!r}") from error
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < _KILOBYTES
    assert 0 < accepted < count


def test_seeds_are_valid(tmp_path: Path) -> None:
    assert all(attempt(tmp_path / "model.onnx", data) for data in seeds())


def test_mutations(tmp_path: Path) -> None:
    campaign(tmp_path / "model.onnx", 300, 0)


@pytest.mark.slow
def test_many_mutations(tmp_path: Path) -> None:
    campaign(tmp_path / "model.onnx", 10_000, 1)


def test_random_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for length in [*range(1, 40), 1000, 100_000]:
        assert not attempt(tmp_path / "model.onnx", rng.bytes(length))
