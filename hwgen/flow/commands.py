"""The commands that lead to what is in a workspace, from the records of its stages."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from hwgen.boards import find_board
from hwgen.flow.checks import FORMAL, NETLIST
from hwgen.flow.options import (
    ApproximateOptions,
    FormalOptions,
    GenerateOptions,
    NetlistOptions,
    SlimOptions,
    SynthOptions,
    VerifyOptions,
)
from hwgen.flow.source import given_files
from hwgen.flow.workspace import Workspace
from hwgen.flow.wrapping import WRAPPED

__all__ = ["reproduce"]

_A, _G, _V, _S = ApproximateOptions, GenerateOptions, VerifyOptions, SynthOptions
_L, _N, _F = SlimOptions, NetlistOptions, FormalOptions


def reproduce(workspace: Workspace) -> list[str]:
    """Shell commands that make the workspace again; one ``hwgen build`` if that runs every stage.

    A slimmed network is made by a command of its own, which has more options than ``hwgen build``.
    Options that have their default value are left out. Paths are those that the user gave.
    """
    root = str(workspace.root)
    stages = ("import", "slim", "approximate", "generate", "verify", "synth")
    records: dict[str, dict[str, Any]] = {stage: workspace.record(stage) for stage in stages}
    search = workspace.record("search").get("options", {})
    model = given_files(records["import"])
    slimmed = bool(records["slim"])
    options = {
        "slim": _slim(records["slim"]),
        "approximate": _approximate(records["approximate"], search),
        "generate": _generate(records["generate"]),
        "verify": _verify(records["verify"]),
        "synth": _synth(records["synth"]),
    }
    others = [record for stage, record in records.items() if stage != "slim"]
    wrappers = _wrappers(workspace)
    whole = all(others) and not slimmed and not wrappers
    if whole and _built_for_its_board(records):
        chosen = [word for words in options.values() for word in words]
        build = ["hwgen", "build", *model, "--out", root, *chosen]
        return [shlex.join(command) for command in (build, *_checks(workspace, root, options))]
    options["generate"] += _family(records["generate"]) + wrappers
    commands = []
    if records["import"]:
        commands.append(["hwgen", "import", *model, "--out", root])
    for stage, words in options.items():
        if records[stage]:
            commands.append(["hwgen", stage, root, *words])
    commands += _checks(workspace, root, options)
    return [shlex.join(command) for command in commands]


def _slim(record: Mapping[str, Any]) -> list[str]:
    if not record:
        return []
    files, options = given_files(record), record["options"]
    words = [word for pair in zip(("--data", "--test"), files, strict=False) for word in pair]
    if options["budget"] != _L.budget:
        words += ["--budget", f"{100 * options['budget']:g}%"]
    words += _changed(options, ("objective", "--objective", _L.objective))
    if tuple(options["moves"]) != _L.moves:
        words += ["--moves", ",".join(options["moves"])]
    words += _changed(options, ("search", "--search", _L.search))
    if options["tile"] is not None:
        words += ["--tile", "x".join(map(str, options["tile"]))]
    return words + _changed(
        options,
        ("family", "--family", _L.family),
        ("importance", "--importance", _L.importance),
        ("calibration", "--calibration", _L.calibration),
        ("finetune", "--finetune", _L.finetune),
        ("seed", "--seed", _L.seed),
    )


def _approximate(record: Mapping[str, Any], search: Mapping[str, Any]) -> list[str]:
    if not record:
        return []
    files, options = given_files(record), record["options"]
    words = [word for pair in zip(("--data", "--test"), files, strict=False) for word in pair]
    if options.get("of_slim"):
        pass  # the mix comes with the slimmed network
    elif options["point"] is None:
        words += ["--mix", options["mix"]]
    elif search:
        if search["budget"] != _A.budget:
            words += ["--budget", f"{100 * search['budget']:g}%"]
        words += _changed(search, ("cost", "--cost", _A.cost))
        words += [] if options["chosen"] else ["--point", options["point"]]
    return words + _changed(
        options,
        ("objective", "--objective", _A.objective),
        ("calibration", "--calibration", _A.calibration),
        ("finetune", "--finetune", _A.finetune),
        ("bits", "--bits", _A.bits),
        ("seed", "--seed", _A.seed),
        ("activation", "--activation", _A.activation),
        ("prescale", "--prescale", _A.prescale),
    )


def _generate(record: Mapping[str, Any]) -> list[str]:
    if not record:
        return []
    options = record["options"]
    words = _changed(
        options,
        ("effort", "--effort", _G.effort),
        ("backend", "--backend", _G.backend),
        ("cut", "--cut", _G.cut),
        ("memory", "--memory", _G.memory),
        ("forms", "--forms", _G.forms),
        ("pixels", "--pixels", _G.pixels),
    )
    for key in ("tile", "size"):
        if (pair := options.get(key)) is not None:
            words += [f"--{key}", f"{pair[0]}x{pair[1]}"]
    words += ["--loadable"] if options.get("loadable") else []
    return words + [word for root in options.get("room_for", ()) for word in ("--room-for", root)]


def _wrappers(workspace: Workspace) -> list[str]:
    """Words for the buses that the design was put on, which ``hwgen generate`` alone takes."""
    chosen = workspace.record(WRAPPED).get("options", {}).get("wrappers", ())
    return [word for wrapper in chosen for word in ("--wrapper", wrapper)]


def _family(record: Mapping[str, Any]) -> list[str]:
    return _changed(record["options"], ("family", "--family", _G.family)) if record else []


def _built_for_its_board(records: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the Verilog was made for the family of the board, as ``hwgen build`` does."""
    board: str = records["synth"]["options"]["board"]
    family: str | None = records["generate"]["options"]["family"]
    return find_board(board).family == family


def _verify(record: Mapping[str, Any]) -> list[str]:
    if not record:
        return []
    options = record["options"]
    if options["images"] == 0:
        words = ["--fast"]
    else:
        words = _changed(options, ("images", "--images", _V.images))
    words += _changed(options, ("fast_images", "--fast-images", _V.fast_images))
    words += ["--layers"] if options["layers"] else []
    return words + _changed(options, ("seed", "--verify-seed", _V.seed))


def _checks(
    workspace: Workspace, root: str, options: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """The command of the checks that come after synthesis, if there were any."""
    netlist, formal = (workspace.record(name).get("options") for name in (NETLIST, FORMAL))
    words: list[str] = []
    if netlist is not None:
        words += ["--netlist"]
        words += _changed(
            netlist, ("family", "--family", None), ("images", "--netlist-images", _N.images)
        )
    if formal is not None:
        words += ["--formal", *_changed(formal, ("solver", "--solver-time", _F.solver))]
    return [["hwgen", "verify", root, *options["verify"], *words]] if words else []


def _synth(record: Mapping[str, Any]) -> list[str]:
    if not record:
        return []
    options = record["options"]
    words = ["--board", options["board"]]
    words += _changed(
        options,
        ("clock", "--clock", _S.clock),
        ("link", "--link", _S.link),
        ("baud", "--baud", _S.baud),
        ("frequency", "--frequency", _S.frequency),
        ("time_limit", "--time-limit", _S.time_limit),
        ("attempts", "--attempts", _S.attempts),
    )
    return words if options["route"] else [*words, "--no-route"]


def _changed(options: Mapping[str, Any], *known: tuple[str, str, object]) -> list[str]:
    """Words for those options, as (key, flag, default), that differ from their defaults."""
    words = []
    for key, flag, default in known:
        value = options.get(key, default)
        if value != default:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return words
