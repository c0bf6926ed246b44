"""A generated design against the golden model, word by word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

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
_CHUNK = 1024  # images of one run of the fast simulator
_CHUNK_BYTES = 1 << 26  # of the golden model's numbers in one run
_LONG_RUN = 20_000_000  # words from which on a simulator compiled for speed pays


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
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every output word of ``design`` with the golden model of ``network``.

    Parameters
    ----------
    images
        Real-valued images (N, C, H, W) as the model wants them, N > 0.
    mode
        "cocotb": a cocotb bench, all images in one stream. "fast": a C++ bench on the same
        Verilog, some hundred times faster, at most 1,024 images a run.
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
    return _cocotb(job, progress) if mode == "cocotb" else _fast(job, progress)


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
        return tuple(tensors[node] for node, _ in self.streams)


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
        if shape != network.shape(node):
            raise VerifyError(
                f"Stream {port} carries frames of shape {shape}, but {node!r} has shape "
                f"{network.shape(node)}"
            )
        for channel, (needed, (width, signed)) in enumerate(
            zip(network.ranges(node), layout.channels, strict=True)
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


def _fast(job: _Job, progress: Progress | None) -> VerifyReport:
    """Compare in runs of a limited number of images, to the end or to a broken stream."""
    total = len(job.images)
    numbers = sum(int(np.prod(shape)) for _, shape in job.streams) + job.images[0].size
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // (8 * numbers)))
    checks = [LayerCheck(node, 0, 0) for node, _ in job.streams]
    accepted: list[IntArray] = []
    spacings: list[float] = []
    cycles = 0
    fault = None
    for start in range(0, total, chunk):
        part = job.images[start : start + chunk]
        done = _simulate(
            job,
            start // chunk,
            part,
            progress=_shifted(progress, start, total),
        )
        accepted.append(done.accept_cycles)
        spacings.append(interval(done.frame_cycles))
        cycles += done.cycles
        fault = done.fault
        for index, (got, expected) in enumerate(
            zip((*done.taps, done.output), job.golden(part), strict=True)
        ):
            checks[index] = _compare(checks[index], got, expected, start)
            if fault is None and len(got) != expected[:, 0].size:
                tap = job.design.taps[index]
                fault = tap_fault(
                    f"tap{tap.index}", tap.node, len(got), len(part) * tap.shape[1] * tap.shape[2]
                )
        if fault is not None:
            break
    report = _report(
        job,
        "fast",
        layers=checks,
        fault=fault,
        cycles=cycles,
        cycles_per_image=float(np.mean(spacings)),
    )
    difference = report.first_difference
    if difference is None or job.waveform is None:
        return report
    number, frame = divmod(difference.frame, chunk)
    return _record(job, report, difference, number, frame, accepted[number], chunk)


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
        optimise=window is None and job.images.size // job.images.shape[1] > _LONG_RUN,
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


def _compare(check: LayerCheck, got: IntArray, expected: IntArray, start: int) -> LayerCheck:
    """``check`` with the pixels ``got`` (words, C) of the images from number ``start`` on added."""
    wanted = frames_to_pixels(expected)
    count = min(len(got), len(wanted))
    wrong = np.flatnonzero((got[:count] != wanted[:count]).any(axis=1))
    first = check.first_difference
    if first is None and len(wrong):
        index = int(wrong[0])
        found = locate(check.node, expected.shape[1:], index, wanted[index], got[index], None)
        first = replace(found, frame=found.frame + start)
    return LayerCheck(
        check.node, check.words_compared + count, check.words_differed + len(wrong), first
    )


def _shifted(progress: Progress | None, start: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, _: progress(start + done, total)


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
