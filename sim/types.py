"""What a simulation is told and what it reports: stalls, differences, results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwgen.numeric import IntArray

__all__ = [
    "BenchResult",
    "Difference",
    "FastResult",
    "LayerCheck",
    "Outcome",
    "Stall",
    "VerifyReport",
    "interval",
]

_LIMIT = 0.75
_LONG = 32  # cycles of the longest pause
_LONG_ONE_IN = 8  # one pause in so many is long
_MEAN = (1 - 1 / _LONG_ONE_IN) + (2 + _LONG) / 2 / _LONG_ONE_IN  # cycles a pause, on average


@dataclass(frozen=True)
class Stall:
    """How often a bench withholds words and acceptance.

    ``source`` and ``sink`` are the average fractions of cycles, 0 to 0.75, in which the source
    pauses between two words and in which the sink is not ready. A pause lasts one cycle, or, one
    time in eight, 2 to 32 cycles, so that buffers run empty and full.

    Raises
    ------
    ValueError
        If a fraction is out of range.
    """

    source: float = 0.0
    sink: float = 0.0

    def __post_init__(self) -> None:
        for fraction in (self.source, self.sink):
            if not 0 <= fraction <= _LIMIT:
                raise ValueError(f"Stall fraction must be within 0 .. {_LIMIT}, not {fraction!r}")

    @property
    def thresholds(self) -> tuple[int, int]:
        """Probability, in units of ``2**-32``, that a pause begins (source, sink)."""
        pauses = [f / (1 - f) / _MEAN for f in (self.source, self.sink)]  # a working cycle
        source, sink = (int(p / (1 + p) * 2**32) for p in pauses)
        return source, sink


@dataclass(frozen=True)
class Difference:
    """One number of a stream that is not what the golden model says.

    ``node`` is the tensor of the integer network; ``cycle`` counts rising clock edges from the
    release of reset.
    """

    node: str
    frame: int
    channel: int
    row: int
    column: int
    expected: int
    got: int
    cycle: int | None = None

    def __str__(self) -> str:
        return (
            f"{self.node}: image {self.frame}, channel {self.channel}, row {self.row}, "
            f"column {self.column}: expected {self.expected}, got {self.got}"
        )


@dataclass(frozen=True)
class LayerCheck:
    """Comparison of one stream: words (pixels of all channels) compared and found different."""

    node: str
    words_compared: int
    words_differed: int
    first_difference: Difference | None = None


@dataclass(frozen=True)
class Outcome:
    """What a comparison of streams found.

    ``layers`` holds the taps in the order of the network, then the output stream. ``fault`` says,
    in a sentence, what was wrong with the streams themselves: words that never came or that
    nobody expected, or a broken handshake.
    """

    layers: tuple[LayerCheck, ...]
    fault: str | None

    @property
    def passed(self) -> bool:
        """Whether every expected word arrived, was right, and none came after."""
        return self.fault is None and self.words_differed == 0 and self.words_compared > 0

    @property
    def words_compared(self) -> int:
        """Words of all streams that were compared."""
        return sum(layer.words_compared for layer in self.layers)

    @property
    def words_differed(self) -> int:
        """Words of all streams that differed."""
        return sum(layer.words_differed for layer in self.layers)

    @property
    def first_difference(self) -> Difference | None:
        """First difference of the earliest layer that has any."""
        return next((c.first_difference for c in self.layers if c.first_difference), None)


@dataclass(frozen=True)
class BenchResult(Outcome):
    """What a cocotb bench found.

    ``cycles`` counts from the release of reset to the last word.
    """

    cycles: int
    cycles_per_image: float
    seed: int
    waveform: str | None = None


@dataclass(frozen=True, eq=False)
class FastResult:
    """What a run on the C++ harness gave.

    ``outputs`` (N, C, H, W); ``taps`` the same for each tapped tensor. Cycles count rising clock
    edges, the first after the release of reset being 0: ``accept_cycles`` (N,) those in which the
    first word of each image was accepted, ``frame_cycles`` (N,) those in which the last word of
    each output passed, ``first_valid_cycle`` the first with ``o__valid``.
    """

    outputs: IntArray
    taps: Mapping[str, IntArray]
    first_valid_cycle: int
    accept_cycles: IntArray
    frame_cycles: IntArray
    cycles: int
    seed: int

    @property
    def cycles_per_image(self) -> float:
        """Average distance of two images' last words, or all cycles of a single image."""
        return interval(self.frame_cycles)


def interval(frame_cycles: IntArray) -> float:
    """Cycles an image in a stream of images whose last words passed at ``frame_cycles`` (N,)."""
    count = len(frame_cycles)
    if count == 0:
        return 0.0
    if count == 1:
        return float(frame_cycles[0] + 1)
    return float(frame_cycles[-1] - frame_cycles[0]) / (count - 1)


@dataclass(frozen=True)
class VerifyReport(Outcome):
    """Outcome of a verification, for the records.

    ``cycles`` is the number of all cycles simulated, ``cycles_per_image`` the average distance of
    two images, both under the stalls of the bench. ``waveform`` is the path of a VCD file that
    shows the first difference.
    """

    mode: str
    images: int
    cycles: int
    cycles_per_image: float
    seed: int
    stall: Stall
    simulator: str
    waveform: str | None = None

    @property
    def summary(self) -> str:
        """The outcome in one sentence."""
        if self.passed:
            return (
                f"{self.images} images verified, {self.words_compared} words compared, 0 differed"
            )
        parts = []
        if self.first_difference is not None:
            parts.append(
                f"{self.words_differed} of {self.words_compared} words differ; "
                f"first {self.first_difference}"
            )
        if self.fault is not None:
            parts.append(self.fault)
        return "; ".join(parts) or "no word was compared"
