"""Source, sink, monitor and scoreboard of a stream, free of any simulator."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["Monitor", "Pause", "Scoreboard", "Sink", "Source"]


class Pause:
    """Random pauses: one cycle, or one time in eight 2 to 32.

    Parameters
    ----------
    seed
        Seed of the random numbers.
    threshold
        Probability, in units of ``2**-32``, that a pause begins in a cycle that has none.
    """

    def __init__(self, seed: int, threshold: int) -> None:
        self._random = random.Random(seed)
        self._threshold = threshold
        self._left = 0

    def step(self) -> bool:
        """Whether the present cycle belongs to a pause."""
        if self._left:
            self._left -= 1
            return True
        if self._random.getrandbits(32) >= self._threshold:
            return False
        if self._random.randrange(8) == 0:
            self._left = self._random.randrange(1, 32)
        return True


class Source:
    """Offers ``payloads`` in order; an offer stands until it is accepted.

    Between offers the payload is noise of ``width`` bits, which nobody may take for a word.
    """

    def __init__(self, payloads: Sequence[int], pause: Pause, *, width: int, seed: int) -> None:
        self._payloads = payloads
        self._pause = pause
        self._width = width
        self._noise = random.Random(seed)
        self.sent = 0
        self.offering = False

    @property
    def done(self) -> bool:
        """Whether every payload was accepted."""
        return self.sent == len(self._payloads)

    def drive(self) -> tuple[int, bool]:
        """Payload and valid for the coming clock edge."""
        if not self.offering and not self._pause.step() and not self.done:
            self.offering = True
        if self.offering:
            return self._payloads[self.sent], True
        return self._noise.getrandbits(self._width), False

    def sample(self, ready: bool) -> bool:
        """Take note of ``ready`` at the clock edge; return whether a word was accepted."""
        accepted = self.offering and ready
        if accepted:
            self.sent += 1
            self.offering = False
        return accepted

    def restart(self) -> None:
        """Begin again with the first payload, as after a reset."""
        self.sent = 0
        self.offering = False


class Sink:
    """Takes words when it does not pause, and checks that an offer stands until it is taken."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._held: int | None = None
        self.ready = False
        self.fault: str | None = None

    def drive(self, *, always: bool) -> bool:
        """Ready for the coming clock edge."""
        self.ready = always or not self._pause.step()
        return self.ready

    def sample(self, valid: bool, payload: int) -> bool:
        """Take note of the clock edge; return whether a word was taken."""
        if self._held is not None:
            if not valid:
                self.fault = "retracted"
            elif payload != self._held:
                self.fault = "changed"
        self._held = payload if valid and not self.ready else None
        return valid and self.ready

    def restart(self) -> None:
        """Forget the offer that stood, as after a reset."""
        self._held = None


class Scoreboard:
    """Compares the words of one stream with ``expected``, in order."""

    def __init__(self, expected: Sequence[int]) -> None:
        self._expected = expected
        self.received = 0
        self.compared = 0
        self.differed = 0
        self.first: tuple[int, int, int, int] | None = None  # index, expected, got, cycle
        self.last: int | None = None

    @property
    def full(self) -> bool:
        """Whether all the expected words arrived."""
        return self.received >= len(self._expected)

    def put(self, payload: int, cycle: int) -> None:
        """Compare the next word; a word beyond the last is only counted."""
        index = self.received
        self.received += 1
        self.last = payload
        if index >= len(self._expected):
            return
        self.compared += 1
        if payload != self._expected[index]:
            self.differed += 1
            if self.first is None:
                self.first = (index, self._expected[index], payload, cycle)

    def restart(self) -> None:
        """Expect the first word again, as after a reset; differences stay on the record."""
        self.received = 0
        self.last = None

    def finish(self) -> bool:
        """Whether all expected words arrived, none more, at least one, and all were right."""
        return self.received == len(self._expected) > 0 and self.differed == 0


class Monitor:
    """Passes what is seen on a stream to its scoreboard."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self.scoreboard = scoreboard

    def sample(self, valid: bool, payload: int, cycle: int) -> None:
        """Take note of a clock edge."""
        if valid:
            self.scoreboard.put(payload, cycle)
