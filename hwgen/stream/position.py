"""Where a scan is: counters of its beats and the flags of the current one, all registered."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Mux, Signal, Value

from hwgen.stream.scan import Scan

__all__ = ["Position", "follow"]


class Position:
    """Counters of the scan and the flags of the current beat, all registered.

    ``u`` counts the beats of a row, ``v`` the rows. Flags follow a counter by changing where it
    passes certain values, so none is decoded in the beat that uses it.
    """

    def __init__(self, m: Module, scan: Scan, go: Signal) -> None:
        self._m, self._scan = m, scan
        self._rows = -(-scan.beats // scan.row)
        last_v, last_u = divmod(scan.beats - 1, scan.row)
        self._u = u = Signal(range(scan.row), name="u")
        self._v = v = Signal(range(self._rows), name="v")
        last, row_end = Signal(), Signal()
        m.d.comb += [
            last.eq((u == last_u) & (v == last_v)),
            row_end.eq(last | (u == scan.row - 1)),
        ]
        self._x_step, self._x_restart = go, row_end
        self._y_step, self._y_restart = Signal(name="y_step"), last
        m.d.comb += self._y_step.eq(go & row_end)
        with m.If(self._x_step):
            m.d.sync += u.eq(Mux(row_end, 0, u + 1))
        with m.If(self._y_step):
            m.d.sync += v.eq(Mux(last, 0, v + 1))

    def along_row(self, values: Sequence[bool], name: str) -> Value:
        """Flag with a value for each beat of a row."""
        return follow(self._m, self._x_step, self._x_restart, self._u, values, name)

    def _along_column(self, values: Sequence[bool], name: str) -> Value:
        return follow(self._m, self._y_step, self._y_restart, self._v, values, name)

    def takes(self) -> Value:
        """Whether the beat takes a pixel."""
        scan = self._scan
        top, left = scan.lead
        in_row = [left <= u < left + scan.width for u in range(scan.row)]
        in_column = [top <= v < top + scan.height for v in range(self._rows)]
        return self.along_row(in_row, "take_u") & self._along_column(in_column, "take_v")

    def leads(self) -> Value:
        """Whether the beat is padding before the first pixel."""
        m, (top, left) = self._m, self._scan.lead
        beats = top * self._scan.row + left
        if beats == 0:
            return Const(0)
        leads = Signal(name="leads", init=1)
        end_v, end_u = divmod(beats - 1, self._scan.row)
        with m.If(self._x_step):
            with m.If((self._u == end_u) & (self._v == end_v)):
                m.d.sync += leads.eq(0)
            with m.If(self._y_restart):
                m.d.sync += leads.eq(1)
        return leads

    def gives(self) -> Value:
        """Whether the beat completes a window."""
        scan = self._scan
        (oh, ow), (sh, sw) = scan.out_size, scan.strides
        first_v, first_u = divmod(scan.first, scan.row)
        give_u = self._every(
            self._x_step, self._x_restart, self._u, scan.row, first_u, sw, ow, "give_u"
        )
        give_v = self._every(
            self._y_step, self._y_restart, self._v, self._rows, first_v, sh, oh, "give_v"
        )
        return give_u & self._of_window_row(give_v, "give")

    def _of_window_row(self, flag: Value, name: str) -> Value:
        """A flag of the row that enters, for the row of the window that this beat completes."""
        m, scan = self._m, self._scan
        first_u = scan.first % scan.row
        if first_u + (scan.out_size[1] - 1) * scan.strides[1] < scan.row:
            return flag
        # The last windows of a row are complete while the next row enters.
        before = Signal(name=f"{name}_row_above")
        with m.If(self._y_step):
            m.d.sync += before.eq(flag)
        above = self.along_row([u < first_u for u in range(scan.row)], "above")
        return Mux(above, before, flag)

    def _every(
        self,
        step: Value,
        restart: Value,
        counter: Signal,
        period: int,
        start: int,
        stride: int,
        count: int,
        name: str,
    ) -> Value:
        """Flag high at ``count`` values of the counter, ``stride`` apart from ``start``, cyclic."""
        m = self._m
        reach = (count - 1) * stride
        span = follow(
            m, step, restart, counter, [(k - start) % period <= reach for k in range(period)], name
        )
        if stride == 1 or count == 1:
            return span
        phase = Signal(range(stride), name=f"{name}_phase")
        with m.If(step):
            m.d.sync += phase.eq(Mux(phase == stride - 1, 0, phase + 1))
            with m.If(restart if start == 0 else counter == start - 1):
                m.d.sync += phase.eq(0)
        return span & (phase == 0)

    def row_mask(self, r: int) -> Value:
        """Whether row ``r`` of the entering column is in the frame."""
        scan = self._scan
        if scan.inside(0)[r].all():
            return Const(1)
        top = scan.lead[0] + (scan.kernel[0] - 1 - r) * scan.dilations[0]
        inside = [top <= v < top + scan.height for v in range(self._rows)]
        return self._along_column(inside, f"inside_r{r}")

    def window_row_mask(self, r: int) -> Value:
        """Whether row ``r`` of the window that this beat completes is in the frame."""
        scan = self._scan
        if scan.inside(0)[r].all():
            return Const(1)
        first, offset = scan.first // scan.row, r * scan.dilations[0] - scan.pads[0]
        inside = [0 <= (v - first) % self._rows + offset < scan.height for v in range(self._rows)]
        return self._of_window_row(self._along_column(inside, f"inside_r{r}"), f"inside_r{r}")

    def column_mask(self, s: int) -> Value:
        """Whether tap column ``s`` of the window that this beat completes is in the frame."""
        scan = self._scan
        first = scan.first % scan.row
        offset = s * scan.dilations[1] - scan.pads[1]
        inside = [0 <= (u - first) % scan.row + offset < scan.width for u in range(scan.row)]
        return self.along_row(inside, f"inside_s{s}")


def follow(
    m: Module,
    step: Value,
    restart: Value,
    counter: Signal,
    values: Sequence[bool],
    name: str,
) -> Value:
    """Register that equals ``values[counter]``; the counter advances or restarts at ``step``."""
    if all(v == values[0] for v in values):
        return Const(int(values[0]))
    flag = Signal(name=name, init=int(values[0]))
    with m.If(step):
        for k in range(len(values) - 1):
            if values[k + 1] != values[k]:
                with m.If(counter == k):
                    m.d.sync += flag.eq(int(values[k + 1]))
        with m.If(restart):
            m.d.sync += flag.eq(int(values[0]))
    return flag
