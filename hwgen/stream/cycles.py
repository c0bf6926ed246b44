"""Cycle model of a pipeline: exact cycles an image, exact latency, and the branch buffers' depths.

The control of all stages runs together (:mod:`hwgen.stream.control`) until it repeats itself, so
the figures hold whatever windows, branches and buffers do to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwgen.errors import VerifyError
from hwgen.stream.blocks import Stage
from hwgen.stream.control import Control

__all__ = ["Timing", "balance", "predict"]

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


def predict(stages: Sequence[Stage]) -> Timing:
    """Timing of the pipeline made of ``stages``, which are in topological order.

    What comes in and out of a stage does not depend on when it does, so a pipeline that does not
    stop here does not stop with any gaps in its input and any pauses of its output.

    Raises
    ------
    VerifyError
        If the pipeline stops: a branch buffer is too small.
    """
    run = _Run(Control(stages))
    while run.timing is None:
        run.step()
    return run.timing


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
        control = Control(boundless)
        skew, most = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        run = _Run(control, pace=pace)
        while run.timing is None and not run.falls_behind:
            run.step()
            for join in joins:
                held = {name: control.held(name) for name in join}
                least = min(held.values())
                for name, count in held.items():
                    skew[name] = max(skew[name], count - least)
                    most[name] = max(most[name], count)
        if run.timing is not None:
            break
        pace = max(pace + 1, run.last_interval)
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

    def __init__(self, control: Control, *, pace: int = 0) -> None:
        self.control, self.pace = control, pace
        self.timing: Timing | None = None
        self._pixels = control.stages[0].shape[1] * control.stages[0].shape[2]
        self._results = control.output_shape[1] * control.output_shape[2]
        self._cycle = self._taken = 0
        self._given: list[int] = []
        self._first = -1
        self._count = 0
        self._seen: dict[object, tuple[int, int]] = {}
        self._before: object = None

    @property
    def falls_behind(self) -> bool:
        """Whether many images came in and out without the pipeline repeating itself."""
        images = self._taken // self._pixels
        return len(self._given) > _PATIENCE and images > 2 * _PATIENCE

    @property
    def last_interval(self) -> int:
        """Cycles between the last two results."""
        return self._given[-1] - self._given[-2]

    def step(self) -> None:
        image, pixel = divmod(self._taken, self._pixels)
        offer = pixel > 0 or self._cycle >= image * self.pace
        came_in, came_out = self.control.step(offer=offer)
        if came_out:
            self._first = self._cycle if self._count == 0 else self._first
            self._count += 1
            if self._count % self._results == 0:
                self._given.append(self._cycle)
        self._cycle += 1
        if came_in:
            self._before = None
            self._taken += 1
            if self._taken % self._pixels == 0 and self._given:
                self._compare(image + 1)
        elif offer:
            state = self.control.state()
            if state == self._before and not came_out:
                raise VerifyError(
                    f"The pipeline stops in cycle {self._cycle}: a buffer is too small"
                )
            self._before = state

    def _compare(self, images: int) -> None:
        key = (self.control.state(), self._cycle - images * self.pace if self.pace else 0)
        if key in self._seen:
            cycle, before = self._seen[key]
            self.timing = Timing(self._first, self._given[0], self._cycle - cycle, images - before)
        self._seen[key] = (self._cycle, images)
