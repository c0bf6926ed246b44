"""The host's side of the link."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from hwgen.errors import LinkError
from hwgen.link.loading import load_payloads, loading_info
from hwgen.link.payload import Frames, design_info
from hwgen.link.protocol import (
    CYCLES_BYTES,
    OVERHEAD,
    VERSION,
    Command,
    Decoder,
    ErrorCode,
    Frame,
    Info,
    Result,
)
from hwgen.link.spi_port import is_spi, open_spi
from hwgen.numeric import IntArray
from hwgen.stream.design import StreamDesign
from hwgen.stream.programs import Program

__all__ = ["Answer", "Link", "Port"]

_T = TypeVar("_T")
_QUIET = 0.2  # seconds after which every device has forgotten a frame that stopped
_CHUNK = 4096  # bytes that are written at once, so that a port that takes none is found soon
_INFO_BYTES = len(Info(0, 0, 0, 0).encode())
# what noise on the line can do, and what passes
_AGAIN = (ErrorCode.CHECKSUM, ErrorCode.COMMAND, ErrorCode.LENGTH, ErrorCode.BUSY)


class _ProgramLostError(LinkError):
    """The board has not begun to load a program."""


class Port(Protocol):
    """What a link needs of a serial port: those of pyserial are ports, other files may be."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; fewer, or none, if they do not come within a moment."""
        ...

    def write(self, data: bytes, /) -> int | None:
        """Send all of ``data``."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


@dataclass(frozen=True, eq=False)
class Answer:
    """What the board made of an image.

    ``output`` is the integer result (C, H, W); ``cycles`` of the board's clock passed from the
    first pixel that the design accepted to the last word of its result, and ``seconds`` on the host
    from the image's first byte to the result's last; ``tries`` were made.
    """

    output: IntArray
    cycles: int
    seconds: float
    tries: int


class Link:
    """A board that answers requests, over a :class:`Port`.

    A request that is not answered within ``timeout`` seconds and the time that its bytes take, or
    that arrived damaged, is repeated up to ``retries`` times after a pause in which the board
    forgets what it may have begun to hear. Every request may be repeated, as none changes what the
    next one does. ``baud`` is the rate of the port, if it has one.
    """

    def __init__(
        self, port: Port, *, baud: int | None = None, timeout: float = 2.0, retries: int = 3
    ) -> None:
        self._port = port
        self._byte = 0.0 if baud is None else 10 / baud  # seconds
        self._timeout = timeout
        self._retries = retries
        self._sequence = 0

    @classmethod
    def open(cls, device: str, *, baud: int, timeout: float = 2.0, retries: int = 3) -> Self:
        """The board at the serial port, or the SPI controller, ``device``.

        Raises
        ------
        LinkError
            If there is no such port, or it cannot be opened, or a package is missing that it needs.
        """
        if is_spi(device):
            port = open_spi(device, hz=baud)
            return cls(port, baud=baud, timeout=timeout, retries=retries)
        import serial

        try:
            line = serial.Serial(
                device,
                baud,
                timeout=0.05,
                write_timeout=timeout + 10 * 2 * _CHUNK / baud,
            )
        except (serial.SerialException, ValueError) as error:
            raise LinkError(_why_closed(device, baud, error)) from None
        # without it a USB adapter keeps short answers for 16 ms; not every port has it
        with contextlib.suppress(NotImplementedError, AttributeError, OSError, ValueError):
            line.set_low_latency_mode(True)
        return cls(line, baud=baud, timeout=timeout, retries=retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    def ping(self) -> Info:
        """What the board says of itself.

        Raises
        ------
        LinkError
            If it does not answer, or speaks another version of the protocol.
        """
        payload, _ = self._request(Command.PING, b"", Command.INFO, _INFO_BYTES)
        if payload[:1] != bytes([VERSION]):
            raise LinkError(
                f"The board must speak version {VERSION} of the protocol, not "
                f"{int.from_bytes(payload[:1], 'little')}: build it again with this version of "
                "hwgen"
            )
        return _decoded(Info.decode, payload)

    def check(self, design: StreamDesign, program: Program | None = None) -> Info:
        """What the board says of itself, if it holds ``design``.

        If the design takes programs it must hold ``program``, by default that of the design.

        Raises
        ------
        LinkError
            If it does not answer, or holds another design or another program.
        """
        info = self._check_hardware(design)
        loading = design.loading
        if loading is None:
            return info
        wanted = loading_info(loading, program or loading.program, info.clock_hz)
        if info != wanted:
            held = f"another program (hash {info.program:016x})" if info.program else "no program"
            raise LinkError(
                f"The board holds {held}, and that of the network has the hash "
                f"{wanted.program:016x}: load it with --load"
            )
        return info

    def _check_hardware(self, design: StreamDesign) -> Info:
        info, loading = self.ping(), design.loading
        if loading is None:
            wanted = design_info(design, info.clock_hz)
        else:
            wanted = loading_info(loading, loading.program, info.clock_hz)
        # with programs the rest is theirs
        same = info == wanted if loading is None else info.design == wanted.design
        if not same:
            raise LinkError(
                f"The board holds another design (hash {info.design:016x}, and {design.name} has "
                f"{wanted.design:016x}): configure it with the bitstream of this one"
            )
        return info

    def load(
        self,
        design: StreamDesign,
        program: Program,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> Info:
        """Load ``program`` into a board with ``design``; what the board says of itself then.

        A part that is not acknowledged is sent again; a board that has lost what it had of the
        program, as it does without power, gets all of it once more. ``progress`` is called with the
        parts that are loaded and their number.

        Raises
        ------
        LinkError
            If the board does not answer, holds another design or takes no programs.
        """
        self._check_hardware(design)
        if design.loading is None:
            raise LinkError(f"The board refused: {ErrorCode.UNSUPPORTED.sentence}")
        parts = tuple(load_payloads(design.loading, program))
        for _ in range(self._retries + 1):
            try:
                for number, part in enumerate(parts, 1):
                    self._request(Command.LOAD, part, Command.LOADED, 0)
                    progress(number, len(parts))
            except _ProgramLostError:
                continue
            return self.check(design, program)
        raise LinkError(f"The board lost the program {self._retries + 1} times while it was loaded")

    def run(self, frames: Frames, image: IntArray) -> Answer:
        """Result of the integer ``image`` (C, H, W), whose bytes are those of ``frames``.

        Raises
        ------
        DataError
            If a value does not fit its channel.
        LinkError
            If the board does not answer, or not as it should.
        """
        request, expected = frames.encode(image), frames.result_bytes
        start = time.monotonic()
        payload, tries = self._request(
            Command.IMAGE, request, Command.RESULT, CYCLES_BYTES + expected
        )
        seconds = time.monotonic() - start
        result = _decoded(Result.decode, payload)
        if len(result.words) != expected:
            raise LinkError(f"A result must have {expected} bytes, not {len(result.words)}")
        return Answer(frames.decode(result.words), result.cycles, seconds, tries)

    def run_all(self, frames: Frames, images: IntArray) -> Iterator[Answer]:
        """Results of integer ``images`` (N, C, H, W), each as soon as it is there.

        Raises
        ------
        DataError, LinkError
            As :meth:`run`.
        """
        for image in images:
            yield self.run(frames, image)

    def _request(self, command: int, payload: bytes, wanted: int, size: int) -> tuple[bytes, int]:
        """Payload of the answer, of about ``size`` bytes, and the number of tries that it took."""
        why = ""
        for tries in range(1, self._retries + 2):
            if tries > 1:
                time.sleep(_QUIET)
            self._sequence = (self._sequence + 1) % 256
            self._send(Frame(command, self._sequence, payload))
            moved = len(payload) + size + 2 * OVERHEAD
            answer = self._receive(self._sequence, self._timeout + self._byte * moved)
            if answer is None:
                why = f"no answer came within {self._timeout:g} s"
                continue
            if answer.command == wanted:
                return answer.payload, tries
            if answer.command != Command.ERROR or len(answer.payload) != 1:
                raise LinkError(f"The board must answer {wanted:#x}, not {answer.command:#x}")
            try:
                code = ErrorCode(answer.payload[0])
            except ValueError:
                raise LinkError(
                    f"The board must give a known reason, not {answer.payload[0]}"
                ) from None
            why = code.sentence
            if code == ErrorCode.EMPTY and command == Command.LOAD:
                raise _ProgramLostError(f"The board refused: {why}")
            if code not in _AGAIN:
                raise LinkError(f"The board refused: {why}")
        raise LinkError(
            f"The board did not do as asked in {self._retries + 1} tries: {why}. Check the port, "
            "its rate, and that the board is configured"
        )

    def _send(self, frame: Frame) -> None:
        self._drain()
        data = frame.encode()
        try:
            for start in range(0, len(data), _CHUNK):
                self._port.write(data[start : start + _CHUNK])
        except OSError as error:
            raise LinkError(f"Writing to the board failed: {error}") from None

    def _drain(self) -> None:
        """Forget what came too late for the last request."""
        reset = getattr(self._port, "reset_input_buffer", None)
        if reset is not None:
            with contextlib.suppress(OSError):
                reset()

    def _receive(self, sequence: int, timeout: float) -> Frame | None:
        """The answer to request ``sequence``, None if it is not there in ``timeout`` seconds."""
        decoder = Decoder()
        deadline = time.monotonic() + timeout
        late = False
        while not late:
            late = time.monotonic() >= deadline
            try:
                data = self._port.read(min(decoder.wanted, _CHUNK))
            except OSError as error:
                raise LinkError(f"Reading from the board failed: {error}") from None
            frames = decoder.feed(data)
            # noise may look like the start of a frame that never ends
            for frame in frames + (decoder.search() if late or not data else []):
                # the sequence number of a damaged request may be damaged too
                if frame.sequence == sequence or frame.payload == bytes([ErrorCode.CHECKSUM]):
                    return frame
        return None


def _decoded(decode: Callable[[bytes], _T], payload: bytes) -> _T:
    try:
        return decode(payload)
    except ValueError as error:
        raise LinkError(f"The board answered what it should not: {error}") from None


def _why_closed(device: str, baud: int, error: Exception) -> str:
    """One sentence on why a port did not open."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return (
            f"There is no serial port {device!r}: is the board plugged in? 'python -m "
            "serial.tools.list_ports' lists the ports"
        )
    if number == errno.EACCES:
        return (
            f"The serial port {device!r} may not be opened: add yourself to its group "
            "('sudo usermod -aG dialout $USER', then log in again)"
        )
    return f"The serial port {device!r} cannot be opened at {baud} baud: {error}"
