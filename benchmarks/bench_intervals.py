"""How often 95 % intervals of a paired loss hold the true loss: exact coverages.

    python benchmarks/bench_intervals.py [--resamples 999]

Two networks decide the same images; each image is spoiled, gained or neither with the
probabilities of the row. All outcomes whose probability is above 1e-10 are enumerated, so that the
coverage of the score interval is exact; the bootstrap's has the noise of its resamples. The width
is the mean one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from scipy import stats

from hwgen.flow.intervals import bootstrap_limits, score_limits

IMAGES = (100, 1000, 10_000)
RATES = ((0.0005, 0.0005), (0.002, 0.001), (0.01, 0.01), (0.02, 0.005), (0.05, 0.05))
LEAST = 1e-10

Limits = Callable[[int, int, int], tuple[float, float]]


def outcomes(images: int, spoiled: float, gained: float) -> Iterator[tuple[int, int, float]]:
    """(spoiled, gained, probability) of every outcome that is not too rare."""
    first = stats.binom(images, spoiled)
    for b in range(int(first.ppf(LEAST)), int(first.isf(LEAST)) + 1):
        second = stats.binom(images - b, gained / (1 - spoiled))
        for c in range(int(second.ppf(LEAST)), int(second.isf(LEAST)) + 1):
            probability = float(first.pmf(b) * second.pmf(c))
            if probability > LEAST:
                yield b, c, probability


def coverage(limits: Limits, images: int, spoiled: float, gained: float) -> tuple[float, float]:
    """Probability that the interval holds the true loss, and its mean width."""
    held = width = 0.0
    for b, c, probability in outcomes(images, spoiled, gained):
        low, high = limits(b, c, images)
        held += probability * (low <= spoiled - gained <= high)
        width += probability * (high - low)
    return held, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resamples", type=int, default=999)
    resamples = parser.parse_args().resamples

    def bootstrap(spoiled: int, gained: int, images: int) -> tuple[float, float]:
        return bootstrap_limits(spoiled, gained, images, resamples=resamples)

    print("| images | spoiled | gained | score: coverage | width | bootstrap: coverage | width |")
    print("|---|---|---|---|---|---|---|")
    for images in IMAGES:
        for spoiled, gained in RATES:
            cells = [f"{images:,}", f"{spoiled:.2%}", f"{gained:.2%}"]
            for limits in (score_limits, bootstrap):
                held, width = coverage(limits, images, spoiled, gained)
                cells += [f"{held:.1%}", f"{width:.2%}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
