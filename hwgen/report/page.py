"""The report: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hwgen.approx.complexity import count_operations
from hwgen.approx.front import Front
from hwgen.approx.types import ApproxNetwork
from hwgen.integer.types import IntegerNetwork
from hwgen.network.types import Network
from hwgen.report import plots
from hwgen.report.complexity import complexity_tables
from hwgen.report.facts import verdict
from hwgen.report.front import front_plot, front_table
from hwgen.report.pipeline import Box, draw
from hwgen.report.slim import slim_facts, slim_plot, slim_table
from hwgen.report.tables import (
    Bar,
    Table,
    Tile,
    accuracy_table,
    lanes_text,
    layer_table,
    operation_table,
    proof_table,
    resource_bars,
    run_table,
    tiles,
    time_bars,
)

__all__ = ["render"]

_TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class _Page:
    """All that the template places; None and empty parts are left out."""

    title: str
    verdict: str
    mood: str
    tiles: tuple[Tile, ...]
    pipeline: Markup | None
    accuracy: Table | None
    slim: Table | None
    slim_facts: tuple[tuple[str, str], ...]
    slim_steps: Markup | None
    operations: Table | None
    complexity: tuple[tuple[str, Table], ...]
    layers: Table | None
    resources: tuple[Bar, ...]
    hardware: str
    verification: Table | None
    proofs: Table | None
    first_difference: str | None
    front: Markup | None
    front_points: Table | None
    errors: Markup | None
    weights: Markup | None
    weights_left_out: int
    activations: Markup | None
    times: tuple[Bar, ...]
    tools: tuple[tuple[str, str], ...]
    seeds: tuple[tuple[str, int], ...]
    commands: tuple[str, ...]
    limits: tuple[str, ...]


def render(
    summary: Mapping[str, Any],
    *,
    approx: ApproxNetwork | None = None,
    original: Network | None = None,
    integer: IntegerNetwork | None = None,
    front: Front | None = None,
) -> str:
    """HTML page of a summary, with nothing to load from elsewhere; the same for equal arguments.

    Parameters
    ----------
    summary
        What :func:`hwgen.flow.summary.summarise` gave.
    approx, integer
        The approximated and the integer network, for the plots.
    original
        The float network that was imported, if what was approximated is another one.
    front
        What the search found.
    """
    environment = Environment(
        loader=PackageLoader("hwgen.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = _page(summary, approx, original, integer, front)
    return environment.get_template(_TEMPLATE).render(page=page)


def _page(
    summary: Mapping[str, Any],
    approx: ApproxNetwork | None,
    original: Network | None,
    integer: IntegerNetwork | None,
    front: Front | None,
) -> _Page:
    sentence, mood = verdict(summary)
    network, layers = summary["network"], summary["layers"]
    hardware, verification = summary["hardware"], summary["verification"]
    weights, left_out = plots.weight_plots(approx) if approx else ("", 0)
    approximation, slim = summary["approximation"], summary["slim"]
    built = approximation["point"] if approximation else None
    curved = plots.activation_plots(approx, integer) if approx and integer else ""
    return _Page(
        title=network["name"] if network else "hwgen",
        verdict=sentence,
        mood=mood,
        tiles=tiles(summary),
        pipeline=_svg(draw(_boxes(summary))) if layers else None,
        accuracy=accuracy_table(summary["accuracy"]) if summary["accuracy"] else None,
        slim=slim_table(slim) if slim else None,
        slim_facts=tuple(slim_facts(slim)) if slim else (),
        slim_steps=_svg(slim_plot(slim)) if slim else None,
        operations=operation_table(summary["operations"]) if summary["operations"] else None,
        complexity=_complexity(approx, original) if approx else (),
        layers=layer_table(layers) if layers else None,
        resources=resource_bars(hardware) if hardware else (),
        hardware=_hardware(hardware) if hardware else "",
        verification=run_table(verification) if verification else None,
        proofs=_proofs(verification),
        first_difference=_first_difference(verification) if verification else None,
        front=_svg(front_plot(front, built)) if front else None,
        front_points=front_table(front, built) if front else None,
        errors=_svg(plots.error_plot(layers or ())),
        weights=_svg(weights),
        weights_left_out=left_out,
        activations=_svg(curved),
        times=time_bars(summary["seconds"]),
        tools=tuple(sorted(summary["tools"].items())),
        seeds=tuple((name, seed) for name, seed in summary["seeds"].items() if seed is not None),
        commands=tuple(summary["commands"]),
        limits=tuple(summary["limits"]),
    )


def _complexity(approx: ApproxNetwork, original: Network | None) -> tuple[tuple[str, Table], ...]:
    return complexity_tables(count_operations(approx, original=original))


def _svg(text: str) -> Markup | None:
    """SVG that this package made, whose texts are escaped already."""
    return Markup(text) if text else None


def _boxes(summary: Mapping[str, Any]) -> list[Box]:
    network, layers = summary["network"], summary["layers"]
    source = next(name for name in layers[0]["reads"])
    pixel = network["input_bits"] * network["input"][0]
    carried = {source: pixel} | {layer["name"]: layer["stream_bits"] for layer in layers}
    boxes = [Box(source, "input", _shape(network["input"]), "", "end")]
    for layer in layers:
        names = layer["reads"]
        depths = layer["buffers"] or [0] * len(names)
        labels = [
            f"{_label(carried[name])}, {depth} deep" if depth > 2 else _label(carried[name])
            for name, depth in zip(names, depths, strict=True)
        ]
        reads = tuple(zip(names, labels, strict=True))
        style = {"adders": "adders", "memory": "memory"}.get(layer["form"], "plain")
        shape = _shape(layer["shape"])
        boxes.append(Box(layer["name"], layer["kind"], shape, _note(layer), style, reads))
    last = layers[-1]
    reads = ((last["name"], _label(last["stream_bits"])),)
    return [*boxes, Box(_free("output", boxes), "", _shape(last["shape"]), "", "end", reads)]


def _free(name: str, boxes: list[Box]) -> str:
    """``name``, with primes until no box is called so."""
    while any(box.name == name for box in boxes):
        name += "\u2032"
    return name


def _note(layer: Mapping[str, Any]) -> str:
    if layer["form"] == "memory":
        return lanes_text(layer)
    if layer["form"] != "adders":
        return ""
    digit = layer["digit"]
    bits = f" of {digit} bit{'s' if digit > 1 else ''}" if digit else ""
    return f"{layer['adders']:,} adders{bits}"


def _label(bits: int | None) -> str:
    return "" if bits is None else f"{bits} bit"


def _shape(shape: list[int]) -> str:
    return "\u00d7".join(str(size) for size in shape)


def _hardware(hardware: Mapping[str, Any]) -> str:
    cycles = (
        f"An image takes {hardware['cycles_per_image']:,.0f} cycles; its result is complete "
        f"{hardware['latency_cycles']:,} cycles after its first pixel."
    )
    if hardware["board"] is None:
        return cycles
    built = f"Built for {hardware['board']} ({hardware['part']})."
    if hardware["clock_mhz"] is None:
        return f"{built} {cycles}"
    return (
        f"{built} Place and route aimed at {hardware['target_mhz']:g} MHz and achieved "
        f"{hardware['clock_mhz']:.1f} MHz. {cycles}"
    )


def _proofs(verification: Mapping[str, Any] | None) -> Table | None:
    formal = verification.get("formal") if verification else None
    return proof_table(formal) if formal else None


def _first_difference(verification: Mapping[str, Any]) -> str | None:
    """Sentence on the first word that differed, if any."""
    for run in verification["runs"]:
        first = run["first_difference"]
        if first:
            where = ", ".join(
                f"{key} {first[key]}" for key in ("frame", "channel", "row", "column")
            )
            waveform = f"; waveform: {run['waveform']}" if run["waveform"] else ""
            return (
                f"First difference ({run['mode']}) in {first['node']}: {where}: expected "
                f"{first['expected']}, got {first['got']}{waveform}"
            )
    return None
