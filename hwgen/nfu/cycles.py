"""The cycle model: the counters and handshakes of the NFU's units, stepped without data.

Every unit does in a step what its hardware does in a cycle: it reads the state of the cycle and
sets that of the next. The model is therefore exact for any timing of the memory.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Protocol

from hwgen.errors import VerifyError
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.isa import Instruction, Nfu1, Nfu2In

__all__ = [
    "LOADS",
    "CycleCount",
    "FixedTiming",
    "Timing",
    "count_cycles",
    "read_stage",
    "scale_levels",
    "tree_levels",
    "write_stage",
]

LOADS = ("sb", "nbin", "table")
"""Names of the load ports."""

_CAUSES = ("fetch", *LOADS, "nbout", "drain", "start", "nop")


def read_stage() -> int:
    """Cycles from the issue of a row to that in which NBin is read."""
    return 2


def tree_levels(config: NfuConfig) -> int:
    """Levels of an adder tree of NFU-2."""
    return (config.ti * config.lane.terms - 1).bit_length()


def scale_levels(config: NfuConfig) -> int:
    """Levels of the adder tree of NFU-3: the terms of a scale and its constant."""
    return config.scale_terms.bit_length()


def write_stage(config: NfuConfig) -> int:
    """Cycles from the issue of a group's last row to that in which NBout is written."""
    return 10 + tree_levels(config) + scale_levels(config) + config.turns


class Timing(Protocol):
    """Timing of what is around an NFU; ``cycle`` counts from the end of the reset.

    An instruction and a word of data stay valid until they are taken.
    """

    def instruction_valid(self, cycle: int) -> bool:
        """Whether a next instruction is offered, if there is one."""

    def request_ready(self, port: str, cycle: int) -> bool:
        """Whether a request of a load port is taken."""

    def data_valid(self, port: str, waited: int, cycle: int) -> bool:
        """Whether a requested word is offered ``waited`` cycles after its request was taken."""

    def store_ready(self, cycle: int) -> bool:
        """Whether a word of the store is taken."""


@dataclass(frozen=True)
class FixedTiming:
    """Memory that takes everything at once and gives a word a cycle after ``latency`` cycles."""

    latency: int = 1

    def instruction_valid(self, cycle: int) -> bool:
        return True

    def request_ready(self, port: str, cycle: int) -> bool:
        return True

    def data_valid(self, port: str, waited: int, cycle: int) -> bool:
        return waited >= self.latency

    def store_ready(self, cycle: int) -> bool:
        return True


@dataclass(frozen=True)
class CycleCount:
    """Cycles of a program.

    ``total`` is the cycle in which ``done`` rises. ``starts[k]`` is the cycle in which the
    sequencer takes instruction k; its first row is issued in the next. ``busy`` is the number of
    rows issued, ``stalls`` that of all other cycles by the first cause that holds: ``fetch`` (no
    instruction is there: the start, a fence, the end), a load (``sb``, ``nbin``, ``table``),
    ``nbout`` (the store of the instruction before the one before), ``drain`` (partial sums still in
    the pipeline), ``start`` (an instruction is taken after a wait), ``nop`` (an instruction without
    a run).
    """

    total: int
    starts: tuple[int, ...]
    busy: int
    stalls: dict[str, int]


@dataclass
class _Loader:
    size: deque[int] = field(default_factory=deque)
    left: int = 0
    requested: bool = False
    waited: int = 0
    ahead: int = 0  # loads complete less runs that have read
    loaded: int = 0  # loads complete less runs that have begun


def count_cycles(
    config: NfuConfig,
    program: Sequence[Instruction],
    timing: Timing | None = None,
    *,
    deadline: int = 10_000_000,
) -> CycleCount:
    """Cycles of ``program``, which :func:`hwgen.nfu.golden.execute` accepts.

    Raises
    ------
    VerifyError
        If the program does not end within ``deadline`` cycles.
    """
    model = _Model(config, program, FixedTiming() if timing is None else timing)
    for cycle in range(deadline):
        if model.step(cycle):
            stalls = {cause: model.stalls[cause] for cause in _CAUSES}
            return CycleCount(cycle, tuple(model.starts), model.busy, stalls)
    raise VerifyError(f"Program is not done after {deadline} cycles")


class _Model:
    def __init__(self, config: NfuConfig, program: Sequence[Instruction], timing: Timing) -> None:
        self._config = config
        self._timing = timing
        self._left = deque(program)
        self._ended = False
        self._offered = False
        self._loaders = {port: _Loader() for port in LOADS}
        self._runs: deque[Instruction] = deque()
        self._stores: deque[int] = deque()  # words of each
        self._pending = 0  # instructions dispatched and not stored
        self._unstored = 0  # runs begun and not stored
        self._flying = 0  # runs begun and not written
        self._written = 0  # runs written and whose store has not begun
        self._rows = 0  # left to issue
        self._nop = False  # the row to issue is that of an instruction without a run
        self._released: deque[int] = deque()  # cycles in which runs have read
        self._finished: deque[int] = deque()  # cycles in which runs have written
        self._issue = 0  # words that the store has still to read
        self._words = 0  # words that the store has still to send
        self._valid = False  # a word of the store is offered
        self.starts: list[int] = []
        self.busy = 0
        self.stalls: Counter[str] = Counter()

    def step(self, cycle: int) -> bool:
        """Do one cycle; whether the program is done in it."""
        if self._ended and self._pending == 0:
            return True
        # what each unit does in this cycle follows from the state before it
        dispatched = self._dispatch(cycle)
        loads = {port: self._load(port, cycle) for port in LOADS}
        begun = self._sequence(cycle)
        released = bool(self._released) and self._released[0] == cycle
        written = bool(self._finished) and self._finished[0] == cycle
        store_begun, stored = self._store(cycle)

        if dispatched is not None:
            for port in LOADS:
                self._loaders[port].size.append(int(getattr(dispatched, f"{port}_size")))
            self._runs.append(dispatched)
            self._stores.append(
                dispatched.nbin_positions * dispatched.nbout_groups
                if dispatched.nfu_op != Nfu1.NOP and dispatched.nbout_store
                else 0
            )
            self._ended = bool(dispatched.cp_end)
        for port, complete in loads.items():
            read = written if port == "table" else released
            self._loaders[port].ahead += complete - read
            self._loaders[port].loaded += complete - begun
        if released:
            self._released.popleft()
        if written:
            self._finished.popleft()
        self._pending += (dispatched is not None) - stored
        self._unstored += begun - stored
        self._flying += begun - written
        self._written += written - store_begun
        return False

    def _dispatch(self, cycle: int) -> Instruction | None:
        if self._ended or not self._left:
            return None
        self._offered = self._offered or self._timing.instruction_valid(cycle)
        depth = self._config.queue_depth
        queues: list[Sized] = [
            *(loader.size for loader in self._loaders.values()),
            self._runs,
            self._stores,
        ]
        full = any(len(queue) == depth for queue in queues)
        fenced = self._left[0].cp_fence and self._pending
        if not self._offered or full or fenced:
            return None
        self._offered = False
        return self._left.popleft()

    def _load(self, port: str, cycle: int) -> bool:
        """Whether a load is complete in this cycle."""
        loader = self._loaders[port]
        if loader.left == 0:
            if loader.size and loader.ahead < 2:
                loader.left = loader.size.popleft()
                loader.requested = False
                return loader.left == 0
        elif not loader.requested:
            loader.requested = self._timing.request_ready(port, cycle)
            loader.waited = 0
        else:
            loader.waited += 1
            if self._timing.data_valid(port, loader.waited, cycle):
                loader.left -= 1
                return loader.left == 0
        return False

    def _sequence(self, cycle: int) -> bool:
        """Whether a run begins."""
        if self._rows:
            self._rows -= 1
            self.stalls["nop"] += self._nop
            self.busy += not self._nop
            if self._rows:
                return False
            waiting = False
        else:
            waiting = True
        cause = self._cause()
        if cause is not None:
            if waiting:
                self.stalls[cause] += 1
            return False
        self.stalls["start"] += waiting
        one = self._runs.popleft()
        self._nop = one.nfu_op == Nfu1.NOP
        self._rows = 1 if self._nop else one.nbin_positions * one.sb_rows
        self.starts.append(cycle)
        last = cycle + self._rows
        self._released.append(last + read_stage())
        self._finished.append(last + write_stage(self._config))
        return True

    def _cause(self) -> str | None:
        """Why the next run cannot begin."""
        if not self._runs:
            return "fetch"
        for port in LOADS:
            if self._loaders[port].loaded == 0:
                return port
        if self._unstored == 2:
            return "nbout"
        if self._runs[0].nfu_in == Nfu2In.NBOUT and self._flying:
            return "drain"
        return None

    def _store(self, cycle: int) -> tuple[bool, bool]:
        """Whether a store begins, and whether one is complete."""
        if self._words == 0:
            if self._stores and self._written:
                self._words = self._issue = self._stores.popleft()
                return True, self._words == 0
            return False, False
        sent = self._valid and self._timing.store_ready(cycle)
        if not self._valid or sent:
            self._valid = self._issue > 0
            self._issue -= self._valid
        self._words -= sent
        return False, sent and self._words == 0
