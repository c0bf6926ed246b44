"""Which channels each lane of a fully connected layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwgen.numeric import Range
from hwgen.stream.common import union

__all__ = ["Reader", "lane_readers"]


@dataclass(frozen=True)
class Reader:
    """Which channel the lanes that follow each other through the same groups read.

    ``groups[b]`` is the group of batch b, ``range`` that of all channels read.
    """

    groups: tuple[int, ...]
    lanes: tuple[int, ...]
    range: Range


def lane_readers(
    outputs: int, lanes: int, *, groups: int, ranges: Sequence[Range]
) -> tuple[Reader, ...]:
    """Lanes by what they read, if lane l computes outputs ``l, l + lanes, l + 2 * lanes, ...``.

    Parameters
    ----------
    outputs, lanes, groups : int
        Outputs of the layer, lanes, and groups that divide outputs and channels.
    ranges : sequence of Range
        Range of each channel.

    Returns
    -------
    tuple of Reader
        Every lane is in one of them. A lane without an output in the last batch reads on.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for lane in range(lanes):
        taken = list(range(lane, outputs, lanes))
        taken += taken[-1:] * (-(-outputs // lanes) - len(taken))
        found.setdefault(tuple(o * groups // outputs for o in taken), []).append(lane)
    per_group = len(ranges) // groups
    return tuple(
        Reader(
            read,
            tuple(members),
            union(ranges[g * per_group + c] for g in read for c in range(per_group)),
        )
        for read, members in found.items()
    )
