"""Checks beyond the simulation of the Verilog: the synthesised netlist, and proofs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from hwgen.boards import find_board
from hwgen.errors import DataError, UnsupportedError, VerifyError
from hwgen.flow.backends import PLAN_FILES, backend_of, load_plan, parts
from hwgen.flow.built import built_images, built_network
from hwgen.flow.options import FormalOptions, NetlistOptions, VerifyOptions
from hwgen.flow.progress import Progress
from hwgen.flow.simulation import Simulation, fault
from hwgen.flow.testset import TEST_SET
from hwgen.flow.workspace import Workspace, file_digest
from hwgen.formal.miter import ask
from hwgen.formal.products import Product, products, prove, read_modules
from hwgen.stream import store as stream_store
from hwgen.stream.design import StreamDesign
from hwgen.toolchain.gates import netlist_to_verilog
from hwgen.toolchain.synthesis import SynthesisJob, synthesise

__all__ = ["FORMAL", "NETLIST", "verify_formal", "verify_netlist"]

NETLIST, FORMAL = "verify_netlist", "verify_formal"
"""Names of the stages and of their results."""

_TIME_LIMIT = 3600.0


def verify_netlist(workspace: Workspace, options: NetlistOptions, progress: Progress) -> None:
    """Simulate the synthesised netlist, and compare every word with the golden model.

    Raises
    ------
    DataError
        If no family is given and nothing was synthesised since the design was made.
    VerifyError
        If one bit differs; the result is written all the same.
    """
    integer = built_network(workspace)
    design = _design(workspace)
    images = built_images(workspace)[: options.images]
    family = options.family or _synthesised_for(workspace)

    def work() -> None:
        result = f"results/{NETLIST}.json"
        workspace.path(result).unlink(missing_ok=True)
        netlist = workspace.path(f"synthesis/core/{design.name}.json")
        if options.family is not None:
            progress(f"Synthesis for {family}", 0.0)
            folder = workspace.path(f"simulation/{family}")
            sources = {f"{design.name}.v": design.verilog}
            job = SynthesisJob(sources, design.name, family, folder)
            (done,) = synthesise(job, time_limit=_TIME_LIMIT)
            netlist = done.netlist
            progress(f"Synthesis for {family}", 1.0)
        text = netlist_to_verilog(netlist, top=design.name, family=family)
        checked = replace(design, verilog=text, taps=())
        chosen = VerifyOptions(seed=options.seed)
        simulation = Simulation(workspace, integer, checked, load_plan(workspace), chosen, progress)
        report = replace(simulation.compare("fast", images), mode=f"netlist, {family}")
        workspace.write(result, _text({"family": family, "report": asdict(report)}))
        if not report.passed:
            raise VerifyError(fault(report))

    reads = [workspace.path(name) for name in ("integer.json", "design.json", TEST_SET)]
    if options.family is None:
        reads.append(workspace.path("results/synth.json"))
    writes = [f"results/{NETLIST}.json"]
    workspace.run(NETLIST, work, reads=reads, writes=writes, options=asdict(options))


def verify_formal(workspace: Workspace, options: FormalOptions, progress: Progress) -> None:
    """Prove every adder graph of the design equal to the matrix of its layer.

    Raises
    ------
    UnsupportedError
        If the design has no adder graph.
    VerifyError
        If one is not proved; the result is written all the same.
    """
    plan, _ = parts(load_plan(workspace))
    if plan is None:
        raise UnsupportedError("An NFU has no adder graph to prove: leave out --formal")
    network, design = built_network(workspace), _design(workspace)
    found, others = products(network, plan, design.verilog)
    if not found:
        raise UnsupportedError("The design has no adder graph to prove: leave out --formal")

    def work() -> None:
        result = f"results/{FORMAL}.json"
        workspace.path(result).unlink(missing_ok=True)
        modules = read_modules(found)
        rows = []
        for number, product in enumerate(found):
            progress("Proofs of adder graphs", number / len(found))
            proof = prove(product, modules[product.module])
            solver = ask(product, seconds=options.solver) if _is_small(product, options) else None
            rows.append(asdict(proof) | {"solver": solver})
        progress("Proofs of adder graphs", 1.0)
        workspace.write(result, _text({"graphs": rows, "others": others}))
        for row in rows:
            if row["fault"] is not None:
                raise VerifyError(f"{row['module']} is not its matrix: {row['fault']}")
            if row["solver"] == "different":
                raise VerifyError(f"{row['module']} is not its matrix, as the solver finds")

    reads = ("integer.json", PLAN_FILES[backend_of(workspace)], "design.json")
    workspace.run(
        FORMAL,
        work,
        reads=[workspace.path(name) for name in reads],
        writes=[f"results/{FORMAL}.json"],
        options=asdict(options),
    )


def _design(workspace: Workspace) -> StreamDesign:
    return stream_store.design_from_json(workspace.read("design.json", made_by="generate"))


def _is_small(product: Product, options: FormalOptions) -> bool:
    """Whether a solver can be expected to answer; the time goes up steeply with the adders."""
    return options.solver > 0 and product.adders <= options.solver_adders


def _synthesised_for(workspace: Workspace) -> str:
    """Family of the last synthesis, which must be of the design that is there."""
    record: Mapping[str, Any] = workspace.record("synth")
    path = workspace.path("design.json")
    if not record or ["design.json", file_digest(path)] not in record["reads"]:
        raise DataError(
            "The design has not been synthesised: run 'hwgen synth' first, or give a --family to "
            "synthesise it for now"
        )
    return find_board(record["options"]["board"]).family


def _text(result: Mapping[str, object]) -> str:
    return json.dumps(result, indent=1, sort_keys=True, default=str) + "\n"
