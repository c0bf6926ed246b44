"""Parts of adder graphs that are not there yet: what a matrix will take, before it is optimised.

Adders after sharing follow from a quick graph of a sample of the matrix, and the parts of a stage
are linear in them (:data:`FILE`, which ``benchmarks/fit_graph_parts.py`` writes). It tells in no
time which layers are large; what a plan then builds is optimised and counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np

from hwgen.estimate.structure import Structure
from hwgen.integer.types import Requantise
from hwgen.numeric import IntArray, csd_weight
from hwgen.shiftadd.optimise import optimize
from hwgen.stream.blocks import Stage
from hwgen.stream.matrix import linear_ranges

__all__ = [
    "FILE",
    "Features",
    "expected_digits",
    "expected_parts",
    "features",
    "graph_kind",
    "matrix_terms",
    "sampled_adders",
    "spread_sample",
]

FILE = "graphs.json"
"""File of the package that holds what was fitted."""

SAMPLE = 1000
"""Digits of a matrix from which a sample is taken."""


@dataclass(frozen=True)
class Features:
    """What a matrix tells of its adder graph.

    ``adders`` are those of a quick graph of a sample of it (:func:`sampled_adders`), ``inputs`` the
    rows that are not zero, ``width`` the mean bits of these inputs, ``levels`` the logarithm of the
    digits of an output, and ``total`` the bits of all sums.
    """

    adders: float
    inputs: int
    width: float
    levels: float
    total: int

    @property
    def products(self) -> dict[str, float]:
        """What parts are linear in."""
        return {
            "adders": self.adders,
            "adder_bits": self.adders * self.width,
            "adder_levels": self.adders * self.levels,
            "sum_bits": float(self.total),
            "inputs": float(self.inputs),
        }


def matrix_terms(matrix: IntArray) -> int:
    """Canonical signed digits of all entries of a matrix."""
    values, counts = np.unique(np.abs(matrix), return_counts=True)
    return sum(csd_weight(int(v)) * int(n) for v, n in zip(values, counts, strict=True))


def features(stage: Stage, matrix: IntArray) -> Features:
    """Features of the matrix of a stage, whose graph is not needed."""
    used = np.any(matrix, axis=1)
    widths = [r.width for r, read in zip(stage.ranges[0], used, strict=True) if read]
    sums = linear_ranges(matrix, stage.ranges[0], ())
    terms = matrix_terms(matrix) / max(int(matrix.any(axis=0).sum()), 1)
    return Features(
        adders=sampled_adders(matrix),
        inputs=len(widths),
        width=float(np.mean(widths)) if widths else 0.0,
        levels=math.log2(max(terms, 1.0)),
        total=sum(r.width for r in sums),
    )


def sampled_adders(matrix: IntArray, most: int = SAMPLE) -> float:
    """Adders that are left after sharing, from a quick graph of at most ``most`` digits.

    A large matrix is sampled in rows and columns alike, since digits are shared between both, and
    shares a little more than its sample.
    """
    return _sampled_adders(matrix.tobytes(), matrix.shape, most)


@lru_cache(maxsize=1024)
def _sampled_adders(entries: bytes, shape: tuple[int, int], most: int) -> float:
    matrix = np.frombuffer(entries, dtype=np.int64).reshape(shape)
    matrix = matrix[np.ix_(matrix.any(axis=1), matrix.any(axis=0))]
    terms = matrix_terms(matrix)
    if terms == 0:
        return 0.0
    sample = spread_sample(matrix, most)
    fitted = _fitted()
    adders = optimize(sample).adders * fitted["search"]
    found: float = adders * (terms / max(matrix_terms(sample), 1)) ** fitted["power"]
    return min(found, terms)


def spread_sample(matrix: IntArray, most: int) -> IntArray:
    """Rows and columns of a matrix that have about ``most`` digits; all if they have no more."""
    terms = matrix_terms(matrix)
    if terms <= most:
        return matrix
    part = math.sqrt(most / terms)
    sample: IntArray = matrix[np.ix_(*(_spread(size, part) for size in matrix.shape))]
    return sample


def _spread(size: int, part: float) -> IntArray:
    """Indices of a part of so many rows or columns, evenly spread."""
    count = max(1, min(size, round(size * part)))
    return np.arange(count) * size // count


def graph_kind(stage: Stage, family: str) -> str:
    """Under which name the parts of such stages are kept."""
    return f"serial:{stage.digit}" if stage.form == "digit_adders" else f"parallel:{family}"


def expected_parts(stage: Stage, matrix: IntArray, family: str) -> Structure:
    """Parts of a stage of ``adders`` or ``digit_adders`` whose graph is not known."""
    fitted = _fitted()
    products = features(stage, matrix).products
    parts = fitted["parts"][graph_kind(stage, family)]
    words = {
        kind: round(sum(each * products[name] for name, each in linear.items()))
        for kind, linear in parts.items()
    }
    return Structure({**words, "stage": 1})


def expected_digits(stage: Stage, matrix: IntArray) -> int:
    """Digits of the words of a stage of ``digit_adders``, as far as its ranges tell."""
    sums = linear_ranges(matrix, stage.ranges[0], ())
    scales = [1] * len(sums)
    if isinstance(stage.op, Requantise):
        scales = np.broadcast_to(stage.op.multiplier.ravel(), len(sums)).tolist()
    bits = [
        max((r.lo * k).bit_length(), (r.hi * k).bit_length()) + (r.lo < 0)
        for r, k in zip(sums, scales, strict=True)
    ]
    widest = max([*bits, *(r.width for r in stage.ranges[0]), 1])
    return -(-widest // stage.digit)


@cache
def _fitted() -> Mapping[str, Any]:
    text = resources.files("hwgen.estimate").joinpath(FILE).read_text(encoding="utf-8")
    fitted: Mapping[str, Any] = json.loads(text)
    return fitted
