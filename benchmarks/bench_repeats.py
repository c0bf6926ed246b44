"""What constants of convolutions have in common, and what lanes save by multiples that they share.

    python benchmarks/bench_repeats.py WORKSPACE... [--family ecp5]

Of each convolution of approximated workspaces: how many kernels differ by more than a sign and a
power of two, and likewise filters, and all that is done with a channel; which odd numbers its
weights are powers of two times; and the digits that a code word in memory has
(:mod:`hwgen.stream.codes`). With ``--family``, 16 lanes that multiply one signed byte are
synthesised for each set of weights: by digits that choose among multiples which all lanes share,
as they are built, and by signed powers of two, one a digit.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from amaranth.back import rtlil
from amaranth.hdl import Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.integer import store
from hwgen.integer.types import Conv
from hwgen.numeric import IntArray, Range, csd, odd_part
from hwgen.stream.codes import WeightCode, weight_code
from hwgen.stream.common import Registers
from hwgen.stream.product import multiples, product, with_carry
from hwgen.toolchain.synthesis import SynthesisJob, synthesise
from hwgen.toolchain.yosys import rtlil_to_verilog

LANES = 16
INPUT = Range(-128, 127)


class Lanes(wiring.Component):
    """Products of one input with the weights of as many code words as there are lanes."""

    def __init__(self, code: WeightCode) -> None:
        self.code = code
        self.width = INPUT.width + max(abs(w) for w in code.weights).bit_length() + 1
        super().__init__(
            {"x": In(INPUT.width), "words": In(LANES * code.width), "y": Out(LANES * self.width)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        registers = Registers(m, Const(1))  # type: ignore[arg-type]
        x: Value = registers.register(self.x, self.x.shape(), name="x_in").as_signed()
        words = registers.register(self.words, self.words.shape(), name="words_in")
        found = multiples(registers, x, INPUT, self.code, name="x")
        for lane in range(LANES):
            word = words[lane * self.code.width :][: self.code.width]
            part = product(
                registers, [word], [found], INPUT, self.code, width=self.width, name=f"lane{lane}"
            )
            total = with_carry(Const(0, 1), part.value, part.carry)
            m.d.comb += self.y[lane * self.width :][: self.width].eq(total)
        return m


@dataclass(frozen=True)
class Shared:
    """Sets of codes that differ by more than a sign and a power of two, beside all of them."""

    name: str
    distinct: int
    zero: int
    count: int

    def __str__(self) -> str:
        return f"{self.distinct} + {self.zero} zero of {self.count} {self.name}"


def shared(name: str, codes: IntArray) -> Shared:
    """How many rows of ``codes`` differ."""
    kept = codes[codes.any(axis=1)]
    twos = np.gcd.reduce(kept, axis=1) if len(kept) else np.ones(0, dtype=np.int64)
    kept = kept // (twos & -twos)[:, None]
    first = np.take_along_axis(kept, (kept != 0).argmax(axis=1)[:, None], axis=1)
    distinct = len(np.unique(kept * np.sign(first), axis=0))
    return Shared(name, distinct, len(codes) - len(kept), len(codes))


def powers(weights: tuple[int, ...]) -> WeightCode:
    """The weights as sums of signed powers of two, one a digit."""
    rows = [[d.sign << d.exponent for d in reversed(csd(abs(w)))] for w in weights]
    rows = [[v if w > 0 else -v for v in row] for row, w in zip(rows, weights, strict=True)]
    count = max(1, *map(len, rows))
    return WeightCode(weights, tuple(zip(*(r + [0] * (count - len(r)) for r in rows), strict=True)))


def luts(code: WeightCode, family: str) -> float:
    """LUTs a lane."""
    verilog = rtlil_to_verilog(rtlil.convert(Lanes(code), name="lanes"))
    with tempfile.TemporaryDirectory() as folder:
        (done,) = synthesise(SynthesisJob({"lanes.v": verilog}, "lanes", family, Path(folder)))
    return done.area.luts / LANES


def describe(name: str, op: Conv, family: str | None, known: dict[tuple[int, ...], str]) -> str:
    """A row of the table."""
    outputs, channels = op.weight.shape[:2]
    taps = op.weight.reshape(outputs * channels, -1)
    odd = sorted({odd_part(abs(w))[0] for w in np.unique(op.weight).tolist() if w})
    code = weight_code(op.weight, width=INPUT.width, sharing=LANES)
    if family is not None and code.weights not in known and code.width:
        both = (code, powers(code.weights))
        known[code.weights] = " / ".join(f"{luts(each, family):.1f}" for each in both)
    parts = (
        shared("kernels", taps),
        shared("filters", op.weight.reshape(outputs, -1)),
        shared("channels", op.weight.swapaxes(0, 1).reshape(channels, -1)),
    )
    digits = " + ".join(str(len(each)) for each in code.multiples)
    return (
        f"| {name} | {outputs} x {channels} x {op.kernel[0]} x {op.kernel[1]}, {op.groups} groups "
        f"| {' | '.join(map(str, parts))} | {', '.join(map(str, odd))} "
        f"| {digits} | {known.get(code.weights, '')} |"
    )


@click.command(help=__doc__.splitlines()[0])
@click.argument("workspaces", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--family", type=click.Choice(["ecp5", "ice40"]))
def main(workspaces: tuple[Path, ...], family: str | None) -> None:
    known: dict[tuple[int, ...], str] = {}
    for workspace in workspaces:
        network = store.from_json((workspace / "integer.json").read_text())
        print(f"\n{network.name}\n")
        print(
            "| layer | shape | kernels | filters | channels | odd numbers | choices of each digit "
            "| LUTs a lane, shared / powers |"
        )
        print("|" + "---|" * 8)
        for node, op in network.convs():
            print(describe(node.name.removesuffix(".sum"), op, family, known), flush=True)


if __name__ == "__main__":
    main()
