"""What the numbers of a summary do not say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["limits"]

_Group = Mapping[str, Any]
_FEW_IMAGES = 1000
_STATES = {
    "not run": "The stage '{stage}' has not run.",
    "out of date": "The result of '{stage}' is left out: what it worked on has changed since.",
    "failed": "The stage '{stage}' failed.",
}


def limits(summary: Mapping[str, Any]) -> list[str]:
    """Sentences about a summary that lacks only its ``limits``."""
    states = [
        _STATES[how].format(stage=stage)
        for stage, how in summary["stages"].items()
        if how in _STATES
    ]
    return [
        *states,
        *_accuracy(summary["accuracy"]),
        *_hardware(summary["hardware"]),
        *_verification(summary["verification"], summary["accuracy"]),
    ]


def _accuracy(accuracy: _Group | None) -> list[str]:
    if accuracy is None:
        return []
    images, sentences = accuracy["images"], []
    if accuracy["integer"] is None:
        sentences.append("The test images have no labels, so no accuracy is known.")
    elif images < _FEW_IMAGES:
        low, high = accuracy["interval"]["integer"]
        sentences.append(
            f"Accuracy was measured on {images} images only: that of the integer network lies "
            f"between {100 * low:.1f} % and {100 * high:.1f} % with 95 % confidence."
        )
    if accuracy["held_out"]:
        sentences.append(
            "No separate test images were given: those of the accuracy were held out of the data "
            "at random, and chose nothing."
        )
    return sentences


def _hardware(hardware: _Group | None) -> list[str]:
    if hardware is None or hardware["board"] is None:
        return []
    clock, board = hardware["clock_mhz"], hardware["board_mhz"]
    if clock is None:
        return ["The design was synthesised but not placed and routed: no clock is known."]
    sentence = (
        f"Images a second and latency are those of the network at {clock:.1f} MHz, the clock that "
        f"place and route achieved. The bitstream runs it at the board's {board:g} MHz behind a "
        "serial port, which is slower."
    )
    if clock >= board:
        return [sentence]
    return [sentence, "The bitstream is too slow for the clock of the board and will not work."]


def _verification(verification: _Group | None, accuracy: _Group | None) -> list[str]:
    if verification is None:
        return []
    modes = {run["mode"] for run in verification["runs"]}
    missing = [name for name in ("cocotb", "fast") if name not in modes]
    sentences = [f"The design was not verified in the mode '{name}'." for name in missing]
    sentences += [f"{reason}." for reason in verification["skipped"]]
    if accuracy is not None and verification["images"] < accuracy["images"]:
        sentences.append(
            f"{verification['images']} of the {accuracy['images']} test images were simulated; "
            "the accuracy of the integer network comes from the golden model."
        )
    return sentences
