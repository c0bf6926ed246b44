"""Cycle model of a pipeline: exact cycles an image, exact latency, and the branch buffers' depths.

The control of all stages runs together (:mod:`hwgen.stream.control`) until it repeats itself, so
the figures hold whatever windows, branches and buffers do to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwgen.errors import VerifyError
from hwgen.stream.blocks import Stage
from hwgen.stream.control import Control, Reader

__all__ = ["Timing", "balance", "frame_ends", "predict"]

_AMPLE = 1 << 30
_PATIENCE = 6


@dataclass(frozen=True)
class Timing:
    """Cycles of a pipeline whose source and sink never wait.

    Parameters
    ----------
    first : int
        Cycles from the first pixel of the first image offered to the first of its result.
    image : int
        Cycles from the first pixel of the first image offered to the last of its result.
    period_cycles, period_images : int
        In the steady state, the pipeline repeats itself every ``period_cycles`` cycles, in which
        it takes ``period_images`` images (nearly always 1).
    """

    first: int
    image: int
    period_cycles: int
    period_images: int

    @property
    def interval(self) -> float:
        """Cycles an image in the steady state."""
        return self.period_cycles / self.period_images


def predict(stages: Sequence[Stage], reader: Reader | None = None) -> Timing:
    """Timing of the pipeline made of ``stages``, which are in topological order.

    With a ``reader`` it is the timing of both together: results are the reader's.

    What comes in and out of a stage does not depend on when it does, so a pipeline that does not
    stop here does not stop with any gaps in its input and any pauses of its output.

    Raises
    ------
    VerifyError
        If the pipeline stops: a branch buffer is too small.
    """
    run = _Run(stages, reader=reader)
    while run.timing is None:
        run.step()
    return run.timing


def frame_ends(stages: Sequence[Stage], images: int, reader: Reader | None = None) -> list[int]:
    """Cycles in which the last beat of each of the first results goes out, as :func:`predict`."""
    control = Control(stages, reader=reader)
    ends: list[int] = []
    while len(ends) < images:
        control.run()
        if control.images_out > len(ends):
            ends.append(control.cycles - 1)
    return ends


def balance(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages with every buffer before a join just deep enough never to slow the pipeline.

    First the pipeline runs with boundless buffers, images coming no faster than its slowest part
    can take them. How many more items a buffer then ever holds than its join's emptiest one is
    what its branch must store: what the other branches swallow before their first item comes out,
    and what their registers hold. From there depths grow until the bounded pipeline is as fast.
    """
    joins = _joins(stages)
    names = {name for join in joins for name in join}
    if not names:
        return tuple(stages)
    boundless = [replace(s, depth=_AMPLE) if s.name in names else s for s in stages]
    pace = max(stage.cycles for stage in stages)
    while True:
        run = _Run(boundless, pace=pace, joins=joins)
        while run.timing is None and not run.falls_behind:
            run.step()
        if run.timing is not None:
            break
        pace = max(pace + 1, run.last_interval)
    skew = {name: run.control.skew(name) for name in names}
    most = {name: run.control.most(name) for name in names}
    extra = 0
    while True:
        depths = {name: max(2, min(skew[name] + extra, most[name] + 2)) for name in names}
        bounded = _with_depths(stages, depths)
        if all(depths[name] >= most[name] + 2 for name in names) or _keeps_up(bounded, pace):
            return bounded
        extra += 1 + extra // 4


def _joins(stages: Sequence[Stage]) -> list[tuple[str, ...]]:
    """The buffers before each join."""
    buffers = {stage.name for stage in stages if stage.form == "buffer"}
    return [
        tuple(source for source in stage.sources if source in buffers)
        for stage in stages
        if stage.form in ("add", "concat") and buffers & set(stage.sources)
    ]


def _keeps_up(stages: Sequence[Stage], interval: int) -> bool:
    try:
        return predict(stages).interval <= interval
    except VerifyError:
        return False


def _with_depths(stages: Sequence[Stage], depths: dict[str, int]) -> tuple[Stage, ...]:
    return tuple(
        replace(s, depth=depths[s.name], latency=1 if depths[s.name] == 2 else 2)
        if s.name in depths
        else s
        for s in stages
    )


class _Run:
    """A run until, after the last pixel of an image, the state is one seen before.

    With ``pace``, image k is offered from cycle ``k * pace`` on, otherwise as soon as possible.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        pace: int = 0,
        joins: Sequence[Sequence[str]] = (),
        reader: Reader | None = None,
    ) -> None:
        self.control = Control(stages, pace=pace, joins=joins, reader=reader)
        self.pace = pace
        self.timing: Timing | None = None
        self._given: list[int] = []
        self._first = -1
        self._seen: dict[object, tuple[int, int]] = {}

    @property
    def falls_behind(self) -> bool:
        """Whether many images came in and out without the pipeline repeating itself."""
        return len(self._given) > _PATIENCE and self.control.images_in > 2 * _PATIENCE

    @property
    def last_interval(self) -> int:
        """Cycles between the last two results."""
        return self._given[-1] - self._given[-2]

    def step(self) -> None:
        """Go on to the next image in or out."""
        control = self.control
        images = control.images_in
        control.run()
        if self._first < 0 and control.results:
            self._first = control.cycles - 1
        if control.images_out > len(self._given):
            self._given.append(control.cycles - 1)
        if control.images_in > images and self._given:
            self._compare(control.images_in)

    def _compare(self, images: int) -> None:
        cycle = self.control.cycles
        key = (self.control.state(), cycle - images * self.pace if self.pace else 0)
        if key in self._seen:
            then, before = self._seen[key]
            self.timing = Timing(self._first, self._given[0], cycle - then, images - before)
        self._seen[key] = (cycle, images)
