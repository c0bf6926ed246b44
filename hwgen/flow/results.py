"""Results of the stages: JSON files in ``results/``, for people and other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hwgen.errors import DataError
from hwgen.flow.workspace import Workspace

__all__ = ["read_result", "result_text", "write_result"]


def read_result(workspace: Workspace, stage: str) -> dict[str, Any] | None:
    """Result file of a stage, if there is one."""
    path = workspace.path(f"results/{stage}.json")
    try:
        result = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise DataError(f"{str(path)!r} is damaged; run 'hwgen {stage}' again")
    return result


def write_result(workspace: Workspace, stage: str, result: Mapping[str, object]) -> None:
    """Write the result file of a stage."""
    workspace.write(f"results/{stage}.json", result_text(result))


def result_text(result: Mapping[str, object]) -> str:
    """What a result file holds; what JSON has no form for, such as paths, is text."""
    return json.dumps(result, indent=1, sort_keys=True, default=str) + "\n"
