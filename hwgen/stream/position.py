"""Where a scan is: counters of its beats and the flags of the current one, all registered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from hwgen.stream.scan import Scan

__all__ = ["Position"]

_NEAR = 3
"""Places of a counter, from its first, that flip-flops in a row tell with fewer LUTs."""


class _Places:
    """A counter that advances or restarts at each ``step``, and flags that follow it."""

    def __init__(self, m: Module, counter: Signal, step: Value, restart: Value) -> None:
        self._m, self.counter, self.step, self.restart = m, counter, step, restart
        self._near: list[Value] = []
        with m.If(step):
            m.d.sync += counter.eq(Mux(restart, 0, counter + 1))

    def at(self, place: int) -> Value:
        """Whether the counter is at a place."""
        if place >= _NEAR:
            return self.counter == place
        while len(self._near) <= place:
            after = self._near[-1] & ~self.restart if self._near else self.restart
            near = Signal(name=f"{self.counter.name}_at{len(self._near)}", init=not self._near)
            with self._m.If(self.step):
                self._m.d.sync += near.eq(after)
            self._near.append(near)
        return self._near[place]

    def follow(self, values: Sequence[bool], name: str) -> Value:
        """Flag that is ``values[place]``, from a register; it changes where its values do."""
        first = values[0]
        if all(value == first for value in values):
            return Const(int(first))
        for odd in (True, False):
            places = [place for place, value in enumerate(values) if value == odd]
            if len(places) == 1 and places[0] < _NEAR:
                return self.at(places[0]) if odd else ~self.at(places[0])
        changes = [
            (place, after)
            for place, (before, after) in enumerate(pairwise(values))
            if before != after
        ]
        flag = Signal(name=name, init=int(first))
        up, down = (
            Cat(self.at(place) for place, after in changes if after == rises).any()
            for rises in (True, False)
        )
        # A restart has precedence over what else changes at the same place.
        after = up | (flag & ~down)
        after = self.restart | after if first else ~self.restart & after
        with self._m.If(self.step):
            self._m.d.sync += flag.eq(after)
        return flag


class Position:
    """Counters of the scan and the flags of the current beat, all registered.

    ``u`` counts the beats of a row, ``v`` the rows. Flags follow a counter by changing where it
    passes certain values, so none is decoded in the beat that uses it.
    """

    def __init__(self, m: Module, scan: Scan, go: Signal) -> None:
        self._m, self._scan = m, scan
        self._rows = -(-scan.beats // scan.row)
        last_v, last_u = divmod(scan.beats - 1, scan.row)
        u, v = Signal(range(scan.row), name="u"), Signal(range(self._rows), name="v")
        last, row_end = Signal(), Signal()
        y_step = Signal(name="y_step")
        m.d.comb += y_step.eq(go & row_end)
        self._x, self._y = _Places(m, u, go, row_end), _Places(m, v, y_step, last)
        m.d.comb += [
            last.eq(self._x.at(last_u) & self._y.at(last_v)),
            row_end.eq(last | self._x.at(scan.row - 1)),
        ]

    def along_row(self, values: Sequence[bool], name: str) -> Value:
        """Flag with a value for each beat of a row."""
        return self._x.follow(values, name)

    def _along_column(self, values: Sequence[bool], name: str) -> Value:
        return self._y.follow(values, name)

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
        with m.If(self._x.step):
            with m.If(self._x.at(end_u) & self._y.at(end_v)):
                m.d.sync += leads.eq(0)
            with m.If(self._y.restart):
                m.d.sync += leads.eq(1)
        return leads

    def gives(self) -> Value:
        """Whether the beat completes a window."""
        scan = self._scan
        (oh, ow), (sh, sw) = scan.out_size, scan.strides
        first_v, first_u = divmod(scan.first, scan.row)
        give_u = self._every(self._x, scan.row, first_u, sw, ow, "give_u")
        give_v = self._every(self._y, self._rows, first_v, sh, oh, "give_v")
        return give_u & self._of_window_row(give_v, "give")

    def _of_window_row(self, flag: Value, name: str) -> Value:
        """A flag of the row that enters, for the row of the window that this beat completes."""
        m, scan = self._m, self._scan
        first_u = scan.first % scan.row
        if first_u + (scan.out_size[1] - 1) * scan.strides[1] < scan.row:
            return flag
        # The last windows of a row are complete while the next row enters.
        row = Signal(name=f"{name}_row")
        begins = self._x.at(first_u - 1)
        if (scan.beats - 1) % scan.row < first_u - 1:
            begins |= self._y.restart  # the last row of beats ends before
        with m.If(self._x.step & begins):
            m.d.sync += row.eq(flag)
        return row

    def _every(
        self,
        places: _Places,
        period: int,
        start: int,
        stride: int,
        count: int,
        name: str,
    ) -> Value:
        """Flag high at ``count`` values of the counter, ``stride`` apart from ``start``, cyclic."""
        m = self._m
        reach = (count - 1) * stride
        span = places.follow([(k - start) % period <= reach for k in range(period)], name)
        if stride == 1 or count == 1:
            return span
        phase = Signal(range(stride), name=f"{name}_phase")
        with m.If(places.step):
            m.d.sync += phase.eq(Mux(phase == stride - 1, 0, phase + 1))
            with m.If(places.restart if start == 0 else places.at(start - 1)):
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
