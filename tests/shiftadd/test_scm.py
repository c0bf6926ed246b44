"""Single constants: the optimum against brute force, and the graphs that reach it."""

from __future__ import annotations

import numpy as np
import pytest

from hwgen.numeric import Range
from hwgen.shiftadd.mcm import mcm_graph, mcm_lower_bound
from hwgen.shiftadd.scm import scm_adders

BYTE = Range(-128, 127)
BITS = 10
LIMIT = 1 << (BITS + 1)


def sums(u: int, v: int) -> set[int]:
    """Odd parts below LIMIT of all sums of shifted u and v."""
    found = set()
    for a, b in ((u, v), (v, u)):
        for shift in range(LIMIT.bit_length() + 1):
            for value in ((a << shift) + b, abs((a << shift) - b)):
                while value and value % 2 == 0:
                    value //= 2
                if 0 < value < LIMIT:
                    found.add(value)
    return found


def fewest_adders(most: int) -> dict[int, int]:
    """Adders of every odd number below LIMIT that ``most`` adders reach, over all graphs."""
    adders = {1: 0}
    graphs: set[frozenset[int]] = {frozenset({1})}
    for count in range(1, most + 1):
        larger = set()
        for graph in graphs:
            near = {w for u in graph for v in graph for w in sums(u, v)} - graph
            for value in near:
                adders.setdefault(value, count)
            if count < most:
                larger |= {graph | {value} for value in near}
        graphs = larger
    return adders


def test_optimum_of_all_constants_up_to_ten_bits() -> None:
    known = fewest_adders(3)
    for constant in range(1, 1 << BITS, 2):
        assert scm_adders(constant) == known.get(constant, 4), constant


def cheapest_modulo(exponent: int, constants: list[int]) -> list[int]:
    """Adders of each constant modulo ``2**exponent - 1``, at most 4, with shifts of every length.

    Modulo that prime a shift is a rotation, so that all are tried. A graph over the integers is one
    modulo the prime too: no constant needs fewer adders than here, however large its fundamentals.
    """
    prime = (1 << exponent) - 1
    units = np.array([s << k for k in range(exponent) for s in (1, -1)]) % prime

    def near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """All sums of a and shifted b, elementwise: (..., units)."""
        rotations = [
            ((b << k) & prime) + (b >> (exponent - k)) for k in range(exponent) for _ in (1, -1)
        ]
        signs = np.where(np.arange(len(units)) % 2, -1, 1)
        return (a[..., None] + signs * np.stack(rotations, axis=-1)) % prime

    one = np.array([1])
    first = np.unique(near(one, one))
    second = np.unique(np.concatenate([near(first, first), near(first, one + 0 * first)], axis=1))
    v1 = np.repeat(first, 3 * len(units))
    v2 = np.concatenate(
        [near(first, first), near(first, one + 0 * first), near(one + 0 * first, one + 0 * first)],
        axis=1,
    ).ravel()
    third = np.unique(np.concatenate([near(v2, b).ravel() for b in (v1, v2, one + 0 * v2)]))
    shifted = near(0 * np.array(constants), np.array(constants))
    adders = np.full(len(constants), 4)
    for count, values in ((3, third), (2, second), (1, first), (0, one)):
        adders[np.isin(shifted, values).any(axis=1)] = count
    return adders.tolist()


def test_larger_fundamentals_save_nothing_up_to_twelve_bits() -> None:
    constants = list(range(1, 1 << 12, 2))
    assert list(map(scm_adders, constants)) == cheapest_modulo(31, constants)


@pytest.mark.parametrize("constant", [0, 1, -1, 64, -4096])
def test_powers_of_two_need_no_adder(constant: int) -> None:
    assert scm_adders(constant) == 0


@pytest.mark.parametrize(
    ("constant", "adders"),
    [(-3 << 7, 1), (11 << 3, 2), (-171, 3), (683, 4), (14709 << 1, 5)],
)
def test_shifts_and_signs_do_not_count(constant: int, adders: int) -> None:
    assert scm_adders(constant) == adders
    assert mcm_graph([constant], BYTE).adders == adders
    assert mcm_lower_bound([constant]) <= adders


def test_too_wide_constants_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 19 bits"):
        scm_adders(1 << 19 | 1)
