"""Random networks that the NFU's compiler takes, in a row and with branches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from networks import Sketch, images_for

from hwgen.integer.types import Add, ArgMax, Concat, IntegerNetwork, PiecewiseLinear
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import BinaryLane, DyadicLane, IntLane, NfuConfig, Segments
from hwgen.nfu.function import function_words, table_function
from hwgen.nfu.golden import execute
from hwgen.nfu.isa import Instruction, Nfu1, Nfu2In, Nfu2Out
from hwgen.nfu.memory import MemoryImage, pack_rows, pack_scales
from hwgen.numeric import Range
from hwgen.sim.golden import run

__all__ = [
    "FunctionCase",
    "check_compiled",
    "function_case",
    "random_graph",
    "random_layers",
    "suitable_config",
]


def check_compiled(network: IntegerNetwork, config: NfuConfig, seed: int = 0) -> CompiledNetwork:
    """Compile a network, and compare the golden executor with the golden model on an image."""
    compiled = compile_network(network, config)
    image = images_for(network, 3, seed)[2:]  # the first two are the extremes
    result = execute(config, compiled.program, compiled.with_image(image[0]))
    np.testing.assert_array_equal(compiled.result(result.activations), run(network, image)[0])
    return compiled


def random_layers(
    rng: np.random.Generator, *, layers: int, size: int = 6, exponents: int = 4, guard: int = 0
) -> IntegerNetwork:
    """Layers of any stride, padding, dilation and groups; perhaps a fully connected one last."""
    s = _sketch(rng, size, exponents, guard)
    x = "image"
    for number in range(layers):
        if number == layers - 1 and rng.random() < 0.5:
            x = s.dense(x, int(rng.integers(1, 10)))
        else:
            x = _conv(s, rng, x)
        if number < layers - 1 or rng.random() < 0.5:
            x = _rounded(s, rng, x)
    return s.done(x)


def random_graph(rng: np.random.Generator, *, layers: int, size: int = 6) -> IntegerNetwork:
    """Layers of all operators, each of which reads tensors made before; perhaps an ArgMax last."""
    s = _sketch(rng, size)
    x = "image"
    tensors = [x]
    kinds = ["conv", "sum_pool", "add", "concat", "clip", "max_pool", "function"]
    for _ in range(layers):
        # most layers follow each other
        x = tensors[-1] if rng.random() < 0.7 else str(rng.choice(tensors))
        shape = s.network.shape(x)
        kernel = tuple(int(rng.integers(1, min(3, room) + 1)) for room in shape[1:])
        strides = tuple(int(k) for k in rng.integers(1, 3, 2))
        pads = tuple(int(rng.integers(0, kernel[k % 2])) for k in range(4))
        others = [
            t
            for t in tensors
            if s.network.shape(t)[1:] == shape[1:] and _signed(s, t) == _signed(s, x)
        ]
        match str(rng.choice(kinds)):
            case "conv":
                x = _rounded(s, rng, _conv(s, rng, x))
            case "sum_pool":
                x = _rounded(s, rng, s.sum_pool(x, kernel, strides, pads))
            case "max_pool":
                # the border of signed values holds what no other layer can read
                if any(pads) and _signed(s, x) and not s.network.consumers(x):
                    tensors.remove(x)
                elif _signed(s, x):
                    pads = (0, 0, 0, 0)
                x = s.max_pool_of(x, kernel, strides, pads)
            case "add":
                same = [t for t in tensors if s.network.shape(t) == shape]
                terms = [x, *rng.choice(same, int(rng.integers(1, 3))).tolist()]
                shifts = tuple(int(k) for k in rng.integers(0, 3, len(terms)))
                x = _rounded(s, rng, s.add(Add(shifts), *terms, shape=shape))
            case "concat":
                parts = [x, *rng.choice(others, int(rng.integers(1, 3))).tolist()]
                shifts = tuple(int(k) for k in rng.integers(0, 2, len(parts)))
                channels = sum(s.network.shape(part)[0] for part in parts)
                x = s.add(Concat(shifts), *parts, shape=(channels, *shape[1:]))
            case "clip":
                x = _rounded(s, rng, x)
            case "function":
                if rng.random() < 0.5:
                    x = s.requantise(_conv(s, rng, x), lo=-512, hi=511)
                x = s.add(_function(rng, s.network.shape(x)[0]), x, shape=s.network.shape(x))
        tensors.append(x)
    if rng.random() < 0.3:
        x = s.dense(x, 5)
        if rng.random() < 0.5:
            x = s.add(ArgMax(), x, shape=(1, 1, 1))
    return s.done(x)


def _sketch(rng: np.random.Generator, size: int, exponents: int = 4, guard: int = 0) -> Sketch:
    shape = (int(rng.integers(1, 7)), int(rng.integers(1, size)), int(rng.integers(1, size)))
    seed, signed = int(rng.integers(1 << 30)), bool(rng.integers(0, 2))
    return Sketch(shape, signed=signed, seed=seed, exponents=exponents, guard=guard)


def _conv(s: Sketch, rng: np.random.Generator, x: str) -> str:
    channels, height, width = s.network.shape(x)
    pads = tuple(int(p) for p in rng.integers(0, 2, 4))
    dilations = tuple(int(d) for d in rng.integers(1, 3, 2))
    room = (height + pads[0] + pads[2], width + pads[1] + pads[3])
    kernel = tuple(
        int(rng.integers(1, min(3, 1 + (r - 1) // d) + 1))
        for r, d in zip(room, dilations, strict=True)
    )
    groups = channels if rng.random() < 0.2 else 1
    outputs = groups * int(rng.integers(1, 3 if groups > 1 else 10))
    strides = tuple(int(k) for k in rng.integers(1, 3, 2))
    reduced = 0.0 if groups > 1 else float(rng.choice([0.0, 0.5]))
    return s.conv(x, outputs, kernel, strides, pads, dilations, groups, reduced=reduced)


def _rounded(s: Sketch, rng: np.random.Generator, x: str) -> str:
    signed = bool(rng.integers(0, 2))
    return s.requantise(x, lo=-128 if signed else 0, hi=127 if signed else 255)


def _function(rng: np.random.Generator, channels: int) -> PiecewiseLinear:
    """Of up to 8 segments, for all channels or for each; its outputs have 8 bits."""
    functions, segments = int(rng.choice([1, channels])), int(rng.integers(1, 9))
    slopes = rng.integers(-1, 2, (functions, segments, 2))
    slopes <<= rng.integers(0, 4, slopes.shape)
    signed = bool(rng.integers(0, 2))
    return PiecewiseLinear(
        np.sort(rng.integers(-600, 600, (functions, segments - 1)), axis=1),
        slopes.sum(axis=2),
        rng.integers(-1000, 1000, (functions, segments)),
        int(rng.integers(0, 4)),
        *((-128, 127) if signed else (0, 255)),
    )


def _signed(s: Sketch, tensor: str) -> bool:
    return any(r.lo < 0 for r in s.network.ranges(tensor))


def suitable_config(
    rng: np.random.Generator,
    *,
    tiles: tuple[int, ...] = (1, 2, 4),
    exponents: int = 4,
    lane: DyadicLane | IntLane | BinaryLane | None = None,
) -> NfuConfig:
    """Parameters wide enough for these networks, with buffers that need tiling.

    Lanes are dyadic if no other is given; binary ones are for networks of one exponent.
    """
    tn = int(rng.choice(tiles))
    lanes = int(rng.choice([n for n in (1, 2, 4, 8, 16) if n <= tn]))
    segments = 8
    return NfuConfig(
        tn=tn,
        nfu3_lanes=lanes,
        ti=int(rng.choice(tiles)),
        lane=DyadicLane(int(rng.integers(1, 3)), exponents) if lane is None else lane,
        sb_depth=int(rng.choice([128, 512])),
        nbin_depth=int(rng.choice([128, 1024])),
        nbout_depth=int(rng.choice([8, 64])),
        # room for the functions of a group
        table_depth=max(int(rng.choice([32, 256])), segments * tn // lanes),
        product_width=48,
        scale_exponents=32,
        maximum=True,
        function=Segments(segments, 12),
    )


@dataclass(frozen=True, eq=False)
class FunctionCase:
    """A program that applies a function to ``pixels`` (P, C), and where P words of C results go.

    Results fill whole groups of Tn channels from element ``output`` on.
    """

    config: NfuConfig
    op: PiecewiseLinear
    pixels: np.ndarray
    program: tuple[Instruction, ...]
    image: MemoryImage
    output: int

    def results(self, activations: np.ndarray) -> np.ndarray:
        """(P, C) results in the memory after the program."""
        count, channels = self.pixels.shape
        return activations[self.output :].reshape(count, -1)[:, :channels]


def function_case(rng: np.random.Generator, *, staged: bool) -> FunctionCase:
    """A function of random segments, of each channel or of all, on activations of a random width.

    ``staged`` leaves the activations in NBout, as a requantisation would, and goes on from there.
    """
    tn = int(rng.choice([1, 2, 4]))
    width = int(rng.integers(4, 11))
    segments = Segments(int(rng.choice([2, 4, 8, 16])), width + int(rng.integers(1, 3)))
    config = NfuConfig(
        tn=tn, ti=int(rng.choice([1, 2, 4])), activation_width=width, function=segments,
        nfu3_lanes=int(rng.choice([n for n in (1, 2, 4) if n <= tn])), nbout_depth=32,
        scale_terms=3, table_depth=256,
    )  # fmt: skip
    signed = bool(rng.integers(0, 2))
    inputs = Range(-1 << (width - 1), (1 << (width - 1)) - 1) if signed else Range(0, 2**width - 1)
    count, channels = 3, int(rng.integers(1, 8))
    functions = channels if rng.random() < 0.5 else 1
    kept = int(rng.integers(1, segments.count + 1))
    # one breakpoint in four is out of reach, below or above
    reach = (inputs.lo - 20, inputs.hi + 20) if kept < segments.count else (inputs.lo, inputs.hi)
    slopes = rng.integers(-1, 2, (functions, kept, 2)) << rng.integers(0, 8, (functions, kept, 2))
    op = PiecewiseLinear(
        np.sort(rng.integers(*reach, (functions, kept - 1)), axis=1),
        slopes.sum(axis=2),
        rng.integers(-1000, 1000, (functions, kept)),
        int(rng.integers(0, 8)),
        *((-128, 127) if rng.random() < 0.5 else (0, 255)),
    )
    pixels = rng.integers(inputs.lo, inputs.hi + 1, (count, channels))

    block = max(config.tn, config.ti)
    wide = -(-channels // block) * block
    groups, blocks = -(-channels // tn), wide // config.ti
    rows = max(config.turns, -(-tn // config.ti))
    terms = np.zeros((groups, rows, tn, config.ti, 1), dtype=np.int64)
    offsets = np.zeros((groups, rows), dtype=np.int64)
    for channel in range(channels):
        (group, n), (at, i) = divmod(channel, tn), divmod(channel, config.ti)
        row = at % max(1, tn // config.ti)
        terms[group, row, n, i, 0] = 1
        offsets[group, row] = at
    last = np.zeros((groups, rows), dtype=np.int64)
    last[:, -1] = 1
    nothing = np.zeros_like(terms)
    packed = pack_rows(
        config,
        np.concatenate([terms, nothing]).reshape(-1, tn, config.ti, 1),
        np.tile(offsets.ravel(), 2),
        np.tile(last.ravel(), 2),
    )
    memory = np.zeros((count, wide), dtype=np.int64)
    memory[:, :channels] = pixels
    words = function_words(config, table_function(config, op, inputs))
    one = (config.nfu3_lanes, config.scale_terms)
    output = memory.size
    image = MemoryImage(
        packed,
        (*words, *pack_scales(config, np.eye(1, one[1], dtype=np.int64).repeat(one[0], 0)[None],
                              np.zeros((1, one[0]), dtype=np.int64))),
        np.concatenate([memory.ravel(), np.zeros(count * groups * tn, dtype=np.int64)]),
    )  # fmt: skip
    take = Instruction(
        sb_size=2 * groups * rows, sb_rows=groups * rows, nbin_size=count * blocks,
        nbin_positions=count, nbin_stride=blocks, nbin_signed=signed, nbout_groups=groups,
        table_size=len(image.tables), table_address=len(words), table_shared=1, nfu_op=Nfu1.MULT,
        nfu_out=Nfu2Out.NFU3,
    )  # fmt: skip
    apply = Instruction(
        sb_address=groups * rows if staged else 0, sb_rows=groups * rows, nbin_positions=count,
        nbin_stride=blocks, nbin_signed=signed, nbout_groups=groups, nbout_store=1,
        nbout_target=output // tn, nbout_stride=groups, table_shared=functions == 1,
        nfu_op=Nfu1.MULT, nfu_in=Nfu2In.NBOUT if staged else Nfu2In.RESET, nfu_out=Nfu2Out.NFU3,
        nfu_function=1, nfu_shift=op.shift, nfu_saturate=1, nfu_low=op.lo, nfu_high=op.hi,
    )  # fmt: skip
    program = (take, apply, Instruction(cp_end=1))
    return FunctionCase(config, op, pixels, program, image, output)
