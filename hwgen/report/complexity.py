"""Operations of a network as tables, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined

from hwgen.approx.complexity import Complexity, Form, LayerComplexity, Operations
from hwgen.report.facts import number
from hwgen.report.tables import Table

__all__ = ["EXPORTS", "complexity_table", "complexity_tables", "to_csv", "to_json", "to_latex"]

Per = Literal["output", "image"]
"""One pixel of all channels of each layer, or all pixels of an image."""

_PER: tuple[Per, ...] = get_args(Per)
_SPOKEN: Mapping[Form, str] = MappingProxyType(
    {"exact": "Float", "approximated": "Dyadic", "shared": "Shared"}
)
_SHOWN = (("multiplications", "\u00d7"), ("additions", "+"), ("shifts", "\u226a"))
_COUNTED = tuple(field.name for field in fields(Operations))
_TEMPLATE = "complexity.tex.j2"


def complexity_table(complexity: Complexity, *, per: Per) -> Table:
    """Multiplications, additions and shifts: a row a layer, then one of all layers.

    The columns are the layer, its operator, its channels and pixels, and three for each of the
    forms that were counted: the float network, the dyadic one, and the dyadic one after sharing.
    """
    forms = complexity.forms
    columns = [f"{_SPOKEN[form]} {sign}" for form in forms for _, sign in _SHOWN]
    rows = [
        (
            layer.name,
            layer.operator,
            number(layer.channels),
            number(layer.positions),
            *(text for form in forms for text in _shown(_of_layer(layer, form, per))),
        )
        for layer in complexity.layers
    ]
    total = (text for form in forms for text in _shown(_of_network(complexity, form, per)))
    rows.append(("All layers", "", "", "", *total))
    return Table(("Layer", "Operator", "Channels", "Pixels", *columns), tuple(rows), texts=2)


def complexity_tables(complexity: Complexity) -> tuple[tuple[str, Table], ...]:
    """The tables for one output and for one image, each with its title."""
    titles = {"output": "One output pixel of each layer", "image": "One image"}
    return tuple((titles[per], complexity_table(complexity, per=per)) for per in _PER)


def to_csv(complexity: Complexity) -> str:
    """A line for each layer, form and count (``output`` or ``image``), then those of all layers.

    ``scope`` is ``layer`` or ``network``; the lines of the whole network leave the operator, the
    channels and the pixels empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("scope", "name", "operator", "channels", "pixels", "form", "per")
    writer.writerow((*head, *_COUNTED))
    for layer in complexity.layers:
        known = ("layer", layer.name, layer.operator, layer.channels, layer.positions)
        for form in complexity.forms:
            for per in _PER:
                counts = asdict(_of_layer(layer, form, per))
                writer.writerow((*known, form, per, *counts.values()))
    for form in complexity.forms:
        for per in _PER:
            counts = asdict(_of_network(complexity, form, per))
            writer.writerow(
                ("network", complexity.network, "", "", "", form, per, *counts.values())
            )
    return text.getvalue()


def to_json(complexity: Complexity) -> str:
    """An object with the network's name, its layers, and the counts ``total`` of all layers.

    Counts are nested as ``output`` or ``image``, then the form, then the operation.
    """

    def counts(of: Callable[[Form, Per], Operations]) -> dict[str, Any]:
        return {per: {form: asdict(of(form, per)) for form in complexity.forms} for per in _PER}

    def described(layer: LayerComplexity) -> dict[str, Any]:
        return {
            "name": layer.name,
            "operator": layer.operator,
            "channels": layer.channels,
            "pixels": layer.positions,
            **counts(lambda form, per: _of_layer(layer, form, per)),
        }

    result = {
        "network": complexity.network,
        "layers": [described(layer) for layer in complexity.layers],
        "total": counts(lambda form, per: _of_network(complexity, form, per)),
    }
    return json.dumps(result, indent=1) + "\n"


def to_latex(complexity: Complexity) -> str:
    """Two ``table`` environments, for one output and for one image, to be read with ``\\input``.

    They need the package booktabs.
    """
    environment = Environment(
        loader=PackageLoader("hwgen.report", "."),
        # TeX is full of braces and percent signs, and nothing that is HTML is made here
        autoescape=False,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tex"] = _escaped
    environment.filters["grouped"] = lambda text: text.replace(",", r"\,")
    tables = [
        (per, title, table)
        for per, (title, table) in zip(_PER, complexity_tables(complexity), strict=True)
    ]
    return environment.get_template(_TEMPLATE).render(
        name=complexity.network,
        label=re.sub(r"[^a-z0-9]+", "-", complexity.network.lower()).strip("-") or "network",
        forms=[_SPOKEN[form] for form in complexity.forms],
        tables=tables,
    )


EXPORTS: Mapping[str, Callable[[Complexity], str]] = MappingProxyType(
    {"csv": to_csv, "json": to_json, "latex": to_latex}
)
"""Text of each format for files, by its name."""


def _of_layer(layer: LayerComplexity, form: Form, per: Per) -> Operations:
    return layer.operations(form).times(layer.positions if per == "image" else 1)


def _of_network(complexity: Complexity, form: Form, per: Per) -> Operations:
    return complexity.per_image(form) if per == "image" else complexity.per_output(form)


def _shown(operations: Operations) -> tuple[str, ...]:
    return tuple(number(getattr(operations, name)) for name, _ in _SHOWN)


_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
    }
)


def _escaped(text: str) -> str:
    """Text that LaTeX sets as it is, on one line."""
    return " ".join(text.split()).translate(_TEX)
