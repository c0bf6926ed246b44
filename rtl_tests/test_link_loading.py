"""Loading programs byte by byte: what is written, what is refused, and what is left of cuts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st
from linkbench import TIMEOUT, Pause, converse, request

from hwgen.link.device import Device, DeviceParameters
from hwgen.link.loader import load_layout
from hwgen.link.loading import BEGIN, COMMIT, LARGEST, STATE, load_payloads, loading_info
from hwgen.link.protocol import SYNC, Command, ErrorCode, Frame, Result
from hwgen.stream.programs import Loading, Program, WritableMemory

_ANSWER = 160  # cycles that an answer takes at most
_CLOCK = 12_000_000


def _program(seed: int, beats: int) -> Program:
    """Words that are added, and the number of elements of an image."""
    words = np.random.default_rng(seed).integers(1 << 20, size=4).tolist()
    return Program((tuple(words), (beats,)), beats, 1)


_FIRST, _SECOND = _program(1, beats=3), _program(2, beats=5)
_LOADING = Loading(
    "core",
    0x1122334455667788,
    (WritableMemory("words", 20, 4), WritableMemory("count", 8, 1)),
    7,
    30,
    _FIRST,
)


class _Core(wiring.Component):  # type: ignore[misc]
    """Sums as many elements as are loaded, and adds the words that are; works ``late`` cycles."""

    def __init__(self, *, late: int = 0) -> None:
        self.late = late
        super().__init__(
            {
                "i": In(stream.Signature(_LOADING.input_width)),
                "o": Out(stream.Signature(_LOADING.output_width)),
                "busy": Out(1),
                "load": In(stream.Signature(load_layout(_LOADING))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = [Signal(32, init=word, reset_less=True) for word in _FIRST.contents[0]]
        beats = Signal(8, init=_FIRST.image_beats, reset_less=True)
        slow, left = Signal(2, reset_less=True), Signal(range(self.late + 2))
        total, seen = Signal(30), Signal(8)
        load = self.load.payload
        # a memory that now and then is not ready
        m.d.sync += slow.eq(slow + 1)
        m.d.comb += self.load.ready.eq(slow == 0)
        with m.If(self.load.valid & self.load.ready):
            for number, word in enumerate(words):
                for part in range(2):
                    with m.If((load.memory == 0) & (load.address == number) & (load.part == part)):
                        m.d.sync += word[16 * part :][:16].eq(load.data)
            with m.If(load.memory == 1):
                m.d.sync += beats.eq(load.data)
        whole = seen == beats
        m.d.comb += [
            self.i.ready.eq(~whole),
            self.busy.eq(whole & (left != 0)),
            self.o.valid.eq(whole & (left == 0)),
            self.o.payload.eq(total + sum(words)),
        ]
        with m.If(self.busy):
            m.d.sync += left.eq(left - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [seen.eq(seen + 1), total.eq(total + self.i.payload), left.eq(self.late)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [seen.eq(0), total.eq(0)]
        return m


def _talk(script: Iterable[bytes | Pause], *, late: int = 0) -> list[Frame]:
    """What a device answers that has the first program."""
    info = loading_info(_LOADING, _FIRST, _CLOCK)
    device = Device(DeviceParameters(info, 7, 30, TIMEOUT, _LOADING))
    return converse(device, _Core(late=late), script)[0]


def _load(program: Program) -> list[bytes | Pause]:
    """All frames that load a program, each with the time for its answer."""
    script: list[bytes | Pause] = []
    for payload in load_payloads(_LOADING, program):
        script += [request(Command.LOAD, 9, payload), _ANSWER + 6 * len(payload)]
    return script


def _image(program: Program) -> list[bytes | Pause]:
    return [request(Command.IMAGE, 7, bytes(range(1, program.image_beats + 1))), 2 * _ANSWER]


def _ping() -> list[bytes | Pause]:
    return [request(Command.PING, 5), 2 * _ANSWER]


def _result(program: Program) -> int:
    return sum(program.contents[0]) + sum(range(1, program.image_beats + 1))


def _check(frames: Sequence[Frame], program: Program) -> None:
    """The last two answers are those to a ``PING`` and an ``IMAGE`` with ``program``."""
    told, result = frames[-2:]
    assert told == Frame(Command.INFO, 5, loading_info(_LOADING, program, _CLOCK).encode())
    assert (result.command, result.sequence) == (Command.RESULT, 7)
    assert int.from_bytes(Result.decode(result.payload).words, "little") == _result(program)


def _error(code: ErrorCode, sequence: int = 9) -> Frame:
    return Frame(Command.ERROR, sequence, bytes([code]))


_LOADED = Frame(Command.LOADED, 9)


def test_a_program_takes_the_place_of_another() -> None:
    script = [*_ping(), *_image(_FIRST), *_load(_SECOND), *_ping(), *_image(_SECOND)]
    frames = _talk(script)
    _check(frames[:2], _FIRST)
    assert frames[2:-2] == [_LOADED] * 4
    _check(frames, _SECOND)


def test_an_image_needs_a_whole_program() -> None:
    script = [*_load(_SECOND)[:2], *_ping(), *_image(_FIRST), *_load(_FIRST)[2:], *_ping()]
    frames = _talk([*script, *_image(_FIRST)])
    told = frames[1].payload
    assert told[9:17] == bytes(8)
    assert frames[2] == _error(ErrorCode.EMPTY, 7)
    _check(frames, _FIRST)


def test_words_need_a_beginning() -> None:
    """As after a board has lost its power, and what it had of a program."""
    frames = _talk([*_load(_SECOND)[2:], *_ping(), *_image(_FIRST)])
    assert frames[:-2] == [_error(ErrorCode.EMPTY)] * 3
    _check(frames, _FIRST)


_HASH = _LOADING.hardware.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("payload", "code", "begun"),
    [
        (bytes([BEGIN]) + _HASH[:7] + b"\x10", ErrorCode.HARDWARE, False),
        (bytes([BEGIN]) + b"\x80" + _HASH[1:], ErrorCode.HARDWARE, False),
        (bytes([BEGIN]) + _HASH[:7], ErrorCode.LENGTH, False),
        (b"", ErrorCode.LENGTH, False),
        (bytes(LARGEST + 1), ErrorCode.LENGTH, False),
        (bytes([2, 0, 0, 0, 1, 2]), ErrorCode.COMMAND, False),
        (bytes([COMMIT]) + bytes(STATE.size), ErrorCode.EMPTY, False),
        (bytes([COMMIT]) + bytes(STATE.size - 1), ErrorCode.LENGTH, True),
        (bytes([0, 4, 0, 0, 1, 2, 3, 4]), ErrorCode.LENGTH, True),
        (bytes([0, 3, 0, 0]) + bytes(8), ErrorCode.LENGTH, True),
        (bytes([0, 0, 1, 0, 1, 2, 3, 4]), ErrorCode.LENGTH, True),
        (bytes([0, 0, 0, 0, 1, 2]), ErrorCode.LENGTH, True),
        (bytes([0, 0, 0, 0, 1, 2, 3]), ErrorCode.LENGTH, True),
        (bytes([0, 0, 0, 0]), ErrorCode.LENGTH, True),
    ],
)
def test_what_is_no_part_of_a_program_is_refused(
    payload: bytes, code: ErrorCode, begun: bool
) -> None:
    """Before a program is begun it leaves the one that is there, and it never ends in a hang."""
    start = _load(_FIRST)[:2] if begun else []
    end = _load(_FIRST) if begun else []
    bad = [request(Command.LOAD, 9, payload), _ANSWER]
    frames = _talk([*start, *bad, *end, *_ping(), *_image(_FIRST)])
    assert frames[int(begun)] == _error(code)
    _check(frames, _FIRST)


def test_a_program_waits_for_the_image_in_work() -> None:
    begin = _load(_SECOND)[0]
    image = _image(_FIRST)[0]
    script = [image, 20, begin, _ANSWER, *_ping(), 400, *_load(_SECOND), *_ping()]
    frames = _talk([*script, *_image(_SECOND), 800], late=700)
    assert frames[0] == _error(ErrorCode.BUSY)
    assert frames[1].payload == loading_info(_LOADING, _FIRST, _CLOCK).encode()
    _check(frames, _SECOND)


_SETTINGS = settings(derandomize=True, max_examples=6, deadline=None)
_PARTS = list(load_payloads(_LOADING, _SECOND))


@_SETTINGS
@given(number=st.integers(0, len(_PARTS) - 1), place=st.floats(0, 1, exclude_max=True))
def test_a_damaged_part_is_not_written(number: int, place: float) -> None:
    """It is refused, or not taken for a frame; sent again it is right."""
    script: list[bytes | Pause] = []
    for index, payload in enumerate(_PARTS):
        good = request(Command.LOAD, 9, payload)
        if index == number:
            bad = bytearray(good)
            bit = 8 + int(place * 8 * (len(good) - 1))
            bad[bit // 8] ^= 1 << bit % 8
            script += [bytes(bad), 4 * TIMEOUT]
        script += [good, _ANSWER + 6 * len(payload)]
    frames = _talk([*script, *_ping(), *_image(_SECOND)])
    assert [f for f in frames[:-2] if f == _LOADED] == [_LOADED] * len(_PARTS)
    others = {frame.payload for frame in frames[:-2] if frame != _LOADED}
    assert others <= {bytes([ErrorCode.CHECKSUM])}
    _check(frames, _SECOND)


@_SETTINGS
@given(
    number=st.integers(0, len(_PARTS) - 1), garbage=st.binary(max_size=20), cut=st.integers(1, 9)
)
def test_garbage_and_cuts_in_the_middle_of_a_program(number: int, garbage: bytes, cut: int) -> None:
    """The parts so far are kept, and after a pause the others follow."""
    script: list[bytes | Pause] = []
    for index, payload in enumerate(_PARTS):
        good = request(Command.LOAD, 9, payload)
        if index == number:
            script += [good[:cut], 2 * TIMEOUT, bytes([SYNC]) + garbage, 2 * TIMEOUT]
        script += [good, _ANSWER + 6 * len(payload)]
    frames = _talk([*script, *_ping(), *_image(_SECOND)])
    _check(frames, _SECOND)


def test_a_program_that_was_broken_off_is_loaded_from_the_start() -> None:
    script = [*_load(_SECOND)[:4], *_load(_FIRST)[:2], *_load(_SECOND), *_ping()]
    frames = _talk([*script, *_image(_SECOND)])
    assert set(frames[:-2]) == {_LOADED}
    _check(frames, _SECOND)
