"""The ways in which one layer can be cut into runs that fit the buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.layers import Layer
from hwgen.nfu.layout import FeatureMap
from hwgen.nfu.rows import TapRow
from hwgen.numeric import IntArray

__all__ = ["Band", "Chunk", "Step", "Tiling", "band_height", "candidates", "pitch", "steps"]

_Interval = tuple[int, int]
_Tiles = tuple[tuple[_Interval, "tuple[Chunk, ...]"], ...]


@dataclass(frozen=True)
class Band:
    """Input that NBin holds: for kernel rows ``taps`` of an addend, blocks of channels."""

    addend: int
    taps: _Interval
    blocks: _Interval


@dataclass(frozen=True)
class Chunk:
    """Part of a sum: of what a band holds, kernel rows ``taps`` and ``blocks``."""

    band: Band
    taps: _Interval
    blocks: _Interval

    def holds(self, row: TapRow) -> bool:
        """Whether a row belongs to this part."""
        in_taps = self.taps[0] <= row.ky < self.taps[1]
        in_blocks = self.blocks[0] <= row.block < self.blocks[1]
        return row.addend == self.band.addend and in_taps and in_blocks

    def count(self, counts: Sequence[IntArray]) -> IntArray:
        """Rows of each output group; for ``counts`` see :func:`candidates`."""
        part: IntArray = counts[self.band.addend][:, slice(*self.taps), slice(*self.blocks)]
        return np.asarray(part.sum(axis=(1, 2)))


@dataclass(frozen=True)
class Tiling:
    """Cuts of a layer.

    Parameters
    ----------
    columns : int
        Outputs of a row that are computed at a time.
    lines : int
        Output rows whose partial sums stay in NBout, so that the weights of a chunk serve them all.
    tiles : tuple
        Output groups [from, to) that are computed together, and the chunks of their sums.
    pixels_first : bool
        Whether all tiles are computed for some pixels, or all pixels with one tile.
    wide : bool
        Whether NBin holds whole rows of the feature map, border included.
    """

    columns: int
    lines: int
    tiles: _Tiles
    pixels_first: bool
    wide: bool


@dataclass(frozen=True)
class Step:
    """One run: outputs (y, x to x + columns) of a tile of groups, one chunk of their sums."""

    y: int
    x: int
    columns: int
    groups: _Interval
    chunk: Chunk
    first: bool
    last: bool


def steps(tiling: Tiling, height: int, width: int) -> Iterator[Step]:
    """Runs of a layer with outputs of ``height`` rows and ``width`` columns, in order."""
    bands = [
        (y, x) for x in range(0, width, tiling.columns) for y in range(0, height, tiling.lines)
    ]
    pairs = [(tile, band) for tile in tiling.tiles for band in bands]
    if tiling.pixels_first:
        pairs = [(tile, band) for band in bands for tile in tiling.tiles]
    for (groups, chunks), (top, x) in pairs:
        columns = min(tiling.columns, width - x)
        for k, chunk in enumerate(chunks):
            for y in range(top, min(top + tiling.lines, height)):
                yield Step(y, x, columns, groups, chunk, k == 0, k == len(chunks) - 1)


def pitch(layer: Layer, source: FeatureMap, tiling: Tiling, addend: int) -> int:
    """Pixels from one input row to the next in NBin."""
    return source.width if tiling.wide else _window_width(layer, addend, tiling.columns)


def band_height(layer: Layer, band: Band) -> int:
    """Input rows that a band holds for one output row."""
    return (band.taps[1] - band.taps[0] - 1) * layer.addends[band.addend].op.dilations[0] + 1


def candidates(
    config: NfuConfig,
    layer: Layer,
    sources: Sequence[FeatureMap],
    counts: Sequence[IntArray],
    *,
    scales: int,
) -> Iterator[Tiling]:
    """Tilings that fit.

    Buffers are used whole or, so that the loads of a run come while the one before it works, by
    halves.

    Parameters
    ----------
    config : NfuConfig
        Parameters.
    layer : Layer
        The layer.
    sources : sequence of FeatureMap
        What each addend reads.
    counts : sequence of int64 array
        For each addend, the SB rows of each (output group, kernel row, block of inputs).
    scales : int
        Words of the table for an output group.
    """
    _, height, width = layer.node.shape
    by_blocks = [True] if layer.maximum else [False, True] if layer.channelwise else [False]
    for columns, blocks_first in product(_shares(width), by_blocks):
        bands, wide = _bands(
            config, layer, sources, columns, wide=columns == width, blocks_first=blocks_first
        )
        if bands is None:
            continue
        before, enough = None, False
        for share in (2, 1):
            once = _tiles(config, layer, counts, bands, columns, share, scales)
            if once is None or once == before:
                continue
            before = once
            for pixels_first in (False, True) if len(once) > 1 else (False,):
                yield Tiling(columns, 1, once, pixels_first, wide)
            if _is_whole(once):
                enough = _runs_ahead(config, layer, sources, bands, columns, wide=wide)
                continue
            for lines in _shares(height)[:-1]:
                if tiles := _tiles(config, layer, counts, bands, columns * lines, share, scales):
                    yield Tiling(columns, lines, tiles, pixels_first=False, wide=wide)
        if enough:
            return  # further cuts would only add loads


def _is_whole(tiles: _Tiles) -> bool:
    """Whether no sum is cut, but into addends."""
    return all(len({chunk.band.addend for chunk in chunks}) == len(chunks) for _, chunks in tiles)


def _runs_ahead(
    config: NfuConfig,
    layer: Layer,
    sources: Sequence[FeatureMap],
    bands: Sequence[Band],
    columns: int,
    *,
    wide: bool,
) -> bool:
    """Whether the input rows of the next output row fit NBin beside those of the present one."""
    for band in bands:
        across = sources[band.addend].width if wide else _window_width(layer, band.addend, columns)
        rows = band_height(layer, band)
        rows += min(rows, layer.addends[band.addend].op.strides[0])
        if rows * across * (band.blocks[1] - band.blocks[0]) > config.nbin_depth:
            return False
    return True


def _shares(count: int) -> list[int]:
    """The whole, its half, its third and so on, rounded up, each once."""
    cuts = [*range(1, 5), *(2**k for k in range(3, count.bit_length())), count]
    return list(dict.fromkeys(-(-count // k) for k in sorted(set(cuts)) if k <= count))


def _window_width(layer: Layer, addend: int, columns: int) -> int:
    op = layer.addends[addend].op
    return (columns - 1) * op.strides[1] + (op.kernel[1] - 1) * op.dilations[1] + 1


def _bands(
    config: NfuConfig,
    layer: Layer,
    sources: Sequence[FeatureMap],
    columns: int,
    *,
    wide: bool,
    blocks_first: bool,
) -> tuple[list[Band] | None, bool]:
    """Largest parts of each addend's input that fit NBin; None if the smallest does not.

    Also whether NBin holds whole rows, which ``wide`` asks for: one load brings any number of them.
    """
    result: list[Band] = []
    for addend, source in enumerate(sources):
        blocks = (source.span[1] - source.span[0]) // config.ti
        across = source.width if wide else _window_width(layer, addend, columns)
        kernel_rows = layer.addends[addend].op.kernel[0]
        unit = max(1, config.tn // config.ti) if blocks_first else 0
        for bands in _splits(kernel_rows, blocks, unit=unit):
            taps, part = bands[0]
            size = band_height(layer, Band(addend, taps, part)) * across * (part[1] - part[0])
            whole = (part[1] - part[0]) * config.ti == source.channels
            if wide and not (whole and size <= config.nbin_depth):
                return _bands(
                    config, layer, sources, columns, wide=False, blocks_first=blocks_first
                )
            if size <= config.nbin_depth:
                result.extend(Band(addend, *one) for one in bands)
                break
        else:
            return None, False
    return result, wide


def _splits(
    taps: int, blocks: int, *, unit: int = 0
) -> Iterator[list[tuple[_Interval, _Interval]]]:
    """Ways to cut a sum, the largest part first: by kernel rows, then by channels as well.

    With a ``unit``, the blocks of an output group, by channels alone, which leaves sums whole that
    are of one channel each.
    """
    if unit:
        for size in range(blocks, 0, -unit):
            yield [((0, taps), (b, min(b + size, blocks))) for b in range(0, blocks, size)]
        return
    for size in range(taps, 0, -1):
        yield [((k, min(k + size, taps)), (0, blocks)) for k in range(0, taps, size)]
    for size in range(blocks - 1, 0, -1):
        yield [
            ((k, k + 1), (b, min(b + size, blocks)))
            for k in range(taps)
            for b in range(0, blocks, size)
        ]


def _chunks(bands: Sequence[Band], cut: int) -> list[Chunk] | None:
    """The chunks of the ``cut``-th way to cut each band further; None if there are no more."""
    result: list[Chunk] = []
    more = False
    for band in bands:
        (top, bottom), (begin, end) = band.taps, band.blocks
        ways = list(_splits(bottom - top, end - begin))
        more |= cut < len(ways)
        for taps, blocks in ways[min(cut, len(ways) - 1)]:
            at = (taps[0] + top, taps[1] + top), (blocks[0] + begin, blocks[1] + begin)
            result.append(Chunk(band, *at))
    return result if more else None


def _tiles(
    config: NfuConfig,
    layer: Layer,
    counts: Sequence[IntArray],
    bands: Sequence[Band],
    pixels: int,
    share: int,
    scales: int,
) -> _Tiles | None:
    """Fewest chunks, then longest tiles, that fit 1 / ``share`` of SB, the table and NBout."""
    most = config.nbout_depth // share // pixels
    most = min(most, config.table_depth // share // max(1, scales))
    groups = len(counts[0])
    cut = 0
    while most and (chunks := _chunks(bands, cut)) is not None:
        found = np.stack([chunk.count(counts) for chunk in chunks], axis=1)
        needs = np.maximum(found, config.turns)
        tiles, begin = [], 0
        while begin < groups:
            used = needs[begin : begin + most].cumsum(axis=0).max(axis=1)
            end = begin + int((used <= config.sb_depth // share).sum())
            if layer.channelwise:  # of groups that need the same chunks, which are few
                same = (found[begin:end] > 0) == (found[begin] > 0)
                end = begin + int(same.all(axis=1).cumprod().sum())
            alive = np.flatnonzero(found[begin:end].any(axis=0)).tolist() or [0]
            if end == begin or (layer.maximum and len(alive) > 1):
                break
            tiles.append(((begin, end), tuple(chunks[k] for k in alive)))
            begin = end
        else:
            return tuple(tiles)
        cut += 1
    return None
