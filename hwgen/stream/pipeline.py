"""The streaming network: every stage of a plan, connected."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.stream.blocks import Stage, component
from hwgen.stream.common import pixel_layout, pixel_signature
from hwgen.stream.plan import PipelinePlan

__all__ = ["Pipeline"]


class Pipeline(wiring.Component):
    """A whole network as a stream of pixels.

    Takes images and gives the network's output tensor of each, pixel by pixel in raster order, as
    fast as the slowest stage (:py:`plan.timing.interval` cycles an image). The result of the last
    image comes out without a next one. Any gap in the input and any pause of the output is obeyed.

    Parameters
    ----------
    plan : :class:`PipelinePlan`
        What to build.
    taps : bool
        Whether the tensors that the stages give are visible at outputs of their own.

    Members
    -------
    i : :py:`In(pixel_signature(plan.input_ranges))`
    o : :py:`Out(pixel_signature(plan.output_stage.output_ranges))`
    tap0, tap1, ... : :py:`Out(wiring.Signature)`
        With ``taps``, for each stage that gives a tensor, in order: ``payload``, and ``valid`` in
        each cycle in which a pixel passes.
    """

    def __init__(self, plan: PipelinePlan, *, taps: bool = False) -> None:
        self.plan = plan
        self.taps = taps
        members: dict[str, Any] = {
            "i": In(pixel_signature(plan.input_ranges)),
            "o": Out(pixel_signature(plan.output_stage.output_ranges)),
        }
        for index, stage in enumerate(self.tapped):
            layout = pixel_layout(stage.output_ranges)
            tap = wiring.Signature({"payload": Out(layout), "valid": Out(1)})
            members[f"tap{index}"] = Out(tap)
        super().__init__(members)

    @property
    def tapped(self) -> tuple[Stage, ...]:
        """The stages that have a tap."""
        return tuple(stage for stage in self.plan.stages if stage.gives) if self.taps else ()

    @property
    def latency(self) -> int:
        """Cycles from the first pixel in to the first pixel out, if neither side waits."""
        return self.plan.timing.first

    def elaborate(self, platform: object) -> Module:
        m = Module()
        streams: dict[str, Any] = {"": self.i}
        for stage in self.plan.stages:
            block: Any = component(stage)
            m.submodules[stage.name] = block
            numbered = hasattr(block, "i0")
            for k, source in enumerate(stage.sources):
                _connect(m, streams[source], getattr(block, f"i{k}" if numbered else "i"))
            if stage.form == "fork":
                for k in range(stage.depth):
                    streams[f"{stage.name}.{k}"] = getattr(block, f"o{k}")
            else:
                streams[stage.name] = block.o
        _connect(m, streams[self.plan.output], self.o)
        for index, stage in enumerate(self.tapped):
            tap, watched = getattr(self, f"tap{index}"), streams[stage.name]
            m.d.comb += [
                tap.payload.eq(watched.payload.as_value()),
                tap.valid.eq(watched.valid & watched.ready),
            ]
        return m


def _connect(m: Module, source: Any, sink: Any) -> None:
    """Connect two streams whose payloads have the same bits, whatever their fields are called."""
    a, b = source.payload.as_value(), sink.payload.as_value()
    if len(a) != len(b):
        raise ValueError(f"Streams of {len(a)} and {len(b)} bits cannot be connected")
    m.d.comb += [b.eq(a), sink.valid.eq(source.valid), source.ready.eq(sink.ready)]
