"""Hundreds of thousands of matrices: the scale search in parts, on all cores, resumable.

Every kernel, filter or layer is a row of weights with a scale of its own, and rows do not depend on
each other (:mod:`hwgen.approx.scale`). They are cut into parts of about half a million weights,
which bounds the memory beyond the weights and the codes themselves. With a directory each finished
part is a file there, named after a digest of everything that decides the result, so that an
interrupted run continues where it stopped and never mixes with another.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt

from hwgen import __version__
from hwgen.approx._break_points import search
from hwgen.approx._chunk_files import ChunkFiles
from hwgen.approx._workers import Backend, Call, run_calls
from hwgen.approx.recipes import Granularity
from hwgen.approx.scale import magnitudes, rows_by_scale, scale_mantissas
from hwgen.approx.sets import DyadicSet
from hwgen.errors import DataError
from hwgen.network.types import FloatArray
from hwgen.numeric import IntArray, csd_weight

__all__ = ["Backend", "LayerFit", "MatrixFit", "fit_matrices"]

_CHUNK_WEIGHTS = 1 << 19
_Weights = npt.NDArray[np.floating[Any]]
_Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LayerFit:
    """The dyadic form of one array of weights: row r is ``scale[r] * codes[r] * 2**-frac``.

    Parameters
    ----------
    name
        Name of the array.
    codes
        Shape of the weights (O, I, H, W), numerators of the set, in the smallest signed integer
        type that holds them all.
    scale, error
        (R,) float64, one a row (kernel, filter or layer): the scale, and the squared error.
    energy
        Sum of the squared weights.
    levels
        (L,) int64: how many weights became each of the set's numerators from 0 upwards, with
        either sign.
    """

    name: str
    codes: npt.NDArray[np.signedinteger[Any]]
    scale: FloatArray
    error: FloatArray
    energy: float
    levels: IntArray

    @property
    def matrices(self) -> int:
        """Kernels (H, W) in the layer."""
        outputs, inputs = self.codes.shape[:2]
        return int(outputs * inputs)

    @cached_property
    def nonzero_matrices(self) -> int:
        """Kernels that are not all zeros."""
        return int(np.count_nonzero(self.codes.any(axis=(2, 3))))


@dataclass(frozen=True, eq=False)
class MatrixFit:
    """Every layer's dyadic form, and how the work went.

    ``seconds`` of wall clock; ``resumed`` rows were found in the directory and not computed.
    """

    dyadic_set: DyadicSet
    layers: tuple[LayerFit, ...]
    seconds: float
    resumed: int

    @property
    def matrices(self) -> int:
        """Kernels in all layers."""
        return sum(layer.matrices for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights in all layers."""
        return sum(layer.codes.size for layer in self.layers)

    def relative_error(self, *layers: LayerFit) -> float:
        """Squared error of ``layers`` (all by default) relative to their energy; 0 for zeros."""
        chosen = layers or self.layers
        energy = sum(layer.energy for layer in chosen)
        return sum(float(layer.error.sum()) for layer in chosen) / energy if energy else 0.0

    def terms(self, *layers: LayerFit) -> tuple[int, ...]:
        """How many weights of ``layers`` (all by default) have 0, 1, 2, ... powers of two."""
        terms = [csd_weight(n) for n in magnitudes(self.dyadic_set).tolist()]
        found = np.zeros(max(terms) + 1, dtype=np.int64)
        for layer in layers or self.layers:
            np.add.at(found, terms, layer.levels)
        return tuple(found.tolist())

    def adders(self, *layers: LayerFit) -> int:
        """Additions inside the matrices of ``layers`` (all by default): terms less one a matrix.

        Sums over input channels, scales and biases are not in it, and nothing is shared.
        """
        chosen = layers or self.layers
        total = sum(terms * count for terms, count in enumerate(self.terms(*chosen)))
        return total - sum(layer.nonzero_matrices for layer in chosen)


@dataclass(frozen=True)
class _Chunk:
    """Rows ``start`` to ``stop`` of an array."""

    name: str
    start: int
    stop: int


def fit_matrices(
    arrays: _Arrays,
    dyadic_set: DyadicSet,
    *,
    scale: Granularity = "kernel",
    dyadic_scale_terms: int | None = None,
    jobs: int | None = None,
    backend: Backend = "threading",
    scheduler: str | None = None,
    directory: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MatrixFit:
    """The nearest dyadic form of every array of weights, each row at its globally best scale.

    Parameters
    ----------
    arrays
        Weights by name: (O, I, H, W), a stack of matrices (N, H, W) or of rows (N, n); real and
        finite.
    dyadic_set
        Set that the codes are taken from.
    scale
        What shares a scale: a kernel (H, W), a filter (I, H, W), or the layer.
    dyadic_scale_terms
        Most signed powers of two in a scale, chosen together with the codes; None: any number.
    jobs
        Parts at the same time; None: one a core.
    backend
        Threads, processes or a Dask cluster. Threads cost least: the search holds no lock.
    scheduler
        Address of a Dask scheduler; None: a cluster on this machine.
    directory
        Where finished parts are kept, so that the same call continues after an interruption.
    progress
        Called with the rows done and the rows in all, from the calling thread.

    Raises
    ------
    DataError
        If there is no array, or one is empty, not finite, or of another shape or type.
    ResourceError
        If the directory cannot be written.
    ToolError
        If Dask is not installed or its scheduler cannot be reached.
    """
    begin = time.monotonic()
    if not arrays:
        raise DataError("There are no weights to fit")
    weights = {name: _checked(name, array) for name, array in arrays.items()}
    rows = {name: rows_by_scale(weight, scale) for name, weight in weights.items()}
    mantissas = np.empty(0) if dyadic_scale_terms is None else scale_mantissas(dyadic_scale_terms)
    layers = {
        name: LayerFit(
            name,
            np.empty(weight.shape, dtype=_code_type(dyadic_set)),
            np.empty(len(rows[name])),
            np.empty(len(rows[name])),
            float(np.einsum("ij,ij->", rows[name], rows[name], dtype=np.float64)),
            np.zeros(len(magnitudes(dyadic_set)), dtype=np.int64),
        )
        for name, weight in weights.items()
    }
    chunks = list(_chunks(rows))
    total, done = sum(map(len, rows.values())), 0

    def place(chunk: _Chunk, result: _Arrays) -> None:
        nonlocal done
        span, layer = slice(chunk.start, chunk.stop), layers[chunk.name]
        rows_by_scale(layer.codes, scale)[span] = result["codes"]
        layer.scale[span] = result["scale"]
        layer.error[span] = result["error"]
        layer.levels[:] += result["used"]
        done += chunk.stop - chunk.start
        progress(done, total)

    files = None
    if directory is not None:
        options = [dyadic_set.numerators, dyadic_set.frac, scale, dyadic_scale_terms]
        files = ChunkFiles(directory / _digest(weights, options)[:32])
    missing = []
    for index, chunk in enumerate(chunks):
        like = _empty(chunk.stop - chunk.start, rows[chunk.name].shape[1], dyadic_set)
        if files is not None and (found := files.read(index, like)) is not None:
            place(chunk, found)
        else:
            missing.append(index)
    resumed = done
    progress(done, total)
    if missing:
        for dtype in {weight.dtype for weight in weights.values()}:
            # compiles here, once, what every worker then finds
            _fit_chunk(-1, np.zeros((1, 1), dtype), dyadic_set, mantissas)
        calls = (_call(index, chunks[index], rows, dyadic_set, mantissas) for index in missing)
        workers = joblib.cpu_count() if jobs is None else jobs
        with run_calls(calls, jobs=workers, backend=backend, scheduler=scheduler) as results:
            for index, result in results:
                if files is not None:
                    files.write(index, result)
                place(chunks[index], result)
    return MatrixFit(dyadic_set, tuple(layers.values()), time.monotonic() - begin, resumed)


def _checked(name: str, array: npt.NDArray[Any]) -> _Weights:
    """The array as (O, I, H, W) of float32 or float64."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"Weights {name!r} must be real numbers, not {array.dtype}")
    if array.ndim not in (2, 3, 4):
        raise DataError(
            f"Weights {name!r} must have 2 to 4 axes, (N, n), (N, H, W) or (O, I, H, W), "
            f"not shape {array.shape}"
        )
    if array.size == 0:
        raise DataError(f"Weights {name!r} hold no number, shape {array.shape}")
    kind = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    weight: _Weights = np.ascontiguousarray(array, dtype=kind)
    if not np.isfinite(weight).all():
        where = np.unravel_index(int(np.argmin(np.isfinite(weight))), weight.shape)
        place = ", ".join(str(int(axis)) for axis in where)
        raise DataError(f"Weights {name!r} must be finite, not {weight[where]} at ({place})")
    inputs = weight.shape[1:-2] or (1,)
    plane = weight.shape[-2:] if weight.ndim > 2 else (1, weight.shape[1])
    shaped: _Weights = weight.reshape(len(weight), *inputs, *plane)
    return shaped


def _code_type(dyadic_set: DyadicSet) -> type[np.signedinteger[Any]]:
    bits = dyadic_set.numerators[-1].bit_length() + 1
    return np.int8 if bits <= 8 else np.int16 if bits <= 16 else np.int32


def _chunks(rows: Mapping[str, _Weights]) -> Iterator[_Chunk]:
    for name, matrix in rows.items():
        step = max(1, _CHUNK_WEIGHTS // matrix.shape[1])
        for start in range(0, len(matrix), step):
            yield _Chunk(name, start, min(start + step, len(matrix)))


def _empty(rows: int, entries: int, dyadic_set: DyadicSet) -> _Arrays:
    """Arrays of the shapes and types of a part's result."""
    return {
        "codes": np.empty((rows, entries), dtype=_code_type(dyadic_set)),
        "scale": np.empty(rows),
        "error": np.empty(rows),
        "used": np.zeros(len(magnitudes(dyadic_set)), dtype=np.int64),
    }


def _call(
    index: int,
    chunk: _Chunk,
    rows: Mapping[str, _Weights],
    dyadic_set: DyadicSet,
    mantissas: FloatArray,
) -> Call[tuple[int, _Arrays]]:
    part = rows[chunk.name][chunk.start : chunk.stop]
    call: Call[tuple[int, _Arrays]] = joblib.delayed(_fit_chunk)(index, part, dyadic_set, mantissas)
    return call


def _fit_chunk(
    index: int, rows: _Weights, dyadic_set: DyadicSet, mantissas: FloatArray
) -> tuple[int, _Arrays]:
    found = _empty(rows.shape[0], rows.shape[1], dyadic_set)
    search(rows, magnitudes(dyadic_set), dyadic_set.frac, mantissas, **found)
    return index, found


def _digest(weights: Mapping[str, _Weights], options: object) -> str:
    """SHA-256 of everything that decides the result and how it is cut into parts."""
    shapes = [(name, weight.shape, str(weight.dtype)) for name, weight in weights.items()]
    digest = hashlib.sha256(json.dumps([__version__, _CHUNK_WEIGHTS, shapes, options]).encode())
    for weight in weights.values():
        digest.update(weight.data)
    return digest.hexdigest()
