"""Parameters of one NFU, checked, and the widths that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from hwgen.nfu.lane import check_between, check_power
from hwgen.nfu.lane_binary import BinaryLane
from hwgen.nfu.lane_dyadic import DyadicLane
from hwgen.nfu.lane_int import IntLane

__all__ = [
    "CONFIG_CLASSES",
    "REFERENCE",
    "BinaryLane",
    "DyadicLane",
    "IntLane",
    "NfuConfig",
    "Segments",
]

_TILES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Segments:
    """Piecewise-linear functions in NFU-3: a search for the segment, each with its own scale.

    Parameters
    ----------
    count : int
        Segments of a function, a power of two from 2 to 16.
    width : int
        Bits of what a function takes, which is signed; 5 to 17.
    """

    count: int = 16
    width: int = 12

    def __post_init__(self) -> None:
        check_power("Number of segments", self.count, 16)
        check_between("Input width of a function", self.width, 5, 17)

    @property
    def levels(self) -> int:
        """Comparisons of the search."""
        return (self.count - 1).bit_length()


@dataclass(frozen=True)
class NfuConfig:
    """Parameters of an NFU.

    Parameters
    ----------
    tn, ti : int
        Output neurons and inputs of one cycle, each 1, 2, 4, 8 or 16.
    activation_width : int
        Bits of an activation, 2 to 16; an instruction says whether they are signed.
    accumulator_width : int
        Bits of a partial sum, which wraps; the compiler proves that none does. At least
        ``activation_width + 2`` and at most 48.
    lane : DyadicLane, IntLane or BinaryLane
        Kind of lane.
    sb_depth, nbin_depth, nbout_depth, table_depth : int
        Words of each buffer, a power of two: SB rows, words of ``ti`` activations, words of ``tn``
        partial sums, words of ``nfu3_lanes`` scales. Addresses wrap, so every buffer is circular.
    nfu3_lanes : int
        Sums that NFU-3 takes a cycle, a power of two up to ``tn``. An output group has at least
        ``tn / nfu3_lanes`` rows, so that NFU-3 keeps up.
    scale_terms, scale_exponents : int
        Terms of a channel's multiplier in NFU-3 (1 to 4), and their exponents (a power of two).
    product_width : int
        Bits of NFU-3 before its shift, at least ``accumulator_width`` and at most 63.
    address_width : int
        Bits of an address in memory, 8 to 24.
    function : Segments or None
        Whether NFU-3 has piecewise-linear functions.
    maximum : bool
        Whether NFU-2 can take the maximum of rows (max pooling).

    Raises
    ------
    ValueError
        If a parameter is out of its bounds.
    """

    tn: int = 4
    ti: int = 4
    activation_width: int = 8
    accumulator_width: int = 24
    lane: DyadicLane | IntLane | BinaryLane = field(default_factory=DyadicLane)
    sb_depth: int = 256
    nbin_depth: int = 256
    nbout_depth: int = 256
    table_depth: int = 256
    nfu3_lanes: int = 1
    scale_terms: int = 2
    scale_exponents: int = 16
    product_width: int = 40
    address_width: int = 24
    function: Segments | None = None
    maximum: bool = False

    def __post_init__(self) -> None:
        for parameter in fields(self):
            name, value = parameter.name, getattr(self, parameter.name)
            if name == "maximum" and type(value) is not bool:
                raise TypeError(f"Parameter maximum must be True or False, not {value!r}")
            if name not in ("lane", "function", "maximum") and type(value) is not int:
                raise TypeError(f"Parameter {name} must be an integer, not {value!r}")
        for name in ("tn", "ti"):
            if getattr(self, name) not in _TILES:
                raise ValueError(f"Tile {name} must be one of {_TILES}, not {getattr(self, name)}")
        check_between("Activation width", self.activation_width, 2, 16)
        lowest = self.activation_width + 2
        check_between("Accumulator width", self.accumulator_width, lowest, 48)
        for name in ("sb", "nbin", "nbout"):
            check_power(f"Depth of {name}", getattr(self, f"{name}_depth"), 4096)
        check_power("Depth of the table", self.table_depth, 256)
        check_between("Terms of a scale", self.scale_terms, 1, 4)
        if self.nfu3_lanes not in _TILES or self.nfu3_lanes > self.tn:
            raise ValueError(
                f"Lanes of NFU-3 must be a power of two up to {self.tn}, not {self.nfu3_lanes}"
            )
        check_power("Number of exponents of a scale", self.scale_exponents, 32)
        check_between("Product width", self.product_width, self.accumulator_width, 63)
        check_between("Address width", self.address_width, 8, 24)
        if self.function is not None:
            if self.table_depth < 2 * self.function.count:
                raise ValueError(
                    f"Table of {self.table_depth} words must hold two functions of "
                    f"{self.function.count} segments"
                )
            check_between(
                "Input width of a function", self.function.width, 5, self.accumulator_width
            )

    @property
    def offset_width(self) -> int:
        """Bits of an NBin address, and of the offset in an index word."""
        return (self.nbin_depth - 1).bit_length()

    @property
    def index_width(self) -> int:
        """Bits of an index word: the NBin offset, then the last flag."""
        return self.offset_width + 1

    @property
    def codes_width(self) -> int:
        """Bits of the codes of one SB row."""
        return sum(self.lane.widths(self.tn, self.ti))

    @property
    def row_width(self) -> int:
        """Bits of an SB row with its index word."""
        return self.index_width + self.codes_width

    @property
    def scale_exponent_width(self) -> int:
        """Bits of an exponent of a scale."""
        return (self.scale_exponents - 1).bit_length()

    @property
    def scale_width(self) -> int:
        """Bits of a scale in the table: constant, codes of the multiplier, begin of a segment."""
        breakpoint = 0 if self.function is None else self.function.width
        return self.product_width + self.scale_terms * (self.scale_exponent_width + 2) + breakpoint

    @property
    def table_width(self) -> int:
        """Bits of a word of the table."""
        return self.nfu3_lanes * self.scale_width

    @property
    def turns(self) -> int:
        """Cycles in which NFU-3 takes the sums of a group; words of the table for a group."""
        return self.tn // self.nfu3_lanes


CONFIG_CLASSES = (NfuConfig, DyadicLane, IntLane, BinaryLane, Segments)
"""What a file of parameters may hold."""

REFERENCE = NfuConfig(
    tn=16,
    ti=16,
    activation_width=16,
    accumulator_width=32,
    lane=DyadicLane(terms=2, exponents=16),
    sb_depth=64,
    nbin_depth=64,
    nbout_depth=64,
    nfu3_lanes=16,
    product_width=56,
)
"""DianNao's reference point: 64 words in each buffer, 16 x 16 synapses of 16 bits."""
