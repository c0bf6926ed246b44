"""Compiled networks on the Verilated NFU, at hundreds of thousands of cycles a second."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwgen.errors import VerifyError
from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import count_cycles
from hwgen.nfu.harness import harness, word_count
from hwgen.nfu.isa import WORD_WIDTH, encode
from hwgen.nfu.timing import GATES, Timing
from hwgen.nfu.verilog import emit
from hwgen.numeric import IntArray
from hwgen.toolchain.verilator import build_model, find_verilator, run_model

__all__ = ["NfuRuns", "simulate"]


@dataclass(frozen=True, eq=False)
class NfuRuns:
    """What the NFU made of each image.

    Parameters
    ----------
    outputs : int64 array
        (N, C, H, W): the network's output.
    starts : int64 array
        (N, instructions): cycle in which each instruction began.
    totals : int64 array
        (N,): cycle in which the program was done.
    """

    outputs: IntArray
    starts: IntArray
    totals: IntArray


def simulate(
    config: NfuConfig,
    compiled: CompiledNetwork,
    images: IntArray,
    *,
    timing: Timing | None = None,
    build_dir: Path,
    seed: int = 0,
    timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NfuRuns:
    """Run integer ``images`` (N, C, H, W) one after the other, with a reset between them.

    Every image must begin each instruction, and end, in the cycles that the cycle model gives.

    Parameters
    ----------
    timing
        Of the memory; the default :class:`Timing` if None.
    build_dir
        Where the compiled simulator is kept; a second run with the same parameters finds it there.
    seed
        Of what registers hold before the first reset.
    timeout
        Seconds of wall-clock time after which the simulator is stopped.
    progress
        Called with the number of images done and of all, now and then.

    Raises
    ------
    VerifyError
        If the NFU does not end, breaks the rules of its ports, or takes other cycles than the
        model says.
    ToolError
        If the simulator cannot be built or does not end.
    """
    timing = Timing() if timing is None else timing
    if images.shape[1:] != compiled.input.shape or not len(images):
        raise ValueError(
            f"Images must have shape (N, {', '.join(map(str, compiled.input.shape))}) with N > 0, "
            f"not {images.shape}"
        )
    expected = count_cycles(config, compiled.program, timing)
    executable = build_model(
        find_verilator(), emit(config), top="nfu", main=harness(config), build_dir=build_dir
    )
    source, target = compiled.input, compiled.output
    with tempfile.TemporaryDirectory(dir=build_dir, prefix="run-") as name:
        folder = Path(name)
        _write_memory(folder, config, compiled, timing)
        with (folder / "input.bin").open("wb") as file:
            for image in images:
                memory = compiled.with_image(image).activations
                memory[source.address : source.address + source.size].tofile(file)
        arguments = {
            "folder": name,
            "images": len(images),
            "latency": timing.latency,
            "deadline": expected.total + 1000,
            "seed": seed,
            "input_at": source.address,
            "input_size": source.size,
            "output_at": target.address,
            "output_size": target.size,
        }

        def report(done: int) -> None:
            if progress is not None:
                progress(done, len(images))

        run_model(
            executable, arguments, name="the NFU", cwd=folder, timeout=timeout, progress=report
        )
        memory = compiled.memory.activations.copy()
        outputs = []
        for part in np.fromfile(folder / "output.bin", np.int64).reshape(-1, target.size):
            memory[target.address : target.address + target.size] = part
            outputs.append(compiled.result(memory))
        found = np.fromfile(folder / "cycles.bin", dtype=np.int64)
    times = _times(found, len(images), [*expected.starts, expected.total])
    return NfuRuns(np.stack(outputs), times[:, :-1], times[:, -1])


def _times(found: IntArray, images: int, expected: Sequence[int]) -> IntArray:
    """Cycles (images, instructions + 1) of what the simulator wrote, compared with the model's."""
    size = 1 + len(expected)  # of an image: their number, then each
    if len(found) != images * size or (found[::size] != len(expected)).any():
        raise VerifyError("The NFU began another number of instructions than the program has")
    times: IntArray = found.reshape(images, -1)[:, 1:]
    wrong = np.argwhere(times != np.array(expected))
    if len(wrong):
        image, event = wrong[0].tolist()
        what = "was done" if event == len(expected) - 1 else f"began instruction {event}"
        raise VerifyError(
            f"Image {image}: the NFU {what} in cycle {times[image, event]}, and the model says "
            f"{expected[event]}"
        )
    return times


def _write_memory(
    folder: Path, config: NfuConfig, compiled: CompiledNetwork, timing: Timing
) -> None:
    words = {
        "program": ([encode(one) for one in compiled.program], WORD_WIDTH),
        "rows": (compiled.memory.rows, config.row_width),
        "tables": (compiled.memory.tables, config.table_width),
    }
    for name, (values, width) in words.items():
        size = 4 * word_count(width)
        data = b"".join(value.to_bytes(size, "little") for value in values)
        (folder / f"{name}.bin").write_bytes(data)
    compiled.memory.activations.tofile(folder / "activations.bin")
    always = np.ones(1, dtype=np.bool_)
    for number, gate in enumerate(GATES):
        pattern = np.asarray(timing.patterns.get(gate, always), dtype=np.uint8)
        pattern.tofile(folder / f"gate{number}.bin")
