"""Intervals of paired losses against published examples, exact coverage, and the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hwgen.flow.intervals import (
    bootstrap_limits,
    loss_interval,
    paired_loss,
    score_limits,
    share_interval,
)

COUNTS = st.integers(1, 300).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)).filter(
        lambda t: t[0] + t[1] <= t[2]
    )
)


@pytest.mark.parametrize(
    ("spoiled", "gained", "images", "low", "high", "p_value"),
    [
        # Fagerland, Lydersen, Laake: Recommended tests and confidence intervals for paired
        # binomial proportions. Statistics in Medicine 33, 2014: airway hyper-responsiveness
        # (Bentur et al., 2009) and complete response (Cavo et al., 2012)
        (1, 7, 21, -0.517, -0.026, 0.0703),
        (6, 16, 161, -0.1240, -0.0054, 0.052479),
    ],
)
def test_published_examples(
    spoiled: int, gained: int, images: int, low: float, high: float, p_value: float
) -> None:
    found = loss_interval(spoiled, gained, images)
    assert found.method == "score"
    assert found.loss == pytest.approx((spoiled - gained) / images)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)
    assert found.p_value == pytest.approx(p_value, abs=5e-5)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(COUNTS)
def test_symmetry_and_order(counts: tuple[int, int, int]) -> None:
    spoiled, gained, images = counts
    here, mirrored = loss_interval(spoiled, gained, images), loss_interval(gained, spoiled, images)
    assert (here.low, here.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
    assert here.p_value == pytest.approx(mirrored.p_value)
    assert -1 <= here.low <= here.loss <= here.high <= 1
    assert here.low < here.high
    wider = score_limits(spoiled, gained, images, confidence=0.99)
    assert wider[0] <= here.low
    assert wider[1] >= here.high


@settings(derandomize=True, max_examples=100, deadline=None)
@given(COUNTS)
def test_excludes_zero_as_the_asymptotic_test_does(counts: tuple[int, int, int]) -> None:
    spoiled, gained, images = counts
    found = loss_interval(spoiled, gained, images)
    statistic = (spoiled - gained) ** 2 / max(1, spoiled + gained)
    rejected = statistic > stats.chi2.ppf(0.95, 1)
    assert (found.low > 0 or found.high < 0) == rejected


def test_no_discordant_images() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    for images in (1, 30, 10_000):
        found = loss_interval(0, 0, images)
        assert (found.loss, found.p_value) == (0.0, 1.0)
        assert (found.low, found.high) == pytest.approx((-z2 / (images + z2), z2 / (images + z2)))
    assert bootstrap_limits(0, 0, 100) == (0.0, 0.0)


def test_all_images_discordant() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    for images in (1, 30):
        found = loss_interval(images, 0, images)
        assert (found.loss, found.high) == (1.0, 1.0)
        assert found.low == pytest.approx((images - z2) / (images + z2))


def _coverage(images: int, spoiled: float, gained: float, least: float = 1e-9) -> float:
    """Probability that the score interval holds the true loss, summed over all outcomes."""
    total = 0.0
    joint = stats.multinomial(images, [spoiled, gained, 1 - spoiled - gained])
    for b in range(images + 1):
        if stats.binom.pmf(b, images, spoiled) < least:
            continue
        for c in range(images + 1 - b):
            if stats.binom.pmf(c, images, gained) < least:
                continue
            low, high = score_limits(b, c, images)
            if low <= spoiled - gained <= high:
                total += joint.pmf([b, c, images - b - c])
    return total


@pytest.mark.parametrize(("spoiled", "gained"), [(0.1, 0.1), (0.08, 0.02), (0.03, 0.03)])
def test_coverage(spoiled: float, gained: float) -> None:
    assert 0.935 < _coverage(60, spoiled, gained) < 0.99


def test_bootstrap_is_that_of_images() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.random(200) < 0.9, rng.random(200) < 0.85
    found = paired_loss(before, after, method="bootstrap")
    drawn = rng.integers(200, size=(4000, 200))
    losses = (before[drawn].astype(int) - after[drawn]).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.quantile(losses, [0.025, 0.975]), abs=0.011)
    assert found == paired_loss(before, after, method="bootstrap")
    score = paired_loss(before, after)
    assert (score.spoiled, score.gained) == (
        int((before & ~after).sum()),
        int((after > before).sum()),
    )
    assert score.loss == pytest.approx(before.mean() - after.mean())


def test_share() -> None:
    # Newcombe: Two-sided confidence intervals for the single proportion. Statistics in Medicine
    # 17, 1998, table I, method 3
    for count, images, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = share_interval(count, images)
        assert found.share == count / images
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert share_interval(0, 20).low == 0
    assert share_interval(1, 1).high == 1


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        loss_interval(0, 0, 0)
    with pytest.raises(ValueError, match="not 5 with 3 and 3"):
        loss_interval(3, 3, 5)
    with pytest.raises(ValueError, match="score, bootstrap"):
        loss_interval(1, 1, 5, method="wald")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same images"):
        paired_loss(np.ones(3, bool), np.ones(4, bool))
