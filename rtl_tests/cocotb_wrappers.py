"""The cocotb tests of designs on buses, and the process that runs one of them.

Called as ``python cocotb_wrappers.py JOB.json``; the job names the simulator, the bus, the pixels
as bytes or words and what is expected. Both sides wait at random.
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
from cocotb.triggers import RisingEdge, with_timeout
from cocotb_job import run_job
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

_SILENCE = 500  # cycles in which nothing may follow the last result: several images' worth
_DEADLINE = 20  # ms of simulated time, 2 million cycles


def _pauses(seed: int, probability: float) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        yield rng.random() < probability


async def _wait(clock: Any, cycles: int) -> None:
    for _ in range(cycles):
        await RisingEdge(clock)


async def _axis(dut: Any, job: dict[str, Any]) -> None:
    """Images as frames; each result is a frame, and a wrong tlast is told."""
    Clock(dut.aclk, 10, "ns").start()
    dut.aresetn.value = 0
    clock = {"reset": dut.aresetn, "reset_active_level": False}
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **clock)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **clock)
    source.set_pause_generator(_pauses(job["seed"], job["pause"]))
    sink.set_pause_generator(_pauses(job["seed"] + 1, job["pause"]))
    await _wait(dut.aclk, 5)
    dut.aresetn.value = 1
    for frame in job["images"]:
        source.send_nowait(AxiStreamFrame(bytes(frame)))
    for number, expected in enumerate(job["expected"]):
        got = await with_timeout(sink.recv(), 1_000_000, "ns")
        assert list(got.tdata) == expected, f"Result {number} differs"
    await _wait(dut.aclk, _SILENCE)
    assert not int(dut.tlast_error.value)
    assert sink.empty(), "More results came than images"
    # an image that ends too early is told of
    source.send_nowait(AxiStreamFrame(bytes(job["images"][0][: job["pixel_bytes"]])))
    await with_timeout(source.wait(), 100_000, "ns")
    await _wait(dut.aclk, 5)
    assert int(dut.tlast_error.value) or len(job["images"][0]) == job["pixel_bytes"]


class _Wishbone:
    """A master of classic cycles that waits at random before each."""

    def __init__(self, dut: Any, seed: int, pause: float) -> None:
        self.dut = dut
        self.pauses = _pauses(seed, pause)
        for name in ("cyc", "stb", "we", "adr", "dat"):
            getattr(dut, f"wb_{name}_i").value = 0
        dut.wb_sel_i.value = 15

    async def access(self, address: int, data: int | None = None) -> int:
        dut = self.dut
        while next(self.pauses):
            await RisingEdge(dut.wb_clk_i)
        dut.wb_cyc_i.value = dut.wb_stb_i.value = 1
        dut.wb_we_i.value = data is not None
        dut.wb_adr_i.value = address
        dut.wb_dat_i.value = data or 0
        for _ in range(10):
            await RisingEdge(dut.wb_clk_i)
            if int(dut.wb_ack_o.value):
                break
        else:
            raise AssertionError("The slave does not answer")
        dut.wb_cyc_i.value = dut.wb_stb_i.value = 0
        found = int(dut.wb_dat_o.value)
        await RisingEdge(dut.wb_clk_i)
        assert not int(dut.wb_ack_o.value)
        return found


async def _wishbone(dut: Any, job: dict[str, Any]) -> None:
    """Images word by word, as STATUS allows, results likewise; then errors and a reset."""
    Clock(dut.wb_clk_i, 10, "ns").start()
    dut.wb_rst_i.value = 1
    bus = _Wishbone(dut, job["seed"], job["pause"])
    await _wait(dut.wb_clk_i, 5)
    dut.wb_rst_i.value = 0
    await RisingEdge(dut.wb_clk_i)
    assert [await bus.access(k) for k in (0, 1, 8, 9)] == job["identity"]
    rng = random.Random(job["seed"])
    for round_number in range(2):
        words = [word for image in job["images"] for word in image]
        expected = [word for result in job["expected"] for word in result]
        got: list[int] = []
        for _ in range(20 * (len(words) + len(expected))):
            status = await bus.access(2)
            assert status < 4, "A word was lost or missing"
            if status & 1 and words and rng.random() < 0.9:
                await bus.access(4, words.pop(0))
            if status & 2 and rng.random() < 0.7:
                got.append(await bus.access(5))
                assert got == expected[: len(got)], f"Word {len(got) - 1} differs"
            if len(got) == len(expected):
                break
        assert got == expected, f"{len(got)} of {len(expected)} words came"
        await _wait(dut.wb_clk_i, _SILENCE)
        assert await bus.access(2) == 1, "More words came than expected"
        assert await bus.access(7) == len(job["images"])
        assert await bus.access(6) >= len(job["images"][0])
        await bus.access(5)
        assert await bus.access(2) == 9, "Reading nothing must be told"
        # half an image is forgotten, and so are flags and counters
        await bus.access(4, 1)
        await bus.access(3, 1)
        assert [await bus.access(k) for k in (2, 6, 7)] == [1, 0, 0], round_number


@cocotb.test(timeout_time=_DEADLINE, timeout_unit="ms")
async def images(dut: Any) -> None:
    """Send images over the bus of the job, and compare every result."""
    job = json.loads(Path(str(cocotb.plusargs["job"])).read_text())
    await {"axis": _axis, "wishbone": _wishbone}[job["bus"]](dut, job)


if __name__ == "__main__":
    run_job(sys.argv[1], module="cocotb_wrappers")
