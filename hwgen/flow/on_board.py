"""Images through a board that holds the design of a workspace, or through a simulated one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwgen.boards.top import BoardTop, component_verilog, core_name, link_rate, top_name
from hwgen.errors import DataError, LinkError, UnsupportedError, VerifyError
from hwgen.flow.accuracy import decisions
from hwgen.flow.backends import Plan, interval, load_plan
from hwgen.flow.built import built_pixels, scanning_network
from hwgen.flow.data import Images, count_classes, load_images
from hwgen.flow.options import RunOptions
from hwgen.flow.pictures import load_pictures, pixel_range
from hwgen.flow.progress import Progress
from hwgen.flow.results import read_result
from hwgen.flow.source import load_source
from hwgen.flow.testset import load_test_set
from hwgen.flow.workspace import Workspace
from hwgen.hybrid.plan import HybridPlan
from hwgen.integer.types import IntegerNetwork
from hwgen.integer.widen import grouped, ungrouped, widen
from hwgen.link.device import DeviceParameters
from hwgen.link.driver import Answer, Link
from hwgen.link.payload import Frames, PixelFrames, byte_count
from hwgen.link.protocol import Info
from hwgen.link.simulated import simulated_board, simulated_spi
from hwgen.link.spi_port import is_spi
from hwgen.link.uart import BAUDS, MIN_DIVISOR
from hwgen.nfu.compile import compile_network
from hwgen.nfu.design import NfuPlan
from hwgen.nfu.elements import ElementFrames
from hwgen.nfu.loadable import program_of
from hwgen.sim import golden
from hwgen.stream import store as stream_store
from hwgen.stream.design import StreamDesign
from hwgen.stream.programs import Program

__all__ = ["BoardRun", "ImageRun", "fastest_baud", "load_inputs", "run_on_board"]

_SIMULATED_CLOCK = 12_000_000
_TIMEOUT = 2.0  # seconds
_SIMULATED_TIMEOUT = 600.0  # seconds; a small simulated image takes about one
_MARGIN = 2  # a design that takes a pixel in half of the time that it comes in never falls behind


@dataclass(frozen=True)
class ImageRun:
    """What became of one image.

    ``decision`` is the class, None if the network makes no decision; ``outputs`` are the real
    values of the result in raster order, all channels of a pixel together; ``right`` says whether
    the class is the image's label, None without either.
    """

    name: str
    decision: int | None
    outputs: tuple[float, ...]
    cycles: int
    seconds: float
    right: bool | None


@dataclass(frozen=True)
class BoardRun:
    """What became of all images.

    ``checked`` says whether all were compared with the golden model, which they equalled then;
    ``repeats`` counts requests that had to be sent again, ``seconds`` are those of the host.
    """

    port: str
    baud: int
    info: Info
    images: tuple[ImageRun, ...]
    checked: bool
    repeats: int

    @property
    def seconds(self) -> float:
        """Seconds of all images on the host."""
        return sum(image.seconds for image in self.images)

    @property
    def accuracy(self) -> float | None:
        """Share of images whose class is their label, None without labels."""
        rights = [image.right for image in self.images if image.right is not None]
        return sum(rights) / len(rights) if rights else None


def fastest_baud(plan: Plan, design: StreamDesign, clock_hz: float) -> float:
    """Greatest baud rate at which a design takes pixels faster than they come, twice over."""
    if isinstance(plan, NfuPlan):
        return math.inf  # it takes a whole image before it works
    _, height, width = design.input_shape
    # the NFU of a hybrid waits for the image, and takes it as fast as it can
    busy = max(plan.front.timing.interval, plan.beats.fill) if isinstance(plan, HybridPlan) else 0
    cycles = (busy or interval(plan)) / (height * width)
    return 10 * byte_count(design.input_layout) * clock_hz / (_MARGIN * cycles)


def load_inputs(
    workspace: Workspace,
    paths: Sequence[Path],
    *,
    resize: bool,
    black_white: tuple[float, float] | None,
) -> tuple[Images, tuple[str, ...]]:
    """Images of NPZ and picture files, with labels if all have some, and a name for each.

    Raises
    ------
    DataError
        If a file is missing, damaged, or not as the network wants it.
    """
    network = load_source(workspace).original
    shape = scanning_network(workspace).input_shape
    parts, names = [], []
    for path in paths:
        if path.suffix.lower() == ".npz":
            part = load_images(path, shape, count_classes(network))
            names += [f"{path.name}[{index}]" for index in range(len(part))]
        else:
            if black_white is None:
                black_white = pixel_range(load_test_set(workspace, network.input_shape))
            black, white = black_white
            pixels = load_pictures([path], shape, black=black, white=white, resize=resize)
            part = Images(pixels, None)
            names.append(path.name)
        parts.append(part)
    if not parts:
        raise DataError("There must be at least one image: give picture files or an NPZ file")
    images = parts[0]
    for part in parts[1:]:
        images = images.join(part)
    return images, tuple(names)


def run_on_board(
    workspace: Workspace,
    images: Images,
    names: Sequence[str],
    options: RunOptions,
    progress: Progress,
) -> BoardRun:
    """Send ``images`` to the board, or to a simulated one, and compare the results.

    Raises
    ------
    LinkError
        If the board does not answer as it should, or holds another design.
    VerifyError
        If a result is not the golden model's.
    """
    source = workspace if options.load is None else Workspace.open(options.load)
    pixels = built_pixels(workspace)
    integer = widen(scanning_network(source), pixels)
    design = stream_store.design_from_json(workspace.read("design.json", made_by="generate"))
    program, frames = _program(workspace, design, integer, load=options.load is not None)
    inputs = grouped(integer.input_format.quantise(images.x), pixels)
    task = f"{len(images)} images"
    with _link(workspace, design, options, progress) as (link, port, baud):
        if options.load is not None:
            assert program is not None
            progress("Program", 0.0)
            link.load(design, program, lambda done, total: progress("Program", done / total))
        info = link.check(design, program)
        answers: list[Answer] = []
        progress(task, 0.0)
        for answer in link.run_all(frames, inputs):
            answers.append(answer)
            progress(task, len(answers) / len(images))
    outputs = np.stack([answer.output for answer in answers])
    if options.check:
        _compare(integer, inputs, outputs, names)
    network = load_source(source).network
    real = outputs * np.array(integer.scale(integer.output)).reshape(-1, 1, 1)
    channels = network.shape(network.output)[0]
    real = ungrouped(real, max(1, real.shape[1] // channels))
    # a map of scores decides nothing
    scanned = scanning_network(source).input_shape != network.input_shape
    classes = None if scanned else decisions(network, real)
    runs = []
    for index, (name, answer) in enumerate(zip(names, answers, strict=True)):
        decision = None if classes is None else int(classes[index])
        label = None if images.y is None else int(images.y[index])
        runs.append(
            ImageRun(
                name=name,
                decision=decision,
                outputs=tuple(real[index].transpose(1, 2, 0).ravel().tolist()),
                cycles=answer.cycles,
                seconds=answer.seconds,
                right=None if decision is None or label is None else decision == label,
            )
        )
    repeats = sum(answer.tries - 1 for answer in answers)
    return BoardRun(port, baud, info, tuple(runs), options.check, repeats)


def _program(
    workspace: Workspace, design: StreamDesign, integer: IntegerNetwork, *, load: bool
) -> tuple[Program | None, Frames]:
    """The program that makes the design compute ``integer``, and how images are bytes then.

    Raises
    ------
    ResourceError, UnsupportedError
        If the design takes no programs but one is to be loaded, or has no room for it.
    """
    plan = load_plan(workspace)
    room = plan.room if isinstance(plan, NfuPlan) else None
    if not isinstance(plan, NfuPlan) or room is None:
        if load:
            raise UnsupportedError(
                f"The design in {workspace.root} takes no programs, its weights are in the "
                "bitstream: generate it with --backend nfu --loadable"
            )
        return None, PixelFrames(design)
    compiled = compile_network(integer, plan.config)
    frames = ElementFrames(compiled, plan.config.activation_width, room.result_width)
    return program_of(plan.config, room, compiled), frames


@contextlib.contextmanager
def _link(
    workspace: Workspace, design: StreamDesign, options: RunOptions, progress: Progress
) -> Iterator[tuple[Link, str, int]]:
    """The link, the port and its baud rate."""
    plan = load_plan(workspace)
    clock = _SIMULATED_CLOCK
    built = read_result(workspace, "synth") or {}
    spi = built.get("link") == "spi"
    if options.port is not None:
        baud = options.baud or built.get("baud") or BAUDS[0]
        # a design that takes long for an image answers late
        timeout = _TIMEOUT + 2 * interval(plan) / (built.get("clock_mhz", clock / 1e6) * 1e6)
        if spi != is_spi(options.port):
            wanted = "an SPI controller (/dev/spidevB.C, ftdi://...)" if spi else "a serial port"
            raise LinkError(f"The bitstream wants {wanted}, not {options.port!r}")
        with Link.open(options.port, baud=baud, timeout=timeout) as link:
            yield link, options.port, baud
        return
    fastest = fastest_baud(plan, design, clock)
    divisor = None if spi else max(MIN_DIVISOR, math.ceil(clock / fastest))
    rate = link_rate("spi", clock, fastest=fastest) if divisor is None else clock // divisor
    top = BoardTop(
        core=core_name(design), parameters=DeviceParameters.of(design, clock), divisor=divisor
    )
    name = top_name(design)
    progress("Simulator", 0.0)
    with simulated_board(
        design.verilog + component_verilog(top, name=name),
        top=name,
        divisor=divisor,
        build_dir=workspace.path("simulation"),
        # time must not stop while the design works
        patience=2 * math.ceil(interval(plan)) + (1 << 20),
    ) as port:
        progress("Simulator", 1.0)
        if spi:
            yield Link(simulated_spi(port), timeout=_SIMULATED_TIMEOUT), "simulation", rate
            return
        # a pseudo terminal takes bytes at any rate
        with Link.open(port, baud=BAUDS[0], timeout=_SIMULATED_TIMEOUT) as link:
            yield link, "simulation", rate


def _compare(
    integer: IntegerNetwork, inputs: np.ndarray, outputs: np.ndarray, names: Sequence[str]
) -> None:
    """Raise :class:`VerifyError` unless ``outputs`` are the golden model's."""
    expected = golden.run(integer, inputs)
    wrong = np.flatnonzero((outputs != expected).reshape(len(outputs), -1).any(axis=1))
    if len(wrong):
        first = int(wrong[0])
        place = tuple(np.argwhere(outputs[first] != expected[first])[0].tolist())
        raise VerifyError(
            f"{len(wrong)} of {len(outputs)} results are not the golden model's, the first that of "
            f"{names[first]}: {outputs[first][place]} instead of {expected[first][place]} at "
            f"channel, row, column {place}"
        )
