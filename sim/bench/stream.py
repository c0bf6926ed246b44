"""The cocotb test: one loop over clock cycles, inside the simulator.

In the low half of a cycle the inputs change and settle; just before the rising edge everything is
sampled; so the result does not depend on the order in which a simulator runs its events.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

from hwgen.sim.bench.roles import Monitor, Pause, Scoreboard, Sink, Source

__all__ = ["stream"]

_RESET_CYCLES = 3
_DRAIN = 256  # cycles of silence, besides the longest so far, after which nothing more will come


@cocotb.test()
async def stream(dut: Any) -> None:
    """Drive the design as the job says, write what was found, and fail if it was not right."""
    job = json.loads(Path(str(cocotb.plusargs["job"])).read_text())
    bench = _Bench(dut, job)
    await bench.run()
    Path(job["results"]).write_text(json.dumps(bench.report()))
    assert bench.fault is None, bench.fault
    assert all(board.finish() for board in bench.scoreboards), "streams differ; see the results"


class _Bench:
    """The bench around one design; see :mod:`hwgen.sim.cosim` for the meaning of the job."""

    def __init__(self, dut: Any, job: dict[str, Any]) -> None:
        seed = job["seed"]
        self._dut = dut
        self._job = job
        self._source = Source(
            _payloads(job["input"]),
            Pause(3 * seed + 1, job["source"]),
            width=job["input"]["width"],
            seed=3 * seed,
        )
        self._sink = Sink(Pause(3 * seed + 2, job["sink"]))
        self.scoreboards = [Scoreboard(_payloads(part)) for part in job["streams"]]
        self._output = self.scoreboards[-1]
        self._monitors = [
            (
                Monitor(board),
                getattr(dut, f"{part['port']}__valid"),
                getattr(dut, f"{part['port']}__payload"),
            )
            for board, part in zip(self.scoreboards, job["streams"], strict=True)
        ]
        self._half = Timer(5, "ns")
        self.fault: str | None = None
        self._cycle = 0
        self._frames: list[int] = []

    async def run(self) -> None:
        """Reset, then clock until everything came and silence followed, or something is wrong."""
        await self._reset()
        progress = gap = drained = 0
        reset_after = self._job["reset_after"]
        while self.fault is None:
            accepted, taken = await self._step(draining=drained > 0)
            if self.fault is None and self._output.received > self._job["total_out"]:
                self.fault = "extra"
            if taken and self._output.received % self._job["frame_out"] == 0:
                self._frames.append(self._cycle)
                print(f"progress {len(self._frames)}", flush=True)
            if accepted or taken:
                gap = max(gap, self._cycle - progress)
                progress = self._cycle
            if self._source.done and self._output.full:
                drained += 1
                if drained > _DRAIN + gap:
                    break
            elif self._cycle - progress > self._job["deadline"]:
                self.fault = "deadline"
            self._cycle += 1
            if self._source.sent == reset_after:
                reset_after = None
                await self._reset()
                progress = gap = 0

    def report(self) -> dict[str, Any]:
        """What was found, for the process that asked."""
        return {
            "fault": self.fault,
            "sent": self._source.sent,
            "cycle": self._cycle,
            "frames": self._frames,
            "streams": [
                {
                    "received": board.received,
                    "compared": board.compared,
                    "differed": board.differed,
                    "first": board.first,
                    "last": board.last,
                }
                for board in self.scoreboards
            ],
        }

    async def _reset(self) -> None:
        dut = self._dut
        dut.rst.value = 1
        dut.i__valid.value = 0
        dut.i__payload.value = 0
        dut.o__ready.value = 0
        for _ in range(_RESET_CYCLES):
            dut.clk.value = 0
            await self._half
            dut.clk.value = 1
            await self._half
        dut.rst.value = 0
        self._source.restart()
        self._sink.restart()
        for board in self.scoreboards:
            board.restart()
        self._cycle = 0
        self._frames.clear()

    async def _step(self, *, draining: bool) -> tuple[bool, bool]:
        dut = self._dut
        payload, valid = self._source.drive()
        dut.clk.value = 0
        dut.i__payload.value = payload
        dut.i__valid.value = valid
        dut.o__ready.value = self._sink.drive(always=draining)
        await self._half
        accepted = self._source.sample(int(dut.i__ready.value) == 1)
        offered = int(dut.o__valid.value) == 1
        word = int(dut.o__payload.value) if offered else 0
        taken = self._sink.sample(offered, word)
        self.fault = self._sink.fault
        for monitor, port_valid, port_payload in self._monitors[:-1]:
            if int(port_valid.value) == 1:
                monitor.sample(True, int(port_payload.value), self._cycle)
        self._monitors[-1][0].sample(taken, word, self._cycle)
        dut.clk.value = 1
        await self._half
        return accepted, taken


def _payloads(part: dict[str, Any]) -> list[int]:
    data = Path(part["file"]).read_bytes()
    size = 4 * ((part["width"] + 31) // 32)
    return [int.from_bytes(data[k : k + size], "little") for k in range(0, len(data), size)]
