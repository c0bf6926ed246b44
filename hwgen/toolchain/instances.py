"""Which instance of a flattened design each resource belongs to, by the names of its cells."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hwgen.toolchain.synthesis import FAMILIES, Area

__all__ = ["area_by_instance"]

_UNUSED = frozenset(
    {"attributes", "connections", "netnames", "parameters", "port_directions", "ports"}
)


def area_by_instance(netlist: Path, *, top: str, family: str) -> tuple[tuple[str, Area], ...]:
    """Resources of each instance in module ``top`` of a flattened netlist that Yosys wrote.

    Flattening gives each net a name that begins with its instance's and a point, and Yosys names a
    mapped cell after a net that it drives or reads. Cells named after a net of the module itself,
    such as the registers of its ports, count for the empty name; the sum is the area of the whole.

    Raises
    ------
    ValueError
        If ``family`` is unknown.
    """
    if family not in FAMILIES:
        raise ValueError(f"Family must be one of {', '.join(FAMILIES)}, not {family!r}")
    with netlist.open(encoding="utf-8") as file:
        cells = json.load(file, object_pairs_hook=_without_connections)["modules"][top]["cells"]
    counted: dict[str, Counter[str]] = {}
    for name, cell in cells.items():
        instance, point, _ = name.partition(".")
        owner = instance if point and not instance.startswith("$") else ""
        counted.setdefault(owner, Counter())[cell["type"]] += 1
    return tuple(
        (name, Area.from_cells(counted[name], FAMILIES[family])) for name in sorted(counted)
    )


def _without_connections(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object without the parts of a netlist that fill the memory."""
    return {key: value for key, value in pairs if key not in _UNUSED}
