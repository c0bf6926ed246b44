"""Which words of the buffers are written and read when, by the cycle model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.cycles import Schedule
from hwgen.nfu.isa import Instruction, Nfu1
from hwgen.numeric import IntArray

__all__ = ["BUFFERS", "Use", "uses"]

BUFFERS = ("sb", "nbin", "nbout")
"""Buffers whose words are followed."""


@dataclass(frozen=True)
class Use:
    """Words ``first`` to ``first + words - 1`` of a buffer, in cycles ``begin`` to ``end``.

    The buffer is circular: words beyond its depth are those at its beginning. ``what`` is ``load``,
    ``read`` (by a run), ``write`` (of sums) or ``store``.
    """

    buffer: str
    what: str
    instruction: int
    first: int
    words: int
    begin: int
    end: int


def uses(
    config: NfuConfig, program: Sequence[Instruction], rows: Sequence[int], schedule: Schedule
) -> Iterator[Use]:
    """What each instruction does with the words of the buffers.

    Parameters
    ----------
    config : NfuConfig
        Parameters.
    program : sequence of Instruction
        The program.
    rows : sequence of int
        SB rows in memory, whose index words say which words of NBin a run reads.
    schedule : Schedule
        Its cycles.
    """
    mask = (1 << config.offset_width) - 1
    offsets = np.array([row & mask for row in rows], dtype=np.int64)
    held = np.zeros(config.sb_depth, dtype=np.int64)  # offset in each SB row
    spans = {(span.unit, span.instruction): span for span in schedule.spans() if not span.cause}
    for k, one in enumerate(program[: len(schedule.started)]):
        if one.sb_size:
            at = (one.sb_target + np.arange(one.sb_size)) % config.sb_depth
            held[at] = offsets[one.sb_source : one.sb_source + one.sb_size]
        for buffer, target, size in (
            ("sb", one.sb_target, one.sb_size),
            ("nbin", one.nbin_target, one.nbin_size),
        ):
            if size:
                span = spans[buffer, k]
                yield Use(buffer, "load", k, target, size, span.begin, span.end)
        if one.nfu_op != Nfu1.NOP:
            run = spans["run", k]
            yield Use("sb", "read", k, one.sb_address, one.sb_rows, run.begin, run.end)
            first, words = _window(config, one, held)
            yield Use("nbin", "read", k, first, words, run.begin, run.end)
            words = one.nbin_positions * one.nbout_groups
            written = int(schedule.written[k])
            begin = run.begin + written - run.end  # the pipeline's delay after the first row
            yield Use("nbout", "write", k, one.nbout_address, words, begin, written)
            if one.nbout_store:
                store = spans["store", k]
                yield Use("nbout", "store", k, one.nbout_address, words, store.begin, store.end)


def _window(config: NfuConfig, one: Instruction, held: IntArray) -> tuple[int, int]:
    """First word of NBin that a run reads, and the number of words from it to the last."""
    at = (one.sb_address + np.arange(one.sb_rows)) % config.sb_depth
    low, high = int(held[at].min()), int(held[at].max())
    words = (one.nbin_positions - 1) * one.nbin_stride + high - low + 1
    return (one.nbin_address + low) % config.nbin_depth, min(words, config.nbin_depth)
