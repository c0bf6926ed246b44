"""Cycles of a pipeline with an NFU behind it, and how long the queue between them must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwgen.nfu.design import PlannedSystem
from hwgen.nfu.frames import pixel_words
from hwgen.nfu.layout import FeatureMap
from hwgen.stream.blocks import Stage
from hwgen.stream.control import Reader
from hwgen.stream.cycles import Timing, frame_ends, predict

__all__ = ["UnitBeats", "hybrid_interval", "hybrid_timing", "least_depth", "queued"]


@dataclass(frozen=True)
class UnitBeats:
    """What an NFU does with an image, a cycle each.

    It takes ``pixels_in`` pixels, each with the last of ``words_in`` words; its program runs for
    ``program_cycles`` and a cycle more; each of ``pixels_out`` pixels of the result takes two
    cycles a word of ``words_out`` and one (:func:`hwgen.nfu.system.frame_cycles`). A result goes
    out ``decision`` cycles later.
    """

    pixels_in: int
    words_in: int
    program_cycles: int
    pixels_out: int
    words_out: int
    decision: int

    @classmethod
    def of(cls, unit: PlannedSystem) -> UnitBeats:
        """Those of an NFU with a program."""
        config, compiled = unit.plan.config, unit.compiled
        return cls(
            _pixels(compiled.input),
            pixel_words(config, compiled.input),
            unit.plan.program_cycles,
            _pixels(compiled.output),
            pixel_words(config, compiled.output),
            unit.system.latency,
        )

    @property
    def fill(self) -> int:
        """Cycles in which it takes an image that is there."""
        return self.pixels_in * self.words_in

    @property
    def reader(self) -> Reader:
        """The same as what reads the results of a pipeline."""
        begin, each = self.fill + self.program_cycles + 1, 2 * self.words_out + 1
        beats = np.arange(begin + self.pixels_out * each)
        fills = beats < self.fill
        return Reader(
            waits=fills,
            takes=fills & (beats % self.words_in == self.words_in - 1),
            gives=~fills & (beats >= begin) & ((beats - begin) % each == each - 2),
        )


def hybrid_timing(stages: Sequence[Stage], unit: UnitBeats) -> Timing:
    """Exact cycles of the pipeline made of ``stages`` and of the NFU behind it."""
    timing = predict(stages, unit.reader)
    later = unit.decision
    return replace(timing, first=timing.first + later, image=timing.image + later)


def hybrid_interval(stages: Sequence[Stage], unit: UnitBeats, images: int) -> float:
    """Average cycles from one to the next of the first ``images`` results, two or more."""
    ends = frame_ends(stages, images, unit.reader)
    return (ends[-1] - ends[0]) / (images - 1)


def least_depth(
    stages: Sequence[Stage], output: str, unit: UnitBeats, *, slack: float = 0.0
) -> int:
    """Pixels of the shortest queue with which images follow each other about as fast as with any.

    They may be slower by ``slack``, as a fraction. With room for a whole image the pipeline works
    on the next one while the program runs.
    """
    reader = unit.reader

    def interval(depth: int) -> float:
        return predict(queued(stages, output, depth)[0], reader).interval

    low, high = 2, max(2, unit.pixels_in)
    longest = interval(high) * (1 + slack)
    if interval(low) <= longest:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        if interval(middle) <= longest:
            high = middle
        else:
            low = middle
    return high


def queued(stages: Sequence[Stage], output: str, depth: int) -> tuple[tuple[Stage, ...], str]:
    """The stages with a queue of ``depth`` pixels at their ``output``, and where it is then.

    A queue that is there anyway is made as deep.
    """
    latency = 1 if depth == 2 else 2
    last = next(stage for stage in stages if stage.name == output)
    if last.form == "buffer":
        deep = replace(last, depth=depth, latency=latency)
        return tuple(deep if stage is last else stage for stage in stages), output
    queue = Stage(
        name=f"{last.name}_queue",
        form="buffer",
        node=last.node,
        layer=last.layer,
        sources=(output,),
        shape=last.output_shape,
        ranges=(last.output_ranges,),
        output_shape=last.output_shape,
        output_ranges=last.output_ranges,
        depth=depth,
        latency=latency,
    )
    return (*stages, queue), queue.name


def _pixels(fm: FeatureMap) -> int:
    return fm.shape[1] * fm.shape[2]
