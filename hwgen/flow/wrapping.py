"""The design on the buses of others: wrappers as Verilog, and the FuseSoC core file."""

from __future__ import annotations

from collections.abc import Sequence

from hwgen.flow.workspace import Workspace
from hwgen.stream import store as stream_store
from hwgen.stream.wrappers.wrap import WRAPPERS, Wrapper, core_file, wrap

__all__ = ["CORE", "WRAPPED", "WRAPPERS", "Wrapper", "write_wrappers"]

CORE = "design.core"
"""Name of the FuseSoC core file."""

WRAPPED = "wrap"
"""Name of the record."""


def write_wrappers(workspace: Workspace, wrappers: Sequence[Wrapper]) -> None:
    """Write ``design.core`` and ``design_BUS.v`` for each bus; wrappers of other buses go.

    Raises
    ------
    DataError
        If there is no design.
    """
    design = stream_store.design_from_json(workspace.read("design.json", made_by="generate"))
    chosen = [kind for kind in WRAPPERS if kind in wrappers]
    files = {CORE: core_file(design, "design.v", chosen)}
    files |= {f"design_{kind}.v": wrap(design, kind) for kind in chosen}

    def work() -> None:
        workspace.write_together(files)
        for kind in WRAPPERS:
            if kind not in chosen:
                workspace.path(f"design_{kind}.v").unlink(missing_ok=True)

    workspace.run(
        WRAPPED,
        work,
        reads=[workspace.path("design.json")],
        writes=list(files),
        options={"wrappers": chosen},
    )
