"""The board's side of loading: payloads of ``LOAD`` kept, checked and written."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.link.loading import ADDRESS_BYTES, BEGIN, COMMIT, LARGEST, STATE, program_state
from hwgen.link.protocol import ErrorCode
from hwgen.stream.programs import PART_BITS, Loading, part_count

__all__ = ["Loader", "load_layout"]

_HASH_BYTES = 8


def load_layout(loading: Loading) -> data.StructLayout:
    """A part of a word for a memory."""
    return data.StructLayout(
        {
            "memory": unsigned(loading.memory_width),
            "address": unsigned(loading.address_width),
            "part": unsigned(loading.part_width),
            "data": unsigned(PART_BITS),
        }
    )


class Loader(wiring.Component):
    """Keeps a payload of :mod:`hwgen.link.loading`, and does what it says once it is right.

    Three cycles a byte, and what the memory waits.

    Parameters
    ----------
    loading : :class:`~hwgen.stream.programs.Loading`
        The memories, the hash of the hardware, and the program from the start.

    Members
    -------
    clear : :py:`In(1)`
        A payload begins.
    i : :py:`In(stream.Signature(8, always_ready=True))`
        Its bytes.
    go : :py:`In(1)`
        It is whole and right, and there is a byte at least.
    busy : :py:`Out(1)`
        It is being carried out, from the cycle after ``go`` on.
    error : :py:`Out(4)`
        Why it was refused, 0 if it was not; valid when ``busy`` is low again.
    reset : :py:`Out(1)`
        High for a cycle when a program is given up.
    o : :py:`Out(stream.Signature(load_layout(loading)))`
        What is written.
    whole : :py:`Out(1)`
        There is a program.
    state : :py:`Out(128)`
        Its hash, bytes of an image and of a result; the hash is 0 if there is none.
    """

    def __init__(self, loading: Loading) -> None:
        self.loading = loading
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(8, always_ready=True)),
                "go": In(1),
                "busy": Out(1),
                "error": Out(4),
                "reset": Out(1),
                "o": Out(stream.Signature(load_layout(loading))),
                "whole": Out(1, init=1),
                "state": Out(8 * STATE.size),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        start = STATE.pack(*program_state(self.loading, self.loading.program))
        state = Signal(8 * STATE.size, init=int.from_bytes(start, "little"))
        begun = Signal()
        m.d.comb += self.state.eq(
            Mux(self.whole, state, Cat(Const(0, 8 * _HASH_BYTES), state[8 * _HASH_BYTES :]))
        )

        m.submodules.kept = kept = memory.Memory(shape=unsigned(8), depth=LARGEST, init=[])
        write, read = kept.write_port(), kept.read_port()
        size, at = Signal(range(LARGEST + 1)), Signal(range(LARGEST + 1))
        # the byte at ``at``, whether the memory gives it, and whether it is here
        byte, given, there = Signal(8, reset_less=True), Signal(), Signal()
        kind = Signal(8)
        step, last = Signal(), Signal()
        m.d.comb += [
            write.addr.eq(size),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid),
            read.addr.eq(at),
            step.eq(self.busy & there & ~(self.o.valid & ~self.o.ready)),
            last.eq(at == size - 1),
        ]
        m.d.sync += [self.reset.eq(0), byte.eq(read.data)]
        with m.If(self.clear):
            m.d.sync += size.eq(0)
        with m.Elif(self.i.valid):
            m.d.sync += size.eq(size + 1)
        with m.If(self.go):
            m.d.sync += [self.busy.eq(1), self.error.eq(0)]
            m.d.sync += [at.eq(0), given.eq(0), there.eq(0)]
        with m.Elif(self.busy):
            m.d.sync += [given.eq(~step), there.eq(given & ~step)]
        with m.If(step):
            m.d.sync += at.eq(at + 1)
            with m.If(last):
                m.d.sync += self.busy.eq(0)

        differs = Signal()
        data_last = self._words(m, at, byte, there, kind, step)
        with m.If(step):
            with m.If(at == 0):
                m.d.sync += [kind.eq(byte), differs.eq(0)]
                self._check(m, byte, size, begun)
            with m.Elif(kind == BEGIN):
                # byte k of the hash comes at k + 1
                code = self.loading.hardware.to_bytes(_HASH_BYTES, "little")
                turned = Const(int.from_bytes(code[-1:] + code[:-1], "little"), 8 * _HASH_BYTES)
                wrong = differs | (byte != turned.bit_select(Cat(Const(0, 3), at[:3]), 8))
                m.d.sync += differs.eq(wrong)
                with m.If(last & wrong):
                    m.d.sync += self.error.eq(ErrorCode.HARDWARE)
                with m.Elif(last):
                    m.d.sync += [self.whole.eq(0), begun.eq(1), self.reset.eq(1)]
            with m.Elif(kind == COMMIT):
                m.d.sync += state.eq(Cat(state[8:], byte))
                with m.If(last):
                    m.d.sync += [self.whole.eq(1), begun.eq(0)]
            with m.Elif(last & ~data_last):
                m.d.sync += self.error.eq(ErrorCode.LENGTH)
        return m

    def _check(self, m: Module, kind: Value, size: Value, begun: Value) -> None:
        """Refuse what is no part of a program, or comes at the wrong time."""

        def refuse(code: ErrorCode) -> None:
            m.d.sync += [self.busy.eq(0), self.error.eq(code)]

        with m.If(kind == BEGIN):
            with m.If(size != 1 + _HASH_BYTES):
                refuse(ErrorCode.LENGTH)
        with m.Elif((kind != COMMIT) & (kind >= len(self.loading.memories))):
            refuse(ErrorCode.COMMAND)
        with m.Elif(~begun):
            refuse(ErrorCode.EMPTY)
        with m.Elif(Mux(kind == COMMIT, size != 1 + STATE.size, size <= 1 + ADDRESS_BYTES)):
            refuse(ErrorCode.LENGTH)

    def _words(
        self, m: Module, at: Value, byte: Value, there: Value, kind: Value, step: Value
    ) -> Signal:
        """Write the words behind an address; whether the byte is the last of a word."""
        address = Signal(8 * ADDRESS_BYTES)
        low, odd = Signal(8), Signal()
        part = Signal(self.loading.part_width)
        inside, part_last, data_last = Signal(), Signal(), Signal()
        words = at > ADDRESS_BYTES
        m.d.comb += data_last.eq(words & odd & part_last)
        with m.Switch(kind):
            for number, memory in enumerate(self.loading.memories):
                with m.Case(number):
                    m.d.comb += [
                        inside.eq(address < memory.depth),
                        part_last.eq(part == part_count(memory.width) - 1),
                        self.o.valid.eq(self.busy & there & words & odd & inside),
                    ]
        m.d.comb += [
            self.o.payload.memory.eq(kind),
            self.o.payload.address.eq(address),
            self.o.payload.part.eq(part),
            self.o.payload.data.eq(Cat(low, byte)),
        ]
        with m.If(step & ~words):
            m.d.sync += [part.eq(0), odd.eq(0), address.eq(Cat(address[8:], byte))]
        with m.Elif(step):
            m.d.sync += [low.eq(byte), odd.eq(~odd)]
            with m.If(odd):
                m.d.sync += part.eq(Mux(part_last, 0, part + 1))
                with m.If(part_last):
                    m.d.sync += address.eq(address + 1)
                with m.If((kind < len(self.loading.memories)) & ~inside):
                    m.d.sync += [self.busy.eq(0), self.error.eq(ErrorCode.LENGTH)]
        return data_last
