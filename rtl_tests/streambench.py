"""A bench for any stream block: random gaps, random back-pressure, reset, deadline.

One process of Amaranth's simulator drives the inputs ``i`` (or ``i0``, ``i1``, ...) and ``o`` of a
component, and compares every output item with the golden items. It fails unless all of them arrive
before the deadline and none more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import ClockDomain, Module, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.sim import Simulator

__all__ = ["StreamRun", "pixels_of", "run_stream"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StreamRun:
    """What a run saw.

    ``outputs`` (items, fields) holds the items in order; ``accepted[k]`` the cycle in which each
    item passed into input k, ``produced`` the cycle in which each output item passed, both counted
    from the last reset. ``cycles`` is the number of cycles until the last output item passed.
    """

    outputs: Array
    cycles: int
    accepted: tuple[tuple[int, ...], ...]
    produced: tuple[int, ...]

    @property
    def first_latency(self) -> int:
        """Cycles from the first item in (of the last input to get one) to the first item out."""
        return self.produced[0] - max(cycles[0] for cycles in self.accepted)


def pixels_of(frames: npt.ArrayLike) -> Array:
    """Items (N * H * W, C), raster order, of frames (N, C, H, W); (items, fields) unchanged."""
    array = np.asarray(frames)
    if array.ndim == 4:
        return array.transpose(0, 2, 3, 1).reshape(-1, array.shape[1])
    if array.ndim != 2:
        raise ValueError(f"Items must be (N, C, H, W) or (items, fields), not {array.shape}")
    return array


def _fields(shape: object, offset: int = 0) -> Iterator[tuple[int, int, bool]]:
    """(offset, width, signed) of every scalar in a payload, least significant first."""
    if isinstance(shape, data.Layout):
        for _, member in shape:
            yield from _fields(member.shape, offset + member.offset)
    else:
        cast = Shape.cast(shape)  # type: ignore[arg-type]
        yield offset, cast.width, cast.signed


@dataclass
class _Port:
    """One stream port with its payload as packed integers."""

    stream: Any
    layout: list[tuple[int, int, bool]] = field(init=False)
    payload: Value = field(init=False)

    def __post_init__(self) -> None:
        shape = self.stream.payload
        shape = shape.shape() if isinstance(shape, data.View) else Value.cast(shape).shape()
        self.layout = list(_fields(shape))
        self.payload = Value.cast(self.stream.payload)
        if not self.payload.shape().signed:
            return
        self.payload = self.payload.as_unsigned()

    def pack(self, items: Array) -> list[int]:
        if items.shape[1] != len(self.layout):
            raise ValueError(f"Items have {items.shape[1]} fields, the port {len(self.layout)}")
        packed = [0] * len(items)
        for column, (offset, width, signed) in enumerate(self.layout):
            low, high = (-(1 << width >> 1), (1 << width >> 1)) if signed else (0, 1 << width)
            for row, value in enumerate(items[:, column].tolist()):
                if not low <= value < high:
                    raise ValueError(f"Field {column} of {width} bits cannot hold {value}")
                packed[row] |= (value & ((1 << width) - 1)) << offset
        return packed

    def unpack(self, payload: int) -> list[int]:
        values = []
        for offset, width, signed in self.layout:
            value = (payload >> offset) & ((1 << width) - 1)
            sign = (1 << width >> 1) if signed else 0
            values.append((value ^ sign) - sign)
        return values


def _inputs(component: wiring.Component) -> list[_Port]:
    names = [name for name in component.signature.members if name[0] == "i"]
    names = [name for name in names if name == "i" or name[1:].isdigit()]
    if not names:
        raise ValueError("Component has no input stream named i or i0, i1, ...")
    return [
        _Port(getattr(component, name)) for name in sorted(names, key=lambda n: int(n[1:] or 0))
    ]


def run_stream(
    component: wiring.Component,
    items: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    *,
    expected: npt.ArrayLike | None = None,
    stall_in: float = 0.0,
    stall_out: float = 0.0,
    seed: int = 0,
    deadline: int | None = None,
    drain: int | None = None,
    reset_at: int | None = None,
) -> StreamRun:
    """Drive ``component`` with ``items`` and check every word that it gives.

    Parameters
    ----------
    component : :class:`wiring.Component`
        Block with an input stream ``i`` (or several: ``i0``, ``i1``, ...), an output stream ``o``,
        and, unless ``expected`` is given, ``model(*items)``.
    items : array or tuple of arrays
        Frames (N, C, H, W) or items (items, fields); a tuple, one array an input, where there are
        several inputs.
    expected : array, optional
        Golden frames or items. By default ``component.model(*items)``.
    stall_in, stall_out : float
        Probability that in a cycle no new item is offered to an input; that ``o`` is not ready.
    seed : int
        Seed of the stalls.
    deadline : int, optional
        Cycles after which a run that is not complete fails. By default generous for blocks that
        take at most a few cycles an item.
    drain : int, optional
        Cycles after the last item in which nothing more may come out. By default twice
        ``component.latency`` and a few.
    reset_at : int, optional
        Cycle in which the reset is high. All items are then sent and expected again.

    Raises
    ------
    AssertionError
        If an item differs, is missing or is too much, if the block breaks the stream protocol
        (withdraws ``valid``, changes a waiting payload, lets ``o.valid`` depend combinationally on
        ``o.ready`` or on the input), or if the deadline passes.
    """
    arrays = items if isinstance(items, tuple) else (items,)
    golden = component.model(*map(np.asarray, arrays)) if expected is None else expected  # type: ignore[attr-defined]
    golden = pixels_of(golden)
    ports = _inputs(component)
    if len(ports) != len(arrays):
        raise ValueError(f"Component has {len(ports)} inputs, not {len(arrays)}")
    pixels = [pixels_of(array) for array in arrays]
    sent = [port.pack(array) for port, array in zip(ports, pixels, strict=True)]
    output = _Port(component.o)  # type: ignore[attr-defined]
    latency = int(getattr(component, "latency", 16))
    if drain is None:
        drain = 2 * latency + 16
    if deadline is None:
        work = max(len(golden), *(len(p) for p in sent)) + latency + 64
        deadline = int(8 * work / ((1 - stall_in) * (1 - stall_out))) + (reset_at or 0)
    return _simulate(
        component, ports, output, sent, golden, stall_in, stall_out, seed, deadline, drain, reset_at
    )


def _simulate(
    component: wiring.Component,
    ports: Sequence[_Port],
    output: _Port,
    sent: Sequence[Sequence[int]],
    golden: Array,
    stall_in: float,
    stall_out: float,
    seed: int,
    deadline: int,
    drain: int,
    reset_at: int | None,
) -> StreamRun:
    rng = np.random.default_rng(seed)
    expected = golden.tolist()
    top = Module()
    domain = ClockDomain("sync")
    top.domains += domain
    top.submodules.dut = component
    idle = Signal()
    top.d.sync += idle.eq(~idle)

    got: list[list[int]] = []
    produced: list[int] = []
    accepted: list[list[int]] = [[] for _ in ports]

    async def bench(ctx: Any) -> None:
        offered = [False] * len(ports)
        held: int | None = None
        start = done = 0
        for cycle in range(deadline):
            resetting = cycle == reset_at
            ctx.set(domain.rst, int(resetting))
            before = ctx.get(output.stream.valid)
            for k, port in enumerate(ports):
                index = len(accepted[k])
                left = index < len(sent[k])
                if not offered[k]:
                    offered[k] = left and (stall_in == 0 or rng.random() >= stall_in)
                    junk = int(rng.integers(1 << min(62, len(port.payload))))
                    ctx.set(port.payload, sent[k][index] if offered[k] else junk)
                ctx.set(port.stream.valid, int(offered[k]))
            ready = stall_out == 0 or rng.random() >= stall_out
            ctx.set(output.stream.ready, int(ready))
            valid = ctx.get(output.stream.valid)
            payload = ctx.get(output.payload) if valid else 0
            assert valid == before, f"o.valid depends on o.ready or the input (cycle {cycle})"
            if held is not None:
                assert valid, f"o.valid fell before o.ready rose (cycle {cycle})"
                assert payload == held, f"A waiting payload changed (cycle {cycle})"
            held = payload if valid and not ready else None
            taken = [offered[k] and ctx.get(port.stream.ready) for k, port in enumerate(ports)]
            if valid and ready:
                number, values = len(got), output.unpack(payload)
                assert number < len(expected), f"Item {number} is one too many (cycle {cycle})"
                assert values == expected[number], (
                    f"Item {number} is {values}, not {expected[number]} (cycle {cycle})"
                )
                got.append(values)
                produced.append(cycle - start)
                done = cycle + 1
            for k, take in enumerate(taken):
                if take:
                    accepted[k].append(cycle - start)
                    offered[k] = False
            if resetting:
                got.clear()
                produced.clear()
                for k in range(len(ports)):
                    accepted[k].clear()
                offered, held, start = [False] * len(ports), None, cycle + 1
            await ctx.tick()
            inside = reset_at is None or cycle > reset_at
            if inside and len(got) == len(expected) and cycle >= done + drain:
                consumed = [len(cycles) for cycles in accepted]
                assert consumed == [len(p) for p in sent], f"Only {consumed} items were accepted"
                return
        raise AssertionError(
            f"{len(got)} of {len(expected)} items after {deadline} cycles; "
            f"{[len(cycles) for cycles in accepted]} of {[len(p) for p in sent]} accepted"
        )

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return StreamRun(
        outputs=np.array(got, dtype=golden.dtype).reshape(golden.shape),
        cycles=produced[-1] + 1 if produced else 0,
        accepted=tuple(tuple(cycles) for cycles in accepted),
        produced=tuple(produced),
    )
