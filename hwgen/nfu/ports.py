"""Ports through which the images of a network come and its results go."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.compile import CompiledNetwork
from hwgen.nfu.frames import tensor_ranges
from hwgen.numeric import Range
from hwgen.stream.argmax import ArgMax
from hwgen.stream.common import pixel_signature

__all__ = ["NetworkPorts"]


class NetworkPorts(wiring.Component):
    """What takes images of a compiled network and gives its results.

    Parameters
    ----------
    compiled : :class:`CompiledNetwork`
        Where image and result lie, and whether the network decides.
    others : mapping
        Members beside these.

    Members
    -------
    i : :py:`In(pixel_signature(input_ranges))`
        Pixels of all channels in raster order, image after image.
    o : :py:`Out(pixel_signature(result_ranges))`
        Pixels of the results, alike; if the network decides, the number of the greatest channel.
    """

    def __init__(
        self, compiled: CompiledNetwork, others: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.compiled = compiled
        super().__init__(
            {
                "i": In(pixel_signature(self.input_ranges)),
                "o": Out(pixel_signature(self.result_ranges)),
                **others,
            }
        )

    @property
    def input_ranges(self) -> tuple[Range, ...]:
        """Range of each channel of an image."""
        return tensor_ranges(self.compiled.input)

    @property
    def result_ranges(self) -> tuple[Range, ...]:
        """Range of each channel of what goes out."""
        stored = tensor_ranges(self.compiled.output)
        return ArgMax(stored).output_ranges if self.compiled.decides else stored

    @property
    def latency(self) -> int:
        """Cycles from when the last of a pixel is read to when it goes out."""
        return ArgMax(tensor_ranges(self.compiled.output)).latency if self.compiled.decides else 0
