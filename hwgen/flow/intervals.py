"""Confidence intervals of a loss of accuracy that is measured on the same images twice.

Two networks decide the same images, so that only the images count on which exactly one of them is
right: ``spoiled`` ones, that the first decides right and the second wrong, and ``gained`` ones, the
other way round. The loss is ``(spoiled - gained) / images``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

__all__ = [
    "LossInterval",
    "Method",
    "ShareInterval",
    "bootstrap_limits",
    "loss_interval",
    "paired_loss",
    "score_limits",
    "share_interval",
]

Method = Literal["score", "bootstrap"]

_RESAMPLES = 9999
_EDGE = 1e-12
"""Distance from -1 and 1, where the score statistic has no finite value."""


@dataclass(frozen=True)
class LossInterval:
    """Accuracy that the second of two networks loses against the first, in shares of 1.

    ``low`` and ``high`` limit ``loss`` with 95 % confidence, by ``method``; negative numbers are an
    accuracy that rose. ``p_value`` is that of the exact conditional McNemar test: how likely a
    difference at least as large is if both networks are equally accurate.
    """

    loss: float
    low: float
    high: float
    p_value: float
    gained: int
    spoiled: int
    images: int
    method: Method


@dataclass(frozen=True)
class ShareInterval:
    """The share ``count / images`` of the images, and its 95 % limits by Wilson's score method."""

    share: float
    low: float
    high: float
    count: int
    images: int


def paired_loss(
    before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], *, method: Method = "score"
) -> LossInterval:
    """Loss from decisions that are right or not: ``before`` and ``after``, (N,) of the same images.

    Raises
    ------
    ValueError
        If the two do not hold the same number of images, or none.
    """
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(
            f"Decisions must be vectors of the same images, not {before.shape} and {after.shape}"
        )
    spoiled, gained = int((before & ~after).sum()), int((after & ~before).sum())
    return loss_interval(spoiled, gained, len(before), method=method)


def loss_interval(
    spoiled: int, gained: int, images: int, *, method: Method = "score"
) -> LossInterval:
    """Loss from the numbers of spoiled and gained images among ``images``.

    The score method is the default because its interval holds what it promises where the bootstrap
    does not: with few discordant images the bootstrap is too narrow, and without any it has no
    width at all (``benchmarks/bench_intervals.py`` computes both coverages exactly).

    Raises
    ------
    ValueError
        If a number is negative, their sum exceeds ``images``, or there are no images.
    """
    if method not in get_args(Method):
        raise ValueError(f"Method must be one of {', '.join(get_args(Method))}, not {method!r}")
    _check(spoiled, gained, images)
    limits = score_limits if method == "score" else bootstrap_limits
    low, high = limits(spoiled, gained, images)
    discordant = spoiled + gained
    p_value = float(stats.binomtest(spoiled, discordant).pvalue) if discordant else 1.0
    loss = (spoiled - gained) / images
    return LossInterval(loss, low, high, p_value, gained, spoiled, images, method)


def share_interval(count: int, images: int) -> ShareInterval:
    """The share of ``count`` among ``images`` images.

    Wilson: Probable inference, the law of succession, and statistical inference. JASA 22, 1927.

    Raises
    ------
    ValueError
        If there are no images, or ``count`` is not from 0 to ``images``.
    """
    _check(count, 0, images)
    limits = stats.binomtest(count, images).proportion_ci(method="wilson")
    return ShareInterval(count / images, float(limits.low), float(limits.high), count, images)


def score_limits(
    spoiled: int, gained: int, images: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Asymptotic score interval of ``(spoiled - gained) / images``.

    It holds every difference that the score test does not reject: Tango, Equivalence test and
    confidence interval for the difference in proportions for the paired-sample design. Statistics
    in Medicine 17, 1998, equations (9) to (11). The limits exclude 0 if and only if McNemar's
    asymptotic test rejects equal accuracies.
    """
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    difference = (spoiled - gained) / images

    def excess(delta: float, bound: float) -> float:
        return _score(delta, spoiled, gained, images) - bound

    low = high = difference
    if difference > -1:
        low = optimize.brentq(excess, -1 + _EDGE, difference, args=(z,), xtol=_EDGE)
    if difference < 1:
        high = optimize.brentq(excess, difference, 1 - _EDGE, args=(-z,), xtol=_EDGE)
    return float(low), float(high)


def bootstrap_limits(
    spoiled: int,
    gained: int,
    images: int,
    *,
    confidence: float = 0.95,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the paired bootstrap.

    Images drawn with replacement hold spoiled, gained and other ones in numbers that are
    multinomially distributed, so that the numbers themselves can be drawn.
    """
    counts = np.array([spoiled, gained, images - spoiled - gained])
    drawn = np.random.default_rng(seed).multinomial(images, counts / images, size=resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / images, [tail, 1 - tail])
    return float(low), float(high)


def _score(delta: float, spoiled: int, gained: int, images: int) -> float:
    """Tango's statistic of the hypothesis that the difference is ``delta``; falls with it."""
    distance = spoiled - gained - images * delta
    if distance == 0:
        return 0.0
    # likelihood estimate of the probability of a gained image under the hypothesis: the greater
    # root of a quadratic, in the form that loses no digits
    square = 2 * images
    linear = -(spoiled + gained) + (2 * images - spoiled + gained) * delta
    constant = -gained * delta * (1 - delta)
    root = math.sqrt(max(linear * linear - 4 * square * constant, 0.0))
    if linear > 0:
        probability = -2 * constant / (linear + root)
    else:
        probability = (root - linear) / (2 * square)
    variance = images * (2 * probability + delta * (1 - delta))
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(1 / _EDGE, distance)


def _check(first: int, second: int, images: int) -> None:
    if images < 1 or min(first, second) < 0 or first + second > images:
        raise ValueError(
            f"Images must be at least 1 and not fewer than those counted, "
            f"not {images} with {first} and {second}"
        )
