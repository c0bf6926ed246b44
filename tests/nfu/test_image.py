"""The one memory: every word lies where the map says, and nothing lies on something else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nfubench import random_config, random_program

from hwgen.nfu.image import activation_bytes, memory_bytes, memory_map, word_bytes
from hwgen.nfu.isa import decode


@given(st.integers(0, 1 << 32))
@settings(derandomize=True, max_examples=20, deadline=None)
def test_words_lie_where_the_map_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = random_config(rng)
    program, image = random_program(config, rng, length=2)
    rows, tables = (int(k) for k in rng.integers(1, 40, 2))
    image = replace(image, rows=image.rows[:rows], tables=image.tables[:tables])
    where = memory_map(config, program, image)
    memory = memory_bytes(config, program, image)
    assert len(memory) == where.size

    def words(region: object) -> list[int]:
        return [
            int.from_bytes(memory[at : at + region.stride], "little")  # type: ignore[attr-defined]
            for at in range(region.address, region.end, region.stride)  # type: ignore[attr-defined]
        ]

    assert tuple(map(decode, words(where.program))) == program
    assert tuple(words(where.weights)) == image.rows
    assert tuple(words(where.scales)) == image.tables
    assert words(where.activations) == image.activations.tolist()
    regions = (where.program, where.weights, where.scales, where.activations)
    for region in regions:
        assert region.address % max(64, region.stride) == 0
    assert all(a.end <= b.address for a, b in pairwise(regions))


def test_strides_are_powers_of_two() -> None:
    assert [word_bytes(bits) for bits in (1, 8, 9, 16, 17, 33, 320)] == [1, 1, 2, 2, 4, 8, 64]
    config = random_config(np.random.default_rng(0))
    assert activation_bytes(config) == (1 if config.activation_width <= 8 else 2)
