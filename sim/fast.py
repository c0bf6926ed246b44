"""Whole test sets through a Verilated design at hundreds of thousands of cycles a second."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwgen.errors import VerifyError
from hwgen.numeric import IntArray
from hwgen.sim.harness import harness
from hwgen.sim.types import FastResult, Stall
from hwgen.sim.words import (
    frames_to_pixels,
    pack_words,
    pixels_to_frames,
    unpack_words,
    word_count,
)
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.toolchain.verilator import build_model, find_verilator, run_model

__all__ = ["FastRun", "Window", "run_fast", "simulate"]

Progress = Callable[[int, int], None]
_DEADLINE = 500_000


@dataclass(frozen=True)
class Window:
    """Part of a run to record as a waveform.

    Recording begins at cycle ``start`` and the run ends soon after word ``word`` of stream
    ``stream`` (0 is the output, then come the taps) has passed.
    """

    start: int
    stream: int
    word: int
    path: Path


@dataclass(frozen=True, eq=False)
class FastRun:
    """All that passed in a run, right or wrong: pixels (words, C) of the output and of each tap.

    ``fault`` is None, or a sentence about what the stream itself did wrong.
    """

    output: IntArray
    taps: tuple[IntArray, ...]
    fault: str | None
    first_valid_cycle: int
    accept_cycles: IntArray
    frame_cycles: IntArray
    cycles: int


def run_fast(
    design: StreamDesign,
    images: IntArray,
    *,
    seed: int = 0,
    stall: Stall | None = None,
    build_dir: Path,
    taps: bool = False,
    reset_after: int | None = None,
    deadline: int | None = None,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> FastResult:
    """Run integer ``images`` (N, C, H, W) through ``design`` and return its integer outputs.

    Parameters
    ----------
    build_dir
        Where the compiled simulator is kept; a second run of the same design finds it there.
    taps
        Whether to return the tapped tensors too.
    reset_after
        Reset the design after it has accepted so many words, then start over with the first image;
        what came out before the reset is dropped.
    deadline
        Cycles without a word accepted or delivered after which the design counts as hung; 500,000
        if None.
    timeout
        Seconds of wall-clock time after which the simulator is stopped.
    progress
        Called with the number of images done and of all, now and then.

    Raises
    ------
    VerifyError
        If words are missing or too many, or the output breaks the rules of a stream.
    DataError
        If an image does not fit the design's input.
    ToolError
        If the simulator cannot be built or does not end.
    """
    run = simulate(
        design,
        images,
        seed=seed,
        stall=stall,
        build_dir=build_dir,
        reset_after=reset_after,
        deadline=deadline,
        timeout=timeout,
        progress=progress,
    )
    if run.fault is not None:
        raise VerifyError(run.fault)
    kept: dict[str, IntArray] = {}
    for tap, pixels in zip(design.taps, run.taps, strict=True):
        wanted = len(images) * tap.shape[1] * tap.shape[2]
        if not taps:
            continue
        if len(pixels) != wanted:
            raise VerifyError(
                f"Stream tap{tap.index} ({tap.node}) showed {len(pixels)} words, not {wanted}"
            )
        kept[tap.node] = pixels_to_frames(pixels, tap.shape)
    return FastResult(
        outputs=pixels_to_frames(run.output, design.output_shape),
        taps=kept,
        first_valid_cycle=run.first_valid_cycle,
        accept_cycles=run.accept_cycles,
        frame_cycles=run.frame_cycles,
        cycles=run.cycles,
        seed=seed,
    )


def simulate(
    design: StreamDesign,
    images: IntArray,
    *,
    seed: int = 0,
    stall: Stall | None = None,
    build_dir: Path,
    reset_after: int | None = None,
    deadline: int | None = None,
    timeout: float | None = None,
    progress: Progress | None = None,
    window: Window | None = None,
) -> FastRun:
    """Like :func:`run_fast`, but report a fault of the stream instead of raising it.

    With a ``window`` the run is recorded and ends early, without a fault; ``cycles`` then counts to
    the window's word.
    """
    check_images(design, images)
    stall = stall or Stall()
    words = pack_words(design.input_layout, frames_to_pixels(images))
    frame_in = design.input_shape[1] * design.input_shape[2]
    frame_out = design.output_shape[1] * design.output_shape[2]
    total_out = len(images) * frame_out
    tool = find_verilator()
    executable = build_model(
        tool,
        design.verilog,
        top=design.name,
        main=harness(design, trace=window is not None),
        build_dir=build_dir,
        trace=window is not None,
    )
    with tempfile.TemporaryDirectory(dir=build_dir, prefix="run-") as name:
        folder = Path(name)
        words.astype("<u4").tofile(folder / "input.bin")
        source, sink = stall.thresholds
        arguments = {
            "folder": name,
            "seed": seed,
            "source": source,
            "sink": sink,
            "total_in": len(words),
            "total_out": total_out,
            "frame_in": frame_in,
            "frame_out": frame_out,
            "deadline": _DEADLINE if deadline is None else deadline,
            "reset_after": -1 if reset_after is None else reset_after,
            "trace_from": 0 if window is None else window.start,
            "stop_stream": -1 if window is None else window.stream,
            "stop_word": -1 if window is None else window.word,
        }

        def report(done: int) -> None:
            if progress is not None:
                progress(done // frame_out, len(images))

        tail = run_model(
            executable, arguments, name=design.name, cwd=folder, timeout=timeout, progress=report
        )
        stats = dict(line.split(" ", 1) for line in tail.splitlines())
        counts = [int(text) for text in stats["counts"].split()]
        output = _read(folder / "o.bin", design.output_layout, counts[0])
        taps = tuple(
            _read(folder / f"tap{tap.index}.bin", tap.layout, count)
            for tap, count in zip(design.taps, counts[1:], strict=True)
        )
        cycles = np.fromfile(folder / "cycles.bin", dtype=np.int64)
        if window is not None:
            window.path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / "wave.vcd", window.path)
    accepted = cycles[2 : 2 + cycles[0]]
    finished = cycles[2 + cycles[0] :]
    if progress is not None:
        progress(len(finished), len(images))
    fault = None
    if stats["fault"] != "none" and window is None:
        fault = _describe(
            stats["fault"], design, int(stats["sent"]), len(words), output, total_out, stats
        )
    cycles_done = int(finished[-1]) + 1 if len(finished) else int(stats["cycle"])
    if window is not None:
        cycles_done = int(stats["passed"]) + 1
    return FastRun(
        output=output,
        taps=taps,
        fault=fault,
        first_valid_cycle=int(stats["first_valid"]),
        accept_cycles=accepted,
        frame_cycles=finished,
        cycles=cycles_done,
    )


def check_images(design: StreamDesign, images: IntArray) -> None:
    """Raise :class:`ValueError` unless ``images`` are one or more (C, H, W) of the design."""
    if images.shape[1:] != design.input_shape or not len(images):
        raise ValueError(
            f"Images must have shape (N, {', '.join(map(str, design.input_shape))}) with N > 0, "
            f"not {images.shape}"
        )


def stream_fault(
    kind: str, *, sent: int, to_send: int, received: int, wanted: int, cycle: int, last: str
) -> str:
    """A stream's fault in one sentence; ``last`` describes the last word that came."""
    after = f"after {received} of {wanted} words, the last {last}" if received else "at the start"
    match kind:
        case "deadline":
            return (
                f"The output stopped {after} (cycle {cycle}; {sent} of {to_send} input words "
                "accepted)"
            )
        case "extra":
            return f"The output offers more than the {wanted} words expected (cycle {cycle})"
        case "retracted":
            return f"o__valid fell before the word was taken (cycle {cycle}, {after})"
        case "changed":
            return f"o__payload changed before the word was taken (cycle {cycle}, {after})"
        case _:
            raise ValueError(f"Kind of fault must be known, not {kind!r}")


def describe_word(index: int, pixel: IntArray, height: int, width: int) -> str:
    """The place and the values of word ``index`` of a stream, for messages."""
    frame, position = divmod(index, height * width)
    row, column = divmod(position, width)
    shown = ", ".join(str(value) for value in pixel[:4].tolist())
    more = ", ..." if len(pixel) > 4 else ""
    return f"image {frame}, row {row}, column {column}, value {shown}{more}"


def _describe(
    kind: str,
    design: StreamDesign,
    sent: int,
    to_send: int,
    output: IntArray,
    wanted: int,
    stats: dict[str, str],
) -> str:
    _, height, width = design.output_shape
    last = describe_word(len(output) - 1, output[-1], height, width) if len(output) else ""
    return stream_fault(
        kind,
        sent=sent,
        to_send=to_send,
        received=len(output),
        wanted=wanted,
        cycle=int(stats["cycle"]),
        last=last,
    )


def _read(path: Path, layout: PixelLayout, count: int) -> IntArray:
    per_word = word_count(layout)
    words = np.fromfile(path, dtype="<u4", count=count * per_word)
    return unpack_words(layout, words.reshape(count, per_word))
