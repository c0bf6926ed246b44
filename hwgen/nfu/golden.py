"""The golden executor: runs a program in order, exactly, and refuses one that breaks a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwgen.errors import VerifyError
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import Instruction, Nfu1, Nfu2, Nfu2In, Nfu2Out
from hwgen.nfu.memory import MemoryImage, unpack_rows, unpack_scales
from hwgen.numeric import IntArray, saturate

__all__ = ["Execution", "Store", "execute"]


@dataclass(frozen=True)
class Store:
    """One word that goes to memory: Tn ``values`` to word ``address``."""

    address: int
    values: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Execution:
    """What a program did: the activations in memory after it, and its stores in order."""

    activations: IntArray
    stores: tuple[Store, ...]


def execute(config: NfuConfig, program: Sequence[Instruction], image: MemoryImage) -> Execution:
    """Run ``program`` on the memory ``image``.

    Raises
    ------
    VerifyError
        If the program does not end, reads or writes outside of memory, reads a buffer word that
        nothing wrote, has a run whose rows and groups do not agree, or breaks a rule on what runs
        at the same time.
    """
    spaces = {
        "SB rows": len(image.rows),
        "scales": len(image.tables),
        "activations": len(image.activations) // min(config.tn, config.ti),
    }
    for what, size in spaces.items():
        if size > 1 << config.address_width:
            raise VerifyError(f"Memory of {size} words of {what} exceeds the address width")
    machine = _Machine(config, image)
    for number, instruction in enumerate(program):
        try:
            machine.step(instruction)
        except VerifyError as error:
            raise VerifyError(f"Instruction {number}: {error}") from None
        if instruction.cp_end:
            return Execution(machine.activations, tuple(machine.stores))
    raise VerifyError("Program must end with an instruction that has the field CP end")


def _wrap(x: IntArray, width: int) -> IntArray:
    """Two's complement of ``width`` bits."""
    return (x << (64 - width)) >> (64 - width)


def _words(start: int, count: int, depth: int) -> IntArray:
    return (start + np.arange(count)) % depth


class _Buffer:
    """A circular buffer and what is known of its words."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.words: IntArray = np.zeros(shape, dtype=np.int64)
        self.known = np.zeros(shape[0], dtype=np.bool_)
        self.busy = np.zeros(shape[0], dtype=np.bool_)
        """Words that the instruction before still reads while this one writes."""

    @property
    def depth(self) -> int:
        return len(self.words)

    def write(self, at: IntArray, values: IntArray, user: str) -> None:
        if self.busy[at].any():
            word = int(at[self.busy[at]][0])
            raise VerifyError(f"Word {word} of {self.name} is still read by {user}")
        self.words[at] = values
        self.known[at] = True

    def read(self, at: IntArray) -> IntArray:
        if not self.known[at].all():
            word = int(at[~self.known[at]][0])
            raise VerifyError(f"Word {word} of {self.name} is read before it is written")
        return self.words[at]

    def hold(self, at: IntArray) -> None:
        self.busy[:] = False
        self.busy[at] = True


class _Machine:
    def __init__(self, config: NfuConfig, image: MemoryImage) -> None:
        self.config = config
        self.image = image
        self.activations = np.array(image.activations, dtype=np.int64)
        self.stores: list[Store] = []
        lane = (config.tn, config.ti)
        # a buffer word of SB and of the table is the number of the word in memory that it holds
        self._sb = _Buffer("SB", (config.sb_depth,))
        self._table = _Buffer("the table", (config.table_depth,))
        self._nbin = _Buffer("NBin", (config.nbin_depth, config.ti))
        self._nbout = _Buffer("NBout", (config.nbout_depth, config.tn))
        terms, self._offsets, self._last = unpack_rows(config, image.rows)
        self._weights: IntArray = terms.sum(axis=3).reshape(-1, *lane)
        one = np.abs(terms).reshape(-1, config.tn, config.ti * terms.shape[3])
        self._routes = (one.sum(axis=2) <= 1).all(axis=1) & (terms >= 0).all(axis=(1, 2, 3))
        """Rows that give each neuron one input as it is, or none."""
        scales, self._constants, self._begins = unpack_scales(config, image.tables)
        self._multipliers: IntArray = scales.sum(axis=-1)
        self._stored = np.zeros(len(self.activations), dtype=np.bool_)

    def step(self, one: Instruction) -> None:
        if one.cp_fence:
            self._stored[:] = False
        self._load(one)
        empty = np.zeros(0, dtype=np.int64)
        if one.nfu_op == Nfu1.NOP:
            for buffer in (self._sb, self._nbin, self._table, self._nbout):
                buffer.hold(empty)
            return
        self._run(one)

    def _load(self, one: Instruction) -> None:
        sources = [
            (self._sb, one.sb_source, one.sb_target, one.sb_size, len(self.image.rows)),
            (self._table, one.table_source, one.table_target, one.table_size,
             len(self.image.tables)),
            (self._nbin, one.nbin_source, one.nbin_target, one.nbin_size,
             len(self.activations) // self.config.ti),
        ]  # fmt: skip
        for buffer, source, target, size, limit in sources:
            if size > buffer.depth:
                raise VerifyError(f"Load of {size} words does not fit {buffer.name}")
            if size and source + size > limit:
                raise VerifyError(f"Load into {buffer.name} reads outside of memory")
            values: IntArray = np.arange(source, source + size)
            if buffer is self._nbin:
                element = slice(source * self.config.ti, (source + size) * self.config.ti)
                if self._stored[element].any():
                    raise VerifyError("Load into NBin needs a fence after the store of its words")
                bits = self.activations[element] & ((1 << self.config.activation_width) - 1)
                values = bits.reshape(size, self.config.ti)
            buffer.write(_words(target, size, buffer.depth), values, "the run before")

    def _run(self, one: Instruction) -> None:
        config = self.config
        positions, groups = one.nbin_positions, one.nbout_groups
        at = _words(one.sb_address, one.sb_rows, config.sb_depth)
        if positions == 0 or one.sb_rows == 0 or one.sb_rows > config.sb_depth:
            raise VerifyError("Run needs a position and a row, and no more rows than SB has")
        rows = self._sb.read(at)
        ends = np.flatnonzero(self._last[rows])
        if groups == 0 or len(ends) != groups or ends[-1] != len(rows) - 1:
            raise VerifyError(f"Rows of a run must end in the last of {groups} groups")
        if np.diff(ends, prepend=-1).min() < config.turns:
            raise VerifyError(f"Every group needs {config.turns} rows, so that NFU-3 keeps up")
        if positions * groups > config.nbout_depth:
            raise VerifyError(f"Outputs of a run ({positions * groups} words) do not fit NBout")
        windows = one.nbin_address + one.nbin_stride * np.arange(positions)
        inputs = (windows[:, None] + self._offsets[rows]) % config.nbin_depth
        x = self._nbin.read(inputs.ravel()).reshape(*inputs.shape, config.ti)
        if one.nbin_signed:
            x = _wrap(x, config.activation_width)
        products = np.einsum("rni,pri->prn", self._weights[rows], x)
        starts = np.concatenate([[0], ends[:-1] + 1])
        if one.nfu_combine == Nfu2.MAX:
            sums = self._maxima(one, rows, products, starts)
        else:
            sums = np.add.reduceat(products, starts, axis=1)
        out = _words(one.nbout_address, positions * groups, config.nbout_depth)
        sums = sums.reshape(len(out), config.tn)
        if one.nfu_in == Nfu2In.NBOUT:
            sums = sums + self._nbout.read(out)
        sums = _wrap(sums, config.accumulator_width)
        scales = self._scale_words(one)
        if one.nfu_out == Nfu2Out.NFU3:
            sums = self._nfu3(one, sums.reshape(positions, -1, config.nfu3_lanes), scales)
        self._nbout.write(out, sums.reshape(len(out), config.tn), "the store before")
        self._sb.hold(at)
        self._nbin.hold(inputs.ravel())
        self._table.hold(scales.ravel())
        self._nbout.hold(out if one.nbout_store else out[:0])
        if one.nbout_store:
            self._store(one, self._nbout.words[out])

    def _maxima(
        self, one: Instruction, rows: IntArray, routed: IntArray, starts: IntArray
    ) -> IntArray:
        """Greatest value (positions, groups, Tn) that each neuron got, or 0."""
        if not self.config.maximum:
            raise VerifyError("NFU-2 has no maximum; its parameters say so")
        if one.nfu_in == Nfu2In.NBOUT:
            raise VerifyError("Maximum cannot go on from NBout")
        if not self._routes[rows].all():
            raise VerifyError("Rows of a maximum must route one input to a neuron, or none")
        present = self._weights[rows].any(axis=2)
        lowest = np.where(present, routed, np.iinfo(np.int64).min)
        found = np.logical_or.reduceat(present, starts, axis=0)
        return np.where(found, np.maximum.reduceat(lowest, starts, axis=1), 0)

    def _scale_words(self, one: Instruction) -> IntArray:
        """Words of the table (turns of a window, segments), none if the sums are not scaled."""
        config = self.config
        function = config.function if one.nfu_function else None
        segments = 1 if function is None else function.count
        if one.nfu_out != Nfu2Out.NFU3:
            return np.zeros((0, segments), dtype=np.int64)
        turns = one.nbout_groups * config.turns
        needed = segments if one.table_shared else segments * turns
        if needed > config.table_depth:
            raise VerifyError(f"Scales of a run ({needed} words) do not fit the table")
        if one.nfu_function and function is None:
            raise VerifyError("NFU-3 has no functions; its parameters say so")
        if one.table_address % segments:
            raise VerifyError(f"Functions must begin at a multiple of {segments} in the table")
        words = _words(one.table_address, needed, config.table_depth).reshape(-1, segments)
        return np.broadcast_to(words, (turns, segments))

    def _nfu3(self, one: Instruction, sums: IntArray, scales: IntArray) -> IntArray:
        """Results of sums (positions, turns of a window, lanes of NFU-3)."""
        words = self._table.read(scales)
        if one.nfu_saturate and one.nfu_low > one.nfu_high:
            raise VerifyError(f"NFU-3 needs low <= high, not {one.nfu_low} > {one.nfu_high}")
        if one.nfu_shift >= self.config.product_width:
            raise VerifyError(f"NFU-3 cannot shift by {one.nfu_shift}, all of its bits")
        limit = 1 << (self.config.accumulator_width - 1)
        if one.nfu_saturate and (one.nfu_low < -limit or one.nfu_high >= limit):
            raise VerifyError("Bounds of NFU-3 must fit the accumulator")
        turn, lane = np.ogrid[: sums.shape[1], : sums.shape[2]]
        word = words[turn, self._segments(sums, words)]
        # modulo 2**64, of which the product's width is less
        product = sums * self._multipliers[word, lane] + self._constants[word, lane]
        shifted: IntArray = _wrap(product, self.config.product_width) >> one.nfu_shift
        if one.nfu_saturate:
            return saturate(shifted, one.nfu_low, one.nfu_high)
        return _wrap(shifted, self.config.accumulator_width)

    def _segments(self, sums: IntArray, words: IntArray) -> IntArray:
        """Segment of each sum, 0 without a function; ``words`` (turns, segments) in memory."""
        function = self.config.function
        if function is None or words.shape[1] == 1:
            return np.zeros_like(sums)
        begins = self._begins[words[:, 1:]]  # (turns, segments - 1, lanes)
        if (np.diff(begins, axis=1) < 0).any():
            raise VerifyError("Segments of a function must ascend")
        limit = 1 << (function.width - 1)
        if sums.min() < -limit or sums.max() >= limit:
            raise VerifyError(f"A function takes {function.width} bits, and a sum has more")
        return np.asarray((sums[:, :, None] >= begins).sum(axis=2), dtype=np.int64)

    def _store(self, one: Instruction, words: IntArray) -> None:
        tn = self.config.tn
        position, group = np.divmod(np.arange(len(words)), one.nbout_groups)
        at = one.nbout_target + position * one.nbout_stride + group
        if int(at.max()) >= len(self.activations) // tn:
            raise VerifyError("Store writes outside of memory")
        for address, values in zip(at.tolist(), words.tolist(), strict=True):
            self.activations[address * tn : (address + 1) * tn] = values
            self._stored[address * tn : (address + 1) * tn] = True
            self.stores.append(Store(address, tuple(values)))
