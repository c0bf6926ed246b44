"""Frames: round trips, and what is found among garbage, cuts and flipped bits."""

from __future__ import annotations

import pytest
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwgen.link.protocol import (
    OVERHEAD,
    SYNC,
    Command,
    Decoder,
    ErrorCode,
    Frame,
    Info,
    Result,
    checksum,
)

_SETTINGS = settings(derandomize=True, max_examples=60, deadline=None)
_BYTES = st.integers(0, 255)
_FRAMES = st.builds(Frame, _BYTES, _BYTES, st.binary(max_size=40))
# noise that holds no first byte of a frame, so that it cannot hide what follows
_NOISE = st.binary(max_size=30).map(lambda data: data.replace(bytes([SYNC]), b""))


def test_a_frame_is_what_the_protocol_says() -> None:
    frame = Frame(Command.IMAGE, 7, b"\x01\x02\x03")
    assert frame.encode().hex(" ") == "a5 02 07 03 00 00 01 02 03 08 0d"


def test_the_checksum_is_that_of_the_catalogue() -> None:
    assert checksum(b"123456789") == 0x29B1
    data = bytes(range(256))
    assert checksum(data) == CRC16_IBM_3740().compute(data)


@_SETTINGS
@given(frames=st.lists(_FRAMES, max_size=5), cut=st.integers(1, 50))
def test_frames_come_back_however_they_are_cut(frames: list[Frame], cut: int) -> None:
    data = b"".join(frame.encode() for frame in frames)
    decoder = Decoder()
    found = []
    for start in range(0, len(data), cut):
        found += decoder.feed(data[start : start + cut])
    assert found == frames
    assert decoder.wanted == OVERHEAD


@_SETTINGS
@given(frames=st.lists(st.tuples(_NOISE, _FRAMES), min_size=1, max_size=4), end=_NOISE)
def test_noise_between_frames_means_nothing(frames: list[tuple[bytes, Frame]], end: bytes) -> None:
    data = b"".join(noise + frame.encode() for noise, frame in frames) + end
    assert Decoder().feed(data) == [frame for _, frame in frames]


@_SETTINGS
@given(garbage=st.binary(max_size=60), frame=_FRAMES)
@example(garbage=bytes([SYNC]), frame=Frame(1, 2))
@example(garbage=bytes([SYNC, 1, 2, 30, 0, 0]), frame=Frame(1, 2, b"payload"))
def test_any_garbage_is_overcome(garbage: bytes, frame: Frame) -> None:
    """Garbage may look like the start of a frame, until a pause tells that it is none."""
    decoder = Decoder()
    found = decoder.feed(garbage + frame.encode())
    assert frame in found + decoder.search()


def test_a_search_leaves_an_unfinished_frame_as_it_is() -> None:
    frame = Frame(Command.IMAGE, 3, bytes([SYNC]) * 20)
    data = frame.encode()
    decoder = Decoder()
    assert decoder.feed(data[:15]) == decoder.search() == []
    assert decoder.feed(data[15:]) == [frame]


@_SETTINGS
@given(frame=_FRAMES, data=st.data())
def test_no_flipped_bit_goes_unseen(frame: Frame, data: st.DataObject) -> None:
    good = frame.encode()
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    follower = Frame(Command.PING, 1)
    decoder = Decoder()
    found = decoder.feed(bytes(bad) + follower.encode())
    assert found + decoder.search() == [follower]


def test_what_follows_a_false_start_is_found_once_it_has_ended() -> None:
    frame = Frame(Command.PING, 1)
    start = bytes([SYNC, 1, 2, 20, 0, 0])
    assert Decoder().feed(start + frame.encode() + bytes(20)) == [frame]


def test_frames_may_be_long() -> None:
    frame = Frame(Command.IMAGE, 3, bytes(range(256)) * 600)
    decoder = Decoder()
    assert decoder.feed(frame.encode()[:100_000]) == []
    assert decoder.wanted == len(frame.encode()) - 100_000
    assert decoder.feed(frame.encode()[100_000:]) == [frame]


@_SETTINGS
@given(frame=_FRAMES, data=st.data())
def test_wanted_bytes_are_never_too_many(frame: Frame, data: st.DataObject) -> None:
    encoded = frame.encode()
    decoder = Decoder()
    position = 0
    while position < len(encoded):
        size = min(decoder.wanted, data.draw(st.integers(1, 8)))
        assert position + size <= len(encoded)
        found = decoder.feed(encoded[position : position + size])
        position += size
    assert found == [frame]


@_SETTINGS
@given(
    design=st.integers(0, 2**64 - 1),
    clock=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    program=st.integers(0, 2**64 - 1),
    words=st.binary(max_size=20),
)
def test_answers_come_back(
    design: int, clock: int, sizes: tuple[int, int], program: int, words: bytes
) -> None:
    info = Info(design, clock, *sizes, program)
    assert Info.decode(info.encode()) == info
    assert Result.decode(Result(clock, words).encode()) == Result(clock, words)


def test_what_cannot_be_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="must be bytes, not 256 and 0"):
        Frame(256, 0)
    with pytest.raises(ValueError, match=r"at most 16777215 bytes, not 16777216"):
        Frame(1, 0, bytes(1 << 24))
    with pytest.raises(ValueError, match="must have 29 bytes, not 3"):
        Info.decode(b"abc")
    with pytest.raises(ValueError, match="at least 4 bytes, not 3"):
        Result.decode(b"abc")


def test_every_error_has_a_sentence() -> None:
    assert len({code.sentence for code in ErrorCode}) == len(ErrorCode)
