"""Recipes: how the weights of a linear layer become dyadic, as a value and as text.

A recipe is a dyadic set, a limit on the signed powers of two a weight if there is one, and what
shares a scale; a mix gives every linear layer of a network its recipe.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hwgen.approx.sets import DyadicSet, parse_set
from hwgen.errors import DataError

__all__ = ["Granularity", "Recipe", "mix_name", "parse_mix", "parse_recipe"]

Granularity = Literal["filter", "layer", "kernel"]
"""What shares one scale: all kernels of an output channel, the whole layer, or a kernel alone."""


@dataclass(frozen=True)
class Recipe:
    """How one linear layer's weights become dyadic.

    Parameters
    ----------
    dyadic_set
        Set that the weights are taken from.
    mean_terms
        Most signed powers of two a weight, on average over the layer's weights that are not 0; what
        becomes 0 has none. No limit if None. Where each filter has one weight (a batch norm) a
        limit would remove channels: there every weight but 0 is plus or minus the same number of
        the set, and the scale does the rest.
    scale
        What shares a scale. A scale a filter or a layer is free, because it becomes part of the
        requantisation; a scale a kernel is not, since the sum over input channels comes first.

    Raises
    ------
    ValueError
        If ``mean_terms`` is not positive and finite or ``scale`` is unknown.
    """

    dyadic_set: DyadicSet
    mean_terms: float | None = None
    scale: Granularity = "filter"

    def __post_init__(self) -> None:
        if self.mean_terms is not None and not 0 < self.mean_terms < math.inf:
            raise ValueError(f"Mean terms must be positive and finite, not {self.mean_terms!r}")
        if self.scale not in get_args(Granularity):
            raise ValueError(f"Scale must be one of {_GRANULARITIES}, not {self.scale!r}")

    @property
    def name(self) -> str:
        """What :func:`parse_recipe` reads back, such as ``P8``, ``P8@0.7`` or ``P4/kernel``."""
        limit = "" if self.mean_terms is None else f"@{float(self.mean_terms)!r}".removesuffix(".0")
        return self.dyadic_set.name + limit + ("" if self.scale == "filter" else f"/{self.scale}")


_GRANULARITIES = ", ".join(get_args(Granularity))
_RECIPE = (
    r"(?P<set>\{[^{}]*\}|[^{}\s@/=,()]+(?:\s*\([^()]*\))?)\s*"
    r"(?:@\s*(?P<mean>[^\s@/=,]+)\s*)?(?:/\s*(?P<scale>\w+)\s*)?"
)
_WHOLE = re.compile(_RECIPE)
_ENTRY = re.compile(
    r"\s*(?:(?P<quoted>\"(?:[^\"\\]|\\.)*\")|(?P<plain>[^\",=]*[^\",=\s]))\s*=\s*"
    rf"(?P<recipe>{_RECIPE})(?:,|$)"
)
_NUMBERED = re.compile(r"A\(([\d\s,]+)\)", re.IGNORECASE)
_PLAIN = re.compile(r"[^\s\",=*](?:[^\",=\n]*[^\s\",=])?")
_REST = "*"


def parse_recipe(text: str) -> Recipe:
    """The recipe that a user wrote as ``SET[@MEAN][/SCALE]``, such as ``terms(2,-5,0)@1.2/layer``.

    ``parse_recipe(r.name)`` is ``r``.

    Raises
    ------
    DataError
        If the text is none, with the reason.
    """
    compact = text.strip()
    match = _WHOLE.fullmatch(compact)
    if match is None:
        parse_set(compact)  # says what a set must be
        raise DataError(f"Recipe must be SET, SET@MEAN or SET@MEAN/SCALE, not {compact!r}")
    dyadic_set = parse_set(match["set"])
    try:
        mean = None if match["mean"] is None else float(match["mean"])
    except ValueError:
        raise DataError(
            f"Recipe {compact!r} must have a number of terms after the '@', not {match['mean']!r}"
        ) from None
    try:
        return Recipe(dyadic_set, mean, match["scale"] or "filter")  # type: ignore[arg-type]
    except ValueError as error:
        raise DataError(f"Recipe {compact!r} is not usable: {error}") from None


def parse_mix(text: str, layers: Sequence[str]) -> dict[str, Recipe]:
    """The recipe of each of ``layers``, in their order, that a user wrote for a whole network.

    Three forms: one recipe for all layers; ``A(7,3,3)``, which is P7 for the first layer and P3 for
    the second, the last number holding for all further layers; and ``conv1=P7,fc=P8@0.5,*=P4`` by
    name, where ``*`` stands for all other layers. A name with a comma, a quote or an equals sign
    in it is written in double quotes as in JSON.

    Raises
    ------
    DataError
        If the text is none of these, names a layer that is not there, names one twice or leaves
        one out.
    """
    compact = text.strip()
    if not compact and not layers:
        return {}
    if match := _NUMBERED.fullmatch(compact):
        return _numbered(compact, match[1], layers)
    if "=" not in compact:
        return dict.fromkeys(layers, parse_recipe(compact))
    named = _by_name(compact)
    for name in named:
        if name is not None and name not in layers:
            known = ", ".join(map(repr, layers))
            raise DataError(f"Mix must name linear layers of the network ({known}), not {name!r}")
    rest = named.get(None)
    mix: dict[str, Recipe] = {}
    for layer in layers:
        recipe = named.get(layer, rest)
        if recipe is None:
            raise DataError(
                f"Mix {compact!r} must give layer {layer!r} a recipe; add {_REST}=RECIPE for all "
                "other layers"
            )
        mix[layer] = recipe
    return mix


def mix_name(mix: Mapping[str, Recipe]) -> str:
    """Text that :func:`parse_mix` reads back for the same layers, whatever their order."""
    if not mix:
        return ""
    ((rest, count),) = Counter(mix.values()).most_common(1)
    if count == len(mix):
        return rest.name
    named = [
        f"{layer if _PLAIN.fullmatch(layer) else json.dumps(layer)}={recipe.name}"
        for layer, recipe in mix.items()
        if recipe != rest or count == 1
    ]
    return ",".join(named if count == 1 else [*named, f"{_REST}={rest.name}"])


def _numbered(text: str, numbers: str, layers: Sequence[str]) -> dict[str, Recipe]:
    recipes = [parse_recipe(f"P{number.strip()}") for number in numbers.split(",")]
    if len(recipes) > len(layers):
        raise DataError(
            f"Mix {text!r} must have at most one set a linear layer, of which there are "
            f"{len(layers)}"
        )
    last = len(recipes) - 1
    return {layer: recipes[min(index, last)] for index, layer in enumerate(layers)}


def _by_name(text: str) -> dict[str | None, Recipe]:
    """Recipes by layer; None stands for all other layers."""
    named: dict[str | None, Recipe] = {}
    position = 0
    while position < len(text):
        match = _ENTRY.match(text, position)
        if match is None:
            raise DataError(
                f"Mix must be a list such as conv1=P7,fc=P8@0.5,*=P4, not {text[position:]!r}"
            )
        try:
            layer = match["plain"] or json.loads(match["quoted"])
        except json.JSONDecodeError:
            raise DataError(f"Mix must quote names as JSON does, not {match['quoted']}") from None
        key = None if match["plain"] == _REST else layer
        if key in named:
            raise DataError(f"Mix must name each layer once, not {layer!r} twice")
        named[key] = parse_recipe(match["recipe"])
        position = match.end()
    return named
