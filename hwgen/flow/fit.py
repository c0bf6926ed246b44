"""The bulk fit: every matrix of a model or of an NPZ file, without data and without hardware."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.approx.bulk import Backend, LayerFit, MatrixFit, fit_matrices
from hwgen.approx.filters import exact_filters
from hwgen.approx.recipes import Granularity
from hwgen.approx.sets import parse_set
from hwgen.errors import DataError
from hwgen.flow.workspace import Workspace
from hwgen.network.onnx_import import import_onnx
from hwgen.npz import DAMAGED

__all__ = ["CODES", "SUMMARY", "FitOptions", "fit", "load_weights"]

CODES, SUMMARY = "fit.npz", "fit.json"
"""Names of the two files that a fit leaves in its directory."""

_PARTS = "parts"


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Choices of a fit.

    ``scale`` is what shares a scale, ``scale_terms`` the most signed powers of two in one (None:
    any real number). ``jobs`` (None: one a core), ``backend`` and the address ``scheduler`` of a
    Dask cluster say where the work is done and do not change the result.
    """

    dyadic_set: str
    scale: Granularity = "kernel"
    scale_terms: int | None = None
    jobs: int | None = None
    backend: Backend = "threading"
    scheduler: str | None = None


def fit(
    workspace: Workspace, source: Path, options: FitOptions, progress: Callable[[int, int], None]
) -> Mapping[str, Any]:
    """Fit every matrix of ``source`` and leave codes and summary in the workspace.

    ``fit.npz`` holds, for every layer, ``NAME/codes`` (integers, the shape of the weights) and
    ``NAME/scale`` (one a kernel, filter or layer); a weight is close to
    ``scale * codes * 2**-frac``. Nothing is done if source and options are those of the last run.

    Returns
    -------
    Mapping
        The summary, as in ``fit.json``.

    Raises
    ------
    HwgenError
        If the source is unfit, the set unknown, the disk full or the cluster unreachable.
    """
    dyadic_set = parse_set(options.dyadic_set)
    kept = {"set": dyadic_set.name, "scale": options.scale, "scale_terms": options.scale_terms}

    def work() -> None:
        found = fit_matrices(
            load_weights(source),
            dyadic_set,
            scale=options.scale,
            dyadic_scale_terms=options.scale_terms,
            jobs=options.jobs,
            backend=options.backend,
            scheduler=options.scheduler,
            directory=workspace.path(_PARTS),
            progress=progress,
        )
        archive = io.BytesIO()
        arrays = {f"{layer.name}/codes": layer.codes for layer in found.layers}
        scales = {f"{layer.name}/scale": layer.scale for layer in found.layers}
        np.savez(archive, allow_pickle=False, **arrays, **scales)
        workspace.write(CODES, archive.getvalue())
        workspace.write(SUMMARY, json.dumps(kept | _summary(found), indent=1, sort_keys=True))
        shutil.rmtree(workspace.path(_PARTS), ignore_errors=True)

    workspace.run("fit", work, reads=[source], writes=[CODES, SUMMARY], options=kept)
    summary: dict[str, Any] = json.loads(workspace.read(SUMMARY, made_by="fit"))
    return summary


def load_weights(source: Path) -> dict[str, npt.NDArray[Any]]:
    """The weights of every linear layer of an ONNX model, or every array of an NPZ file.

    Layers of a model whose weights are all 0 or signed powers of two of similar size (pads,
    permutations) stay out: they are dyadic as they are.

    Raises
    ------
    HwgenError
        If the file is missing, damaged, or has no weights.
    """
    if source.suffix == ".onnx":
        weights: dict[str, npt.NDArray[Any]] = {
            node.name: op.weight
            for node, op in import_onnx(source).convs()
            if exact_filters(op, op.bias) is None
        }
    elif source.suffix == ".npz":
        weights = _read_npz(source)
    else:
        raise DataError(
            f"Source must be a model (.onnx) or an NPZ file (.npz), not {str(source)!r}"
        )
    if not weights:
        raise DataError(f"{str(source)!r} holds no weights to fit")
    return weights


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"The file {str(path)!r} does not exist") from None
    except IsADirectoryError:
        raise DataError(f"{str(path)!r} is a directory, not an NPZ file") from None
    except PermissionError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror}") from None
    except (OSError, *DAMAGED):
        raise DataError(f"{str(path)!r} is not an NPZ file of plain arrays") from None


def _summary(found: MatrixFit) -> dict[str, Any]:
    return {
        "frac": found.dyadic_set.frac,
        "seconds": round(found.seconds, 3),
        **_figures(found, *found.layers),
        "layers": {layer.name: _figures(found, layer) for layer in found.layers},
    }


def _figures(found: MatrixFit, *layers: LayerFit) -> dict[str, Any]:
    terms = found.terms(*layers)
    weights = sum(terms)
    return {
        "matrices": sum(layer.matrices for layer in layers),
        "weights": weights,
        "scales": sum(len(layer.scale) for layer in layers),
        "relative_squared_error": found.relative_error(*layers),
        "terms": list(terms),
        "terms_a_weight": sum(count * t for t, count in enumerate(terms)) / weights,
        "adders": found.adders(*layers),
    }
