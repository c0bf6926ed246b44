"""Source, sink and scoreboard on their own: each can say no."""

from __future__ import annotations

from hwgen.sim.bench.roles import Pause, Scoreboard, Sink, Source
from hwgen.sim.types import Stall

ALWAYS = 2**32


def test_a_pause_never_and_always() -> None:
    never, always = Pause(1, 0), Pause(1, ALWAYS)
    assert not any(never.step() for _ in range(100))
    assert all(always.step() for _ in range(100))


def test_pauses_take_the_fraction_of_cycles_that_was_asked_for() -> None:
    for fraction in (0.25, 0.5, 0.75):
        pause = Pause(2, Stall(fraction).thresholds[0])
        paused = sum(pause.step() for _ in range(40_000)) / 40_000
        assert abs(paused - fraction) < 0.02


def test_an_offer_stands_until_it_is_accepted() -> None:
    source = Source([5, 6], Pause(1, 0), width=8, seed=1)
    assert source.drive() == (5, True)
    assert not source.sample(ready=False)
    assert source.drive() == (5, True)
    assert source.sample(ready=True)
    assert source.drive() == (6, True)
    assert source.sample(ready=True)
    assert source.done
    assert source.drive()[1] is False
    assert not source.sample(ready=True)


def test_the_sink_watches_an_offer_that_it_refused() -> None:
    for valid, payload, fault in ((True, 7, None), (True, 8, "changed"), (False, 0, "retracted")):
        sink = Sink(Pause(1, ALWAYS))
        sink.drive(always=False)
        assert not sink.sample(True, 7)
        sink.drive(always=True)
        assert sink.sample(valid, payload) is valid
        assert sink.fault == fault


def test_a_restarted_sink_has_forgotten() -> None:
    sink = Sink(Pause(1, ALWAYS))
    sink.drive(always=False)
    sink.sample(True, 7)
    sink.restart()
    sink.sample(False, 0)
    assert sink.fault is None


def test_a_scoreboard_wants_all_and_no_more() -> None:
    board = Scoreboard([1, 2])
    assert not board.finish()
    board.put(1, 0)
    assert not board.finish()
    board.put(2, 1)
    assert board.finish()
    board.put(2, 2)
    assert not board.finish()
    assert (board.received, board.compared, board.differed) == (3, 2, 0)


def test_a_scoreboard_keeps_the_first_difference() -> None:
    board = Scoreboard([1, 2, 3])
    for cycle, payload in enumerate((1, 9, 8)):
        board.put(payload, cycle)
    assert board.first == (1, 2, 9, 1)
    assert board.differed == 2
    board.restart()
    for payload in (1, 2, 3):
        board.put(payload, 0)
    assert not board.finish()


def test_a_scoreboard_that_expects_nothing_is_never_content() -> None:
    assert not Scoreboard([]).finish()
