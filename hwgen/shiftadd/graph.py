"""The adder graph: a constant matrix-vector product as additions, subtractions and shifts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hwgen.errors import VerifyError
from hwgen.numeric import Range
from hwgen.shiftadd.adder import Adder, Array, Operand, applied, operand_range, shifted_up

__all__ = ["Adder", "AdderGraph", "Operand"]

_SAFE = 1 << 62
_BLOCK = 256


@dataclass(frozen=True)
class AdderGraph:
    """Exact shift-add network computing ``y = x @ matrix`` for integer vectors ``x``.

    A *value* is an input or a node; value ``k`` is input ``k``, or node ``k - len(inputs)``. Every
    value is an integer linear form of the inputs, so that its range follows exactly from theirs.

    Parameters
    ----------
    inputs : tuple of Range
        Values that each input can take.
    nodes : tuple of Adder
        Adders; each reads inputs and earlier nodes only.
    outputs : tuple of Operand or None
        Each output is a shifted, possibly negated value, or zero (None).

    Raises
    ------
    VerifyError
        If there is no input, or a node reads a value that is not earlier or negates both operands.
    """

    inputs: tuple[Range, ...]
    nodes: tuple[Adder, ...]
    outputs: tuple[Operand | None, ...]

    def __post_init__(self) -> None:
        count = len(self.inputs)
        if count == 0:
            raise VerifyError("An adder graph needs at least one input")
        for index, node in enumerate(self.nodes):
            for operand in (node.left, node.right):
                if not 0 <= operand.source < count + index:
                    raise VerifyError(
                        f"Node {index} of an adder graph reads value {operand.source}, "
                        f"not an input or an earlier node"
                    )
            if node.left.negate and node.right.negate:
                raise VerifyError(
                    f"Node {index} of an adder graph negates both operands; "
                    f"negate what reads it instead"
                )
        for index, output in enumerate(self.outputs):
            if output is not None and not 0 <= output.source < count + len(self.nodes):
                raise VerifyError(
                    f"Output {index} of an adder graph reads value {output.source}, "
                    f"but there are {count + len(self.nodes)}"
                )

    # Exact linear algebra

    @cached_property
    def coefficient_bounds(self) -> tuple[int, ...]:
        """An upper bound of the greatest coefficient's magnitude, for every value."""
        bounds = [1] * len(self.inputs)
        for node in self.nodes:
            bounds.append(sum(shifted_up(bounds[o.source], o.shift) for o in node.operands))
        return tuple(bounds)

    def _form_blocks(self) -> Iterator[tuple[slice, Array]]:
        """Coefficients of every value over consecutive blocks of inputs.

        Yields ``(columns, forms)``, ``forms`` (values, inputs in the block), so that a large graph
        never needs all its coefficients in memory at once.
        """
        count = len(self.inputs)
        reads = [
            *(node.operands for node in self.nodes),
            [o for o in self.outputs if o is not None],
        ]
        reach = max(
            (shifted_up(self.coefficient_bounds[o.source], o.shift) for r in reads for o in r),
            default=1,
        )
        dtype = np.int64 if max(reach, *self.coefficient_bounds, 1) < _SAFE else object
        for start in range(0, count, _BLOCK):
            columns = slice(start, min(start + _BLOCK, count))
            size = columns.stop - start
            forms = np.zeros((count + len(self.nodes), size), dtype=dtype)
            for k in range(size):
                forms[start + k, k] = 1
            for index, node in enumerate(self.nodes, start=count):
                forms[index] = applied(forms, node.left) + applied(forms, node.right)
            yield columns, forms

    @cached_property
    def _extent(self) -> tuple[tuple[Range, ...], tuple[int, ...]]:
        """Range of every value, and the number of low bits of it that are always zero."""
        lo = [0] * (len(self.inputs) + len(self.nodes))
        hi = list(lo)
        low_bits = [0] * len(lo)
        largest = max((max(abs(r.lo), abs(r.hi)) for r in self.inputs), default=0)
        for columns, forms in self._form_blocks():
            total = max(self.coefficient_bounds) * max(largest, 1) * (columns.stop - columns.start)
            dtype = np.int64 if total < _SAFE and forms.dtype != object else object
            least = np.array([r.lo for r in self.inputs[columns]], dtype=dtype)
            most = np.array([r.hi for r in self.inputs[columns]], dtype=dtype)
            positive = np.maximum(forms, 0).astype(dtype)
            negative = np.minimum(forms, 0).astype(dtype)
            lo = [a + int(b) for a, b in zip(lo, positive @ least + negative @ most, strict=True)]
            hi = [a + int(b) for a, b in zip(hi, positive @ most + negative @ least, strict=True)]
            union = np.bitwise_or.reduce(forms, axis=1)
            low_bits = [a | int(b) for a, b in zip(low_bits, union, strict=True)]
        zeros = tuple(max(0, (bits & -bits).bit_length() - 1) for bits in low_bits)
        return tuple(map(Range, lo, hi)), zeros

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Exact range of every value, inputs first: both ends are reached by some input vector."""
        return self._extent[0]

    @property
    def trailing_zeros(self) -> tuple[int, ...]:
        """Powers of two that divide every coefficient of each value, inputs first."""
        return self._extent[1]

    @cached_property
    def output_ranges(self) -> tuple[Range, ...]:
        """Exact range of every output."""
        return tuple(
            Range(0, 0) if o is None else operand_range(self.ranges[o.source], o)
            for o in self.outputs
        )

    @cached_property
    def matrix(self) -> Array:
        """The matrix (inputs, outputs) that the graph implements; int64, or object if wider."""
        parts = []
        for _, forms in self._form_blocks():
            zero = np.zeros(forms.shape[1], dtype=forms.dtype)
            parts.append([zero if o is None else applied(forms, o) for o in self.outputs])
        matrix = np.concatenate([np.array(p).reshape(len(self.outputs), -1) for p in parts], axis=1)
        matrix = np.ascontiguousarray(matrix.T)
        matrix.flags.writeable = False
        return matrix

    def verify(self, matrix: npt.ArrayLike | None = None) -> None:
        """Check that the graph is exact, and equal to ``matrix`` (inputs, outputs) if given.

        The check is total, not a sample: the graph is linear, and its values on every basis
        vector are compared.

        Raises
        ------
        VerifyError
            If a right shift loses bits, or the graph implements another matrix.
        """
        zeros = self.trailing_zeros
        for index, node in enumerate(self.nodes):
            for operand in node.operands:
                if -operand.shift > zeros[operand.source]:
                    raise VerifyError(
                        f"Node {index} of an adder graph shifts value {operand.source} right by "
                        f"{-operand.shift}, but only {zeros[operand.source]} low bits are zero"
                    )
        for index, output in enumerate(self.outputs):
            if output is not None and -output.shift > zeros[output.source]:
                raise VerifyError(
                    f"Output {index} of an adder graph shifts value {output.source} right by "
                    f"{-output.shift}, but only {zeros[output.source]} low bits are zero"
                )
        if matrix is None:
            return
        target = np.asarray(matrix)
        if target.shape != self.matrix.shape:
            raise VerifyError(
                f"The adder graph implements a matrix of shape {self.matrix.shape}, "
                f"not {target.shape}"
            )
        wrong = np.argwhere(self.matrix != target)
        if len(wrong):
            row, column = map(int, wrong[0])
            raise VerifyError(
                f"The adder graph has coefficient {self.matrix[row, column]} at input {row}, "
                f"output {column}, not {target[row, column]}"
            )

    def evaluate(self, x: npt.ArrayLike) -> Array:
        """Outputs (N, outputs) for the input vectors ``x`` (N, inputs), by running the graph.

        The result is int64, or Python integers (dtype object) if some value may exceed 62 bits.

        Raises
        ------
        TypeError
            If ``x`` does not hold integers.
        ValueError
            If ``x`` has another shape or a value outside its input's range.
        """
        vectors = np.asarray(x)
        if vectors.dtype != object and not np.issubdtype(vectors.dtype, np.integer):
            raise TypeError(f"Input vectors must be integers, not {vectors.dtype}")
        if vectors.ndim != 2 or vectors.shape[1] != len(self.inputs):
            raise ValueError(
                f"Input vectors must have shape (N, {len(self.inputs)}), not {vectors.shape}"
            )
        rows = vectors.astype(object if self._wide else np.int64).T
        for index, (row, limits) in enumerate(zip(rows, self.inputs, strict=True)):
            if row.size and not limits.lo <= row.min() <= row.max() <= limits.hi:
                raise ValueError(
                    f"Input {index} must lie in {limits.lo}..{limits.hi}, "
                    f"not {row.min()}..{row.max()}"
                )
        result = np.zeros((vectors.shape[0], len(self.outputs)), dtype=rows.dtype)
        for start in range(0, vectors.shape[0], 1024):
            part = slice(start, start + 1024)
            values = list(rows[:, part])
            for node in self.nodes:
                values.append(applied(values, node.left) + applied(values, node.right))
            for column, output in enumerate(self.outputs):
                if output is not None:
                    result[part, column] = applied(values, output)
        return result

    @cached_property
    def _wide(self) -> bool:
        """Whether some value or operand may exceed 62 bits."""
        reads = [o for node in self.nodes for o in node.operands]
        reads += [o for o in self.outputs if o is not None]
        spans = [operand_range(self.ranges[o.source], o) for o in reads]
        return any(max(-r.lo, r.hi) >= _SAFE for r in (*spans, *self.ranges))

    # Costs

    @property
    def adders(self) -> int:
        """Additions and subtractions."""
        return len(self.nodes)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Adders on the longest path to every value, inputs first."""
        depths = [0] * len(self.inputs)
        for node in self.nodes:
            depths.append(1 + max(depths[node.left.source], depths[node.right.source]))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """Adders on the longest path from an input to an output."""
        return max((self.depths[o.source] for o in self.outputs if o is not None), default=0)

    @cached_property
    def node_bits(self) -> tuple[int, ...]:
        """Adder cells (carry-chain bits) of every node.

        A node costs one cell a bit of its exact width, less the low bits to which only one, not
        negated, operand contributes: they are wires. Operands that do not overlap at all cost
        nothing.
        """
        return tuple(
            _cells(self, node, self.ranges[len(self.inputs) + index])
            for index, node in enumerate(self.nodes)
        )

    @cached_property
    def bits(self) -> int:
        """Adder cells of the whole graph; a negated output costs its width."""
        negations = sum(
            span.width
            for o, span in zip(self.outputs, self.output_ranges, strict=True)
            if o is not None and o.negate
        )
        return sum(self.node_bits) + negations

    # Storage

    def to_json(self) -> str:
        """JSON text from which :meth:`from_json` makes an equal graph; the same text every time."""

        def flat(operand: Operand) -> list[int]:
            return [operand.source, operand.shift, int(operand.negate)]

        content = {
            "inputs": [[r.lo, r.hi] for r in self.inputs],
            "nodes": [[*flat(n.left), *flat(n.right)] for n in self.nodes],
            "outputs": [None if o is None else flat(o) for o in self.outputs],
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> AdderGraph:
        """Graph stored by :meth:`to_json`.

        Raises
        ------
        VerifyError
            If the text is not the JSON of an exact adder graph.
        """

        def operand(source: int, shift: int, negate: int) -> Operand:
            if not all(isinstance(v, int) for v in (source, shift, negate)):
                raise TypeError("not an integer")
            return Operand(source, shift, bool(negate))

        try:
            content = json.loads(text)
            graph = cls(
                tuple(Range(lo, hi) for lo, hi in content["inputs"]),
                tuple(Adder(operand(*n[:3]), operand(*n[3:])) for n in content["nodes"]),
                tuple(None if o is None else operand(*o) for o in content["outputs"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise VerifyError(f"The text is not an adder graph in JSON: {error}") from error
        graph.verify()
        return graph


def _cells(graph: AdderGraph, node: Adder, span: Range) -> int:
    """Cells of one adder: see :attr:`AdderGraph.node_bits`."""
    low, high = sorted(node.operands, key=lambda o: o.shift + graph.trailing_zeros[o.source])
    start = high.shift + graph.trailing_zeros[high.source]
    bottom = operand_range(graph.ranges[low.source], low)
    if low.negate:
        return span.width - (low.shift + graph.trailing_zeros[low.source])
    if bottom.lo >= 0 and bottom.width <= start and not high.negate:
        return 0
    return max(span.width - start, 0)
