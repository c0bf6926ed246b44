"""The sequencer of the NFU: what begins each run and issues its rows."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwgen.nfu.config import NfuConfig
from hwgen.nfu.control import Slot, UpTo2, flight_fields, run_fields, token_layout
from hwgen.nfu.isa import Nfu1, Nfu2In

__all__ = ["Sequencer"]


def _next_layout(config: NfuConfig) -> data.StructLayout:
    """The next run, with what its counters would have to compare when it begins."""
    flags = dict.fromkeys(("nop", "one_row", "two_rows", "one_position", "two_positions"), 1)
    return data.StructLayout({"fields": run_fields(config), **flags})


class Sequencer(wiring.Component):
    """Issues the rows of run after run, one a cycle.

    What begins a run is decided a cycle before, from registers alone, since that decision reaches
    every counter. The next run has to be there by then, which it is three cycles after the one
    before began: a run of one or two rows is followed by a pause.

    Parameters
    ----------
    config : :class:`NfuConfig`
        Parameters.

    Members
    -------
    i : :py:`In(stream.Signature(run_fields(config)))`
    loaded : :py:`In(1)`
        The loads of the next run are complete.
    room : :py:`In(1)`
        The store has room for the next run.
    storing : :py:`In(1)`
        There are runs with a store that is not complete.
    drained : :py:`In(1)`
        The last row of a run is so far that another may read its sums.
    begun : :py:`Out(1)`
        A run begins: its first row is issued in the next cycle.
    following : :py:`Out(run_fields(config))`
        The run that begins.
    runs : :py:`Out(ArrayLayout(flight_fields(config), 2))`
        The two runs that may be in the pipeline.
    row : :py:`Out(range(sb_depth))`
        SB row that is issued.
    base : :py:`Out(range(nbin_depth))`
        Origin of the window.
    token : :py:`Out(token_layout())`
    """

    def __init__(self, config: NfuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(run_fields(config))),
                "loaded": In(1),
                "room": In(1),
                "storing": In(1),
                "drained": In(1),
                "begun": Out(1),
                "following": Out(run_fields(config)),
                "runs": Out(data.ArrayLayout(flight_fields(config), 2)),
                "row": Out(range(config.sb_depth)),
                "base": Out(range(config.nbin_depth)),
                "token": Out(token_layout()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slot = slot = Slot(_next_layout(self.config))
        offered, following = self.i.payload, slot.o.payload
        m.d.comb += [
            slot.i.valid.eq(self.i.valid),
            self.i.ready.eq(slot.i.ready),
            slot.i.payload.fields.eq(offered),
            slot.i.payload.nop.eq(offered.nfu_op == Nfu1.NOP),
            slot.i.payload.one_row.eq(offered.sb_rows == 1),
            slot.i.payload.two_rows.eq(offered.sb_rows == 2),
            slot.i.payload.one_position.eq(offered.nbin_positions == 1),
            slot.i.payload.two_positions.eq(offered.nbin_positions == 2),
            slot.o.ready.eq(self.begun),
            self.following.eq(following.fields),
        ]
        self._rows(m, following)
        return m

    def _rows(self, m: Module, following: data.View) -> None:
        """Counters of the run, whose ends are compared a cycle ahead, and what begins the next."""
        new = following.fields
        one = Signal(new.shape(), reset_less=True)  # only what the counters need of it is kept
        one_row, two_rows = Signal(), Signal()
        run, busy = Signal(), Signal()
        rows_left, position = Signal.like(new.sb_rows), Signal.like(new.nbin_positions)
        last_row, last_but_one = Signal(), Signal()  # of a window
        last_position, two_left = Signal(), Signal()
        end, end_next = Signal(), Signal()
        token = self.token
        m.d.comb += [
            end_next.eq(Mux(last_row, one_row & two_left, last_but_one & last_position)),
            token.end.eq(end),
            token.run.eq(run),
        ]
        m.d.sync += self.begun.eq(self._may_begin(m, following) & (~busy | end | end_next))

        with m.If(busy):
            m.d.sync += [
                self.row.eq(Mux(last_row, one.sb_address, self.row + 1)),
                rows_left.eq(Mux(last_row, one.sb_rows, rows_left - 1)),
                last_row.eq(Mux(last_row, one_row, last_but_one)),
                last_but_one.eq(Mux(last_row, two_rows, rows_left == 3)),
                token.window_first.eq(last_row),
                token.run_first.eq(0),
                end.eq(end_next & ~end),
                busy.eq(~end),
            ]
            with m.If(end):
                m.d.sync += token.valid.eq(0)
            with m.If(last_row):
                m.d.sync += [
                    position.eq(position - 1),
                    last_position.eq(two_left),
                    two_left.eq(position == 3),
                    self.base.eq(self.base + one.nbin_stride),
                ]
        with m.If(self.begun):
            m.d.sync += [
                one.eq(new),
                one_row.eq(following.one_row),
                two_rows.eq(following.two_rows),
                run.eq(~run),
                busy.eq(1),
                token.valid.eq(~following.nop),
                token.run_first.eq(1),
                token.window_first.eq(1),
                self.row.eq(new.sb_address),
                self.base.eq(new.nbin_address),
                rows_left.eq(new.sb_rows),
                last_row.eq(following.one_row),
                last_but_one.eq(following.two_rows),
                position.eq(new.nbin_positions),
                last_position.eq(following.one_position),
                two_left.eq(following.two_positions),
                end.eq(following.nop | (following.one_row & following.one_position)),
            ]
            for k in range(2):
                with m.If(run != k):
                    for name, _ in self.runs[k].shape():
                        m.d.sync += self.runs[k][name].eq(new[name])

    def _may_begin(self, m: Module, following: data.View) -> Signal:
        """Whether the next run may begin in the next cycle but for the rows that are left."""
        m.submodules.flowing = flowing = UpTo2()
        waits, may = Signal(), Signal()
        m.d.comb += [
            flowing.up.eq(self.begun),
            flowing.down.eq(self.drained),
            waits.eq((following.fields.nfu_in == Nfu2In.NBOUT) & (flowing.some | self.storing)),
            may.eq(m.submodules.slot.o.valid & self.loaded & self.room & ~waits & ~self.begun),
        ]
        return may
