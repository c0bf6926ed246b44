"""Designs on AXI4-Stream and Wishbone, by bus models with random pauses, bit for bit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from networks import NETWORKS, images_for

from hwgen.numeric import IntArray
from hwgen.sim.golden import run
from hwgen.sim.words import frames_to_pixels
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.plan import plan_pipeline
from hwgen.stream.verilog import emit
from hwgen.stream.wrappers.wrap import MAGIC, Wrapper, bus_layout, wrap
from hwgen.toolchain.verilator import build_cocotb_model, find_verilator

_BENCH = Path(__file__).with_name("cocotb_wrappers.py")
_PORT = re.compile(r"^  (?:in|out)put +(?:wire|reg) +(?:\[\S+\] +)?(\w+)", re.MULTILINE)


def _frames(layout: PixelLayout, frames: IntArray, *, unit: int) -> list[list[int]]:
    """Each frame (N, C, H, W) in units of so many bytes, every pixel from a unit of its own."""
    bus = bus_layout(layout)
    size = -(-bus.width // (8 * unit))
    found = []
    for frame in frames:
        payloads = bus.pack(frames_to_pixels(frame[None]))
        found.append(
            [p >> (8 * unit * k) & ((1 << 8 * unit) - 1) for p in payloads for k in range(size)]
        )
    return found


@pytest.mark.parametrize("wrapper", ["axis", "wishbone"])
def test_images_through_a_bus(wrapper: Wrapper, tmp_path: Path, build_dir: Path) -> None:
    network = NETWORKS["bare"]()
    design = emit(plan_pipeline(network))
    verilog = wrap(design, wrapper)
    assert "*" not in re.sub("//.*", "", verilog).replace("(32 * out_word)", "")
    images = images_for(network, 3)
    unit = 1 if wrapper == "axis" else 4
    top = f"{design.name}_{wrapper}"
    model = build_cocotb_model(
        find_verilator(),
        design.verilog + verilog,
        top=top,
        ports=_PORT.findall(verilog),
        build_dir=build_dir,
    )
    sent = _frames(design.input_layout, images, unit=unit)
    expected = _frames(design.output_layout, run(network, images), unit=unit)
    pixels = [shape[1] * shape[2] for shape in (design.input_shape, design.output_shape)]
    words = [len(sent[0]) // pixels[0], len(expected[0]) // pixels[1]]
    digest = int(re.findall(r"HASH +reads (\w+)", wrap(design, "wishbone"))[0], 16)
    identity = [MAGIC, digest, *(w << 24 | p for w, p in zip(words, pixels, strict=True))]
    job = {
        "bus": wrapper,
        "top": top,
        "model": str(model.parent.resolve()),
        "seed": 5,
        "pause": 0.3,
        "images": sent,
        "expected": expected,
        "pixel_bytes": words[0],
        "identity": identity,
    }
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, str(_BENCH), str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_channels_take_whole_bytes() -> None:
    layout = PixelLayout(((8, False), (5, True), (13, True), (1, False)))
    assert bus_layout(layout).channels == ((8, False), (8, True), (16, True), (8, False))
    design = StreamDesign("net", "", (4, 2, 3), layout, (4, 1, 1), layout)
    text = wrap(design, "axis")
    assert "assign pixel[8 +: 5] = s_axis_tdata[8 +: 5];" in text
    assert "assign m_axis_tdata[16 +: 16] = {{3{result[25]}}, result[13 +: 13]};" in text
    assert "assign m_axis_tdata[32 +: 8] = {{7{1'b0}}, result[26 +: 1]};" in text
    assert "//   in  bit 16: channel 2, signed, 13 bits in 2 byte(s)" in text


def test_a_bus_that_is_not_there() -> None:
    layout = PixelLayout(((8, False),))
    design = StreamDesign("net", "", (1, 2, 3), layout, (1, 1, 1), layout)
    with pytest.raises(ValueError, match="must be one of axis, wishbone, not 'apb'"):
        wrap(design, "apb")  # type: ignore[arg-type]
