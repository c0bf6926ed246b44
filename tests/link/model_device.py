"""A device in Python behind a port without a wire: what the driver is tested with."""

from __future__ import annotations

from collections.abc import Callable

from hwgen.link.protocol import Command, Decoder, ErrorCode, Frame, Info, Result

__all__ = ["ModelDevice"]


class ModelDevice:
    """A port whose other end answers as a device does; ``compute`` makes words of an image.

    ``damage`` sees each answer, numbered from 0, as bytes before it goes, and may change it.
    """

    def __init__(
        self,
        info: Info,
        compute: Callable[[bytes], Result],
        damage: Callable[[int, bytes], bytes] = lambda number, data: data,
    ) -> None:
        self.info = info
        self.compute = compute
        self.damage = damage
        self.requests: list[Frame] = []
        self.closed = False
        self._decoder = Decoder()
        self._out = bytearray()

    def read(self, size: int, /) -> bytes:
        data = bytes(self._out[:size])
        del self._out[:size]
        return data

    def write(self, data: bytes, /) -> int:
        for frame in self._decoder.feed(data):
            answer = self._answer(frame)
            self._out += self.damage(len(self.requests), answer.encode())
            self.requests.append(frame)
        return len(data)

    def reset_input_buffer(self) -> None:
        self._out.clear()

    def close(self) -> None:
        self.closed = True

    def _answer(self, frame: Frame) -> Frame:
        match frame.command:
            case Command.PING if not frame.payload:
                return Frame(Command.INFO, frame.sequence, self.info.encode())
            case Command.IMAGE if len(frame.payload) == self.info.image_bytes:
                result = self.compute(frame.payload)
                return Frame(Command.RESULT, frame.sequence, result.encode())
            case Command.PING | Command.IMAGE:
                code = ErrorCode.LENGTH
            case Command.LOAD:
                code = ErrorCode.UNSUPPORTED
            case _:
                code = ErrorCode.COMMAND
        return Frame(Command.ERROR, frame.sequence, bytes([code]))
