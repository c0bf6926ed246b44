"""The driver: what it does with answers that are late, damaged, missing or wrong."""

from __future__ import annotations

import os
import tty
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from model_device import ModelDevice

from hwgen.errors import DataError, LinkError
from hwgen.link.driver import Link
from hwgen.link.loading import BEGIN, COMMIT, STATE, loading_info
from hwgen.link.payload import PixelFrames, design_info
from hwgen.link.protocol import Command, ErrorCode, Frame, Info, Result
from hwgen.numeric import IntArray
from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.programs import Loading, Program, WritableMemory

_DESIGN = StreamDesign(
    "net",
    "module net; endmodule",
    (2, 3, 4),
    PixelLayout(((5, True), (9, False))),
    (2, 1, 2),
    PixelLayout(((20, True), (17, True))),
)
_INFO = design_info(_DESIGN, 12_000_000)
_FRAMES = PixelFrames(_DESIGN)
_WORDS = bytes(range(_INFO.result_bytes))


def _image(seed: int = 0) -> IntArray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(-16, 16, size=(3, 4)), rng.integers(512, size=(3, 4))])


def _device(
    damage: Callable[[int, bytes], bytes] = lambda number, data: data, info: Info = _INFO
) -> ModelDevice:
    return ModelDevice(info, lambda payload: Result(len(payload), _WORDS), damage)


def _link(device: ModelDevice) -> Link:
    return Link(device, timeout=0.02, retries=2)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwgen.link.driver.time.sleep", lambda seconds: None)


def test_images_and_results_are_packed_by_the_layouts() -> None:
    image = _image()
    payload = _FRAMES.encode(image)
    pixels = image.transpose(1, 2, 0).reshape(-1, 2)
    expected = [int(a) & 31 | int(b) << 5 for a, b in pixels]
    assert payload == b"".join(word.to_bytes(2, "little") for word in expected)
    assert (_INFO.image_bytes, _INFO.result_bytes) == (24, 10)
    result = _FRAMES.decode(_WORDS)
    words = [int.from_bytes(_WORDS[5 * k : 5 * k + 5], "little") for k in range(2)]
    np.testing.assert_array_equal(result, _DESIGN.output_layout.unpack(words).T.reshape(2, 1, 2))


def test_a_run_is_one_request() -> None:
    device = _device()
    with _link(device) as link:
        assert link.check(_DESIGN) == _INFO
        answer = link.run(_FRAMES, _image())
    assert device.closed
    assert (answer.cycles, answer.tries) == (24, 1)
    np.testing.assert_array_equal(answer.output, _FRAMES.decode(_WORDS))
    assert [frame.command for frame in device.requests] == [Command.PING, Command.IMAGE]
    assert device.requests[1].payload == _FRAMES.encode(_image())


def test_a_batch_gives_each_answer_as_it_comes() -> None:
    device = _device()
    answers = _link(device).run_all(_FRAMES, np.stack([_image(1), _image(2)]))
    for count, answer in enumerate(answers, 1):
        assert len(device.requests) == count
        assert answer.cycles == 24
    assert len(device.requests) == 2


def _flip(number: int, data: bytes) -> bytes:
    return data if number else data[:-1] + bytes([data[-1] ^ 1])


def _lose(number: int, data: bytes) -> bytes:
    return data if number else b""


def _cut(number: int, data: bytes) -> bytes:
    return data if number else data[:5]


def _refuse(number: int, data: bytes) -> bytes:
    # a damaged request has a damaged sequence number
    return data if number else Frame(Command.ERROR, 99, bytes([ErrorCode.CHECKSUM])).encode()


@pytest.mark.parametrize("damage", [_flip, _lose, _cut, _refuse])
def test_what_was_damaged_is_asked_again(damage: Callable[[int, bytes], bytes]) -> None:
    device = _device(damage)
    answer = _link(device).run(_FRAMES, _image())
    assert answer.tries == 2
    first, second = device.requests
    assert (first.payload, first.sequence + 1) == (second.payload, second.sequence)


def test_answers_to_earlier_requests_are_passed_over() -> None:
    late = Frame(Command.RESULT, 200, Result(1, b"late").encode()).encode()
    answer = _link(_device(lambda number, data: b"\xa5noise" + late + data)).run(_FRAMES, _image())
    assert answer.tries == 1
    assert answer.cycles == 24


def test_a_silent_device_is_given_up() -> None:
    device = _device(lambda number, data: b"")
    with pytest.raises(LinkError, match=r"in 3 tries: no answer came within 0.02 s. Check the"):
        _link(device).ping()
    assert len(device.requests) == 3


def test_another_design_is_refused() -> None:
    device = _device(info=replace(_INFO, design=1))
    with pytest.raises(LinkError, match=r"The board holds another design \(hash 0000000000000001"):
        _link(device).check(_DESIGN)


def test_another_version_is_refused() -> None:
    with pytest.raises(LinkError, match="must speak version 2 of the protocol, not 1"):
        _link(_device(info=replace(_INFO, version=1))).ping()


def test_a_refusal_is_not_asked_again() -> None:
    slow = Frame(Command.ERROR, 1, bytes([ErrorCode.OVERRUN])).encode()
    device = _device(lambda number, data: slow)
    with pytest.raises(LinkError, match="The board refused: pixels came faster"):
        _link(device).run(_FRAMES, _image())
    assert len(device.requests) == 1


def test_programs_are_not_loaded_into_wired_weights() -> None:
    device = _device()
    with pytest.raises(LinkError, match="The board refused: its design loads no programs"):
        _link(device).load(_DESIGN, Program(((),), 1, 1))
    assert [frame.command for frame in device.requests] == [Command.PING]


def test_a_board_that_is_at_work_is_asked_again() -> None:
    busy = Frame(Command.ERROR, 1, bytes([ErrorCode.BUSY])).encode()
    answer = _link(_device(lambda number, data: data if number else busy)).run(_FRAMES, _image())
    assert answer.tries == 2


class _Loaded(ModelDevice):
    """A board that takes programs, and loses its power at some of its requests."""

    def __init__(self, loading: Loading, cuts: set[int]) -> None:
        super().__init__(loading_info(loading, loading.program, 1), lambda payload: Result(0, b""))
        self.start, self.loading, self.cuts = self.info, loading, cuts
        self.begun = False

    def _answer(self, frame: Frame) -> Frame:
        if len(self.requests) in self.cuts:
            self.begun, self.info = False, self.start
        if frame.command != Command.LOAD:
            return super()._answer(frame)
        if frame.payload[0] == BEGIN:
            self.begun = True
            self.info = replace(self.info, program=0)
        elif not self.begun:
            return Frame(Command.ERROR, frame.sequence, bytes([ErrorCode.EMPTY]))
        elif frame.payload[0] == COMMIT:
            code, image, result = STATE.unpack(frame.payload[1:])
            self.info = replace(self.info, program=code, image_bytes=image, result_bytes=result)
        return Frame(Command.LOADED, frame.sequence)


_LOADING = Loading("core", 77, (WritableMemory("words", 20, 300),), 8, 9, Program(((),), 1, 1))
_TAKING = replace(_DESIGN, loading=_LOADING)
_PROGRAM = Program((tuple(range(300)),), 2, 3)


@pytest.mark.parametrize("cuts", [set(), {3}, {2, 6}])
def test_a_program_is_loaded_again_where_power_was_lost(cuts: set[int]) -> None:
    device = _Loaded(_LOADING, cuts)
    done: list[tuple[int, int]] = []
    with pytest.raises(LinkError, match=r"another program \(hash [0-9a-f]{16}\), and that of the"):
        _link(device).check(_TAKING, _PROGRAM)
    info = _link(device).load(_TAKING, _PROGRAM, lambda *parts: done.append(parts))
    assert info == loading_info(_LOADING, _PROGRAM, 1)
    assert done[-1] == (5, 5)  # begin, 127 words a part, commit
    words = [f for f in device.requests if f.command == Command.LOAD][-4:-1]
    content = b"".join(frame.payload[4:] for frame in words)
    assert content == b"".join(word.to_bytes(4, "little") for word in range(300))
    assert [int.from_bytes(frame.payload[1:4], "little") for frame in words] == [0, 127, 254]


def test_a_board_that_keeps_losing_power_is_given_up() -> None:
    with pytest.raises(LinkError, match="lost the program 3 times while it was loaded"):
        _link(_Loaded(_LOADING, set(range(100)))).load(_TAKING, _PROGRAM)


def test_noise_without_an_end_is_given_up() -> None:
    """A line that never falls silent, and noise that looks like the start of a long frame."""
    for noise in (b"\x00", b"\xa5\x01\x01\xff\xff\xff\x00"):
        device = _device()
        device.read = lambda size, noise=noise: noise  # type: ignore[method-assign]
        with pytest.raises(LinkError, match="no answer came within"):
            _link(device).ping()


def test_an_answer_behind_a_false_start_is_found() -> None:
    answer = _link(_device(lambda number, data: b"\xa5\x82\x01\xff\xff\xff" + data)).run(
        _FRAMES, _image()
    )
    assert (answer.cycles, answer.tries) == (24, 1)


def test_there_is_a_pause_before_each_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("hwgen.link.driver.time.sleep", pauses.append)
    assert _link(_device(_lose)).run(_FRAMES, _image()).tries == 2
    assert pauses == [0.2]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Frame(Command.INFO, 1, b""), "must answer 0x82, not 0x81"),
        (Frame(Command.ERROR, 1, b"\xff"), "must give a known reason, not 255"),
        (Frame(Command.RESULT, 1, b"abc"), "A RESULT must have at least 4 bytes, not 3"),
        (Frame(Command.RESULT, 1, b"abcdef"), "A result must have 10 bytes, not 2"),
    ],
)
def test_nonsense_is_named(answer: Frame, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        _link(_device(lambda number, data: answer.encode())).run(_FRAMES, _image())


def test_a_value_that_does_not_fit_stays_here() -> None:
    device = _device()
    with pytest.raises(DataError, match="Channel 0 holds"):
        _link(device).run(_FRAMES, _image() + 100)
    assert not device.requests


def test_ports_that_do_not_open() -> None:
    with pytest.raises(LinkError, match=r"There is no serial port '/dev/ttyNone': is the board"):
        Link.open("/dev/ttyNone", baud=115_200)
    with pytest.raises(LinkError, match=r"'/dev/null' cannot be opened at 115200 baud"):
        Link.open("/dev/null", baud=115_200)


def test_a_real_port_without_a_device_is_silent() -> None:
    board, host = os.openpty()
    try:
        tty.setraw(host)
        link = Link.open(os.ttyname(host), baud=115_200, timeout=0.1, retries=0)
        with link, pytest.raises(LinkError, match=r"in 1 tries: no answer came within 0.1 s"):
            link.ping()
        assert os.read(board, 100) == Frame(Command.PING, 1).encode()
    finally:
        os.close(board)
        os.close(host)
