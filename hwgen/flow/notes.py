"""Where the constants of a layer come from, for the comments of the Verilog."""

from __future__ import annotations

from hwgen.approx.types import ApproxNetwork

__all__ = ["weight_notes"]


def weight_notes(approx: ApproxNetwork) -> dict[str, str]:
    """For each linear layer its dyadic set and the scale of each filter, as one line of text."""
    notes = {}
    for name, filters in approx.filters:
        scales = ", ".join(f"{s.mantissa}*2^{s.exponent}" for s in filters.scale)
        notes[name] = (
            f"weights {'x'.join(map(str, filters.codes.shape))} (OIHW) from the dyadic set "
            f"{filters.recipe} in units of 2^-{filters.frac}; scale of each filter: {scales}"
        )
    return notes
