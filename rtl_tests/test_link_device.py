"""The device byte by byte: requests, errors, garbage, cuts, and images that are broken off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st
from linkbench import GAP, TIMEOUT, Pause, converse, request

from hwgen.link.device import Device, DeviceParameters
from hwgen.link.framer import Framer
from hwgen.link.protocol import SYNC, Command, ErrorCode, Frame, Info, Result


@dataclass(frozen=True)
class _Case:
    """A design of ``words`` sums of ``count`` pixels."""

    width: int = 12
    output_width: int = 18
    count: int = 4
    words: int = 1
    slow: int = 1
    late: int = 0

    @property
    def info(self) -> Info:
        pixel_bytes, word_bytes = -(-self.width // 8), -(-self.output_width // 8)
        return Info(
            0x0123456789ABCDEF,
            12_000_000,
            self.words * self.count * pixel_bytes,
            self.words * word_bytes,
        )

    def image(self, seed: int) -> bytes:
        size = -(-self.width // 8)
        pixels = np.random.default_rng(seed).integers(1 << self.width, size=self.words * self.count)
        return b"".join(int(pixel).to_bytes(size, "little") for pixel in pixels)

    def words_of(self, image: bytes) -> bytes:
        size, word = -(-self.width // 8), -(-self.output_width // 8)
        pixels = [
            int.from_bytes(image[k : k + size], "little") & (1 << self.width) - 1
            for k in range(0, len(image), size)
        ]
        sums = [
            sum(pixels[k : k + self.count]) % (1 << self.output_width)
            for k in range(0, len(pixels), self.count)
        ]
        return b"".join(total.to_bytes(word, "little") for total in sums)


class _Sums(wiring.Component):  # type: ignore[misc]
    """Sums of ``count`` pixels, each of which takes ``slow`` cycles, the last ``late`` more."""

    def __init__(self, case: _Case) -> None:
        self.count = case.count
        self.slow = case.slow
        self.late = case.late
        super().__init__(
            {
                "i": In(stream.Signature(case.width)),
                "o": Out(stream.Signature(case.output_width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(len(self.o.payload))
        seen = Signal(range(self.count + 1))
        wait = Signal(range(self.slow + self.late + 1))
        m.d.comb += [
            self.o.valid.eq((seen == self.count) & (wait == 0)),
            self.o.payload.eq(total),
            self.i.ready.eq((seen != self.count) & (wait == 0)),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [total.eq(total + self.i.payload), seen.eq(seen + 1)]
            m.d.sync += wait.eq(self.slow - 1)
            with m.If(seen == self.count - 1):
                m.d.sync += wait.eq(self.slow - 1 + self.late)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [total.eq(0), seen.eq(0)]
        return m


_SMALL = _Case()


def _talk(
    case: _Case, script: Iterable[bytes | Pause], *, gap: int = GAP, seed: int | None = None
) -> list[Frame]:
    """Converse with a device whose lamps show the last result."""
    parameters = DeviceParameters(case.info, case.width, case.output_width, TIMEOUT)
    core = _Sums(case)
    frames, lights = converse(Device(parameters, leds=3), core, script, gap=gap, seed=seed)
    results = [Result.decode(f.payload).words for f in frames if f.command == Command.RESULT]
    if results:
        last = results[-1][len(results[-1]) - case.info.result_bytes // case.words :]
        assert lights == int.from_bytes(last, "little") & 7
    return frames


_ANSWER = 120  # cycles that an answer takes at most


def _check_result(case: _Case, frame: Frame, sequence: int, image: bytes) -> None:
    assert (frame.command, frame.sequence) == (Command.RESULT, sequence)
    assert Result.decode(frame.payload).words == case.words_of(image)


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    "case",
    [
        _SMALL,
        _Case(width=8, output_width=9, count=3),
        _Case(width=3, output_width=1, count=2, words=4),
        _Case(width=24, output_width=40, count=2, words=3),
    ],
)
def test_requests_are_answered(case: _Case, seed: int | None) -> None:
    script: list[bytes | Pause] = [request(Command.PING, 5), 4 * _ANSWER]
    for number in range(3):
        script += [request(Command.IMAGE, number, case.image(number)), 4 * _ANSWER]
    frames = _talk(case, script, seed=seed)
    assert len(frames) == 4
    assert frames[0] == Frame(Command.INFO, 5, case.info.encode())
    for number, frame in enumerate(frames[1:]):
        _check_result(case, frame, number, case.image(number))


def test_cycles_count_from_the_first_pixel_to_the_last_word() -> None:
    image = _SMALL.image(1)
    frames = _talk(_SMALL, [request(Command.IMAGE, 1, image), _ANSWER])
    # the last byte of a pixel completes it; 3 more pixels of 2 bytes, then the sum is there
    cycles = 3 * 2 * (GAP + 1) + 1
    assert frames == [Frame(Command.RESULT, 1, Result(cycles, _SMALL.words_of(image)).encode())]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (request(Command.PING, 9, b"x"), ErrorCode.LENGTH),
        (request(Command.IMAGE, 9, b"short"), ErrorCode.LENGTH),
        (request(Command.IMAGE, 9), ErrorCode.LENGTH),
        (request(Command.LOAD, 9, b"a program"), ErrorCode.UNSUPPORTED),
        (request(0x77, 9, b"?"), ErrorCode.COMMAND),
        (request(Command.RESULT, 9), ErrorCode.COMMAND),
    ],
)
def test_what_cannot_be_done_is_said(bad: bytes, code: ErrorCode) -> None:
    frames = _talk(_SMALL, [bad, _ANSWER, request(Command.PING, 10), 2 * _ANSWER])
    assert frames == [
        Frame(Command.ERROR, 9, bytes([code])),
        Frame(Command.INFO, 10, _SMALL.info.encode()),
    ]


def test_a_design_that_is_too_slow_is_told_of() -> None:
    case = _Case(slow=50)
    image = case.image(1)
    whole = request(Command.IMAGE, 1, image)
    spaced: list[bytes | Pause] = []
    for byte in whole:  # slow enough for the design
        spaced += [bytes([byte]), 30]
    frames = _talk(case, [whole, _ANSWER, *spaced, 2 * _ANSWER])
    assert frames[0] == Frame(Command.ERROR, 1, bytes([ErrorCode.OVERRUN]))
    _check_result(case, frames[1], 1, image)
    assert len(frames) == 2


_SETTINGS = settings(derandomize=True, max_examples=8, deadline=None)


@_SETTINGS
@given(bit=st.integers(8, 8 * (len(request(Command.IMAGE, 1, _SMALL.image(1)))) - 1))
def test_a_flipped_bit_is_not_taken_for_an_image(bit: int) -> None:
    """Whatever was hit, no result comes of it, and the next image is right."""
    bad = bytearray(request(Command.IMAGE, 1, _SMALL.image(1)))
    bad[bit // 8] ^= 1 << bit % 8
    good = _SMALL.image(2)
    script = [bytes(bad), 2 * TIMEOUT, request(Command.IMAGE, 2, good), _ANSWER]
    frames = _talk(_SMALL, script)
    *before, last = frames
    _check_result(_SMALL, last, 2, good)
    assert [(frame.command, frame.payload) for frame in before] in (
        [],
        [(Command.ERROR, bytes([ErrorCode.CHECKSUM]))],
    )


@_SETTINGS
@given(size=st.integers(1, len(request(Command.IMAGE, 1, _SMALL.image(1))) - 1))
def test_an_image_that_was_broken_off_leaves_nothing(size: int) -> None:
    part = request(Command.IMAGE, 1, _SMALL.image(1))[:size]
    good = _SMALL.image(2)
    script = [part, 2 * TIMEOUT, request(Command.IMAGE, 2, good), _ANSWER]
    frames = _talk(_SMALL, script)
    (frame,) = frames
    _check_result(_SMALL, frame, 2, good)


@_SETTINGS
@given(garbage=st.binary(max_size=24), starts=st.booleans())
def test_after_garbage_and_a_pause_the_device_hears(garbage: bytes, starts: bool) -> None:
    if starts:
        garbage = bytes([SYNC]) + garbage
    good = _SMALL.image(2)
    script = [garbage, 2 * TIMEOUT, request(Command.IMAGE, 2, good), _ANSWER]
    frames = _talk(_SMALL, script)
    _check_result(_SMALL, frames[-1], 2, good)
    assert all(frame.command == Command.ERROR for frame in frames[:-1])


def test_garbage_without_a_first_byte_needs_no_pause() -> None:
    good = _SMALL.image(2)
    noise = bytes(k for k in range(256) if k != SYNC)
    frames = _talk(_SMALL, [noise + request(Command.IMAGE, 2, good), _ANSWER])
    (frame,) = frames
    _check_result(_SMALL, frame, 2, good)


@pytest.mark.parametrize("second", [Command.IMAGE, Command.PING])
def test_a_request_takes_the_place_of_an_unanswered_one(second: Command) -> None:
    case = _Case(late=600)  # the design is still at work when the second request is there
    good = case.image(2)
    payload = good if second == Command.IMAGE else b""
    first = request(Command.IMAGE, 1, case.image(1))
    frames = _talk(case, [first, request(second, 2, payload), 600 + _ANSWER])
    (frame,) = frames
    if second == Command.IMAGE:
        _check_result(case, frame, 2, good)
    else:
        assert frame == Frame(Command.INFO, 2, case.info.encode())


def test_what_comes_while_an_answer_goes_is_lost() -> None:
    ping = request(Command.PING, 1)
    frames = _talk(_SMALL, [ping, 3, ping[:3], _ANSWER, request(Command.PING, 2), _ANSWER])
    assert [frame.sequence for frame in frames] == [1, 2]


@pytest.mark.parametrize("pause", range(1, 7))
def test_what_comes_as_an_answer_begins_leaves_it_whole(pause: int) -> None:
    ping = request(Command.PING, 1)
    late = [ping[:3], 3 * TIMEOUT, request(Command.PING, 2), 2 * _ANSWER]
    frames = _talk(_SMALL, [ping, pause, *late], gap=1)
    info = _SMALL.info.encode()
    assert frames == [Frame(Command.INFO, sequence, info) for sequence in (1, 2)]


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative, not -1"):
        Device(DeviceParameters(_SMALL.info, 8, 8, 256), leds=-1)
    with pytest.raises(ValueError, match="power of two, at least 2 cycles, not 100"):
        Framer(100)
