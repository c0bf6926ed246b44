"""A generated design against the golden model, word by word."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed, effective_n_jobs

from hwgen.errors import VerifyError
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Shape
from hwgen.numeric import IntArray
from hwgen.sim.cosim import locate, run_cocotb, tap_fault
from hwgen.sim.fast import FastRun, Window, simulate
from hwgen.sim.golden import run, run_all
from hwgen.sim.types import (
    BenchResult,
    Difference,
    LayerCheck,
    Outcome,
    Stall,
    VerifyReport,
    interval,
)
from hwgen.sim.words import frames_to_pixels
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.verilator import find_verilator

__all__ = ["Mode", "verify"]

Mode = Literal["cocotb", "fast"]
Progress = Callable[[int, int], None]

_STALL = Stall(0.25, 0.25)
_CHUNK = 256  # images of one run of the fast simulator
_CHUNK_BYTES = 1 << 26  # of the golden model's numbers in one run


def verify(
    network: IntegerNetwork,
    design: StreamDesign,
    images: npt.NDArray[np.floating],
    *,
    mode: Mode = "cocotb",
    layers: bool = False,
    build_dir: Path,
    seed: int = 0,
    stall: Stall | None = None,
    deadline: int | None = None,
    timeout: float | None = None,
    waves: bool = True,
    jobs: int = 1,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every output word of ``design`` with the golden model of ``network``.

    Parameters
    ----------
    images
        Real-valued images (N, C, H, W) as the model wants them, N > 0.
    mode
        "cocotb": a cocotb bench, all images in one stream. "fast": a C++ bench on the same
        Verilog, some hundred times faster, at most 256 images a run.
    layers
        Also compare every tapped tensor, so that the first difference names the first wrong layer.
    build_dir
        Where compiled simulators and waveforms are kept.
    stall
        Stalls of both sides; by default a quarter of all cycles on each side.
    deadline
        Cycles without a word accepted or delivered after which the design counts as hung.
    timeout
        Seconds of wall-clock time for one run of the simulator.
    waves
        Whether to run again and record a waveform when a word differs.
    jobs
        Runs of the fast simulator at a time; -1 for one a core. The result does not depend on it.
    progress
        Called with the number of images done and of all, now and then.

    Returns
    -------
    VerifyReport
        Passed or not; never an exception for what the design did wrong.

    Raises
    ------
    VerifyError
        If the design does not belong to the network, or ``layers`` and it has no taps.
    ToolError
        If the simulator cannot be built or breaks down.
    """
    if mode not in ("cocotb", "fast"):
        raise ValueError(f"Mode must be 'cocotb' or 'fast', not {mode!r}")
    _check(network, design, layers=layers)
    order = {node.name: index for index, node in enumerate(network.nodes)}
    taps = sorted(design.taps, key=lambda tap: order.get(tap.node, -1)) if layers else ()
    job = _Job(
        network=network,
        design=replace(design, taps=tuple(taps)),
        images=network.input_format.quantise(images),
        build_dir=build_dir,
        seed=seed,
        stall=_STALL if stall is None else stall,
        deadline=deadline,
        timeout=timeout,
        waveform=build_dir / f"{design.name}-difference.vcd" if waves else None,
    )
    return _cocotb(job, progress) if mode == "cocotb" else _fast(job, jobs, progress)


@dataclass(frozen=True, eq=False)
class _Job:
    """What every run of one verification has in common; ``design.taps`` in network order."""

    network: IntegerNetwork
    design: StreamDesign
    images: IntArray
    build_dir: Path
    seed: int
    stall: Stall
    deadline: int | None
    timeout: float | None
    waveform: Path | None

    @property
    def streams(self) -> tuple[tuple[str, Shape], ...]:
        """Tensor and shape of each compared stream: the taps, then the output."""
        taps = ((tap.node, tap.shape) for tap in self.design.taps)
        return (*taps, (self.network.output, self.design.output_shape))

    def golden(self, images: IntArray) -> tuple[IntArray, ...]:
        """Expected frames of each stream."""
        if not self.design.taps:
            return (run(self.network, images),)
        tensors = run_all(self.network, images)
        return tuple(_shaped(tensors[node], shape) for node, shape in self.streams)


def _shaped(frames: IntArray, shape: Shape) -> IntArray:
    """Frames (N, C, H, W) as a stream carries them: (N, 1, H * W * C, 1) if channel by channel."""
    if frames.shape[1:] == shape:
        return frames
    return frames_to_pixels(frames).reshape(-1, *shape)


def _check(network: IntegerNetwork, design: StreamDesign, *, layers: bool) -> None:
    """Raise :class:`VerifyError` unless the design's streams can carry the network's tensors."""
    if layers and not design.taps:
        raise VerifyError(
            f"Design {design.name} has no taps, so its layers cannot be compared: "
            "generate it with taps"
        )
    names = {network.input_name, *(node.name for node in network.nodes)}
    streams = [
        ("i", network.input_name, design.input_shape, design.input_layout),
        ("o", network.output, design.output_shape, design.output_layout),
        *((f"tap{tap.index}", tap.node, tap.shape, tap.layout) for tap in design.taps),
    ]
    for port, node, shape, layout in streams:
        if node not in names:
            raise VerifyError(f"Stream {port} shows {node!r}, which the network does not have")
        channels = network.shape(node)[0]
        beats = math.prod(network.shape(node))
        is_serial = port.startswith("tap") and shape == (1, beats, 1)
        if shape != network.shape(node) and not is_serial:
            raise VerifyError(
                f"Stream {port} carries frames of shape {shape}, but {node!r} has shape "
                f"{network.shape(node)}"
            )
        fields = layout.channels * (channels if is_serial else 1)
        for channel, (needed, (width, signed)) in enumerate(
            zip(network.ranges(node), fields, strict=True)
        ):
            if needed.width + (signed and not needed.signed) > width or needed.signed > signed:
                raise VerifyError(
                    f"Channel {channel} of stream {port} has {width} bits, too few for "
                    f"{needed.lo} .. {needed.hi} of {node!r}"
                )


def _cocotb(job: _Job, progress: Progress | None) -> VerifyReport:
    result = _bench(job, job.images, progress=progress, waves=None)
    difference = result.first_difference
    if difference is not None and job.waveform is not None:
        # the images up to the wrong one, and one that follows it into the pipeline
        again = job.images[: difference.frame + 2]
        _bench(job, again, progress=None, waves=job.waveform)
    return _report(
        job,
        "cocotb",
        layers=result.layers,
        fault=result.fault,
        cycles=result.cycles,
        cycles_per_image=result.cycles_per_image,
    )


def _bench(
    job: _Job, images: IntArray, *, progress: Progress | None, waves: Path | None
) -> BenchResult:
    *taps, output = job.golden(images)
    return run_cocotb(
        job.design,
        images,
        output,
        seed=job.seed,
        stall=job.stall,
        build_dir=job.build_dir,
        taps_expected={t.node: x for t, x in zip(job.design.taps, taps, strict=True)},
        output_name=job.network.output,
        deadline=job.deadline,
        timeout=job.timeout,
        waves=waves,
        progress=progress,
    )


def _fast(job: _Job, jobs: int, progress: Progress | None) -> VerifyReport:
    """Compare in runs of a limited number of images, to the end or to a broken stream."""
    numbers = sum(int(np.prod(shape)) for _, shape in job.streams) + job.images[0].size
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // (8 * numbers)))
    starts = range(0, len(job.images), chunk)
    meter = _Meter(progress, len(job.images))
    parts: list[_Part] = []
    _simulate(job, 0, job.images[:1])  # builds the simulator before several runs want it
    while len(parts) < len(starts) and not any(part.fault for part in parts):
        batch = range(len(parts), min(len(starts), len(parts) + effective_n_jobs(jobs)))
        parts += Parallel(n_jobs=jobs, prefer="threads")(
            delayed(_run_part)(job, number, starts[number], chunk, meter.run()) for number in batch
        )
    broken = next((k for k, part in enumerate(parts) if part.fault), len(parts) - 1)
    parts = parts[: broken + 1]
    report = _report(
        job,
        "fast",
        layers=[_total(checks) for checks in zip(*(part.layers for part in parts), strict=True)],
        fault=parts[-1].fault,
        cycles=sum(part.cycles for part in parts),
        cycles_per_image=float(np.mean([part.spacing for part in parts])),
    )
    difference = report.first_difference
    if difference is None or job.waveform is None:
        return report
    number, frame = divmod(difference.frame, chunk)
    return _record(job, report, difference, number, frame, parts[number].accepted, chunk)


def _simulate(
    job: _Job,
    number: int,
    images: IntArray,
    *,
    progress: Progress | None = None,
    window: Window | None = None,
) -> FastRun:
    """Run number ``number``, which has its own seed."""
    return simulate(
        job.design,
        images,
        seed=job.seed + number,
        stall=job.stall,
        build_dir=job.build_dir,
        deadline=job.deadline,
        timeout=job.timeout,
        progress=progress,
        window=window,
    )


def _record(
    job: _Job,
    report: VerifyReport,
    difference: Difference,
    number: int,
    frame: int,
    accepted: IntArray,
    chunk: int,
) -> VerifyReport:
    """Repeat run ``number`` and record it from the entry of the wrong image to the wrong word."""
    assert job.waveform is not None
    nodes = [layer.node for layer in report.layers]
    layer = next(k for k, c in enumerate(report.layers) if c.first_difference == difference)
    _, height, width = job.streams[layer][1]
    window = Window(
        start=int(accepted[frame]) if frame < len(accepted) else 0,
        stream=0 if layer == len(nodes) - 1 else layer + 1,
        word=(frame * height + difference.row) * width + difference.column,
        path=job.waveform,
    )
    again = _simulate(job, number, job.images[number * chunk : (number + 1) * chunk], window=window)
    layers = list(report.layers)
    timed = replace(difference, cycle=again.cycles - 1)
    layers[layer] = replace(layers[layer], first_difference=timed)
    return replace(report, layers=tuple(layers))


@dataclass(frozen=True, eq=False)
class _Part(Outcome):
    """What one run of the fast simulator found."""

    accepted: IntArray
    spacing: float
    cycles: int


def _run_part(job: _Job, number: int, start: int, chunk: int, progress: Progress | None) -> _Part:
    """Run and compare the images from ``start`` on."""
    images = job.images[start : start + chunk]
    done = _simulate(job, number, images, progress=progress)
    fault = done.fault
    checks = []
    for index, ((node, shape), got, expected) in enumerate(
        zip(job.streams, (*done.taps, done.output), job.golden(images), strict=True)
    ):
        checks.append(_compare(node, got, expected, start))
        wanted = len(images) * shape[1] * shape[2]
        if fault is None and len(got) != wanted:
            fault = tap_fault(f"tap{job.design.taps[index].index}", node, len(got), wanted)
    spacing = interval(done.frame_cycles)
    return _Part(tuple(checks), fault, done.accept_cycles, spacing, done.cycles)


def _compare(node: str, got: IntArray, expected: IntArray, start: int) -> LayerCheck:
    """Compare the pixels ``got`` (words, C) with frames, the first of them image ``start``."""
    wanted = frames_to_pixels(expected)
    count = min(len(got), len(wanted))
    wrong = np.flatnonzero((got[:count] != wanted[:count]).any(axis=1))
    first = None
    if len(wrong):
        index = int(wrong[0])
        found = locate(node, expected.shape[1:], index, wanted[index], got[index], None)
        first = replace(found, frame=found.frame + start)
    return LayerCheck(node, count, len(wrong), first)


def _total(checks: Sequence[LayerCheck]) -> LayerCheck:
    """The comparisons of one stream in successive runs, as one."""
    return LayerCheck(
        checks[0].node,
        sum(check.words_compared for check in checks),
        sum(check.words_differed for check in checks),
        next((c.first_difference for c in checks if c.first_difference), None),
    )


class _Meter:
    """Adds up the images that several runs have done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done: list[int] = []

    def run(self) -> Progress | None:
        """The progress function of one more run."""
        if self._progress is None:
            return None
        index = len(self._done)
        self._done.append(0)

        def tell(done: int, _: int) -> None:
            assert self._progress is not None
            self._done[index] = done
            self._progress(sum(self._done), self._total)

        return tell


def _report(
    job: _Job,
    mode: str,
    *,
    layers: Sequence[LayerCheck],
    fault: str | None,
    cycles: int,
    cycles_per_image: float,
) -> VerifyReport:
    tool = find_verilator()
    layers = tuple(layers)
    differs = any(layer.words_differed for layer in layers)
    return VerifyReport(
        mode=mode,
        images=len(job.images),
        layers=layers,
        fault=fault,
        cycles=cycles,
        cycles_per_image=cycles_per_image,
        seed=job.seed,
        stall=job.stall,
        simulator=f"Verilator {tool.version}, {tool.compiler_version}",
        waveform=str(job.waveform) if differs and job.waveform is not None else None,
    )
