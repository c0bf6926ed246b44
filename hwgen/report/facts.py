"""A summary in words: the verdict, one line a subject, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

__all__ = [
    "OBJECTIVE_LABELS",
    "Verdict",
    "facts",
    "loss_text",
    "next_command",
    "number",
    "percent",
    "slim_lost",
    "slim_saved",
    "verdict",
]

_Group = Mapping[str, Any]
_STAGES = ("import", "approximate", "generate", "verify", "synth")
_RESOURCES = (("luts", "LUTs"), ("ffs", "FFs"), ("brams", "BRAMs"), ("dsps", "DSPs"))

OBJECTIVE_LABELS: Mapping[str, str] = {
    "macs": "MACs",
    "cycles": "cycles",
    "luts": "LUTs",
    "bytes": "bytes",
}
"""What slimming saved, by the name of the objective."""

Verdict = tuple[str, str]
"""A sentence, and ``good``, ``bad`` or ``open``."""


def number(value: float, digits: int = 0) -> str:
    """``value`` with thousands separated and ``digits`` behind the point."""
    return f"{value:,.{digits}f}"


def percent(share: float, digits: int = 1) -> str:
    """``share`` as a percentage; as many digits as it takes to tell it from 0 % and 100 %."""
    text = f"{100 * share:.{digits}f}"
    if 0 < share < 1 and float(text) in (0.0, 100.0) and digits < 4:
        return percent(share, digits + 1)
    return f"{text} %"


def verdict(summary: _Group) -> Verdict:
    """What was proved, in one sentence, and how good that is."""
    verification, hardware = summary["verification"], summary["hardware"]
    if verification is not None and not verification["passed"]:
        return "The hardware differs from the golden model", "bad"
    clock = hardware["clock_mhz"] if hardware else None
    if clock is not None and clock < hardware["board_mhz"]:
        return "The bitstream is too slow for the clock of the board", "bad"
    if verification is None:
        return _unverified(summary), "open"
    proved = f"Bit-exact on {number(verification['images'])} images, without a multiplier"
    return (f"{proved}; bitstream built", "good") if clock else (proved, "open")


def _unverified(summary: _Group) -> str:
    if summary["hardware"] is not None:
        return "Hardware generated, not verified yet"
    if summary["approximation"] is not None:
        return "Approximated, no hardware yet"
    return "Imported, not approximated yet" if summary["network"] is not None else "Nothing yet"


def facts(summary: _Group) -> list[tuple[str, str]]:
    """Pairs of a subject and a line about it, of all that is known."""
    lines = (
        ("network", _network(summary["network"])),
        ("slimmed", _slimmed(summary["slim"])),
        ("weights", _weights(summary["approximation"])),
        ("accuracy", _accuracy(summary["accuracy"])),
        ("an image", _operations(summary["operations"])),
        ("adders", _adders(summary["hardware"])),
        ("NFU", _nfu(summary["hardware"])),
        ("area", _area(summary["hardware"])),
        ("predicted", _predicted(summary["hardware"])),
        ("speed", _speed(summary["hardware"])),
        ("verified", _verified(summary["verification"])),
        ("proved", _proved(summary["verification"])),
    )
    return [(subject, line) for subject, line in lines if line]


def next_command(summary: _Group, directory: str) -> str | None:
    """The command that runs the first stage without a valid result, or None if all have one."""
    for stage in _STAGES:
        how = summary["stages"][stage]
        if how == "done":
            continue
        if how == "failed":
            return None
        words = {
            "import": ["import", "MODEL.onnx", "--out", directory],
            "approximate": ["approximate", directory, "--data", "DATA.npz"],
            "synth": ["synth", directory, "--board", "BOARD"],
        }.get(stage, [stage, directory])
        return shlex.join(["hwgen", *words])
    return None if "report" in summary["files"] else shlex.join(["hwgen", "report", directory])


def _network(network: _Group | None) -> str:
    if network is None:
        return ""
    shape = " x ".join(str(size) for size in network["input"])
    return f"{network['name']}, input {shape}, {number(network['constants'])} constants"


def _slimmed(slim: _Group | None) -> str:
    if slim is None:
        return ""
    saved, test = slim_saved(slim), slim["test"]
    if test is None:
        return saved
    verb = "" if test["changed"] is None else "lost "
    return f"{saved}; {verb}{slim_lost(test, 'test images')}"


def slim_saved(slim: _Group) -> str:
    """What slimming saved, in shares of the cost, the multiplications and the parameters."""
    total = slim["total"]
    named = {OBJECTIVE_LABELS[slim["objective"]]: total["cost"], "MACs": total["macs"]}
    named["parameters"] = total["parameters"]
    shares = [
        f"{percent(1 - after / before if before else 0.0)} of {name}"
        for name, (before, after) in named.items()
    ]
    return f"saved {', '.join(shares)}"


def slim_lost(change: _Group, which: str) -> str:
    """What a slimmed network lost on ``which`` images: accuracy, or decisions, or nearness."""
    images = f"on {number(change['images'])} {which}"
    if change["loss"] is not None:
        shares = [percent(change[side]["accuracy"], 2) for side in ("before", "after")]
        return f"{loss_text(change['loss'])} {images}, {' to '.join(shares)}"
    error = f"outputs within {percent(change['after']['error'])} of the original's"
    if change["changed"] is None:
        return f"{error} {images}"
    return f"{percent(change['changed']['share'], 2)} of the decisions, {error} {images}"


def _weights(approximation: _Group | None) -> str:
    if approximation is None:
        return ""
    terms = f"{approximation['mean_terms']:.2f} signed powers of two each"
    point = approximation["point"]
    return f"{terms}, {f'point {point}: ' if point else ''}{approximation['mix']}"


def _accuracy(accuracy: _Group | None) -> str:
    if accuracy is None:
        return ""
    images = f"{number(accuracy['images'])} test images"
    if accuracy["integer"] is None:
        error = percent(accuracy["error"]["integer"])
        return f"unknown without labels; outputs within {error} of float on {images}"
    parts = (
        f"{name} {percent(accuracy[name], 2)}" for name in ("float", "approximated", "integer")
    )
    lost = loss_text(accuracy["loss"]["integer"])
    return f"{', '.join(parts)} on {images}" + (f"; lost {lost}" if lost else "")


def loss_text(loss: _Group | None) -> str:
    """Accuracy that was lost, in points, with its 95 % limits; empty if it is not known."""
    if loss is None:
        return ""
    share, low, high = (100 * loss[key] + 0.0 for key in ("loss", "low", "high"))
    return f"{share:.2f} points ({low:.2f} to {high:.2f})"


def _operations(operations: _Group | None) -> str:
    if operations is None:
        return ""
    counts = (f"{number(operations[key])} {key}" for key in ("additions", "shifts"))
    return (
        f"{', '.join(counts)}, {operations['multiplications']} multiplications "
        f"(float: {number(operations['float_multiplications'])} multiplications)"
    )


def _adders(hardware: _Group | None) -> str:
    if hardware is None or hardware["adders"] is None:
        return ""
    return f"{number(hardware['adders'])} in adder graphs"


def _nfu(hardware: _Group | None) -> str:
    if hardware is None or hardware["nfu"] is None:
        return ""
    nfu = hardware["nfu"]
    behind = f" behind {hardware['cut']}" if hardware.get("cut") else ""
    return (
        f"{nfu['tile'][0]} x {nfu['tile'][1]}{behind}, {number(nfu['instructions'])} instructions; "
        f"{percent(nfu['busy'])} of the program's cycles add up weights"
    )


def _area(hardware: _Group | None) -> str:
    if hardware is None or hardware["board"] is None:
        return ""
    parts = []
    for key, name in _RESOURCES:
        used, there = hardware[key], hardware["capacity"][key]
        share = f" ({percent(used / there, 0)})" if used and there else ""
        parts.append(f"{number(used)} {name}{share}")
    return f"{', '.join(parts)} on {hardware['board']}"


def _predicted(hardware: _Group | None) -> str:
    """What was expected of the network alone, beside what it took."""
    if hardware is None or not hardware.get("predicted"):
        return ""
    predicted, core = hardware["predicted"], hardware["core"]
    parts = [
        f"{number(predicted[key])} {name} (took {number(core[key])})"
        for key, name in _RESOURCES
        if key in predicted
    ]
    if predicted["clock_mhz"] and hardware["clock_mhz"]:
        parts.append(f"{predicted['clock_mhz']:.1f} MHz (reached {hardware['clock_mhz']:.1f})")
    return f"{', '.join(parts)} for the network alone"


def _speed(hardware: _Group | None) -> str:
    if hardware is None:
        return ""
    cycles = f"{number(hardware['cycles_per_image'])} cycles an image"
    if hardware["clock_mhz"] is None:
        return cycles
    return (
        f"{cycles} at {hardware['clock_mhz']:.1f} MHz: "
        f"{number(hardware['images_per_second'])} images a second, "
        f"latency {hardware['latency_us']:.1f} us"
    )


def _verified(verification: _Group | None) -> str:
    if verification is None:
        return ""
    modes = ", ".join(
        f"{run['mode']} {number(run['images'])} images" for run in verification["runs"]
    )
    return (
        f"{number(verification['words_compared'])} words compared, "
        f"{number(verification['words_differed'])} differed ({modes})"
    )


def _proved(verification: _Group | None) -> str:
    formal = verification.get("formal") if verification else None
    if formal is None:
        return ""
    proved = [graph for graph in formal["graphs"] if graph["fault"] is None]
    solved = sum(graph["solver"] == "equal" for graph in proved)
    text = f"{len(proved)} of {len(formal['graphs'])} adder graphs equal their matrices"
    return f"{text}, {solved} of them by SAT too" if solved else text
