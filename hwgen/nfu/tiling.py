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

__all__ = ["Chunk", "Step", "Tiling", "choose_tiling", "steps"]


@dataclass(frozen=True)
class Chunk:
    """Part of a sum: kernel rows ``taps`` and blocks of input channels ``blocks``, [from, to)."""

    taps: tuple[int, int]
    blocks: tuple[int, int]

    def holds(self, row: TapRow) -> bool:
        """Whether a row belongs to this part."""
        in_taps = self.taps[0] <= row.ky < self.taps[1]
        return in_taps and self.blocks[0] <= row.block < self.blocks[1]


@dataclass(frozen=True)
class Tiling:
    """Cuts of a layer.

    ``columns`` outputs of a row are computed at a time; ``chunks`` make up a sum; ``groups`` are
    the output groups [from, to) of each tile.
    """

    columns: int
    chunks: tuple[Chunk, ...]
    groups: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Step:
    """One run: outputs (y, x to x + columns) of a tile of groups, one chunk of their sums."""

    y: int
    x: int
    columns: int
    groups: tuple[int, int]
    chunk: Chunk
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
        If not even one kernel row of one output and one block of channels fits.
    """
    for chunks in _chunks(op.kernel[0], source.channels // config.ti):
        for cuts in range(1, output_shape[2] + 1):
            columns = -(-output_shape[2] // cuts)
            if _input_words(op, columns, chunks[0]) > config.nbin_depth // 2:
                continue
            if columns > config.nbout_depth // 2:
                continue
            groups = _group_tiles(config, rows, chunks, columns)
            if groups is not None:
                return Tiling(columns, chunks, groups)
    raise ResourceError(
        "One kernel row of one block of channels does not fit half of each buffer; make them deeper"
    )


def _chunks(kernel_rows: int, blocks: int) -> Iterator[tuple[Chunk, ...]]:
    """Ways to cut a sum, the largest chunk first: by kernel rows, then by channels as well."""
    for size in range(kernel_rows, 0, -1):
        starts = range(0, kernel_rows, size)
        yield tuple(Chunk((k, min(k + size, kernel_rows)), (0, blocks)) for k in starts)
    for size in range(blocks - 1, 0, -1):
        yield tuple(
            Chunk((k, k + 1), (b, min(b + size, blocks)))
            for k in range(kernel_rows)
            for b in range(0, blocks, size)
        )


def steps(tiling: Tiling, output_shape: Shape) -> Iterator[Step]:
    """Runs of a layer in order.

    Weights stay in SB while whole sums are computed with them; where sums have several chunks,
    their partial sums stay in NBout instead.
    """
    whole = len(tiling.chunks) == 1
    pixels = [
        (y, x) for y in range(output_shape[1]) for x in range(0, output_shape[2], tiling.columns)
    ]
    pairs = [(g, p) for g in tiling.groups for p in pixels]
    if not whole:
        pairs = [(g, p) for p in pixels for g in tiling.groups]
    for groups, (y, x) in pairs:
        columns = min(tiling.columns, output_shape[2] - x)
        for k, chunk in enumerate(tiling.chunks):
            yield Step(y, x, columns, groups, chunk, k == 0, k == len(tiling.chunks) - 1)


def _input_words(op: Conv, columns: int, chunk: Chunk) -> int:
    """NBin words that a run of so many outputs reads, gaps included."""
    height = (chunk.taps[1] - chunk.taps[0] - 1) * op.dilations[0] + 1
    width = (columns - 1) * op.strides[1] + (op.kernel[1] - 1) * op.dilations[1] + 1
    return height * width * (chunk.blocks[1] - chunk.blocks[0])


def _group_tiles(
    config: NfuConfig,
    rows: Sequence[Sequence[TapRow]],
    chunks: Sequence[Chunk],
    columns: int,
) -> tuple[tuple[int, int], ...] | None:
    """Longest tiles of groups that fit SB, the table and NBout; None if one group does not."""
    needs = [
        [max(config.turns, sum(map(chunk.holds, group))) for chunk in chunks] for group in rows
    ]
    most = min(config.table_depth // 2 // config.turns, config.nbout_depth // 2 // columns)
    tiles, begin = [], 0
    while begin < len(rows):
        end, used = begin, [0] * len(chunks)
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
