"""The integer network against the float network that it came from, operator by operator."""

import numpy as np
import pytest

from hwgen.approx.types import ApproxNetwork, DyadicFilters
from hwgen.errors import DataError, VerifyError
from hwgen.integer import types as integer
from hwgen.integer.calibrate import best_format, calibrate
from hwgen.integer.quantise import quantise
from hwgen.integer.store import from_json, to_json
from hwgen.integer.types import IntegerNetwork, Requantise
from hwgen.integer.verify import verify
from hwgen.network import types as real
from hwgen.network.execute import run, run_all
from hwgen.network.shapes import average_divisors, output_shape
from hwgen.network.types import Network, Node, Op
from hwgen.numeric import Dyadic, FixedFormat
from hwgen.sim import golden

RNG = np.random.default_rng(7)


def _network(*layers: tuple[str, Op, tuple[str, ...]], channels: int = 2) -> Network:
    shapes = {"x": (channels, 7, 6)}
    nodes = []
    for name, op, inputs in layers:
        shapes[name] = output_shape(op, [shapes[i] for i in inputs])
        nodes.append(Node(name, op, inputs, shapes[name]))
    return Network("net", "x", shapes["x"], tuple(nodes), nodes[-1].name)


def _conv(out: int, inputs: int, kernel: int, **options: object) -> real.Conv:
    weight = np.round(RNG.normal(size=(out, inputs, kernel, kernel)) * 8) / 16
    return real.Conv(weight, RNG.normal(size=out).round(3), **options)  # type: ignore[arg-type]


def _approximate(network: Network) -> ApproxNetwork:
    """Every constant dyadic already, the scale of each filter a different one."""
    filters, pools = [], []
    for node in network.nodes:
        if isinstance(node.op, real.Conv):
            scales = [Dyadic(3, -2), Dyadic(1, 0), Dyadic(5, -3)]
            scale = tuple(scales[o % 3] for o in range(len(node.op.weight)))
            codes = np.round(node.op.weight * 16).astype(np.int64)
            filters.append((node.name, DyadicFilters(codes, 4, scale, node.op.bias, "k/16")))
        if isinstance(node.op, real.AveragePool):
            shape = network.shape(node.inputs[0])
            divisors = sorted({int(d) for d in average_divisors(node.op, shape).ravel()})
            pools.append((node.name, tuple((d, Dyadic.nearest(1 / d, terms=6)) for d in divisors)))
    return ApproxNetwork(network, tuple(filters), (), tuple(pools))


def _images(count: int = 40, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, size=(count, channels, 7, 6))


def _quantised(network: Network, bits: int) -> tuple[IntegerNetwork, ApproxNetwork]:
    approx = _approximate(network)
    return quantise(approx, calibrate(approx.to_network(), _images()), activation_bits=bits), approx


RELU = real.Activation("relu")
TANH = real.PiecewiseLinear(
    np.array([[-1.0, 1.0]]), np.array([[0.25, 0.75, 0.25]]), np.array([[-0.5, 0.0, 0.5]])
)
CLIP = real.Activation("clip", (np.array([-0.3]), np.array([0.8])))
CASES: dict[str, Network] = {
    "conv": _network(("c", _conv(3, 2, 3), ("x",))),
    "conv relu": _network(("c", _conv(3, 2, 3, pads=(1, 1, 1, 1)), ("x",)), ("r", RELU, ("c",))),
    "strided, dilated, grouped": _network(
        ("c", _conv(4, 1, 2, groups=2, strides=(2, 1), dilations=(1, 2)), ("x",)),
        ("r", CLIP, ("c",)),
        ("d", _conv(2, 4, 1), ("r",)),
    ),
    "piecewise": _network(("c", _conv(3, 2, 3), ("x",)), ("t", TANH, ("c",))),
    "max pool, then relu": _network(
        ("c", _conv(3, 2, 3), ("x",)),
        ("p", real.MaxPool((2, 2), (2, 2), (0, 0, 1, 0)), ("c",)),
        ("r", RELU, ("p",)),
        ("d", _conv(2, 3, 2), ("r",)),
    ),
    "average pool": _network(("p", real.AveragePool((2, 3), (2, 3)), ("x",))),
    "average pool, padding not counted": _network(
        ("p", real.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), ceil_pads=(1, 1)), ("x",))
    ),
    "average pool, padding counted": _network(
        ("p", real.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), True), ("x",))
    ),
    "residual": _network(
        ("a", _conv(2, 2, 3, pads=(1, 1, 1, 1)), ("x",)),
        ("r", RELU, ("a",)),
        ("s", real.Add(), ("r", "x")),
        ("t", RELU, ("s",)),
        ("p", real.AveragePool((7, 6), (1, 1)), ("t",)),
    ),
    "concat": _network(
        ("a", _conv(2, 2, 1), ("x",)),
        ("b", RELU, ("a",)),
        ("c", real.Concat(), ("b", "x")),
        ("d", _conv(2, 4, 3), ("c",)),
    ),
    "quantiser": _network(
        ("c", _conv(3, 2, 3), ("x",)),
        ("r", RELU, ("c",)),
        ("q", real.Quantise(0.125, 0, 0, 15), ("r",)),
        ("d", _conv(2, 3, 2), ("q",)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_error_shrinks_with_the_bits(name: str) -> None:
    network = CASES[name]
    errors = []
    for bits in (6, 14):
        quantised, approx = _quantised(network, bits)
        expected = run(approx.to_network(), _images(), dtype=np.float64)
        q = golden.run(quantised, quantised.input_format.quantise(_images()))
        got = q * np.array(quantised.scale(quantised.output)).reshape(-1, 1, 1)
        errors.append(float(np.abs(got - expected).max() / np.abs(expected).max()))
    assert errors[0] < 0.25
    assert errors[1] < (0.08 if name == "quantiser" else 2e-3)


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
@pytest.mark.parametrize("name", CASES)
def test_biases_move_the_output_by_an_eighth_of_a_step_at_most(name: str, bits: int) -> None:
    quantised, approx = _quantised(CASES[name], bits)
    for label, filters in approx.filters:
        total = next(node for node in quantised.nodes if node.name == f"{label}.sum")
        after = next(node for node in quantised.nodes if node.inputs == (total.name,))
        assert isinstance(total.op, integer.Conv)
        rounded = total.op.bias * np.array(total.scale)
        assert np.abs(rounded - filters.bias).max() <= after.scale[0] / 8


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_stays_in_its_range_and_tracks_the_float_tensor(name: str) -> None:
    quantised, approx = _quantised(CASES[name], 8)
    x = _images()
    tensors = golden.run_all(quantised, quantised.input_format.quantise(x))
    floats = run_all(approx.to_network(), x, dtype=np.float64)
    for node in quantised.nodes:
        for channel, r in enumerate(node.ranges):
            values = tensors[node.name][:, channel]
            assert r.lo <= values.min()
            assert values.max() <= r.hi
        if node.name in floats:
            real_values = tensors[node.name] * np.array(node.scale).reshape(-1, 1, 1)
            reference = floats[node.name]
            assert np.abs(real_values - reference).mean() < 0.05 * np.abs(reference).max()


def test_clipping_functions_fuse_into_one_requantisation() -> None:
    quantised, _ = _quantised(CASES["quantiser"], 8)
    assert [node.name for node in quantised.nodes] == ["c.sum", "q", "d.sum", "d"]
    fused = quantised.node("q").op
    assert isinstance(fused, Requantise)
    assert (fused.lo, fused.hi) == (0, 15)
    assert quantised.node("q").scale == (0.125,) * 3


def test_bits_are_respected_at_every_seam() -> None:
    for bits in (2, 5, 16):
        quantised, _ = _quantised(CASES["residual"], bits)
        for node in quantised.nodes:
            if isinstance(node.op, Requantise) and node.name != quantised.output:
                assert max(r.width for r in node.ranges) <= bits
    with pytest.raises(ValueError, match="between 2 and 16, not 17"):
        _quantised(CASES["conv"], 17)


def test_argmax_and_softmax_at_the_end() -> None:
    pool = real.AveragePool((7, 6), (1, 1))
    for op in (real.Softmax(), real.ArgMax()):
        network = _network(("p", pool, ("x",)), ("c", _conv(4, 2, 1), ("p",)), ("end", op, ("c",)))
        quantised, _ = _quantised(network, 8)
        last = quantised.node(quantised.output).op
        assert isinstance(last, integer.ArgMax if isinstance(op, real.ArgMax) else Requantise)


def test_a_dead_filter_gives_its_bias() -> None:
    network = _network(("c", real.Conv(np.zeros((2, 2, 3, 3)), np.array([0.37, -0.2])), ("x",)))
    quantised, approx = _quantised(network, 8)
    q = golden.run(quantised, quantised.input_format.quantise(_images(1)))
    got = q * np.array(quantised.scale("c")).reshape(-1, 1, 1)
    assert np.abs(got - approx.filters[0][1].bias.reshape(-1, 1, 1)).max() < 0.37 / 2**12


def test_json_round_trip_is_exact() -> None:
    quantised, _ = _quantised(CASES["residual"], 8)
    text = to_json(quantised)
    again = from_json(text)
    assert to_json(again) == text
    images = quantised.input_format.quantise(_images())
    assert np.array_equal(golden.run(again, images), golden.run(quantised, images))


def test_an_inconsistent_network_is_refused() -> None:
    quantised, _ = _quantised(CASES["conv relu"], 8)
    text = to_json(quantised)
    with pytest.raises(VerifyError, match="ranges that do not follow"):
        from_json(text.replace('"lo":0,"hi":', '"lo":-1,"hi":', 1))
    with pytest.raises(VerifyError, match="not an earlier tensor"):
        verify(from_json(text.replace('"inputs":["x"]', '"inputs":["r"]', 1)))
    with pytest.raises(DataError):
        from_json("{}")


def test_best_format_covers_exact_pixels() -> None:
    assert best_format(np.arange(256.0), width=8) == FixedFormat(8, 0, False)
    assert best_format(np.arange(256) / 256, width=8) == FixedFormat(8, 8, False)
    assert best_format(np.linspace(-1, 1, 999), width=8) == FixedFormat(8, 7, True)
    assert best_format(np.zeros(3), width=8).signed is False
    assert best_format(np.linspace(-1, 1, 9), width=8, signed=False).signed is False
    assert best_format(np.linspace(0, 1, 9), width=8, signed=True).signed is True


def test_calibration_needs_finite_images() -> None:
    network = CASES["conv"]
    with pytest.raises(DataError, match="at least one image"):
        calibrate(network, _images(0))


def test_golden_convolution_is_exact_at_every_magnitude() -> None:
    # float32, float64 and int64 products must all agree with object arithmetic
    for bits in (4, 12, 30, 40, 52):
        rng = np.random.default_rng(bits)
        weight = rng.integers(-(1 << (bits // 2)), 1 << (bits // 2), size=(3, 2, 2, 2))
        op = integer.Conv(weight, rng.integers(-9, 9, size=3), pads=(1, 0, 0, 1))
        fmt = FixedFormat(bits // 2 + 2, 0, True)
        x = rng.integers(fmt.range.lo, fmt.range.hi + 1, size=(2, 2, 3, 3))
        node = integer.IntNode("y", op, ("x",), (3, 3, 3), (), (), "y")
        network = IntegerNetwork("n", "x", (2, 3, 3), fmt, (node,), "y")
        padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 1))).astype(object)
        for n, o, r, c in np.ndindex(2, 3, 3, 3):
            window = padded[n, :, r : r + 2, c : c + 2]
            expected = int((window * weight[o].astype(object)).sum()) + int(op.bias[o])
            assert golden.run(network, x)[n, o, r, c] == expected
