"""The handshakes of every kind of stage as small machines, without data.

Each machine has the same control as its hardware, so that running them together is the pipeline's
simulation cycle for cycle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hwgen.errors import VerifyError
from hwgen.integer.types import Conv
from hwgen.stream.blocks import Stage
from hwgen.stream.dense import dense_cycles
from hwgen.stream.digit_control import DigitAdders, DigitWindow, Fixed, Flags, Machine, Serialise
from hwgen.stream.patches import Supply
from hwgen.stream.scan import Scan

__all__ = ["Control"]

_Beats = npt.NDArray[np.bool_]


class _Window:
    """The beats of a scan, which take an item or none, and give one or none."""

    __slots__ = ("beat", "enable", "full", "gives", "i", "o", "takes", "waits")

    def __init__(self, i: int, o: int, takes: _Beats, gives: _Beats) -> None:
        self.i, self.o = i, o
        self.takes = takes.tolist()
        self.gives = gives.tolist()
        first = self.takes.index(True)
        self.waits = [True] * first + self.takes[first:]
        self.beat = 0
        self.full = False
        self.enable = True

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.full

    def accept(self, valid: Flags, ready: Flags) -> None:
        self.enable = ready[self.o] or not self.full
        ready[self.i] = self.enable and self.takes[self.beat]

    def tick(self, valid: Flags, ready: Flags) -> None:
        if not self.enable:
            return
        go = valid[self.i] or not self.waits[self.beat]
        self.full = go and self.gives[self.beat]
        if go:
            self.beat = (self.beat + 1) % len(self.takes)

    def state(self) -> object:
        return (self.beat, self.full)


class _Join:
    """One item from every input at once, one register."""

    __slots__ = ("full", "inputs", "o", "room", "take")

    def __init__(self, inputs: Sequence[int], o: int) -> None:
        self.inputs, self.o = tuple(inputs), o
        self.full = self.take = False
        self.room = True

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.full

    def accept(self, valid: Flags, ready: Flags) -> None:
        self.room = ready[self.o] or not self.full
        self.take = self.room and all(valid[i] for i in self.inputs)
        for i in self.inputs:
            ready[i] = self.take

    def tick(self, valid: Flags, ready: Flags) -> None:
        if self.room:
            self.full = self.take

    def state(self) -> object:
        return self.full


class _Fork:
    """One item to every output, each when it likes."""

    __slots__ = ("done", "i", "outputs")

    def __init__(self, i: int, outputs: Sequence[int]) -> None:
        self.i, self.outputs = i, tuple(outputs)
        self.done = [False] * len(self.outputs)

    def offer(self, valid: Flags) -> None:
        for o, done in zip(self.outputs, self.done, strict=True):
            valid[o] = valid[self.i] and not done

    def accept(self, valid: Flags, ready: Flags) -> None:
        pairs = zip(self.outputs, self.done, strict=True)
        ready[self.i] = all(done or ready[o] for o, done in pairs)

    def tick(self, valid: Flags, ready: Flags) -> None:
        if valid[self.i]:
            if ready[self.i]:
                self.done = [False] * len(self.outputs)
            else:
                pairs = zip(self.outputs, self.done, strict=True)
                self.done = [done or ready[o] for o, done in pairs]

    def state(self) -> object:
        return tuple(self.done)


class _Buffer:
    """First in, first out: one register behind a memory of ``depth - 1`` items."""

    __slots__ = ("capacity", "full", "i", "o", "stored")

    def __init__(self, i: int, o: int, depth: int) -> None:
        self.i, self.o = i, o
        self.capacity = depth - 1
        self.stored = 0
        self.full = False

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.full

    def accept(self, valid: Flags, ready: Flags) -> None:
        ready[self.i] = self.stored < self.capacity

    def tick(self, valid: Flags, ready: Flags) -> None:
        moves = self.stored > 0 and (ready[self.o] or not self.full)
        self.stored += (valid[self.i] and ready[self.i]) - moves
        self.full = moves or (self.full and not ready[self.o])

    @property
    def held(self) -> int:
        return self.stored + self.full

    def state(self) -> object:
        return (self.stored, self.full)


class _Queue:
    """First in, first out queue of two registers."""

    __slots__ = ("i", "o", "stored")

    def __init__(self, i: int, o: int) -> None:
        self.i, self.o = i, o
        self.stored = 0

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.stored > 0

    def accept(self, valid: Flags, ready: Flags) -> None:
        ready[self.i] = self.stored < 2

    def tick(self, valid: Flags, ready: Flags) -> None:
        taken = valid[self.i] and ready[self.i]
        given = self.stored > 0 and ready[self.o]
        self.stored += taken - given

    @property
    def held(self) -> int:
        return self.stored

    def state(self) -> object:
        return self.stored


class _Dense:
    """A memory of pixels, lanes that read its patches, and a pipeline behind the memory."""

    __slots__ = (
        "advances", "ahead", "batch", "enable", "gives", "i", "left", "length", "line", "mask", "o",
        "patch", "position", "slack", "top",
    )  # fmt: skip

    def __init__(self, i: int, o: int, stage: Stage) -> None:
        assert isinstance(stage.op, Conv)
        assert stage.scan is not None
        self.i, self.o = i, o
        supply = Supply(stage.scan, len(stage.values) or 1)
        self.advances, self.slack = supply.advances.tolist(), supply.slack
        self.ahead = -supply.first
        self.gives = _batches(stage)
        cycles = dense_cycles(stage.op, lanes=stage.lanes)
        self.length = cycles // len(self.gives)
        delay = stage.latency - (self.length if stage.serial_out else cycles) - 1
        self.top, self.mask = 1 << (delay - 1), (1 << delay) - 1
        self.line = self.patch = self.position = self.batch = self.left = 0
        self.enable = True

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.left > 0

    def accept(self, valid: Flags, ready: Flags) -> None:
        free = self.left == 0 or (self.left == 1 and ready[self.o])
        self.enable = free or not self.line & self.top
        ready[self.i] = self.ahead < self.slack

    def tick(self, valid: Flags, ready: Flags) -> None:
        if self.line & self.top and self.enable:
            self.left = self.gives[self.batch]
            self.batch = (self.batch + 1) % len(self.gives)
        elif ready[self.o] and self.left:
            self.left -= 1
        running = self.ahead >= 0
        self.ahead += valid[self.i] and ready[self.i]
        if not self.enable:
            return
        ends = running and (self.position + 1) % self.length == 0
        self.line = ((self.line << 1) | ends) & self.mask
        if running:
            self.position = (self.position + 1) % (self.length * len(self.gives))
            if self.position == 0:
                self.ahead -= self.advances[self.patch]
                self.patch = (self.patch + 1) % len(self.advances)

    def state(self) -> object:
        return (self.ahead, self.batch, self.left, self.line, self.patch, self.position)


def _batches(stage: Stage) -> tuple[int, ...]:
    """Items that each batch of a position gives."""
    assert isinstance(stage.op, Conv)
    outputs = stage.op.weight.shape[0]
    starts = range(0, outputs, stage.lanes)
    if stage.serial_out:
        return tuple(min(stage.lanes, outputs - start) for start in starts)
    return (0,) * (len(starts) - 1) + (1,)


class Control:
    """The control of a whole pipeline: all machines and the streams between them.

    The sink never waits. ``stages`` are in topological order.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        numbers = {"": 0}
        for stage in stages:
            count = stage.depth if stage.form == "fork" else 0
            for name in [f"{stage.name}.{k}" for k in range(count)] or [stage.name]:
                numbers[name] = len(numbers)
        self.stages = tuple(stages)
        self.machines: list[Machine] = [_machine(stage, numbers) for stage in stages]
        self._places = {stage.name: k for k, stage in enumerate(stages)}
        self.valid = [True] + [False] * (len(numbers) - 1)
        self.ready = [False] * len(numbers)
        read = {source for stage in stages for source in stage.sources}
        unread = [name for name in numbers if name not in read]
        if len(unread) != 1:
            raise VerifyError(f"A pipeline must have one output, not {unread}")
        self.output = numbers[unread[0]]
        last = unread[0].partition(".")[0]
        self.output_shape = next(s.output_shape for s in self.stages if s.name == last)
        self.ready[self.output] = True

    def step(self, *, offer: bool = True) -> tuple[bool, bool]:
        """One cycle; whether a pixel came in and whether one came out."""
        valid, ready = self.valid, self.ready
        valid[0] = offer
        for machine in self.machines:
            machine.offer(valid)
        for machine in reversed(self.machines):
            machine.accept(valid, ready)
        for machine in self.machines:
            machine.tick(valid, ready)
        return offer and ready[0], valid[self.output]

    def state(self) -> object:
        """All that decides the future."""
        return tuple(machine.state() for machine in self.machines)

    def held(self, name: str) -> int:
        """Items in the buffer of that name."""
        machine = self.machines[self._places[name]]
        assert isinstance(machine, _Buffer | _Queue)
        return machine.held


def _machine(stage: Stage, numbers: dict[str, int]) -> Machine:
    inputs = [numbers[source] for source in stage.sources]
    match stage.form:
        case "fork":
            outputs = [numbers[f"{stage.name}.{k}"] for k in range(stage.depth)]
            return _Fork(inputs[0], outputs)
        case "window":
            assert stage.scan is not None
            scan = stage.scan
            return _Window(inputs[0], numbers[stage.name], scan.takes(), scan.gives())
        case "column":
            assert stage.scan is not None
            takes = stage.scan.takes()
            return _Window(inputs[0], numbers[stage.name], takes, np.ones_like(takes))
        case "chain":
            assert stage.scan is not None
            gives = stage.scan.gives()
            return _Window(inputs[0], numbers[stage.name], np.ones_like(gives), gives)
        case "serialise":
            return Serialise(inputs[0], numbers[stage.name], stage.digits)
        case "digit_window":
            return DigitWindow(inputs[0], numbers[stage.name], stage)
        case "digit_adders":
            return DigitAdders(inputs[0], numbers[stage.name], stage)
        case "buffer" if stage.depth == 2:
            return _Queue(inputs[0], numbers[stage.name])
        case "buffer":
            return _Buffer(inputs[0], numbers[stage.name], stage.depth)
        case "gather":
            count = len(stage.values)
            scan = Scan(count, 1, (count, 1))
            return _Window(inputs[0], numbers[stage.name], scan.takes(), scan.gives())
        case "accumulate":
            _, height, width = stage.shape
            scan = Scan(height, width, (height, width))
            return _Window(inputs[0], numbers[stage.name], scan.takes(), scan.gives())
        case "dense":
            return _Dense(inputs[0], numbers[stage.name], stage)
        case "add" | "concat":
            return _Join(inputs, numbers[stage.name])
        case _:
            return Fixed(inputs[0], numbers[stage.name], stage.latency)
