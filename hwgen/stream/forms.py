"""Forms of linear layers: how much hardware a layer gets, and how many cycles a window takes it.

A form is a value and a text, ``KIND``, ``KIND:SIZE`` or ``KIND:SIZExABREAST``:

``parallel``
    Every constant wired into adders, a window a cycle.
``rows``
    As ``parallel``, but a pixel's column is multiplied once for all windows that it is in, and the
    products are added along a chain of registers.
``memory:P``, ``memory:PxT``
    Dyadic codes in memory, of any convolution; P accumulators at once take a value a cycle, or T
    channels of a tap, patch after patch. Both are limits: no layer has more accumulators than
    filters, or takes more channels than it has, or than as many cycles need. A fully connected
    layer is the case of one patch an image.
``serial:D``
    Every constant wired into adders of D bits, as many cycles a window as its widest sum has digits
    of D bits.

A folding gives layers their forms: ``conv1=parallel,*=memory:4``. Layers that it does not name get
what suits a pipeline as fast as its input: memory for fully connected layers, adders for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from hwgen.errors import DataError

__all__ = [
    "KINDS",
    "LayerForm",
    "check_layers",
    "folding_name",
    "form_of",
    "parse_folding",
    "parse_form",
]

Kind = Literal["parallel", "rows", "memory", "serial"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Names of the kinds of form."""

_SIZED: Mapping[Kind, range] = MappingProxyType({"memory": range(1, 4097), "serial": range(1, 65)})
_ABREAST: Mapping[Kind, range] = MappingProxyType({"memory": range(1, 4097)})
_REST = "*"


@dataclass(frozen=True)
class LayerForm:
    """How a linear layer is built; ``size`` is that of its kind, 0 if the kind has none.

    ``abreast`` are the channels that an accumulator takes at once.
    """

    kind: Kind
    size: int = 0
    abreast: int = 1

    def __post_init__(self) -> None:
        sizes = _SIZED.get(self.kind, range(1))
        abreast = _ABREAST.get(self.kind, range(1, 2))
        if self.kind not in KINDS or self.size not in sizes or self.abreast not in abreast:
            raise ValueError(f"Form must be one of {_forms()}, not {self.name!r}")

    @property
    def name(self) -> str:
        """What :func:`parse_form` reads back."""
        abreast = f"x{self.abreast}" if self.abreast > 1 else ""
        return f"{self.kind}:{self.size}{abreast}" if self.kind in _SIZED else self.kind


def parse_form(text: str) -> LayerForm:
    """The form that a user wrote.

    Raises
    ------
    DataError
        If there is none of that name.
    """
    found = re.fullmatch(r"([a-z]+)(?::(\d{1,4})(?:x(\d{1,4}))?)?", text.strip())
    kind = next((each for each in KINDS if found and each == found[1]), None)
    if found is None or kind is None or (found[2] is None) == (kind in _SIZED):
        raise DataError(f"Form must be one of {_forms()}, not {text.strip()!r}")
    try:
        return LayerForm(kind, int(found[2] or 0), int(found[3] or 1))
    except ValueError:
        raise DataError(f"Form must be one of {_forms()}, not {text.strip()!r}") from None


def parse_folding(text: str) -> dict[str, LayerForm]:
    """The form of each layer that a user named; ``*`` is all others.

    Raises
    ------
    DataError
        If an entry is not ``LAYER=FORM``, or a layer has two.
    """
    folding: dict[str, LayerForm] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        layer, equals, form = entry.rpartition("=")
        if not equals or not layer:
            raise DataError(
                f"Folding must be LAYER=FORM entries such as '*=parallel', not {entry!r}"
            )
        if layer in folding:
            raise DataError(f"Folding must give layer {layer!r} one form, not two")
        folding[layer] = parse_form(form)
    return folding


def folding_name(folding: Mapping[str, LayerForm]) -> str:
    """What :func:`parse_folding` reads back."""
    return ",".join(f"{layer}={form.name}" for layer, form in folding.items())


def form_of(folding: Mapping[str, LayerForm], layer: str) -> LayerForm | None:
    """The form of a layer, None if the folding leaves the choice."""
    return folding.get(layer, folding.get(_REST))


def check_layers(folding: Mapping[str, LayerForm], layers: Collection[str]) -> None:
    """Refuse a folding with names that are not among those of the linear ``layers``.

    Raises
    ------
    DataError
        If there is one.
    """
    for layer in folding:
        if layer != _REST and layer not in layers:
            raise DataError(f"Folding must name layers among {', '.join(layers)}, not {layer!r}")


def _forms() -> str:
    return ", ".join(", ".join(_texts(kind)) for kind in KINDS)


def _texts(kind: Kind) -> Iterator[str]:
    """The smallest and the largest forms of a kind, as texts."""
    sizes, abreast = _SIZED.get(kind), _ABREAST.get(kind)
    if sizes is None:
        yield kind
        return
    least, most = sizes.start, sizes.stop - 1
    yield f"{kind}:{least} to {kind}:{most}"
    if abreast is not None:
        yield f"{kind}:{least}x1 to {kind}:{most}x{abreast.stop - 1}"
