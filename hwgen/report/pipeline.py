"""The network drawn as a pipeline: one box a layer, from left to right in bands, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Box", "draw", "shorten"]

_WIDTH, _HEIGHT = 132, 78
_GAP_X, _GAP_Y = 46, 16
_COLUMNS = 6
_MARGIN = 26
_TRACK = 12
_LINE = 16
_BAND_GAP = 34
_GUTTER = _BAND_GAP / 2 + 4
_NAME_CHARACTERS = 18
_KIND_CHARACTERS = 22
_ARROW_HEAD = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0.5 8 4 0 7.5z"/></marker></defs>'
)


@dataclass(frozen=True)
class Box:
    """One layer of the picture.

    ``kind``, ``shape`` and ``note`` are lines of text, any of which may be empty; ``style`` is
    ``end``, ``adders``, ``memory`` or ``plain``; ``reads`` names the boxes that it takes a stream
    from, each with a label for the arrow (what the stream carries).
    """

    name: str
    kind: str
    shape: str
    note: str
    style: str
    reads: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where a box stands: its band, its column in the band, its lane, and its corner."""

    depth: int
    lane: int
    x: float
    y: float

    @property
    def band(self) -> int:
        return self.depth // _COLUMNS

    @property
    def middle(self) -> float:
        return self.y + _HEIGHT / 2


def draw(boxes: Sequence[Box]) -> str:
    """SVG of the boxes, in topological order, and of the arrows between them.

    Colours come from CSS classes and custom properties of the page that the SVG is part of.
    """
    places, bands, height = _places(boxes)
    width = 2 * _MARGIN + _COLUMNS * _WIDTH + (_COLUMNS - 1) * _GAP_X
    view = f'viewBox="0 0 {width} {height:g}" role="img" aria-label="Pipeline of layers"'
    parts = [
        f'<svg class="pipeline" {view}>',
        _ARROW_HEAD,
        *_arrows(boxes, places, bands),
        *(_box(box, places[box.name]) for box in boxes),
        "</svg>",
    ]
    return "\n".join(parts)


def shorten(text: str, length: int) -> str:
    """``text`` in at most ``length`` characters, its middle left out."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}\u2026{text[len(text) - tail :]}"


def _places(boxes: Sequence[Box]) -> tuple[dict[str, _Place], list[float], float]:
    """Place of each box, the upper edge of each band, and the height of the picture."""
    depths: dict[str, int] = {}
    lanes: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    for box in boxes:
        sources = [name for name, _ in box.reads]
        depths[box.name] = max((depths[name] + 1 for name in sources), default=0)
        lane = min((lanes[name] for name in sources), default=0)
        while (depths[box.name], lane) in taken:
            lane += 1
        lanes[box.name] = lane
        taken.add((depths[box.name], lane))
    tracks = _tracks(boxes, depths, lanes, taken)
    count = max(depths.values(), default=0) // _COLUMNS + 1
    top, tops = 0.0, []
    for band in range(count):
        own = [name for name, depth in depths.items() if depth // _COLUMNS == band]
        above = sum(1 for a, b in tracks if depths[b] // _COLUMNS == band)
        top += 8 + _TRACK * above + 4 * (above > 0)
        tops.append(top)
        rows = max(lanes[name] for name in own) + 1
        top += rows * _HEIGHT + (rows - 1) * _GAP_Y + _BAND_GAP
    places = {
        name: _Place(
            depth,
            lanes[name],
            _MARGIN + depth % _COLUMNS * (_WIDTH + _GAP_X),
            tops[depth // _COLUMNS] + lanes[name] * (_HEIGHT + _GAP_Y),
        )
        for name, depth in depths.items()
    }
    return places, tops, top - _BAND_GAP + 8


def _tracks(
    boxes: Sequence[Box],
    depths: Mapping[str, int],
    lanes: Mapping[str, int],
    taken: set[tuple[int, int]],
) -> list[tuple[str, str]]:
    """Arrows inside a band that must pass above its boxes, because a box is in the way."""
    return [
        (source, box.name)
        for box in boxes
        for source, _ in box.reads
        if depths[source] // _COLUMNS == depths[box.name] // _COLUMNS
        and any(
            (depth, lanes[source]) in taken for depth in range(depths[source] + 1, depths[box.name])
        )
    ]


def _arrows(
    boxes: Sequence[Box], places: Mapping[str, _Place], tops: Sequence[float]
) -> Iterator[str]:
    taken = {(place.depth, place.lane) for place in places.values()}
    above = [0] * len(tops)
    between = [0] * len(tops)
    labelled = set()
    for box in boxes:
        b = places[box.name]
        for k, (source, label) in enumerate(box.reads):
            a = places[source]
            start, end = a.x + _WIDTH, b.x - 1
            from_above = f"H{b.x + 26 + 10 * k:g}V{b.y - 1:g}"
            if a.band != b.band:
                shift = 5 * (between[b.band] % 3)
                at = (start / 2 + 60 * between[b.band], tops[a.band + 1] - _GUTTER + shift - 4)
                between[b.band] += 1
                path = f"M{start:g} {a.middle:g}h{12 + shift}V{at[1] + 4:g}"
                first = b.band * _COLUMNS
                if not any((depth, b.lane) in taken for depth in range(first, b.depth)):
                    y = b.middle + (k - (len(box.reads) - 1) / 2) * 14
                    path += f"H{8 + shift}V{y:g}H{end:g}"
                elif b.band == a.band + 1:
                    path += from_above
                else:
                    track = tops[b.band] - 2 - _TRACK * (above[b.band] + 0.5)
                    path += f"H{8 + shift}V{track:g}{from_above}"
            elif any((depth, a.lane) in taken for depth in range(a.depth + 1, b.depth)):
                track = tops[b.band] - 2 - _TRACK * (above[b.band] + 0.5)
                above[b.band] += 1
                path = f"M{start - 26:g} {a.y:g}V{track:g}{from_above}"
                at = ((a.x + b.x + _WIDTH) / 2, track - 3)
            else:
                y = b.middle + max(-32, min(32, 12 * (a.lane - b.lane)))
                turn = "" if a.lane == b.lane else f"H{end - 10:g}V{y:g}"
                path = f"M{start:g} {a.middle:g}{turn}H{end:g}"
                at = (start + _GAP_X / 2 - 4, a.middle - 5)
            yield f'<path class="stream" d="{path}" marker-end="url(#tip)"/>'
            if (source, label, a.band == b.band) not in labelled:
                yield f'<text class="bits" x="{at[0]:g}" y="{at[1]:g}">{escape(label)}</text>'
            labelled.add((source, label, a.band == b.band))


def _box(box: Box, place: _Place) -> str:
    lines = [("name", shorten(box.name, _NAME_CHARACTERS))]
    lines += [("kind", shorten(t, _KIND_CHARACTERS)) for t in (box.kind, box.shape, box.note) if t]
    middle = place.x + _WIDTH / 2
    first = place.middle - (len(lines) - 1) * _LINE / 2 + 4
    texts = "".join(
        f'<text class="{css}" x="{middle:g}" y="{first + row * _LINE:g}">{escape(text)}</text>'
        for row, (css, text) in enumerate(lines)
    )
    title = escape(f"{box.name}: {', '.join(t for t in (box.kind, box.shape, box.note) if t)}")
    size = f'width="{_WIDTH}" height="{_HEIGHT}" rx="{_HEIGHT // 2 if box.style == "end" else 7}"'
    return (
        f'<g class="box {box.style}"><title>{title}</title>'
        f'<rect x="{place.x:g}" y="{place.y:g}" {size}/>{texts}</g>'
    )
