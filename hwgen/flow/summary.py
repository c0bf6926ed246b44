"""What is known about a workspace, as plain JSON: the content of ``summary.json``.

The groups are always there, and None until the stage has run that they come from; so are keys that
only a later stage fills in. A result that no longer belongs to what is in the workspace (an earlier
stage has run again since) counts as not there.

================  ==================================================================================
group             keys
================  ==================================================================================
``network``       ``name``; ``input`` and ``output``, shapes (C, H, W); ``constants``, weights
                  other than 0 and biases; ``input_bits``, ``input_step``: a pixel is an integer of
                  so many bits times the step
``accuracy``      ``images``, their number; ``held_out`` of DATA, or given as TEST; shares of right
                  decisions ``float``, ``approximated``, ``integer`` (None without labels), with
                  their 95 % ``interval``; ``agreement`` with the float network's decisions;
                  ``error`` of the outputs, relative; ``loss`` of accuracy, paired, with its 95 %
                  limits (:class:`hwgen.flow.intervals.LossInterval`; None without labels)
``approximation`` ``point`` of the front, ``budget`` and ``cost`` of the search (None if the user
                  gave the mix); ``mix``; ``objective``; ``recipes`` by layer; ``mean_terms``,
                  signed powers of two a weight; ``bits`` of activations; ``choosing_loss``,
                  accuracy lost on the ``choosing_images`` (None without labels)
``front``         of the last search (:class:`hwgen.approx.front.Front`): ``metric``, ``cost``,
                  ``budget``, ``images``, ``points`` and ``chosen``
``operations``    an image: ``additions``, ``shifts``, ``multiplications``, ``comparisons``, without
                  any sharing; ``float_additions``, ``float_multiplications``,
                  ``float_functions`` of the float network that was imported
``hardware``      ``backend``; ``adders`` in adder graphs (None for an NFU), ``nfu``: ``tile``
                  [Tn, Ti], ``instructions``, and the share of ``busy`` cycles of the program (None
                  otherwise); ``cut``, the tensor at which a hybrid is (None otherwise);
                  ``cycles_per_image``; ``latency_cycles`` from the first pixel in to
                  the last result out; ``board``, ``part``; ``luts``, ``ffs``,
                  ``brams``, ``dsps`` of all that is in the bitstream; ``core``, the same of the
                  network alone; ``predicted``, what was expected of that before synthesis, with
                  its ``clock_mhz`` (None without a model); ``capacity``, the same of the FPGA;
                  ``clock_mhz``, the highest that place and route achieved, ``target_mhz`` that it
                  aimed at, ``board_mhz`` of the board's oscillator; ``images_per_second`` and
                  ``latency_us`` at ``clock_mhz``
``verification``  ``passed``; ``images``; ``words_compared``, ``words_differed``; ``skipped``, why
                  a bench did not run; ``cycles`` of an image ``predicted`` and ``simulated``
                  without stalls (None if no simulation was held to it); ``runs``, each
                  with ``mode``, ``images``, ``words_compared``, ``words_differed``, ``cycles``,
                  ``cycles_per_image``, ``seed``, ``stall``, ``simulator``, ``layers``, ``fault``,
                  ``first_difference`` and ``waveform``, a simulation of the netlist among
                  them; ``formal``, None or ``graphs``, each with ``module``, ``layer``, ``adders``,
                  ``latency``, ``fault`` (None if proved equal to its matrix), ``seconds`` and what
                  the ``solver`` found, and ``others`` that the proof does not cover
``slim``          of a slimmed network (:mod:`hwgen.flow.slimming`): ``objective`` and the other
                  options; ``layers``, each with ``filters``, ``kernels``, ``macs``, ``parameters``
                  and ``cost`` before and after, and their ``total``; ``memory`` in bytes before and
                  after (:class:`hwgen.flow.slim_run.Slimming`); ``steps`` of the search, each with
                  its ``moves``, ``cost``, ``loss``, ``spoiled`` and ``error``; ``effort``;
                  ``choosing`` and ``test``, the float network before and after on the images that
                  chose and on those that did not (:class:`hwgen.flow.accuracy.Change`; ``test`` is
                  None if that was interrupted)
``layers``        one :class:`hwgen.flow.layers.Layer` a layer
``seeds``         ``split``, ``verification``, ``routing``
``tools``         versions by name
``seconds``       wall-clock time by stage; ``steps`` inside ``synth``
``stages``        ``done``, ``failed``, ``out of date`` or ``not run``, by stage; ``slim`` only if
                  it has run
``files``         paths in the workspace of what exists: ``bitstream``, ``report``, ``verilog``,
                  its wrappers ``axis`` and ``wishbone``, ``core`` for FuseSoC,
                  ``program`` of an NFU as text, its ``memory`` as bytes, ``script``, which repeats
                  synthesis by hand
``commands``      that make the workspace again
``limits``        sentences: what the numbers do not say
================  ==================================================================================
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from hwgen import __version__
from hwgen.approx import store as approx_store
from hwgen.approx.complexity import count_operations
from hwgen.approx.front import Front
from hwgen.approx.measure import mean_terms
from hwgen.approx.types import ApproxNetwork
from hwgen.boards import BOARDS
from hwgen.errors import DataError
from hwgen.flow.backends import Plan, backend_name, interval, latency, load_plan, parts
from hwgen.flow.built import built_network
from hwgen.flow.checks import FORMAL, NETLIST
from hwgen.flow.commands import reproduce
from hwgen.flow.intervals import share_interval
from hwgen.flow.layers import layer_table
from hwgen.flow.limits import limits
from hwgen.flow.results import read_result
from hwgen.flow.searches import load_front
from hwgen.flow.source import SLIM, given_files, reads_now
from hwgen.flow.workspace import Workspace, file_digest
from hwgen.hybrid.plan import HybridPlan
from hwgen.integer.types import IntegerNetwork
from hwgen.network import storage as network_store
from hwgen.network.types import Network
from hwgen.nfu.design import NfuPlan
from hwgen.toolchain.doctor import tool_versions

__all__ = ["STAGES", "Findings", "gather", "summarise"]

STAGES: Mapping[str, str | None] = MappingProxyType(
    {
        "import": None,
        "slim": "import",
        "approximate": "import",
        "generate": "approximate",
        "verify": "generate",
        "synth": "generate",
    }
)
"""The stages in order, each with the one on whose result it works."""

_Json = dict[str, Any]
_NETWORKS = ("float", "approximated", "integer")
_AREA = ("luts", "ffs", "brams", "dsps")


@dataclass(frozen=True, eq=False)
class Findings:
    """What the stages found, as far as it is valid: representations, and results as JSON.

    ``states`` tells of every stage whether it is ``done``, ``failed``, ``out of date`` or
    ``not run``.
    """

    states: dict[str, str]
    network: Network | None = None
    approx: ApproxNetwork | None = None
    integer: IntegerNetwork | None = None
    plan: Plan | None = None
    front: Front | None = None
    slim: _Json | None = None
    approximate: _Json | None = None
    verify: _Json | None = None
    netlist: _Json | None = None
    formal: _Json | None = None
    synth: _Json | None = None


def gather(workspace: Workspace) -> Findings:
    """Read what the stages left, without what is out of date.

    Raises
    ------
    DataError
        If a file of the workspace is damaged.
    """
    states = _states(workspace)
    found = Findings(states)
    if states["import"] == "done":
        network = network_store.from_json(workspace.path("network.json").read_text())
        found = replace(found, network=network)
        with contextlib.suppress(DataError):
            found = replace(found, front=load_front(workspace))
    if states.get("slim") == "done":
        found = replace(found, slim=_slim(workspace))
    if states["approximate"] == "done":
        found = replace(
            found,
            approx=approx_store.from_json(workspace.path("approx.json").read_text()),
            integer=built_network(workspace),
            approximate=read_result(workspace, "approximate"),
        )
    if states["generate"] == "done":
        found = replace(found, plan=load_plan(workspace))
    if states["verify"] in ("done", "failed"):
        found = replace(
            found,
            verify=read_result(workspace, "verify"),
            netlist=_checked(workspace, NETLIST),
            formal=_checked(workspace, FORMAL),
        )
    if states["synth"] == "done":
        found = replace(found, synth=read_result(workspace, "synth"))
    return found


def summarise(workspace: Workspace, findings: Findings | None = None) -> _Json:
    """Everything that the stages found out so far, as in the table above.

    Parameters
    ----------
    workspace
        Where the stages ran.
    findings
        What :func:`gather` read there, if it was called already.

    Raises
    ------
    DataError
        If a file of the workspace is damaged.
    """
    found = findings or gather(workspace)
    summary: _Json = {
        "network": _network(found.network, found.integer),
        "accuracy": _accuracy(workspace, found.approximate),
        "approximation": _approximation(workspace, found),
        "front": asdict(found.front) if found.front else None,
        "slim": found.slim,
        "operations": _operations(found.approx, found.network),
        "hardware": _hardware(found.plan, found.synth),
        "verification": _verification(found.verify, found.netlist, found.formal),
        "layers": _layers(found),
        "seeds": _seeds(workspace, found.synth),
        "tools": _tools(found.synth),
        "seconds": _seconds(workspace, found.synth),
        "stages": found.states,
        "files": _files(workspace, found.synth),
        "commands": reproduce(workspace),
    }
    return summary | {"limits": limits(summary)}


def _states(workspace: Workspace) -> dict[str, str]:
    written: dict[str, str] = {}
    for stage in STAGES:
        written |= workspace.record(stage).get("outputs", {})
    states: dict[str, str] = {}
    for stage, before in STAGES.items():
        record = workspace.record(stage)
        if record:
            known = [pair for pair in record["reads"] if pair[0] in written]
            known += record["outputs"].items()
            current = record.get("version") == __version__ and all(
                _digest(workspace, name) == digest for name, digest in known
            )
            current = current and (stage != "approximate" or reads_now(workspace, record))
            fresh = current and (before is None or states[before] == "done")
            states[stage] = "done" if fresh else "out of date"
        elif stage == "slim":
            continue  # which need not run at all
        else:
            states[stage] = "failed" if _found_a_fault(workspace, stage) else "not run"
    return states


def _digest(workspace: Workspace, name: str) -> str | None:
    path = workspace.path(name)
    return file_digest(path) if path.is_file() else None


def _found_a_fault(workspace: Workspace, stage: str) -> bool:
    """Whether a stage that never ended well left a result that says why."""
    result = _verification(read_result(workspace, stage)) if stage == "verify" else None
    return result is not None and not result["passed"]


def _slim(workspace: Workspace) -> _Json | None:
    """What slimming found; without test images if they have not seen this network."""
    found = read_result(workspace, "slim_search")
    record = workspace.record("slim_test")
    tested = all(_digest(workspace, n) == d for n, d in record.get("outputs", {}).items())
    fresh = [SLIM, _digest(workspace, SLIM)] in record.get("reads", [])
    result = read_result(workspace, "slim") if tested and fresh else None
    return result or (None if found is None else found | {"test": None})


def _network(network: Network | None, integer: IntegerNetwork | None) -> _Json | None:
    if network is None:
        return None
    return {
        "name": network.name,
        "input": list(network.input_shape),
        "output": list(network.shape(network.output)),
        "constants": network.parameters,
        "input_bits": integer.input_format.width if integer else None,
        "input_step": integer.input_format.step if integer else None,
    }


def _accuracy(workspace: Workspace, result: _Json | None) -> _Json | None:
    if result is None:
        return None
    compared = result["accuracy"]
    images = compared["images"]
    named = {
        name: compared[key]
        for name, key in zip(_NETWORKS, ("float_network", "approximated", "integer"), strict=True)
    }
    given = len(given_files(workspace.record("approximate"))) > 1
    return {
        "images": images,
        "held_out": not given,
        **{name: one["accuracy"] for name, one in named.items()},
        "interval": {
            name: _interval(one["accuracy"], images)
            for name, one in named.items()
            if one["accuracy"] is not None
        },
        "agreement": {name: named[name]["agreement"] for name in _NETWORKS[1:]},
        "error": {name: named[name]["error"] for name in _NETWORKS[1:]},
        "loss": {"approximated": compared["approximated_loss"], "integer": compared["loss"]},
    }


def _interval(accuracy: float, images: int) -> list[float]:
    """95 % limits of an accuracy that was seen on so many images."""
    seen = share_interval(round(accuracy * images), images)
    return [seen.low, seen.high]


def _approximation(workspace: Workspace, found: Findings) -> _Json | None:
    if found.approx is None or found.approximate is None:
        return None
    options = workspace.record("approximate")["options"]
    searched = options["point"] is not None
    search = workspace.record("search").get("options", {}) if searched else {}
    choosing = found.approximate["choosing"]
    exact, integer = (choosing[key]["accuracy"] for key in ("float_network", "integer"))
    return {
        "budget": search.get("budget"),
        "cost": search.get("cost"),
        "point": options["point"],
        "mix": options["mix"],
        "objective": options["objective"],
        "recipes": {name: filters.recipe for name, filters in found.approx.filters},
        "mean_terms": mean_terms(found.approx),
        "bits": options["bits"],
        "choosing_images": choosing["images"],
        "choosing_loss": None if exact is None else exact - integer,
    }


def _operations(approx: ApproxNetwork | None, original: Network | None) -> _Json | None:
    if approx is None:
        return None
    counted = count_operations(approx, original=original)
    exact, dyadic = counted.exact, counted.approximated
    return {
        "additions": dyadic.additions,
        "shifts": dyadic.shifts,
        "multiplications": dyadic.multiplications,
        "comparisons": dyadic.comparisons,
        "float_additions": exact.additions,
        "float_multiplications": exact.multiplications,
        "float_functions": exact.functions,
    }


def _hardware(plan: Plan | None, synth: _Json | None) -> _Json | None:
    if plan is None:
        return None
    area = {key: synth["top"][key] if synth else None for key in _AREA}
    clock = synth["fmax_mhz"] if synth else None
    cycles = interval(plan)
    front, unit = parts(plan)
    capacity = BOARDS[synth["board"]].capacity if synth else None
    return {
        "backend": backend_name(plan),
        "adders": None if front is None else front.adders,
        "nfu": None if unit is None else _nfu(unit),
        "cut": plan.cut if isinstance(plan, HybridPlan) else None,
        "cycles_per_image": cycles,
        "latency_cycles": latency(plan),
        "board": synth["board"] if synth else None,
        "part": synth["part"] if synth else None,
        **area,
        "core": {key: synth["core"][key] for key in _AREA} if synth else None,
        "predicted": synth.get("predicted") if synth else None,
        "capacity": {key: getattr(capacity, key) for key in _AREA} if capacity else None,
        "clock_mhz": clock,
        "target_mhz": synth["target_mhz"] if synth else None,
        "board_mhz": synth["clock_mhz"] if synth else None,
        "images_per_second": clock * 1e6 / cycles if clock else None,
        "latency_us": latency(plan) / clock if clock else None,
    }


def _nfu(plan: NfuPlan) -> _Json:
    return {
        "tile": [plan.config.tn, plan.config.ti],
        "instructions": plan.instructions,
        "busy": plan.busy / plan.program_cycles,
    }


def _checked(workspace: Workspace, stage: str) -> _Json | None:
    """Result of a check that need not be made, unless it is of another design."""
    record = workspace.record(stage)
    current = all(_digest(workspace, name) == digest for name, digest in record.get("reads", []))
    return read_result(workspace, stage) if current else None


def _verification(
    result: _Json | None, netlist: _Json | None = None, formal: _Json | None = None
) -> _Json | None:
    if result is None:
        return None
    runs = [_run(report) for report in result["reports"]]
    runs += [_run(netlist["report"])] if netlist else []
    proved = formal is None or all(
        graph["fault"] is None and graph["solver"] != "different" for graph in formal["graphs"]
    )
    cycles = result.get("cycles")
    held = cycles is None or cycles["predicted"] == cycles["simulated"]
    return {
        "passed": bool(runs) and all(run["passed"] for run in runs) and held and proved,
        "cycles": cycles,
        "images": max((run["images"] for run in runs), default=0),
        "words_compared": sum(run["words_compared"] for run in runs),
        "words_differed": sum(run["words_differed"] for run in runs),
        "runs": runs,
        "skipped": result.get("skipped", []),
        "formal": formal,
    }


def _run(report: _Json) -> _Json:
    """One simulation; it passed if every word of every stream arrived and was right."""
    layers = report["layers"]
    compared = sum(layer["words_compared"] for layer in layers)
    differed = sum(layer["words_differed"] for layer in layers)
    first = next((la["first_difference"] for la in layers if la["first_difference"]), None)
    kept = ("mode", "images", "cycles", "cycles_per_image", "seed", "stall", "simulator")
    return {key: report[key] for key in (*kept, "fault", "waveform")} | {
        "passed": report["fault"] is None and differed == 0 and compared > 0,
        "words_compared": compared,
        "words_differed": differed,
        "layers": len(layers),
        "first_difference": first,
    }


def _layers(found: Findings) -> list[_Json] | None:
    if found.approx is None or found.integer is None or found.approximate is None:
        return None
    errors = found.approximate.get("output_errors")
    instances = found.synth["instances"] if found.synth else None
    luts = {name: area["luts"] for name, area in instances} if instances else None
    plan = parts(found.plan)[0] if found.plan is not None else None
    rows = layer_table(found.approx, found.integer, plan, errors, luts)
    return [
        {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(row).items()}
        for row in rows
    ]


def _seeds(workspace: Workspace, synth: _Json | None) -> _Json:
    split = workspace.record("approximate").get("options", {})
    verify = workspace.record("verify").get("options", {})
    return {
        "split": split.get("seed"),
        "verification": verify.get("seed"),
        "routing": synth["seed"] if synth else None,
    }


def _tools(synth: _Json | None) -> dict[str, str]:
    """Versions of those that synthesised, and of those that are installed now."""
    own = {"hwgen": __version__, "python": platform.python_version()}
    return tool_versions() | own | dict(synth["tools"] if synth else {})


def _seconds(workspace: Workspace, synth: _Json | None) -> _Json:
    return {stage: workspace.seconds(stage) for stage in ("search", *STAGES)} | {
        "steps": dict(synth["seconds"]) if synth else None
    }


def _files(workspace: Workspace, synth: _Json | None) -> dict[str, str]:
    names = {
        "verilog": "design.v",
        "axis": "design_axis.v",
        "wishbone": "design_wishbone.v",
        "core": "design.core",
        "program": "program.nfu",
        "memory": "image.bin",
        "report": "report.html",
    }
    if synth:
        names["script"] = f"synthesis/{synth['script']}"
        if synth["bitstream"]:
            names["bitstream"] = f"synthesis/{synth['bitstream']}"
    return {key: name for key, name in names.items() if workspace.path(name).is_file()}
