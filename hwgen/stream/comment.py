"""What the comment at the head of every design's Verilog has in common."""

from __future__ import annotations

from collections.abc import Iterable

from hwgen.network.types import Shape

__all__ = ["PORTS", "as_comment", "size_text"]

PORTS = (
    "Streams: a transfer happens at a rising edge of clk with valid and ready both high. A",
    "transfer carries one pixel of all channels, channel 0 in the least significant bits;",
    "pixels follow in raster order, images without a gap or a mark between them. valid never",
    "waits for ready, and a payload stays until it is taken. rst is synchronous; pixels of an",
    "unfinished image are forgotten.",
)
"""How the streams of a design work, in lines."""


def as_comment(lines: Iterable[str]) -> str:
    """Lines as a comment of Verilog."""
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)


def size_text(shape: Shape) -> str:
    """Channels, rows and columns."""
    return " x ".join(map(str, shape))
