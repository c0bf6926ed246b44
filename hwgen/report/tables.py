"""What the tables and figures of the report show, as text that only needs to be placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwgen.report.facts import loss_text, number, percent

__all__ = [
    "Bar",
    "Table",
    "Tile",
    "accuracy_table",
    "lanes_text",
    "layer_table",
    "operation_table",
    "proof_table",
    "resource_bars",
    "run_table",
    "tiles",
    "time_bars",
]

_Group = Mapping[str, Any]
_NONE = "\u2013"
_RESOURCES = (
    ("luts", "LUTs"),
    ("ffs", "Flip-flops"),
    ("brams", "Memory blocks"),
    ("dsps", "DSP blocks"),
)


@dataclass(frozen=True)
class Table:
    """Columns, of which the first ``texts`` hold text and the others numbers, and rows of cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1


@dataclass(frozen=True)
class Tile:
    """A number that matters, what it is, and a remark."""

    value: str
    label: str
    remark: str = ""


@dataclass(frozen=True)
class Bar:
    """A labelled bar, ``share`` (0 to 1) of its full length, with ``text`` beside it."""

    label: str
    share: float
    text: str

    @property
    def width(self) -> str:
        """Length as a CSS percentage."""
        return f"{100 * min(1.0, max(0.0, self.share)):.2f}%"


def tiles(summary: _Group) -> tuple[Tile, ...]:
    """The numbers that a reader looks for first."""
    found = []
    accuracy, hardware = summary["accuracy"], summary["hardware"]
    operations, verification = summary["operations"], summary["verification"]
    if accuracy and accuracy["integer"] is not None:
        remark = f"float {percent(accuracy['float'], 2)}"
        found.append(Tile(percent(accuracy["integer"], 2), "accuracy in hardware", remark))
    if operations:
        remark = f"float {number(operations['float_multiplications'])}"
        found.append(Tile(number(operations["multiplications"]), "multiplications", remark))
    if verification:
        remark = f"of {number(verification['words_compared'])} words"
        found.append(Tile(number(verification["words_differed"]), "words differed", remark))
    if hardware:
        if hardware["adders"] is not None:
            found.append(Tile(number(hardware["adders"]), "adders", "in adder graphs"))
        if hardware["nfu"] is not None:
            tile = " \u00d7 ".join(str(size) for size in hardware["nfu"]["tile"])
            found.append(
                Tile(tile, "NFU", f"{number(hardware['nfu']['instructions'])} instructions")
            )
        if hardware["luts"] is not None:
            found.append(Tile(number(hardware["luts"]), "LUTs", str(hardware["board"])))
        cycles = f"{number(hardware['cycles_per_image'])} cycles each"
        if hardware["images_per_second"] is not None:
            speed = number(hardware["images_per_second"])
            found.append(Tile(speed, "images a second", f"{hardware['clock_mhz']:.1f} MHz"))
        else:
            found.append(Tile(number(hardware["cycles_per_image"]), "cycles an image"))
            cycles = ""
        if hardware["latency_us"] is not None:
            found.append(Tile(f"{hardware['latency_us']:.1f} \u00b5s", "latency", cycles))
    return tuple(found)


def accuracy_table(accuracy: _Group) -> Table:
    """The three networks side by side."""
    names = ("float", "approximated", "integer")
    rows = []
    for name in names:
        interval = accuracy["interval"].get(name)
        rows.append(
            (
                name,
                _NONE if accuracy[name] is None else percent(accuracy[name], 2),
                f"{percent(interval[0])} to {percent(interval[1])}" if interval else _NONE,
                loss_text(accuracy["loss"].get(name)) or _NONE,
                _share(accuracy["agreement"].get(name)),
                _share(accuracy["error"].get(name)),
            )
        )
    columns = (
        "Network",
        "Accuracy",
        "95 % interval",
        "Accuracy lost",
        "Same decision as float",
        "Output error",
    )
    return Table(columns, tuple(rows))


def operation_table(operations: _Group) -> Table:
    """Operations for one image, before anything is shared."""
    return Table(
        ("Operations an image", "Float", "Dyadic"),
        (
            (
                "Multiplications",
                number(operations["float_multiplications"]),
                number(operations["multiplications"]),
            ),
            ("Additions", number(operations["float_additions"]), number(operations["additions"])),
            ("Shifts (wires in hardware)", _NONE, number(operations["shifts"])),
            ("Comparisons", _NONE, number(operations["comparisons"])),
            ("Function calls (tanh, ...)", number(operations["float_functions"]), "0"),
        ),
    )


def layer_table(layers: Sequence[_Group]) -> Table:
    """A row a layer."""
    columns = (
        "Layer",
        "Operator",
        "Set",
        "Shape",
        "Scale",
        "Weights",
        "Terms",
        "Weight error",
        "Output error",
        "Adders",
        "Depth",
        "LUTs",
        "Bits",
        "Range",
        "Cycles",
    )
    return Table(columns, tuple(_layer_row(layer) for layer in layers), texts=3)


def lanes_text(layer: _Group) -> str:
    """Accumulators of a layer in memory form, and the channels that each takes at once."""
    lanes, abreast = layer["lanes"], layer["abreast"]
    each = f" \u00d7 {abreast}" if abreast > 1 else ""
    return f"{lanes} lane{'s' if lanes > 1 else ''}{each}"


def _layer_row(layer: _Group) -> tuple[str, ...]:
    scale, span = _NONE, _NONE
    if layer["scale_lo"] is not None:
        ends = [f"{layer[key]:.2g}" for key in ("scale_lo", "scale_hi")]
        scale = ends[0] if ends[0] == ends[1] else " \u2025 ".join(ends)
    if layer["lo"] is not None:
        span = f"{layer['lo']} \u2025 {layer['hi']}".replace("-", "\u2212")
    lanes, digit, adders = layer["lanes"], layer["digit"], _count(layer["adders"])
    if lanes:
        adders = lanes_text(layer)
    elif digit:
        adders += f" \u00d7 {digit} bit{'s' if digit > 1 else ''}"
    return (
        layer["name"],
        layer["kind"],
        layer["dyadic_set"] or _NONE,
        _shape(layer["shape"]),
        scale,
        number(layer["weights"]) if layer["weights"] else _NONE,
        _count(layer["terms"]),
        _share(layer["weight_error"]),
        _share(layer["output_error"]),
        adders,
        _count(layer["depth"]),
        _count(layer["luts"]),
        _count(layer["bits"]),
        span,
        _count(layer["cycles"]),
    )


def resource_bars(hardware: _Group) -> tuple[Bar, ...]:
    """Resources used, of those of the FPGA; none before synthesis."""
    if hardware["capacity"] is None:
        return ()
    bars = []
    for key, label in _RESOURCES:
        used, there = hardware[key], hardware["capacity"][key]
        share = used / there if there else 0.0
        text = f"{number(used)} of {number(there)}"
        bars.append(Bar(label, share, f"{text} ({percent(share)})" if there and used else text))
    return tuple(bars)


def run_table(verification: _Group) -> Table:
    """A row a simulation."""
    rows = []
    for run in verification["runs"]:
        stall = run["stall"]
        stalls = f"{percent(stall['source'], 0)} / {percent(stall['sink'], 0)}"
        rows.append(
            (
                run["mode"],
                "passed" if run["passed"] else run["fault"] or "differs",
                number(run["images"]),
                number(run["layers"]),
                number(run["words_compared"]),
                number(run["words_differed"]),
                number(run["cycles"]),
                number(run["cycles_per_image"], 1),
                stalls,
                str(run["seed"]),
            )
        )
    columns = (
        "Simulation",
        "Outcome",
        "Images",
        "Streams",
        "Words compared",
        "Differed",
        "Cycles",
        "an image",
        "Stalls in / out",
        "Seed",
    )
    return Table(columns, tuple(rows), texts=2)


def proof_table(formal: _Group) -> Table:
    """A row an adder graph: what proves that it is the matrix of its layer."""
    rows = [
        (
            graph["module"],
            graph["layer"],
            graph["fault"] or "proved",
            graph["solver"] or _NONE,
            f"{graph['inputs']} \u00d7 {graph['outputs']}",
            number(graph["adders"]),
            _count(graph["latency"]),
            f"{graph['seconds']:.2f}",
        )
        for graph in formal["graphs"]
    ]
    rows += [(name, _NONE, "not covered", *[_NONE] * 5) for name in formal["others"]]
    columns = ("Module", "Layer", "By words", "By SAT", "Matrix", "Adders", "Registers", "Seconds")
    return Table(columns, tuple(rows), texts=4)


def time_bars(seconds: _Group) -> tuple[Bar, ...]:
    """Wall-clock time of each stage that has run, with the steps of synthesis."""
    known = [(stage, value) for stage, value in seconds.items() if isinstance(value, float | int)]
    known += list((seconds.get("steps") or {}).items())
    longest = max((value for _, value in known), default=0.0) or 1.0
    return tuple(Bar(name, value / longest, f"{value:,.1f} s") for name, value in known)


def _shape(shape: Sequence[int]) -> str:
    return " \u00d7 ".join(str(size) for size in shape)


def _count(value: int | None) -> str:
    return _NONE if value is None else number(value)


def _share(value: float | None) -> str:
    return _NONE if value is None else percent(value)
