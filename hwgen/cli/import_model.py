"""``hwgen import``: read an ONNX model."""

from __future__ import annotations

from pathlib import Path

import click

import hwgen.flow.stages as stages
from hwgen.cli._options import JSON
from hwgen.cli._result import finish
from hwgen.flow.workspace import Workspace

__all__ = ["import_model"]


@click.command("import", short_help="Read an ONNX model.")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.onnx")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output directory.")
@JSON
def import_model(model: Path, out: Path, as_json: bool) -> None:
    """Read MODEL.onnx, fold constants and BatchNormalization, and check every operator.

    \b
        hwgen import face.onnx --out out/face
    """
    workspace = Workspace.create(out)
    stages.import_model(workspace, model)
    finish(workspace, as_json=as_json)
