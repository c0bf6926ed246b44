"""A streaming design behind the buses of others: AXI4-Stream, Wishbone, and its FuseSoC core file.

Wrappers are plain Verilog beside the design's own, from which they take its one module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined

from hwgen.stream.design import PixelLayout, StreamDesign

__all__ = ["MAGIC", "WRAPPERS", "Wrapper", "bus_layout", "core_file", "wrap"]

Wrapper = Literal["axis", "wishbone"]
"""A bus that a design can be put on."""

WRAPPERS: tuple[Wrapper, ...] = get_args(Wrapper)
"""Names of the buses."""

MAGIC = 0x68776731
"""What the ID register of a Wishbone slave reads: "hwg1"."""

_BUSES = {"axis": ("s_axis_tdata", "m_axis_tdata"), "wishbone": ("in_pixel", "out_pixel")}
"""Nets of a pixel in and out, channels in whole bytes."""

_ENVIRONMENT = Environment(
    loader=PackageLoader("hwgen.stream", "wrappers"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)


def bus_layout(layout: PixelLayout) -> PixelLayout:
    """The pixel on a bus: every channel in whole bytes, and signed as it was."""
    return PixelLayout(tuple((-(-width // 8) * 8, signed) for width, signed in layout.channels))


def wrap(design: StreamDesign, wrapper: Wrapper) -> str:
    """Verilog of module ``NAME_axis`` or ``NAME_wishbone``, which holds the design's module.

    Raises
    ------
    ValueError
        If there is no such wrapper.
    """
    if wrapper not in WRAPPERS:
        raise ValueError(f"Wrapper must be one of {', '.join(WRAPPERS)}, not {wrapper!r}")
    inputs, outputs = bus_layout(design.input_layout), bus_layout(design.output_layout)
    input_pixels = design.input_shape[1] * design.input_shape[2]
    output_pixels = design.output_shape[1] * design.output_shape[2]
    source, sink = _BUSES[wrapper]
    packing = [*_narrowed(design.input_layout, source), *_widened(design.output_layout, sink)]
    if wrapper == "wishbone" and outputs.width % 32:
        spare = -outputs.width % 32
        packing.append(f"  assign {sink}[{outputs.width} +: {spare}] = {spare}'b0;")
    return _ENVIRONMENT.get_template(f"{wrapper}.v.j2").render(
        name=f"{design.name}_{wrapper}",
        core=design,
        fields=[
            *_described("in ", design.input_layout),
            *_described("out", design.output_layout),
        ],
        packing="\n".join(packing),
        input_bits=inputs.width,
        output_bits=outputs.width,
        core_input_bits=design.input_layout.width,
        core_output_bits=design.output_layout.width,
        input_words=-(-inputs.width // 32),
        output_words=-(-outputs.width // 32),
        input_pixels=input_pixels,
        output_pixels=output_pixels,
        input_counter=max(1, (input_pixels - 1).bit_length()),
        output_counter=max(1, (output_pixels - 1).bit_length()),
        magic=MAGIC,
        digest=int(hashlib.sha256(design.verilog.encode()).hexdigest()[:8], 16),
    )


@dataclass(frozen=True)
class _File:
    kind: Wrapper
    file: str
    module: str
    parameters: tuple[str, ...]


def core_file(design: StreamDesign, source: str, wrappers: Sequence[Wrapper]) -> str:
    """FuseSoC core file (CAPI2) of a design in the file ``source`` and of its wrappers' files."""
    stem = source.removesuffix(".v")
    files = [
        _File(
            kind,
            f"{stem}_{kind}.v",
            f"{design.name}_{kind}",
            ("FIFO_BITS",) if kind == "wishbone" else (),
        )
        for kind in wrappers
    ]
    template = _ENVIRONMENT.get_template("design.core.j2")
    return template.render(core=design, source=source, wrappers=files)


def _places(layout: PixelLayout) -> Iterator[tuple[int, int, int, int, bool]]:
    """For every channel its place and width in the core, on the bus, and whether it is signed."""
    place = at = 0
    for (width, signed), (wide, _) in zip(
        layout.channels, bus_layout(layout).channels, strict=True
    ):
        yield place, width, at, wide, signed
        place, at = place + width, at + wide


def _narrowed(layout: PixelLayout, source: str) -> Iterator[str]:
    for place, width, at, _, _ in _places(layout):
        yield f"  assign pixel[{place} +: {width}] = {source}[{at} +: {width}];"


def _widened(layout: PixelLayout, sink: str) -> Iterator[str]:
    for place, width, at, wide, signed in _places(layout):
        value = f"result[{place} +: {width}]"
        if wide > width:
            top = f"result[{place + width - 1}]" if signed else "1'b0"
            value = f"{{{{{wide - width}{{{top}}}}}, {value}}}"
        yield f"  assign {sink}[{at} +: {wide}] = {value};"


def _described(direction: str, layout: PixelLayout) -> Iterator[str]:
    """A line for each run of channels that are alike."""
    channels = list(enumerate(_places(layout)))
    for (width, wide, signed), run in groupby(channels, key=lambda c: (c[1][1], c[1][3], c[1][4])):
        members = list(run)
        (first, (_, _, at, _, _)), last = members[0], members[-1][0]
        which = f"channel {first}" if first == last else f"channels {first} to {last}"
        kind = "signed" if signed else "unsigned"
        yield f"{direction} bit {at}: {which}, {kind}, {width} bits in {wide // 8} byte(s)"
