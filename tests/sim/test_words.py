"""Payload words of any width against the plain definition of a layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwgen.errors import DataError
from hwgen.sim.words import frames_to_pixels, pack_words, pixels_to_frames, unpack_words
from hwgen.stream.design import PixelLayout

CHANNEL = st.tuples(st.integers(1, 63), st.booleans()).filter(lambda c: c[0] > 1 or not c[1])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(CHANNEL, min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_words_follow_the_layout(channels: list[tuple[int, bool]], seed: int) -> None:
    layout = PixelLayout(tuple(channels))
    rng = np.random.default_rng(seed)
    low = np.array([-(1 << (w - 1)) if s else 0 for w, s in channels])
    high = np.array([(1 << (w - s)) - 1 for w, s in channels])
    pixels = rng.integers(low, high, size=(6, len(channels)), endpoint=True)
    pixels[0], pixels[1] = low, high
    words = pack_words(layout, pixels)
    payloads = [int.from_bytes(row.tobytes(), "little") for row in words]
    assert payloads == layout.pack(pixels)
    assert words.shape == (6, (layout.width + 31) // 32)
    np.testing.assert_array_equal(unpack_words(layout, words), pixels)


def test_a_pixel_must_fit_its_channel() -> None:
    layout = PixelLayout(((8, False), (4, True)))
    with pytest.raises(DataError, match=r"Channel 1 holds -9 \.\. 3, which does not fit its -8"):
        pack_words(layout, np.array([[0, 3], [255, -9]]))


def test_pixels_run_in_raster_order() -> None:
    frames = np.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4)
    pixels = frames_to_pixels(frames)
    assert pixels[5].tolist() == frames[0, :, 1, 1].tolist()
    np.testing.assert_array_equal(pixels_to_frames(pixels, (3, 2, 4)), frames)
