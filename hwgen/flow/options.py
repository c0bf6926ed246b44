"""What a user can choose in each stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ApproximateOptions", "SynthOptions", "VerifyOptions"]


@dataclass(frozen=True, kw_only=True)
class ApproximateOptions:
    """Choices of the approximation.

    ``budget`` is the share of accuracy that may be lost on the choosing split (0.01 is one
    point); ``dyadic_set`` fixes the set of every layer instead; ``bits`` are those of activations.
    """

    data: Path
    test: Path | None = None
    budget: float = 0.01
    dyadic_set: str | None = None
    bits: int = 8
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Choices of the verification.

    ``images`` test images go through cocotb with random stalls, ``fast_images`` (None: all)
    through the compiled simulation; ``layers`` compares every layer as well.
    """

    images: int = 20
    fast_images: int | None = None
    layers: bool = False
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """Choices of synthesis and place and route.

    ``frequency`` in MHz that place and route aims at (None: the board's own target);
    ``time_limit`` in seconds of one attempt, of which there are at most ``attempts``.
    """

    board: str
    frequency: float | None = None
    time_limit: float = 1800.0
    attempts: int = 3
    route: bool = True
