"""The network of a workspace, compiled for an NFU."""

from __future__ import annotations

from hwgen.flow.backends import load_plan
from hwgen.flow.built import built_network
from hwgen.flow.workspace import Workspace
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.design import NfuPlan
from hwgen.nfu.fit import fit_config

__all__ = ["compiled_network"]

_TILE = (4, 4)


def compiled_network(
    workspace: Workspace, tile: tuple[int, int] | None
) -> tuple[NfuConfig, CompiledNetwork]:
    """Parameters of an NFU, and the network of a workspace compiled for it.

    With a ``tile`` (Tn, Ti) they are those that suit the network, else those of the design if it is
    an NFU, else those of 4 x 4.
    """
    integer = built_network(workspace)
    config = None
    if tile is None and workspace.record("generate"):
        plan = load_plan(workspace)
        config = plan.config if isinstance(plan, NfuPlan) else None
    if config is None:
        tn, ti = tile or _TILE
        config = fit_config(integer, tn=tn, ti=ti)
    return config, compile_network(integer, config)
