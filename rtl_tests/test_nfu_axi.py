# amaranth: UnusedElaboratable=no
"""The NFU behind AXI4, on the memory model of cocotbext-axi with random stalls."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import images_for
from nfu_networks import random_layers, suitable_config

from hwgen.nfu.axi import AxiMemory
from hwgen.nfu.axi_bus import axi_members
from hwgen.nfu.compile import compile_network
from hwgen.nfu.image import memory_bytes, memory_map
from hwgen.nfu.system import NfuSystem
from hwgen.nfu.verilog import component_verilog
from hwgen.sim.golden import run
from hwgen.sim.words import frames_to_pixels
from hwgen.stream.design import PixelLayout
from hwgen.toolchain.verilator import build_cocotb_model, find_verilator

_BENCH = Path(__file__).with_name("cocotb_nfu_axi.py")
_BASE = 4096
_STREAMS = [f"{s}__{part}" for s in ("i", "o") for part in ("payload", "valid", "ready")]


def _check(
    folder: Path, seed: int, *, tn: int, ti: int, bus_bytes: int, pauses: tuple[float, ...]
) -> list[dict[str, list[int]]]:
    rng = np.random.default_rng(seed)
    network = random_layers(rng, layers=2, size=5)
    config = replace(suitable_config(rng), tn=tn, ti=ti, nfu3_lanes=1)
    compiled = compile_network(network, config)
    where = memory_map(config, compiled.program, compiled.memory)
    inputs, outputs = network.ranges(network.input_name), network.ranges(network.output)
    memory = AxiMemory(config, where, base=_BASE, bus_bytes=bus_bytes)
    system = NfuSystem(config, compiled, memory)
    images = images_for(network, 3, seed)
    ports = ["clk", "rst", *_STREAMS, "axi_failed"]
    ports += [f"axi_{name}" for name in axi_members(bus_bytes, 32)]
    model = build_cocotb_model(
        find_verilator(),
        component_verilog(system, name="nfu_axi"),
        top="nfu_axi",
        ports=ports,
        build_dir=folder.parent / "the simulators",
    )
    (folder / "image.bin").write_bytes(memory_bytes(config, compiled.program, compiled.memory))
    found = []
    for number, pause in enumerate(pauses):
        job = {
            "top": "nfu_axi",
            "model": str(model.parent.resolve()),
            "image": str(folder / "image.bin"),
            "base": _BASE,
            "activations": where.activations.address,
            "size": 1 << (_BASE + where.size).bit_length(),
            "bus_bytes": bus_bytes,
            "pause": pause,
            "seed": seed + number,
            "pixels": PixelLayout.from_ranges(inputs).pack(frames_to_pixels(images)),
            "expected": PixelLayout.from_ranges(outputs).pack(
                frames_to_pixels(run(network, images))
            ),
            "deadline": 200_000,
            "results": str(folder / f"results{number}.json"),
        }
        path = folder / f"job{number}.json"
        path.write_text(json.dumps(job))
        done = subprocess.run(
            [sys.executable, str(_BENCH), str(path)],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        found.append(json.loads((folder / f"results{number}.json").read_text()))
    return found


def test_images_through_axi(tmp_path: Path) -> None:
    (bursts,) = _check(tmp_path, 3, tn=2, ti=4, bus_bytes=8, pauses=(0.5,))
    assert max(bursts["ar"]) > 16
    assert set(bursts["aw"]) == {1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tn", "ti", "bus_bytes"), [(1, 1, 4), (4, 4, 4), (4, 2, 32), (8, 8, 4), (8, 1, 16)]
)
def test_tiles_and_buses(tmp_path: Path, tn: int, ti: int, bus_bytes: int) -> None:
    seed = 100 * tn + 10 * ti + bus_bytes
    found = _check(tmp_path, seed, tn=tn, ti=ti, bus_bytes=bus_bytes, pauses=(0.0, 0.3, 0.7))
    assert {max(1, tn // bus_bytes)} == {beats for b in found for beats in b["aw"]}
