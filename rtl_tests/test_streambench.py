# amaranth: UnusedElaboratable=no
"""The bench must catch each kind of faulty block."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from streambench import run_stream

LAYOUT = data.StructLayout({"a": signed(4), "b": 3})
RNG = np.random.default_rng(1)
ITEMS = np.stack([RNG.integers(-8, 8, 40), RNG.integers(0, 8, 40)], axis=1)


class Register(wiring.Component):
    """One register that adds 1 to ``b``, with a fault to inject."""

    latency = 1

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        super().__init__({"i": In(stream.Signature(LAYOUT)), "o": Out(stream.Signature(LAYOUT))})

    def model(self, items: np.ndarray) -> np.ndarray:
        return np.stack([items[:, 0], (items[:, 1] + 1) % 8], axis=1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        go = (self.o.ready | ~self.o.valid) & (self.fault != "stuck")
        m.d.comb += self.i.ready.eq(go)
        with m.If(go):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.payload.a.eq(self.i.payload.a)
            m.d.sync += self.o.payload.b.eq(self.i.payload.b + 1)
        match self.fault:
            case "wrong":
                with m.If(go & (self.i.payload.b == 5)):
                    m.d.sync += self.o.payload.b.eq(0)
            case "withdraw":
                with m.If(~go):
                    m.d.sync += self.o.valid.eq(0)
            case "change":
                with m.If(~go):
                    m.d.sync += self.o.payload.b.eq(0)
            case "extra":
                with m.If(go & (self.i.payload.b == 5)):
                    m.d.sync += self.o.valid.eq(1)
            case "silent":
                m.d.sync += self.o.valid.eq(0)
        return m


class Wire(wiring.Component):
    """A stream that depends combinationally on its input."""

    latency = 0

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(LAYOUT)), "o": Out(stream.Signature(LAYOUT))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("stalls", [(0, 0), (0.4, 0), (0, 0.4), (0.5, 0.5)])
@pytest.mark.parametrize("reset_at", [None, 13])
def test_sound_block_passes(stalls: tuple[float, float], reset_at: int | None) -> None:
    run = run_stream(
        Register(), ITEMS, stall_in=stalls[0], stall_out=stalls[1], reset_at=reset_at, deadline=900
    )
    np.testing.assert_array_equal(run.outputs, Register().model(ITEMS))
    if stalls == (0, 0):
        assert run.first_latency == Register.latency
        assert run.cycles == len(ITEMS) + Register.latency
        assert set(np.diff(run.produced)) == {1}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong", "is .*, not"),
        ("withdraw", "valid fell"),
        ("change", "payload changed"),
        ("extra", "is .*, not|one too many"),
        ("silent", "of 40 items"),
        ("stuck", "0 of 40 items"),
    ],
)
def test_fault_is_caught(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_stream(Register(fault), ITEMS, stall_in=0.4, stall_out=0.4, deadline=500)


def test_combinational_valid_is_caught() -> None:
    with pytest.raises(AssertionError, match=r"o\.valid depends"):
        run_stream(Wire(), ITEMS, expected=ITEMS, stall_in=0.3, stall_out=0.3)


def test_missing_item_is_caught() -> None:
    golden = Register().model(ITEMS)
    with pytest.raises(AssertionError, match="40 of 41 items"):
        run_stream(Register(), ITEMS, expected=np.concatenate([golden, golden[:1]]), deadline=200)
    with pytest.raises(AssertionError, match="one too many"):
        run_stream(Register(), ITEMS, expected=golden[:-1], deadline=200)
