"""Area and clock of the NFU: LUT4s, flip-flops and block RAMs after synthesis, MHz after routing.

    python benchmarks/bench_nfu_area.py --results FILE [--route] [--only TEXT]

8-bit activations, sums of 20 bits, one term of 8 exponents a lane, buffers of 256 words; scales of
two terms of 8 exponents, one lane of NFU-3. "Without skipping" is the same NFU with a counter in
place of the index memory: it reads the words of a window in their order, and its groups have
equally many rows. "Data path" is NFU-1, NFU-2 and NFU-3 alone, without buffers, loads, control
and stores.

``--route`` places and routes every design that has a device, inside a ring of registers, so that
pins set no limit; seed 1, aimed at 100 MHz (48 MHz on UP5K). What ran is stored in ``FILE``; a
second run with the same file goes on where it ended, and the table is made of all that it holds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.boards import find_board
from hwgen.errors import ResourceError, ToolError
from hwgen.nfu.config import BinaryLane, DyadicLane, IntLane, NfuConfig, Segments
from hwgen.nfu.core import Nfu
from hwgen.nfu.lanes import Lanes
from hwgen.nfu.post import Nfu3
from hwgen.nfu.tree import Nfu2
from hwgen.nfu.verilog import component_verilog
from hwgen.toolchain.nextpnr import Device, place_and_route
from hwgen.toolchain.process import TimeLimitError
from hwgen.toolchain.synthesis import Multipliers, SynthesisJob, synthesise

BASE = NfuConfig(
    accumulator_width=20,
    product_width=28,
    scale_terms=2,
    scale_exponents=8,
    address_width=16,
)
FOUR, EIGHT, SIXTEEN = BASE, replace(BASE, tn=8, ti=8), replace(BASE, tn=16, ti=16)
SMALL = replace(EIGHT, lane=DyadicLane(1, 4), accumulator_width=16)
UP5K, HX8K = find_board("icebreaker").device, find_board("hx8k-evn").device
ECP5_25, ECP5_85 = find_board("ulx3s-25f").device, find_board("ulx3s-85f").device
TIME_LIMIT = 900.0  # seconds of nextpnr


class WithoutSkipping(Nfu):
    """An NFU whose rows read the words of a window in their order."""

    def index_words(
        self, m: Module, sequencer: Any, loader: Any, tokens: Any
    ) -> tuple[Value, Value]:
        """Offset and last flag of the row, from a counter instead of a memory."""
        offset = Signal(self.config.offset_width, reset_less=True)
        last = Signal()
        rows = sequencer.runs[0].table_address  # stands for a field: the rows of a group
        with m.If(tokens[0].valid):
            m.d.sync += offset.eq(offset + 1)
        with m.If(tokens[0].window_first):
            m.d.sync += offset.eq(0)
        m.d.sync += last.eq(offset == rows)
        return offset, last


class DataPath(wiring.Component):
    """NFU-1, NFU-2 and NFU-3, with all that steers them as inputs."""

    def __init__(self, config: NfuConfig) -> None:
        lanes = Lanes(config)
        nfu2 = Nfu2(config, term_width=lanes.term_width)
        self.parts = {"lanes": lanes, "nfu2": nfu2, "nfu3": Nfu3(config)}
        members: dict[str, Any] = {}
        for name, part in self.parts.items():
            for path, member, value in part.signature.flatten(part):
                if member.flow is In and not self._inner(name, path[0]):
                    members[f"{name}_{path[0]}"] = In(len(Value.cast(value)))
        members["o"] = Out(len(self.parts["nfu3"].o.as_value()))
        super().__init__(members)

    @staticmethod
    def _inner(part: str, port: Any) -> bool:
        return (part, port) in {("nfu2", "terms"), ("nfu2", "negative"), ("nfu3", "sums")}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            for path, member, value in part.signature.flatten(part):
                if member.flow is In and not self._inner(name, path[0]):
                    m.d.comb += Value.cast(value).eq(getattr(self, f"{name}_{path[0]}"))
        lanes, nfu2, nfu3 = self.parts.values()
        m.d.comb += [
            nfu2.terms.eq(lanes.terms),
            nfu2.negative.eq(lanes.negative),
            nfu3.sums.eq(nfu2.sums),
            self.o.eq(nfu3.o.as_value()),
        ]
        return m


class Ring(wiring.Component):
    """A component inside two shift registers, from and to one pin."""

    def __init__(self, component: Any) -> None:
        self.component = component
        super().__init__({"i": In(1), "o": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.component = self.component
        ports = list(self.component.signature.flatten(self.component))
        inputs = [Value.cast(value) for _, member, value in ports if member.flow is In]
        outputs = Cat(*(Value.cast(value) for _, member, value in ports if member.flow is Out))
        given = Signal(sum(map(len, inputs)), reset_less=True)
        found = Signal(len(outputs), reset_less=True)
        m.d.sync += [
            given.eq(Cat(self.i, given)),
            found.eq(outputs ^ Cat(Const(0, 1), found)),
        ]
        m.d.comb += [Cat(*inputs).eq(given), self.o.eq(found[-1])]
        return m


@dataclass(frozen=True)
class Design:
    """What is synthesised, and where it is routed to."""

    name: str
    component: type
    config: NfuConfig
    family: str = "ice40"
    device: Device | None = None
    multipliers: Multipliers = "none"

    @property
    def key(self) -> str:
        device = "" if self.device is None else " ".join(self.device.options)
        return f"{self.name} | {self.family} {device}".strip()


def designs() -> Iterator[Design]:
    """All rows of the table."""
    for tile, config in (("4 x 4", FOUR), ("8 x 8", EIGHT)):
        yield Design(f"{tile}, data path", DataPath, config)
        yield Design(f"{tile}, without skipping", WithoutSkipping, config)
    yield Design("4 x 4", Nfu, FOUR, device=HX8K)
    yield Design("4 x 4", Nfu, FOUR, device=UP5K)
    shift = replace(FOUR, scale_terms=1, scale_exponents=2, product_width=21)
    yield Design("4 x 4, scales of one term of 2 exponents", Nfu, shift)
    yield Design("4 x 4, scales of one term of 2 exponents, data path", DataPath, shift)
    yield Design("4 x 4, lanes of two terms", Nfu, replace(FOUR, lane=DyadicLane(2, 8)))
    yield Design("4 x 4, maxima", Nfu, replace(FOUR, maximum=True))
    yield Design("4 x 4, weights of 1 and -1", Nfu, replace(FOUR, lane=BinaryLane()))
    functions = replace(FOUR, function=Segments(16, 10))
    yield Design("4 x 4, functions of 16 segments", Nfu, functions)
    for tile, config in (("4 x 4", FOUR), ("8 x 8", EIGHT)):
        integer = replace(config, lane=IntLane(8))
        name = f"{tile}, int8 in logic"
        yield Design(name, Nfu, integer, multipliers="logic")
        yield Design(f"{name}, data path", DataPath, integer, multipliers="logic")
        name = f"{tile}, int8 in DSP blocks"
        yield Design(name, Nfu, integer, "ecp5", ECP5_25, multipliers="dsp")
    yield Design("8 x 8", Nfu, EIGHT, device=HX8K)
    yield Design("8 x 8, 4 exponents, sums of 16 bits", Nfu, SMALL, device=HX8K)
    yield Design("4 x 4", Nfu, FOUR, "ecp5", ECP5_25)
    yield Design("8 x 8", Nfu, EIGHT, "ecp5", ECP5_25)
    yield Design("16 x 16", Nfu, SIXTEEN, "ecp5", ECP5_85)


def area(design: Design) -> dict[str, Any]:
    """Area of the design."""
    with tempfile.TemporaryDirectory() as folder:
        return _synthesise(design, design.component(design.config), Path(folder))


def clock(design: Design, device: Device) -> float | str:
    """MHz of the design in its ring, or why there is no route."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        _synthesise(design, Ring(design.component(design.config)), directory)
        try:
            result = place_and_route(
                device,
                name="nfu",
                directory=directory,
                freq=48 if device == UP5K else 100,
                seeds=(1,),
                time_limit=TIME_LIMIT,
            )
        except (ResourceError, ToolError, TimeLimitError) as error:
            return str(error).partition("\n")[0]
        return result.fmax_mhz


def _synthesise(design: Design, component: Any, directory: Path) -> dict[str, Any]:
    sources = {"nfu.v": component_verilog(component, name="nfu")}
    job = SynthesisJob(sources, "nfu", design.family, directory, design.multipliers)
    (result,) = synthesise(job)
    found = result.area
    return {"luts": found.luts, "ffs": found.ffs, "brams": found.brams, "dsps": found.dsps}


def table(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Markdown of all results."""
    yield "| NFU | device | LUT4 | FF | block RAMs | DSPs | clock |"
    yield "|---|---|---|---|---|---|---|"
    for key, found in results.items():
        name, _, device = key.partition(" | ")
        mhz = found.get("clock", "")
        speed = f"{mhz:.1f} MHz" if isinstance(mhz, float) else mhz
        counts = " | ".join(f"{found[kind]:,}" for kind in ("luts", "ffs", "brams", "dsps"))
        yield f"| {name} | {device} | {counts} | {speed} |"


@click.command()
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--route", is_flag=True, help="Place and route.")
@click.option("--only", default="", help="Designs whose name and device contain this text.")
def main(results: Path, route: bool, only: str) -> None:
    stored = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}

    def keep(key: str, found: dict[str, Any]) -> None:
        stored[key] = stored.get(key, {}) | found
        results.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        print(key, found, flush=True)

    for design in designs():
        if only not in design.key:
            continue
        if design.key not in stored:
            keep(design.key, area(design))
        if route and design.device is not None and "clock" not in stored[design.key]:
            keep(design.key, {"clock": clock(design, design.device)})
    print("\n".join(table(stored)))


if __name__ == "__main__":
    main()
