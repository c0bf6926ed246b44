"""Operations of the network of a workspace."""

from __future__ import annotations

from hwgen.approx import store as approx_store
from hwgen.approx.complexity import Complexity, count_operations
from hwgen.flow.progress import Progress
from hwgen.flow.source import load_network
from hwgen.flow.workspace import Workspace

__all__ = ["complexity"]


def complexity(workspace: Workspace, *, shared: bool, progress: Progress) -> Complexity:
    """Operations of the approximated network and of the float network that was imported.

    Those of the exact network are the imported one's even if what was approximated is slimmed.

    Parameters
    ----------
    workspace
        Where the stage ``approximate`` ran.
    shared
        Also look for common subexpressions.
    progress
        Told about each linear layer whose subexpressions are looked for.

    Raises
    ------
    DataError
        If there is no approximated network.
    """
    approx = approx_store.from_json(workspace.read("approx.json", made_by="approximate"))
    return count_operations(
        approx,
        original=load_network(workspace),
        shared=shared,
        progress=lambda layer, fraction: progress(f"Sharing in {layer}", fraction),
    )
