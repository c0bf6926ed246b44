"""How one layer is cut into runs that fit the buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hwgen.errors import ResourceError
from hwgen.integer.types import Conv
from hwgen.network.types import Shape
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layout import FeatureMap
from hwgen.nfu.rows import TapRow

__all__ = ["Step", "Tiling", "choose_tiling", "steps"]


@dataclass(frozen=True)
class Tiling:
    """Cuts of a layer.

    ``columns`` outputs of a row are computed at a time; ``taps`` are the kernel rows [from, to) of
    each chunk of a sum, ``groups`` the output groups [from, to) of each tile.
    """

    columns: int
    taps: tuple[tuple[int, int], ...]
    groups: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Step:
    """One run: outputs (y, x to x + columns) of a tile of groups, one chunk of their sums."""

    y: int
    x: int
    columns: int
    groups: tuple[int, int]
    taps: tuple[int, int]
    first: bool
    last: bool


def choose_tiling(
    config: NfuConfig,
    op: Conv,
    source: FeatureMap,
    output_shape: Shape,
    rows: Sequence[Sequence[TapRow]],
) -> Tiling:
    """The tiling with fewest chunks of a sum, then fewest cuts of a row, that fits.

    Half of each buffer is for a run, half for the loads of the next.

    Raises
    ------
    ResourceError
        If not even one kernel row of one output fits.
    """
    kh = op.kernel[0]
    for size in range(kh, 0, -1):
        taps = tuple((k, min(k + size, kh)) for k in range(0, kh, size))
        for cuts in range(1, output_shape[2] + 1):
            columns = -(-output_shape[2] // cuts)
            if _input_words(config, op, source, columns, size) > config.nbin_depth // 2:
                continue
            if columns > config.nbout_depth // 2:
                continue
            groups = _group_tiles(config, rows, taps, columns)
            if groups is not None:
                return Tiling(columns, taps, groups)
    raise ResourceError("One kernel row does not fit half of NBin and of SB; make them deeper")


def steps(tiling: Tiling, output_shape: Shape) -> Iterator[Step]:
    """Runs of a layer in order.

    Weights stay in SB while whole sums are computed with them; where sums have several chunks,
    their partial sums stay in NBout instead.
    """
    whole = len(tiling.taps) == 1
    pixels = [
        (y, x) for y in range(output_shape[1]) for x in range(0, output_shape[2], tiling.columns)
    ]
    pairs = [(g, p) for g in tiling.groups for p in pixels]
    if not whole:
        pairs = [(g, p) for p in pixels for g in tiling.groups]
    for groups, (y, x) in pairs:
        columns = min(tiling.columns, output_shape[2] - x)
        for k, taps in enumerate(tiling.taps):
            yield Step(y, x, columns, groups, taps, k == 0, k == len(tiling.taps) - 1)


def _input_words(
    config: NfuConfig, op: Conv, source: FeatureMap, columns: int, kernel_rows: int
) -> int:
    """NBin words that a run of so many outputs and kernel rows reads, gaps included."""
    height = (kernel_rows - 1) * op.dilations[0] + 1
    width = (columns - 1) * op.strides[1] + (op.kernel[1] - 1) * op.dilations[1] + 1
    return height * width * source.channels // config.ti


def _group_tiles(
    config: NfuConfig,
    rows: Sequence[Sequence[TapRow]],
    taps: Sequence[tuple[int, int]],
    columns: int,
) -> tuple[tuple[int, int], ...] | None:
    """Longest tiles of groups that fit SB, the table and NBout; None if one group does not."""
    needs = [
        [max(config.turns, sum(lo <= row.ky < hi for row in group)) for lo, hi in taps]
        for group in rows
    ]
    most = min(config.table_depth // 2 // config.turns, config.nbout_depth // 2 // columns)
    tiles, begin = [], 0
    while begin < len(rows):
        end, used = begin, [0] * len(taps)
        while end < min(len(rows), begin + most):
            longer = [a + b for a, b in zip(used, needs[end], strict=True)]
            if max(longer) > config.sb_depth // 2:
                break
            end, used = end + 1, longer
        if end == begin:
            return None
        tiles.append((begin, end))
        begin = end
    return tuple(tiles)
