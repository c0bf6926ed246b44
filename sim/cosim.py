"""Verilog driven and compared by a cocotb bench on Verilator."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hwgen.errors import DataError, ToolError, VerifyError
from hwgen.network.types import Shape
from hwgen.numeric import IntArray
from hwgen.sim.fast import check_images, describe_word, stream_fault
from hwgen.sim.types import BenchResult, Difference, LayerCheck, Stall, interval
from hwgen.sim.words import frames_to_pixels, pack_words
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.verilator import build_cocotb_model, find_verilator, run_simulator

__all__ = ["run_cocotb"]

_DEADLINE = 100_000


def run_cocotb(
    design: StreamDesign,
    images: IntArray,
    expected: IntArray,
    *,
    seed: int = 0,
    stall: Stall | None = None,
    build_dir: Path,
    taps_expected: Mapping[str, IntArray] | None = None,
    output_name: str = "output",
    reset_after: int | None = None,
    deadline: int | None = None,
    timeout: float | None = None,
    waves: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BenchResult:
    """Run integer ``images`` (N, C, H, W) through ``design`` and compare with ``expected``.

    Parameters
    ----------
    expected
        Output frames (N, C, H, W).
    build_dir
        Where the compiled simulator is kept; a second run of the same design finds it there.
    taps_expected
        Frames (N, C, H, W) of each tapped tensor to compare; the other taps are not looked at.
    output_name
        What to call the output stream in the result.
    reset_after
        Reset the design after it has accepted so many words, then start over with the first image;
        what came out before the reset is compared too.
    deadline
        Cycles without a word accepted or delivered after which the design counts as hung; 100,000
        if None.
    timeout
        Seconds of wall-clock time after which the simulator is stopped.
    waves
        VCD file to write, if any.
    progress
        Called with the number of images done and of all, now and then.

    Raises
    ------
    ToolError
        If the simulator cannot be built, breaks down, or does not run exactly one cocotb test.
    DataError
        If an image does not fit the design's input.
    VerifyError
        If an expected frame does not fit the stream that should carry it.
    """
    check_images(design, images)
    wanted = {} if taps_expected is None else dict(taps_expected)
    streams = [
        _Stream(f"tap{tap.index}", tap.node, tap.shape, tap.layout, wanted.pop(tap.node))
        for tap in design.taps
        if tap.node in wanted
    ]
    if wanted:
        raise ValueError(f"Design {design.name} has no tap of {', '.join(sorted(wanted))}")
    streams.append(_Stream("o", output_name, design.output_shape, design.output_layout, expected))
    for stream in streams:
        if stream.frames.shape != (len(images), *stream.shape):
            raise ValueError(
                f"Expected frames of {stream.node} must have shape "
                f"{(len(images), *stream.shape)}, not {stream.frames.shape}"
            )
    stall = stall or Stall()
    tool = find_verilator()
    model = build_cocotb_model(
        tool,
        design.verilog,
        top=design.name,
        ports=_ports(design),
        build_dir=build_dir,
        trace=waves is not None,
    )
    with tempfile.TemporaryDirectory(dir=build_dir, prefix="run-") as name:
        folder = Path(name)
        words = pack_words(design.input_layout, frames_to_pixels(images))
        words.tofile(folder / "input.bin")
        for stream in streams:
            pixels = frames_to_pixels(stream.frames)
            try:
                packed = pack_words(stream.layout, pixels)
            except DataError as error:
                raise VerifyError(
                    f"Stream {stream.port} cannot carry {stream.node}: {error}"
                ) from error
            packed.tofile(folder / f"{stream.port}.bin")
        job = {
            "top": design.name,
            "model": str(model.parent.resolve()),
            "results": str(folder / "results.json"),
            "wave": None if waves is None else str(waves.resolve()),
            "seed": seed,
            "source": stall.thresholds[0],
            "sink": stall.thresholds[1],
            "deadline": _DEADLINE if deadline is None else deadline,
            "reset_after": reset_after,
            "frame_out": design.output_shape[1] * design.output_shape[2],
            "total_out": len(images) * design.output_shape[1] * design.output_shape[2],
            "input": {"file": str(folder / "input.bin"), "width": design.input_layout.width},
            "streams": [stream.job(folder) for stream in streams],
        }
        (folder / "job.json").write_text(json.dumps(job))
        if waves is not None:
            waves.parent.mkdir(parents=True, exist_ok=True)

        def on_line(line: str) -> None:
            if progress is not None and line.startswith("progress "):
                progress(int(line.split()[1]), len(images))

        found = _run_job(folder, design.name, timeout, on_line)
    return _result(found, streams, len(words), seed, waves)


class _Stream:
    """A stream to compare: its port, its tensor and what should come."""

    def __init__(
        self, port: str, node: str, shape: Shape, layout: PixelLayout, frames: IntArray
    ) -> None:
        self.port = port
        self.node = node
        self.shape = shape
        self.layout = layout
        self.frames = frames

    @property
    def total(self) -> int:
        return len(self.frames) * self.shape[1] * self.shape[2]

    def job(self, folder: Path) -> dict[str, Any]:
        return {
            "port": self.port,
            "file": str(folder / f"{self.port}.bin"),
            "width": self.layout.width,
        }

    def check(self, found: Mapping[str, Any]) -> LayerCheck:
        difference = None
        if found["first"] is not None:
            index, expected, got, cycle = found["first"]
            difference = locate(
                self.node,
                self.shape,
                index,
                self.layout.unpack([expected])[0],
                self.layout.unpack([got])[0],
                cycle,
            )
        return LayerCheck(self.node, found["compared"], found["differed"], difference)


def locate(
    node: str, shape: Shape, index: int, expected: IntArray, got: IntArray, cycle: int | None
) -> Difference:
    """First channel in which pixel ``index`` of a stream, ``got`` (C,), is not ``expected``."""
    frame, position = divmod(index, shape[1] * shape[2])
    row, column = divmod(position, shape[2])
    channel = int(np.flatnonzero(expected != got)[0])
    return Difference(
        node, frame, channel, row, column, int(expected[channel]), int(got[channel]), cycle
    )


def _ports(design: StreamDesign) -> list[str]:
    ports = ["clk", "rst"]
    ports += [f"{s}__{part}" for s in ("i", "o") for part in ("payload", "valid", "ready")]
    return ports + [f"tap{t.index}__{part}" for t in design.taps for part in ("payload", "valid")]


def _run_job(
    folder: Path, name: str, timeout: float | None, on_line: Callable[[str], None]
) -> dict[str, Any]:
    """Run the job in ``folder`` in a process of its own, and return what the bench wrote."""
    hidden = ("COCOTB_", "GPI_", "PYGPI_")
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(hidden) and key not in ("PYTEST_CURRENT_TEST", "WAVES", "GUI")
    }
    status, tail = run_simulator(
        [sys.executable, "-m", "hwgen.sim.bench.job", folder / "job.json"],
        cwd=folder,
        env=environment,
        timeout=timeout,
        on_line=on_line,
    )
    results, tests = folder / "results.json", folder / "tests.json"
    if not results.is_file() or not tests.is_file():
        lines = tail.strip().splitlines() or [f"exit status {status}"]
        raise ToolError(f"The cocotb bench of {name} broke down: {lines[-1].strip()}")
    ran = json.loads(tests.read_text())["ran"]
    if ran != 1:
        raise ToolError(f"The cocotb bench of {name} ran {ran} tests, not 1")
    found: dict[str, Any] = json.loads(results.read_text())
    found["failed"] = json.loads(tests.read_text())["failed"]
    return found


def _result(
    found: Mapping[str, Any],
    streams: list[_Stream],
    to_send: int,
    seed: int,
    waves: Path | None,
) -> BenchResult:
    output = found["streams"][-1]
    fault = None
    if found["fault"] is not None:
        stream = streams[-1]
        last = ""
        if output["received"]:
            pixel = stream.layout.unpack([output["last"]])[0]
            last = describe_word(output["received"] - 1, pixel, *stream.shape[1:])
        fault = stream_fault(
            found["fault"],
            sent=found["sent"],
            to_send=to_send,
            received=output["received"],
            wanted=stream.total,
            cycle=found["cycle"],
            last=last,
        )
    else:
        for stream, part in zip(streams, found["streams"], strict=True):
            if part["received"] != stream.total:
                fault = tap_fault(stream.port, stream.node, part["received"], stream.total)
                break
    frames = np.array(found["frames"], dtype=np.int64)
    result = BenchResult(
        layers=tuple(s.check(p) for s, p in zip(streams, found["streams"], strict=True)),
        fault=fault,
        cycles=int(frames[-1]) + 1 if len(frames) else found["cycle"],
        cycles_per_image=interval(frames),
        seed=seed,
        waveform=None if waves is None else str(waves),
    )
    if result.passed != (found["failed"] == 0):
        raise ToolError("cocotb's verdict and the bench's results contradict each other")
    return result


def tap_fault(port: str, node: str, count: int, wanted: int) -> str:
    """A tap's wrong number of words in one sentence."""
    return f"Stream {port} ({node}) showed {count} words, not {wanted}"
