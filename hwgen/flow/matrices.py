"""One constant matrix: reading it from a file, and its adder graph with what is proved of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import DataError
from hwgen.npz import DAMAGED
from hwgen.numeric import Range
from hwgen.shiftadd import AdderGraph, Solution, minimum_depth, solve
from hwgen.shiftadd.drawing import graph_svg
from hwgen.shiftadd.luts import PROFILES, luts
from hwgen.stream.matrix_verilog import matrix_verilog

__all__ = [
    "OBJECTIVES",
    "TARGETS",
    "DyadicMatrix",
    "MatrixOptions",
    "MatrixResult",
    "drawing",
    "input_range",
    "load_matrix",
    "optimise_matrix",
    "verilog",
]

OBJECTIVES = ("adders", "bits", "luts")
"""What can be saved."""

TARGETS = tuple(PROFILES)
"""Technologies whose LUTs (or gates) are known."""

_BYTE = Range(-128, 127)
_MOST_BITS = 62
_LONGEST = 400  # decimal exponents that are looked at


@dataclass(frozen=True)
class DyadicMatrix:
    """The matrix ``codes * 2**-frac``; ``codes`` (inputs, outputs) are Python integers."""

    codes: npt.NDArray[Any]
    frac: int


@dataclass(frozen=True, kw_only=True)
class MatrixOptions:
    """Choices of an optimisation.

    ``target`` is the technology whose LUTs are told, and saved if the objective is ``luts``.
    ``time_limit`` None means a short, fixed amount of work.
    """

    input_range: Range = _BYTE
    objective: str = "adders"
    target: str | None = None
    max_depth: int | None = None
    time_limit: float | None = None
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True)
class MatrixResult:
    """A graph and what is proved of it, and how long it took (wall clock and processor, seconds).

    ``luts`` estimates LUTs, or gates, of the target, with a register after every adder; None
    without a target.
    """

    solution: Solution
    seconds: float
    cpu_seconds: float
    luts: float | None

    @property
    def graph(self) -> AdderGraph:
        """The graph."""
        return self.solution.graph

    @property
    def summary(self) -> dict[str, Any]:
        """Figures for programs."""
        return {
            "adders": self.graph.adders,
            "bits": self.graph.bits,
            "depth": self.graph.depth,
            "inputs": len(self.graph.inputs),
            "outputs": len(self.graph.outputs),
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "luts": self.luts,
            "lower_bound": self.solution.bound.adders,
            "lower_bound_proof": self.solution.bound.proof,
            "proved_optimal": self.solution.proved_optimal,
        }


def optimise_matrix(
    matrix: DyadicMatrix,
    options: MatrixOptions,
    progress: Callable[[int, int, int], None] = lambda adders, bits, depth: None,
) -> MatrixResult:
    """Search for a graph of a matrix; of a small one for the proof that it is optimal as well.

    KeyboardInterrupt ends the search; the best graph until then is the result.

    Parameters
    ----------
    matrix
        What to multiply by.
    options
        What to save, and how long to search.
    progress
        Told adders, adder cells and depth of the best graph so far, when there is a better one.

    Raises
    ------
    DataError
        If ``options.max_depth`` is less than the matrix allows.
    ValueError
        If the objective is ``luts`` and there is no such target.
    """
    codes = matrix.codes
    limit = options.max_depth
    least = minimum_depth(codes)
    if limit is not None and 0 < limit < least:
        raise DataError(
            f"Depth must be 0 (the least possible) or at least {least} for this matrix, not {limit}"
        )
    started, spent = time.perf_counter(), time.process_time()

    saved = options.objective
    found = solve(
        codes,
        inputs=(options.input_range,) * len(codes),
        objective=f"luts:{options.target}" if saved == "luts" else saved,
        max_depth=limit,
        time_limit=options.time_limit,
        seed=options.seed,
        jobs=options.jobs,
        progress=lambda best, _: progress(best.adders, best.bits, best.depth),
    )
    graph = found.graph
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - spent
    cost = None if options.target is None else luts(graph, options.target)
    return MatrixResult(found, seconds, cpu_seconds, cost)


def input_range(bits: int, *, signed: bool) -> Range:
    """All integers of so many bits."""
    return Range(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else Range(0, (1 << bits) - 1)


def drawing(graph: AdderGraph) -> str:
    """SVG of a graph."""
    return graph_svg(graph)


def verilog(
    graph: AdderGraph, matrix: DyadicMatrix, *, adders_per_stage: int, target: str | None
) -> str:
    """A Verilog module ``product`` of a graph of the matrix, in the form that suits the target."""
    complement = target is not None and PROFILES[target].inverters
    return matrix_verilog(
        graph,
        name="product",
        adders_per_stage=adders_per_stage,
        complement=complement,
        frac=matrix.frac,
    )


def load_matrix(path: Path) -> DyadicMatrix:
    """The matrix (inputs, outputs) in an NPY file, or in a text file (.csv with commas, .txt).

    Floats are taken as they are, exactly, and scaled up by a common power of two.

    Raises
    ------
    DataError
        If the file is missing or damaged, or does not hold a matrix of finite dyadic numbers of at
        most 62 bits.
    """
    try:
        values = _read_npy(path) if path.suffix == ".npy" else _read_text(path)
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror or error}") from None
    if values.ndim != 2:
        raise DataError(
            f"{str(path)!r} must hold a matrix of two dimensions (inputs, outputs), "
            f"not {values.ndim}"
        )
    if values.size == 0:
        raise DataError(f"{str(path)!r} must not be empty, but its shape is {values.shape}")
    ratios = [
        [_ratio(value, r, c) for c, value in enumerate(row)]
        for r, row in enumerate(values.tolist())
    ]
    frac = max(ratio.denominator.bit_length() - 1 for row in ratios for ratio in row)
    codes = np.array(
        [[int(ratio * (1 << frac)) for ratio in row] for row in ratios], dtype=object
    ).reshape(values.shape)
    place = np.unravel_index(int(np.argmax(np.abs(codes))), codes.shape)
    bits = abs(codes[place]).bit_length()
    if bits > _MOST_BITS:
        step = f" in steps of 2**-{frac}" if frac else ""
        raise DataError(
            f"Matrix entries must fit into {_MOST_BITS} bits{step}, "
            f"not {values[place]} at input {place[0]}, output {place[1]}; round the matrix first"
        )
    return DyadicMatrix(codes, frac)


def _read_npy(path: Path) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
    except DAMAGED as error:
        if "Object arrays" in str(error):
            raise DataError(f"{str(path)!r} must hold numbers, not Python objects") from None
        raise DataError(f"{str(path)!r} is not an NPY file of a plain array") from None
    if not isinstance(values, np.ndarray):
        raise DataError(f"{str(path)!r} must hold one array, not an archive of them")
    if not (np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)):
        raise DataError(f"{str(path)!r} must hold integers or floats, not {values.dtype}")
    return values


def _read_text(path: Path) -> npt.NDArray[Any]:
    if path.suffix not in (".csv", ".txt"):
        raise DataError(f"Matrix must be an .npy, .csv or .txt file, not {str(path)!r}")
    delimiter = "," if path.suffix == ".csv" else None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [[word.strip() for word in line.split(delimiter)] for line in lines if line.strip()]
    if len({len(row) for row in rows}) > 1:
        raise DataError(f"{str(path)!r} must have as many numbers in each line")
    return np.array(rows, dtype=object).reshape(len(rows), len(rows[0]) if rows else 0)


def _ratio(value: Any, row: int, column: int) -> Fraction:
    where = f"at input {row}, output {column}"
    if isinstance(value, int):
        return Fraction(value)
    try:
        number = Decimal(value) if isinstance(value, str) else value
        finite = number.is_finite() if isinstance(number, Decimal) else bool(np.isfinite(number))
    except InvalidOperation:
        raise DataError(f"Matrix entries must be numbers, not {value!r} {where}") from None
    if not finite:
        raise DataError(f"Matrix entries must be finite, not {value} {where}")
    if isinstance(number, Decimal) and abs(number.adjusted()) > _LONGEST:
        raise DataError(f"Matrix entries must fit into {_MOST_BITS} bits, not {value} {where}")
    ratio = Fraction(*number.as_integer_ratio())
    if ratio.denominator & (ratio.denominator - 1):
        raise DataError(
            f"Matrix entries must be dyadic (an integer over a power of two), not {value} {where}"
        )
    return ratio
