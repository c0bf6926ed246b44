"""Phase-locked loops: the ranges of their dividers, and the setting that makes a clock.

Sources: Lattice FPGA-TN-02052 (iCE40 sysCLOCK PLL) and the family data sheet, Lattice FPGA-DS-02012
(ECP5 data sheet, sysCLOCK PLL timing), Gowin UG286 (clock) and the data sheets DS117 and DS226.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from hwgen.errors import ResourceError

__all__ = [
    "ECP5_PLL",
    "GW1N9_PLL",
    "GW2A_PLL",
    "ICE40_CORE_PLL",
    "ICE40_PAD_PLL",
    "Pll",
    "PllSetting",
    "choose_setting",
    "settings",
]


@dataclass(frozen=True)
class Pll:
    """A kind of PLL by its ``primitive``.

    The oscillator's clock divided by one of ``reference`` is compared with the clock fed back,
    divided by one of ``feedback``. Where ``loop`` is ``vco`` that is the oscillation itself, and
    where it is ``output`` the oscillation divided by one of ``output``, as the output is.
    ``pfd_mhz``, ``vco_mhz`` and ``output_mhz`` bound the clock at the comparison, the oscillation
    and the output, in MHz and inclusive.
    """

    primitive: str
    loop: Literal["vco", "output"]
    reference: range
    feedback: range
    output: tuple[int, ...]
    pfd_mhz: tuple[float, float]
    vco_mhz: tuple[float, float]
    output_mhz: tuple[float, float]
    part: str = ""


@dataclass(frozen=True)
class PllSetting:
    """A ``pll`` with its dividers, and the clocks in Hz that it makes of the oscillator's."""

    pll: Pll
    input_hz: int
    reference: int
    feedback: int
    output: int

    @property
    def pfd_hz(self) -> Fraction:
        """The clock at the comparison."""
        return Fraction(self.input_hz, self.reference)

    @property
    def vco_hz(self) -> Fraction:
        """The oscillation."""
        return self.pfd_hz * self.feedback * (self.output if self.pll.loop == "output" else 1)

    @property
    def output_hz(self) -> Fraction:
        """The output."""
        return self.vco_hz / self.output


def settings(pll: Pll, input_hz: int) -> Iterator[PllSetting]:
    """Every setting of ``pll`` that keeps within its bounds."""
    for reference in pll.reference:
        if not _within(Fraction(input_hz, reference), pll.pfd_mhz):
            continue
        for feedback in pll.feedback:
            for output in pll.output:
                found = PllSetting(pll, input_hz, reference, feedback, output)
                if _within(found.vco_hz, pll.vco_mhz) and _within(found.output_hz, pll.output_mhz):
                    yield found


def choose_setting(pll: Pll, input_hz: int, target_mhz: float) -> PllSetting:
    """The setting with the fastest clock that is not above ``target_mhz``.

    Of several the one that compares most often, as such a loop is the quietest, and then the one
    that oscillates slowest.

    Raises
    ------
    ResourceError
        If the PLL makes no clock as slow, or as fast.
    """
    target = Fraction(str(target_mhz)) * 1_000_000
    every = tuple(settings(pll, input_hz))
    low, high = (float(end(found.output_hz for found in every) / 1_000_000) for end in (min, max))
    if not low <= target_mhz <= high:
        raise ResourceError(
            f"The clock must be that of the oscillator, {input_hz / 1e6:g} MHz, or what its PLL "
            f"makes, {low:g} to {high:g} MHz: not {target_mhz:g} MHz"
        )
    possible = (found for found in every if found.output_hz <= target)
    return max(possible, key=lambda found: (found.output_hz, found.pfd_hz, -found.vco_hz))


def _within(hz: Fraction, bounds_mhz: tuple[float, float]) -> bool:
    low, high = bounds_mhz
    return low * 1_000_000 <= hz <= high * 1_000_000


def _ice40(primitive: str) -> Pll:
    return Pll(
        primitive=primitive,
        loop="vco",
        reference=range(1, 17),
        feedback=range(1, 129),
        output=(2, 4, 8, 16, 32, 64),
        pfd_mhz=(10, 133),
        vco_mhz=(533, 1066),
        output_mhz=(16, 275),
    )


ICE40_PAD_PLL = _ice40("SB_PLL40_PAD")
"""iCE40, where the oscillator is at the PLL's own pad."""
ICE40_CORE_PLL = _ice40("SB_PLL40_CORE")
"""iCE40, where the oscillator is at another pin."""

ECP5_PLL = Pll(
    primitive="EHXPLLL",
    loop="vco",  # through the divider of the output CLKOP; the clock is the output CLKOS
    reference=range(1, 129),
    feedback=range(1, 129),
    output=tuple(range(1, 129)),
    pfd_mhz=(10, 400),
    vco_mhz=(400, 800),
    output_mhz=(3.125, 400),
)


def _gowin(
    part: str,
    pfd_mhz: tuple[float, float],
    vco_mhz: tuple[float, float],
    output_mhz: tuple[float, float],
) -> Pll:
    return Pll(
        primitive="rPLL",
        loop="output",
        reference=range(1, 65),
        feedback=range(1, 65),
        output=(2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
        pfd_mhz=pfd_mhz,
        vco_mhz=vco_mhz,
        output_mhz=output_mhz,
        part=part,
    )


GW1N9_PLL = _gowin("GW1NR-9C", (3, 400), (400, 1200), (3.125, 600))
"""Gowin GW1NR-9C of speed grade C6/I5."""
GW2A_PLL = _gowin("GW2AR-18C", (3, 500), (500, 1250), (3.90625, 625))
"""Gowin GW2AR-18C of speed grade C8/I7."""
