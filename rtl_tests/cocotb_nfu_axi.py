"""The cocotb test of an NFU behind AXI4, and the process that runs it.

Called as ``python cocotb_nfu_axi.py JOB.json``; the job names the simulator, the contents of
memory, the pixels and what is expected. Everything waits at random.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb_job import run_job
from cocotbext.axi import AxiBus, AxiRam

_BOUNDARY = 4096


def _pauses(seed: int, probability: float) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        yield rng.random() < probability


async def _watch(dut: Any, name: str, bus_bytes: int, bursts: list[int]) -> None:
    """Check the rules of an address channel, and note the beats of each burst."""
    valid, ready = getattr(dut, f"axi_{name}valid"), getattr(dut, f"axi_{name}ready")
    fields = [getattr(dut, f"axi_{name}{field}") for field in ("addr", "len", "size", "burst")]
    held: list[int] | None = None
    while True:
        await RisingEdge(dut.clk)
        if int(dut.rst.value):
            continue
        offered = [int(field.value) for field in fields] if int(valid.value) else None
        assert held is None or offered == held, f"A waiting {name} changed"
        held = offered if offered is not None and not int(ready.value) else None
        if offered is None or held is not None:
            continue
        address, length, size, burst = offered
        assert (1 << size, burst) == (bus_bytes, 1)
        assert address % bus_bytes == 0
        assert address % _BOUNDARY + (length + 1) * bus_bytes <= _BOUNDARY
        bursts.append(length + 1)


@cocotb.test()
async def images(dut: Any) -> None:
    """Send images, compare every pixel of the results, and the memory that was written."""
    job = json.loads(Path(str(cocotb.plusargs["job"])).read_text())
    pause, seed = job["pause"], job["seed"]
    Clock(dut.clk, 10, "ns").start()
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    dut.rst.value = 1
    contents = Path(job["image"]).read_bytes()
    # what is not the network's is not 0
    memory = bytearray(random.Random(seed).randbytes(job["size"]))
    memory[job["base"] : job["base"] + len(contents)] = contents
    ram = AxiRam(AxiBus.from_prefix(dut, "axi"), dut.clk, dut.rst, size=job["size"])
    ram.write(0, bytes(memory))
    channels = [
        *(getattr(ram.read_if, f"{name}_channel") for name in ("ar", "r")),
        *(getattr(ram.write_if, f"{name}_channel") for name in ("aw", "w", "b")),
    ]
    for k, channel in enumerate(channels):
        channel.set_pause_generator(_pauses(10 * seed + k, pause))
    bursts: dict[str, list[int]] = {"ar": [], "aw": []}
    for name, seen in bursts.items():
        cocotb.start_soon(_watch(dut, name, job["bus_bytes"], seen))
    for _ in range(5):
        await RisingEdge(dut.clk)
    dut.rst.value = 0

    rng = random.Random(seed)
    pixels, expected, got = job["pixels"], job["expected"], []
    sent, offered, quiet = 0, False, 0
    for _ in range(job["deadline"]):
        ready = rng.random() >= pause
        if not offered and sent < len(pixels) and rng.random() >= pause:
            offered = True
        dut.i__valid.value = offered
        if offered:
            dut.i__payload.value = pixels[sent]
        dut.o__ready.value = ready
        await RisingEdge(dut.clk)
        if offered and int(dut.i__ready.value):
            sent, offered = sent + 1, False
        if ready and int(dut.o__valid.value):
            got.append(int(dut.o__payload.value))
            assert got == expected[: len(got)], f"Pixel {len(got) - 1} differs"
        if len(got) == len(expected):
            quiet += 1
            if quiet > 500:
                break
    assert got == expected, f"{len(got)} of {len(expected)} pixels came in time"
    assert not int(dut.axi_failed.value)
    # nothing but activations was written
    begin = job["base"] + job["activations"]
    after = ram.read(0, job["size"])
    assert after[:begin] == bytes(memory[:begin])
    end = job["base"] + len(contents)
    assert after[end:] == bytes(memory[end:])
    Path(job["results"]).write_text(json.dumps(bursts))


if __name__ == "__main__":
    run_job(sys.argv[1], module="cocotb_nfu_axi")
