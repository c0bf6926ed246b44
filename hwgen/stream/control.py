"""The control of a whole pipeline as machines without data.

Each machine has the same control as its hardware, so that running them together is the pipeline's
simulation cycle for cycle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import VerifyError
from hwgen.integer.types import Conv
from hwgen.stream.blocks import Stage
from hwgen.stream.dense import dense_cycles
from hwgen.stream.digits import digit_count
from hwgen.stream.machines import FIELDS, LINE_BITS, Kind, advance
from hwgen.stream.scan import Scan
from hwgen.stream.supply import Supply

__all__ = ["Control", "Reader"]

_Beats = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reader:
    """What reads the results of a pipeline, in beats of a cycle each, and gives its own.

    Parameters
    ----------
    waits, takes, gives : bool arrays (beats,)
        Of each beat of an image: whether it waits until there is an item, whether it takes the
        item, and whether a result is there in the next cycle. What takes an item waits for it.
    """

    waits: npt.NDArray[np.bool_]
    takes: npt.NDArray[np.bool_]
    gives: npt.NDArray[np.bool_]


class Control:
    """The control of a whole pipeline: all machines and the streams between them.

    The sink never waits; the source never does, but for image k not before cycle ``k * pace``.

    Parameters
    ----------
    stages : sequence of Stage
        In topological order.
    pace : int
        Least cycles between the starts of two images.
    joins : sequence of tuples of str
        Names of buffers before a join, to be watched.
    reader : Reader or None
        What reads the results; its own are then those that count.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        pace: int = 0,
        joins: Sequence[Sequence[str]] = (),
        reader: Reader | None = None,
    ) -> None:
        numbers = {"": 0}
        for stage in stages:
            count = stage.depth if stage.form == "fork" else 0
            for name in [f"{stage.name}.{k}" for k in range(count)] or [stage.name]:
                numbers[name] = len(numbers)
        read = {source for stage in stages for source in stage.sources}
        unread = [name for name in numbers if name not in read]
        if len(unread) != 1:
            raise VerifyError(f"A pipeline must have one output, not {unread}")
        last = unread[0].partition(".")[0]
        results = next(s.output_shape for s in stages if s.name == last)
        self._beats = (
            stages[0].shape[1] * stages[0].shape[2],
            results[1] * results[2] if reader is None else int(reader.gives.sum()),
        )
        self._pace = pace
        streams = len(numbers) + (reader is not None)
        self._output = numbers[unread[0]] if reader is None else len(numbers)
        self._valid = np.zeros(streams, dtype=np.bool_)
        self._ready = np.zeros(streams, dtype=np.bool_)
        self._ready[self._output] = True

        rows: list[list[int]] = []
        state: list[int] = []
        table: list[int] = []
        for stage in stages:
            kind, parameters, initial, entries = _machine(stage, numbers)
            source, sink = numbers[stage.sources[0]], numbers.get(stage.name, 0)
            row = [kind, source, sink, len(state), len(table), *parameters]
            rows.append(row + [0] * (FIELDS - len(row)))
            state += initial
            table += entries
        if reader is not None:
            beats = len(reader.takes)
            source, sink = numbers[unread[0]], self._output
            row = [Kind.WINDOW, source, sink, len(state), len(table), beats]
            rows.append(row + [0] * (FIELDS - len(row)))
            state += [0, 0]
            table += np.concatenate([reader.takes, reader.gives, reader.waits]).tolist()
        self._rows = np.array(rows, dtype=np.int64)
        self._state = np.array(state, dtype=np.int64)
        self._table = np.array(table, dtype=np.int64)
        self._counts = np.zeros(3, dtype=np.int64)

        self._places = {stage.name: k for k, stage in enumerate(stages)}
        self._joins = np.full((len(joins), max(map(len, joins), default=1)), -1, dtype=np.int64)
        for k, join in enumerate(joins):
            self._joins[k, : len(join)] = [self._places[name] for name in join]
        self._skew = np.zeros(len(rows), dtype=np.int64)
        self._most = np.zeros(len(rows), dtype=np.int64)

    @property
    def cycles(self) -> int:
        """Cycles since the start."""
        return int(self._counts[0])

    @property
    def images_in(self) -> int:
        """Images that have come in wholly."""
        return int(self._counts[1]) // self._beats[0]

    @property
    def results(self) -> int:
        """Beats that have come out."""
        return int(self._counts[2])

    @property
    def images_out(self) -> int:
        """Images whose result has come out wholly."""
        return self.results // self._beats[1]

    def run(self) -> None:
        """Run until a whole image has come in, or a first or a last beat of results out.

        Raises
        ------
        VerifyError
            If the pipeline stops.
        """
        if not advance(
            self._rows,
            self._state,
            self._table,
            self._valid,
            self._ready,
            self._output,
            *self._beats,
            self._pace,
            self._counts,
            self._joins,
            self._skew,
            self._most,
        ):
            raise VerifyError(
                f"The pipeline stops before cycle {self.cycles}: a buffer is too small"
            )

    def state(self) -> object:
        """All that decides the future."""
        return self._state.tobytes()

    def skew(self, name: str) -> int:
        """Most items that a watched buffer ever held beyond those of its join's emptiest."""
        return int(self._skew[self._places[name]])

    def most(self, name: str) -> int:
        """Most items that a watched buffer ever held."""
        return int(self._most[self._places[name]])


_Machine = tuple[Kind, list[int], list[int], list[int]]
"""Kind of a machine, its parameters, its initial state and its table."""


def _machine(stage: Stage, numbers: dict[str, int]) -> _Machine:
    match stage.form:
        case "fork":
            outputs = [numbers[f"{stage.name}.{k}"] for k in range(stage.depth)]
            return Kind.FORK, [len(outputs)], [0] * len(outputs), outputs
        case "window":
            return _window(*_beats(stage.scan))
        case "column":
            takes, _ = _beats(stage.scan)
            return _window(takes, np.ones_like(takes))
        case "chain":
            _, gives = _beats(stage.scan)
            return _window(np.ones_like(gives), gives)
        case "serialise":
            return Kind.SERIALISE, [stage.digits], [0], []
        case "digit_window":
            takes, gives = _beats(stage.scan)
            entering = digit_count(stage.values, stage.digit)
            return _window(takes, gives, digits=stage.digits, entering=entering)
        case "digit_adders":
            length = stage.latency - 1
            return Kind.DIGITS, [length, stage.digits], [0, 0, *_line(length)], []
        case "buffer" if stage.depth == 2:
            return Kind.QUEUE, [], [0], []
        case "buffer":
            return Kind.BUFFER, [stage.depth - 1], [0, 0], []
        case "gather":
            count = len(stage.values)
            return _window(*_beats(Scan(count, 1, (count, 1))))
        case "accumulate":
            _, height, width = stage.shape
            return _window(*_beats(Scan(height, width, (height, width))))
        case "dense":
            return _dense(stage)
        case "pool":
            return _pool(stage)
        case "add" | "concat":
            inputs = [numbers[source] for source in stage.sources]
            return Kind.JOIN, [len(inputs)], [0], inputs
        case _:
            return Kind.FIXED, [stage.latency], _line(stage.latency), []


def _line(length: int) -> list[int]:
    """State of a delay line without items."""
    return [0] * -(-length // LINE_BITS)


def _beats(scan: Scan | None) -> tuple[_Beats, _Beats]:
    """For each beat, whether it takes an item and whether it gives one."""
    assert scan is not None
    return scan.takes(), scan.gives()


def _window(takes: _Beats, gives: _Beats, *, digits: int = 1, entering: int = 1) -> _Machine:
    """Machine whose beats take so many entering digits, and give so many digits."""
    waits = takes.copy()
    waits[: int(takes.argmax())] = True
    cycles = np.where(gives, digits, entering)
    place = np.arange(cycles.sum()) - np.repeat(np.cumsum(cycles) - cycles, cycles)
    enters = place < entering
    columns = [
        np.repeat(takes, cycles) & enters,
        np.repeat(gives, cycles),
        np.repeat(waits, cycles) & enters,
    ]
    return Kind.WINDOW, [len(place)], [0, 0], np.concatenate(columns).astype(int).tolist()


def _dense(stage: Stage) -> _Machine:
    assert isinstance(stage.op, Conv)
    assert stage.scan is not None
    gives = _batches(stage.op, stage)
    cycles = dense_cycles(stage.op, lanes=stage.lanes, abreast=stage.abreast)
    length = cycles // len(gives)
    delay = stage.latency - (length if stage.serial_out else cycles) - 1
    beats, channels = len(stage.values), stage.op.weight.shape[1]
    supply = (
        Supply.of_turns(stage.scan, beats=beats, channels=channels, abreast=stage.abreast)
        if beats
        else Supply(stage.scan)
    )
    return _reader(supply, length, gives, delay)


def _pool(stage: Stage) -> _Machine:
    assert stage.scan is not None
    channels, length = len(stage.values), math.prod(stage.scan.kernel)
    return _reader(
        Supply(stage.scan, channels, channels), length, [1] * channels, stage.latency - length - 1
    )


def _reader(supply: Supply, length: int, gives: list[int], delay: int) -> _Machine:
    """Machine that takes ``length`` steps for each of the batches that give so many items."""
    advances = supply.advances.tolist()
    parameters = [supply.slack, length, len(gives), delay, len(advances)]
    return Kind.DENSE, parameters, [-supply.first, 0, 0, 0, 0, 0, *_line(delay)], gives + advances


def _batches(op: Conv, stage: Stage) -> list[int]:
    """Items that each batch of a position gives."""
    outputs = op.weight.shape[0]
    starts = range(0, outputs, stage.lanes)
    if stage.serial_out:
        return [min(stage.lanes, outputs - start) for start in starts]
    return [0] * (len(starts) - 1) + [1]
