"""Check that an approximated network is consistent and that nothing in it needs a multiplier."""

from __future__ import annotations

import numpy as np

from hwgen.approx.activations import is_saturation
from hwgen.approx.filters import EXACT
from hwgen.approx.frobenius import term_limit
from hwgen.approx.recipes import parse_recipe
from hwgen.approx.types import ApproxNetwork, DyadicFilters, code_terms
from hwgen.errors import HwgenError, VerifyError
from hwgen.network.shapes import average_divisors
from hwgen.network.types import Activation, AveragePool, Conv, FloatArray, Network, PiecewiseLinear
from hwgen.numeric import Dyadic, IntArray

__all__ = ["verify"]

_BITS = 24
"""Most significant bits of a number that counts as a short dyadic one."""


def verify(approx: ApproxNetwork) -> ApproxNetwork:
    """Check ``approx`` and return it.

    Every layer has filters of its shape whose codes are in the set that they name and whose scales
    are positive; every number is dyadic with at most 24 significant bits; every activation is a
    function that ascends through its breakpoints; every divisor of an average pool has its
    coefficient; nothing is there twice or without its node.

    Raises
    ------
    VerifyError
        With the first fault.
    """
    network = approx.network
    convs = {node.name: op for node, op in network.convs()}
    activations = {
        node.name: node
        for node in network.nodes
        if isinstance(node.op, Activation) and not is_saturation(node.op)
    }
    pools = {node.name: node.op for node in network.nodes if isinstance(node.op, AveragePool)}
    for what, found, wanted in (
        ("filters", [name for name, _ in approx.filters], list(convs)),
        ("activations", [name for name, _ in approx.activations], list(activations)),
        ("pool coefficients", [name for name, _ in approx.pool_coefficients], list(pools)),
    ):
        if found != wanted:
            raise VerifyError(f"Approximation must have {what} for {wanted}, not {found}")
    for name, filters in approx.filters:
        _check_filters(f"Layer {name!r}", convs[name], filters)
    for name, function in approx.activations:
        _check_function(f"Activation {name!r}", function, activations[name].shape[0])
    for name, coefficients in approx.pool_coefficients:
        _check_pool(network, name, pools[name], coefficients)
    return approx


def _check_filters(where: str, op: Conv, filters: DyadicFilters) -> None:
    if filters.codes.shape != op.weight.shape:
        raise VerifyError(
            f"{where} must have codes of shape {op.weight.shape}, not {filters.codes.shape}"
        )
    if filters.bias.shape != op.bias.shape or len(filters.scale) != len(op.weight):
        raise VerifyError(f"{where} must have one bias and one scale a filter")
    if filters.recipe == EXACT:
        if not np.array_equal(filters.weight, op.weight):
            raise VerifyError(f"{where} says that it is exact, but its weights differ")
    else:
        try:
            recipe = parse_recipe(filters.recipe)
        except HwgenError as error:
            raise VerifyError(f"{where}: {error}") from None
        dyadic_set = recipe.dyadic_set
        if dyadic_set.frac != filters.frac:
            raise VerifyError(
                f"{where} must have {dyadic_set.frac} fractional bits as its set "
                f"{dyadic_set.name}, not {filters.frac}"
            )
        outside = np.setdiff1d(_numbers(where, filters), np.array(dyadic_set.numerators))
        if outside.size:
            raise VerifyError(f"{where} has code {outside[0]}, not in its set {dyadic_set.name}")
        limit, terms = term_limit(recipe, op.weight), int(code_terms(filters.codes).sum())
        if limit is not None and terms > limit:
            raise VerifyError(
                f"{where} must have at most {limit} terms by its recipe {recipe.name}, not {terms}"
            )
    for scale in filters.scale:
        if scale.mantissa <= 0:
            raise VerifyError(f"{where} must have positive scales, not {float(scale)}")
    _check_short(f"{where}, scale", np.array([float(s) for s in filters.scale]))
    _check_short(f"{where}, bias", filters.bias)


def _numbers(where: str, filters: DyadicFilters) -> IntArray:
    """The codes without the factors of their kernels: numbers of the set."""
    factors = filters.factors
    if factors is None:
        return filters.codes
    if factors.shape != filters.codes.shape[:2] or (factors < 1).any():
        raise VerifyError(f"{where} must have one factor above 0 a kernel")
    numbers, rest = np.divmod(filters.codes, factors[:, :, None, None])
    if rest.any():
        raise VerifyError(f"{where} must have codes that are multiples of their kernel's factor")
    return numbers


def _check_function(where: str, op: PiecewiseLinear, channels: int) -> None:
    groups, segments = op.slopes.shape
    if groups not in (1, channels):
        raise VerifyError(f"{where} must have 1 or {channels} functions, not {groups}")
    if op.offsets.shape != op.slopes.shape or op.breakpoints.shape != (groups, segments - 1):
        raise VerifyError(f"{where} must have an offset a slope and one breakpoint fewer")
    if (np.diff(op.breakpoints, axis=1) < 0).any():
        raise VerifyError(f"{where} must have ascending breakpoints")
    for name in ("breakpoints", "slopes", "offsets"):
        _check_short(f"{where}, {name}", getattr(op, name))


def _check_pool(
    network: Network, name: str, op: AveragePool, coefficients: tuple[tuple[int, Dyadic], ...]
) -> None:
    divisors = average_divisors(op, network.shape(network.node(name).inputs[0]))
    known = [divisor for divisor, _ in coefficients]
    if known != sorted(set(known)):
        raise VerifyError(f"Pool {name!r} must have ascending divisors, not {known}")
    for divisor in np.unique(divisors):
        if int(divisor) not in known:
            raise VerifyError(f"Pool {name!r} has no coefficient for the divisor {int(divisor)}")
    values = np.array([float(coefficient) for _, coefficient in coefficients])
    _check_short(f"Pool {name!r}, coefficients", values)


def _check_short(where: str, values: FloatArray) -> None:
    if not np.isfinite(values).all():
        raise VerifyError(f"{where}: numbers must be finite")
    whole = np.ldexp(np.frexp(values)[0], _BITS)
    if not np.array_equal(whole, np.rint(whole)):
        raise VerifyError(f"{where}: numbers must have at most {_BITS} significant bits")
