"""Machines of :mod:`hwgen.stream.control`: what all have, and those of streams of digits."""

from __future__ import annotations

from typing import Protocol

from hwgen.stream.blocks import Stage
from hwgen.stream.digits import digit_count

__all__ = ["DigitAdders", "DigitWindow", "Fixed", "Flags", "Machine", "Serialise"]

Flags = list[bool]


class Machine(Protocol):
    """Control of one stage; ``valid`` and ``ready`` are the flags of all streams by number."""

    def offer(self, valid: Flags) -> None:
        """Set ``valid`` of the outputs, from the state and, for a fork, the input's."""

    def accept(self, valid: Flags, ready: Flags) -> None:
        """Set ``ready`` of the inputs, from the state and the outputs' ready."""

    def tick(self, valid: Flags, ready: Flags) -> None:
        """Advance one clock edge."""

    def state(self) -> object:
        """All that decides the future."""


class Fixed:
    """A pipeline of fixed latency with one clock enable; bubbles advance."""

    __slots__ = ("bits", "enable", "i", "mask", "o", "top")

    def __init__(self, i: int, o: int, latency: int) -> None:
        self.i, self.o = i, o
        self.top = 1 << (latency - 1)
        self.mask = (1 << latency) - 1
        self.bits = 0
        self.enable = True

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.bits & self.top != 0

    def accept(self, valid: Flags, ready: Flags) -> None:
        self.enable = ready[self.i] = ready[self.o] or not valid[self.o]

    def tick(self, valid: Flags, ready: Flags) -> None:
        if self.enable:
            self.advance(valid[self.i])

    def advance(self, item: bool) -> None:
        """Move all items on, with one or none behind them."""
        self.bits = ((self.bits << 1) | item) & self.mask

    def state(self) -> object:
        return self.bits


class Serialise:
    """The digits of one pixel after the other."""

    __slots__ = ("digits", "i", "left", "o")

    def __init__(self, i: int, o: int, digits: int) -> None:
        self.i, self.o, self.digits = i, o, digits
        self.left = 0

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.left > 0

    def accept(self, valid: Flags, ready: Flags) -> None:
        ready[self.i] = self.left == 0 or (self.left == 1 and ready[self.o])

    def tick(self, valid: Flags, ready: Flags) -> None:
        if valid[self.i] and ready[self.i]:
            self.left = self.digits
        elif self.left and ready[self.o]:
            self.left -= 1

    def state(self) -> object:
        return self.left


class DigitWindow:
    """The beats of a :class:`Scan`, each of as many cycles as its words have digits."""

    __slots__ = (
        "beat", "digits", "enable", "entering", "full", "gives", "i", "o", "place", "takes",
        "waits",
    )  # fmt: skip

    def __init__(self, i: int, o: int, stage: Stage) -> None:
        assert stage.scan is not None
        self.i, self.o = i, o
        self.digits, self.entering = stage.digits, digit_count(stage.values, stage.digit)
        self.takes = stage.scan.takes().tolist()
        self.gives = stage.scan.gives().tolist()
        first = self.takes.index(True)
        self.waits = [True] * first + self.takes[first:]
        self.beat = self.place = 0
        self.full = False
        self.enable = True

    def offer(self, valid: Flags) -> None:
        valid[self.o] = self.full

    def accept(self, valid: Flags, ready: Flags) -> None:
        self.enable = ready[self.o] or not self.full
        enters = self.place < self.entering
        ready[self.i] = self.enable and enters and self.takes[self.beat]

    def tick(self, valid: Flags, ready: Flags) -> None:
        if not self.enable:
            return
        gives = self.gives[self.beat]
        go = valid[self.i] or not self.waits[self.beat] or self.place >= self.entering
        self.full = go and gives
        if not go:
            return
        self.place += 1
        if self.place == (self.digits if gives else self.entering):
            self.place = 0
            self.beat = (self.beat + 1) % len(self.takes)

    def state(self) -> object:
        return (self.beat, self.place, self.full)


class DigitAdders:
    """A pipeline of fixed latency from the first digit of a word to its result."""

    __slots__ = ("digits", "pipeline", "place")

    def __init__(self, i: int, o: int, stage: Stage) -> None:
        self.pipeline = Fixed(i, o, stage.latency)
        self.digits = stage.digits
        self.place = 0

    def offer(self, valid: Flags) -> None:
        self.pipeline.offer(valid)

    def accept(self, valid: Flags, ready: Flags) -> None:
        self.pipeline.accept(valid, ready)

    def tick(self, valid: Flags, ready: Flags) -> None:
        if self.pipeline.enable:
            taken = valid[self.pipeline.i]
            self.pipeline.advance(taken and self.place == 0)
            self.place = (self.place + taken) % self.digits

    def state(self) -> object:
        return (self.place, self.pipeline.state())
