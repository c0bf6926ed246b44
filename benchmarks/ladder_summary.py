"""The sections of docs/accuracy.md that compare all networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ladder_results import CURVES, Point, Results
from ladder_text import filled, integer_text, listed, loss_text, table

__all__ = ["against_fixed_point", "in_short", "least_terms"]

_CIFAR10 = ("convnetjs", "resnet20", "vgg-cifar10", "resnet56")
_LIMITS = {"digits-large": 0.7} | dict.fromkeys(_CIFAR10, 1.5)
"""Mean terms a weight with which a network is to stay within half a point."""

_NEAR = 0.005
_POINT = 0.01
_USEFUL = 0.05
_USEFUL_ERROR = 0.5
_VISIBLE = 0.12
_OBJECTIVES = {"frobenius": "nearest weights", "output": "nearest outputs"}
_FIXED = ("fixed point", "fixed point, best scale")
_RIVALS = tuple(curve for curve in CURVES if curve not in _FIXED)

_FEW_TERMS = """\
What a limit on the mean terms costs, with no multiplications and nothing trained again. No test
image chooses: of the sets, and of the points of a searched front, the one with the most additions
that keeps the limit is shown. *Within* says whether the loss is at most 0.5 points, and in brackets
whether the upper end of its interval is.
"""

_LEAST = """\
The least mean of terms within 1 point, as the choosing images name it by the two rules
[below](#the-least-terms-within-a-budget), and what it loses on the test images: without
output-awareness (nearest weights) and with it (nearest outputs).
"""

_EQUAL = """\
At equal additions: each set of nearest weights that loses at most 12 points against the dearest set
of nearest outputs that adds no more, and each mix against the dearest mix. How many lose more than
that one, as much, and less; and how many points more on average. No test image chooses these pairs.
"""

_RULES = """\
What a budget in points chose by the choosing images, and what this loses on the test images. By the
*cautious* rule, that of `hwgen approximate`, not only the loss must keep the budget: so must the
right decisions that are spoiled, or nearly so, whatever wrong ones become right. *By loss* takes
the least terms whose loss keeps the budget, out of the same checks. The published CIFAR-10 networks
and the digit networks were trained on images like the choosing ones, so that they lose less there
than on the test images.
"""

_MATCHED = """\
How many k-bit fixed-point networks, of those that lose at most 5 points, a dyadic one equals or
beats in accuracy on the test images with no more additions; by the error of the outputs, of those
below 50 %, where test images are too few for an accuracy. The sections below have each pair. A
front of many points has more chances to be lucky than a ladder of eleven.
"""


def in_short(found: Mapping[str, Results]) -> str:
    """What few terms lose, the least terms within a point, and where fixed point is better."""
    compared = [each for name, results in found.items() for each in _comparisons(name, results)]
    return "\n".join(
        [
            f"\n## In short\n\n{_FEW_TERMS}",
            _few_terms(found),
            _LEAST,
            _within_a_point(found),
            _unsearched(found),
            _EQUAL,
            _at_equal_additions(found),
            _exceptions(compared),
        ]
    )


def _few_terms(found: Mapping[str, Results]) -> str:
    rows: list[list[str]] = []
    kept: list[str] = []
    missed: list[str] = []
    for name, limit in _LIMITS.items():
        if name not in found:
            continue
        results = found[name]
        losses = []
        for objective, words in _OBJECTIVES.items():
            for curve in (objective, f"searched {objective}"):
                within = [p for p in results.of(curve) if p.mean_terms <= limit]
                if not within:
                    continue
                point = max(within, key=lambda p: (p.additions, p.mean_terms))
                mixed = curve != objective
                rows.append(
                    [
                        name,
                        f"{limit:g}",
                        words,
                        f"mix {point.name}" if mixed else f"{point.name} everywhere",
                        f"{point.mean_terms:.3f}",
                        f"{point.additions:,}",
                        loss_text(results, point),
                        _verdict(results, point),
                    ]
                )
                if objective == "output":
                    losses.append(results.interval(point).loss)
        (kept if losses and max(losses) <= _NEAR + 1e-9 else missed).append(name)
    head = ("network", "terms, at most", "objective", "approximation", "terms", "additions")
    sentence = f"With nearest outputs, {listed(kept)} {_are(kept)} within 0.5 points"
    sentence += f"; {listed(missed)} {_are(missed)} not." if missed else "."
    return f"{table((*head, 'loss, test', 'within'), rows)}\n{filled(sentence)}"


def _verdict(results: Results, point: Point) -> str:
    interval = results.interval(point)
    loss, high = interval.loss <= _NEAR + 1e-9, interval.high <= _NEAR + 1e-9
    return f"{'yes' if loss else 'no'} ({'yes' if high else 'no'})"


def _within_a_point(found: Mapping[str, Results]) -> str:
    rows, over = [], []
    for name, results in found.items():
        if not results.decides:
            continue
        for rule in ("cautious", "by_loss"):
            row, terms = [name, rule.replace("_", " ")], []
            for objective, words in _OBJECTIVES.items():
                points = results.of(f"searched {objective}")
                chosen = [point for point in points if _POINT in getattr(point, rule)][:1]
                for point in chosen:
                    row += [f"{point.mean_terms:.3f}", loss_text(results, point)]
                    terms.append(point.mean_terms)
                    if results.interval(point).loss > _POINT + 1e-9:
                        over.append(f"{name} ({words}, {rule.replace('_', ' ')})")
                if not chosen:
                    row += ["none", ""]
            if terms:
                rows.append([*row, f"{terms[0] / terms[1]:.1f}" if len(terms) == 2 else ""])
    head = ("network", "rule", "nearest weights: terms", "loss, test")
    text = table((*head, "nearest outputs: terms", "loss, test", "times fewer"), rows)
    return f"{text}\n{filled(f'On the test images more than 1 point is lost by: {listed(over)}.')}"


def _unsearched(found: Mapping[str, Results]) -> str:
    """Which searches are missing, grouped by objective."""
    missing: dict[str, list[str]] = {}
    for name, results in found.items():
        words = [
            words
            for objective, words in _OBJECTIVES.items()
            if not results.of(f"searched {objective}")
            and f"searched {objective}" not in dict(results.failed)
        ]
        if words:
            missing.setdefault(" and ".join(words), []).append(name)
    texts = [f"for {listed(names)} ({words})" for words, names in missing.items()]
    return filled(f"No mixes were searched {', nor '.join(texts)}.") if texts else ""


def _at_equal_additions(found: Mapping[str, Results]) -> str:
    """How often output-awareness loses less accuracy with no more additions."""
    rows = []
    for name, results in found.items():
        if not results.decides:
            continue
        gains = []
        for prefix in ("", "searched "):
            for point in results.of(f"{prefix}frobenius"):
                rival = _finest(results.of(f"{prefix}output"), point.additions)
                if rival is not None and results.interval(point).loss <= _VISIBLE:
                    gains.append(results.correct(rival) - results.correct(point))
        if gains:
            signs = [(gain > 0) - (gain < 0) for gain in gains]
            mean = 100 * sum(gains) / len(gains) / results.test
            counts = [str(signs.count(sign)) for sign in (1, 0, -1)]
            rows.append([name, f"{len(gains)}", *counts, f"{mean:.2f}"])
    head = ("network", "compared", "lose more", "as much", "less", "more on average, points")
    return table(head, rows)


def _finest(points: Sequence[Point], additions: float) -> Point | None:
    """The dearest of ``points`` that takes at most so many additions."""
    cheap = [point for point in points if point.additions <= additions]
    return max(cheap, key=lambda point: point.additions, default=None)


@dataclass(frozen=True)
class _Comparison:
    """A fixed-point network and the dyadic ones of nearest outputs that add no more.

    ``finest`` is the dearest of these, which no test image chooses, and ``best`` the one that is
    best on the test images; None if none is as cheap.
    """

    results: Results
    network: str
    fixed: Point
    finest: Point | None
    best: Point | None

    @property
    def gap(self) -> float:
        """What the finest lacks: points of accuracy, or percent of error."""
        return _gap(self.results, self.fixed, self.finest)

    @property
    def matched_by_any(self) -> bool:
        return _gap(self.results, self.fixed, self.best) <= 0

    @property
    def clear(self) -> bool:
        """Whether the intervals of the two losses against the float network are apart."""
        if self.finest is None or not self.results.decides:
            return True
        ours, theirs = (self.results.interval(each) for each in (self.finest, self.fixed))
        return ours.low > theirs.high


def _gap(results: Results, fixed: Point, rival: Point | None) -> float:
    if rival is None:
        return math.inf
    if results.decides:
        return 100 * (results.correct(fixed) - results.correct(rival)) / results.test
    return 100 * (rival.error - fixed.error)


def _useful(results: Results, curve: str) -> list[Point]:
    """Points of a fixed-point curve that are good enough to be compared with."""
    if results.decides:
        return [p for p in results.of(curve) if results.interval(p).loss <= _USEFUL]
    return [p for p in results.of(curve) if p.error <= _USEFUL_ERROR]


def _comparisons(name: str, results: Results) -> list[_Comparison]:
    rivals = [*results.of("output"), *results.of("searched output")]
    made: list[_Comparison] = []
    for curve in _FIXED if rivals else ():
        for fixed in _useful(results, curve):
            cheap = [p for p in rivals if p.additions <= fixed.additions]
            finest = _finest(rivals, fixed.additions)
            best = max(cheap, key=results.quality, default=None)
            made.append(_Comparison(results, name, fixed, finest, best))
    return made


def _exceptions(compared: Sequence[_Comparison]) -> str:
    """Where the dyadic front does not dominate k-bit fixed point."""
    worse = [each for each in compared if each.gap > 0]
    text = (
        "Against the k-bit fixed-point networks that [are any good](#against-fixed-point), the "
        "dearest dyadic one of nearest outputs (set or mix) with no more additions is at least as "
        f"good in {len(compared) - len(worse)} of {len(compared)} cases"
    )
    if not worse:
        return filled(f"{text}: it dominates.")
    unmatched = sum(not each.matched_by_any for each in worse)
    clear = sum(each.clear for each in worse)
    text += (
        ". It does *not* dominate in those below, which say by how much fixed point is better. In "
        f"{unmatched} of them, in bold, no cheaper dyadic one is as good either; in {clear} the "
        "95 % intervals of the two losses are apart"
    )
    lines = []
    for name in dict.fromkeys(each.network for each in worse):
        for curve in _FIXED:
            here = [each for each in worse if (each.network, each.fixed.curve) == (name, curve)]
            if here:
                described = ", ".join(map(_described, here))
                lines.append(f"* {name}, {CURVES[curve].removeprefix('k-bit ')}: {described}")
    return "\n".join([filled(f"{text}."), *lines, ""])


def _described(each: _Comparison) -> str:
    unit = "points" if each.results.decides else "% of error"
    by = "none as cheap" if each.finest is None else f"{each.gap:.2f} {unit}"
    text = f"{each.fixed.name} ({by})"
    return text if each.matched_by_any else f"**{text}**"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def least_terms(found: Mapping[str, Results]) -> str:
    """What every budget chose."""
    rows = []
    for name, results in found.items():
        if not results.decides:
            continue
        for curve in ("searched frobenius", "searched output"):
            if curve in dict(results.failed):
                rows.append([name, CURVES[curve].split(",")[0], "none", *[""] * 5])
            for budget in (_NEAR, _POINT):
                for point in results.of(curve):
                    rules = {"cautious": point.cautious, "by loss": point.by_loss}
                    for rule in (rule for rule, budgets in rules.items() if budget in budgets):
                        rows.append(
                            [
                                name,
                                CURVES[curve].split(",")[0],
                                f"{100 * budget:g}, {rule}",
                                f"{point.mean_terms:.3f}",
                                f"{point.additions:,}",
                                f"{100 * (point.choosing_loss or 0.0):.2f}",
                                loss_text(results, point),
                                integer_text(results, point),
                            ]
                        )
    head = ("network", "objective", "budget", "terms", "additions", "loss, choosing", "loss, test")
    return f"\n## The least terms within a budget\n\n{_RULES}\n" + table(
        (*head, "loss, test, integer"), rows
    )


def against_fixed_point(found: Mapping[str, Results]) -> str:
    """How many fixed-point networks each dyadic curve matches."""
    rows = []
    for name, results in found.items():
        for curve in _FIXED:
            useful = _useful(results, curve)
            if not useful:
                continue
            row = [name, CURVES[curve].removeprefix("k-bit fixed point in ")]
            row.append(", ".join(p.name.removesuffix(" bits") for p in useful))
            for rival in _RIVALS:
                matched = [p for p in useful if _matched(results, p, results.of(rival))]
                row.append(f"{len(matched)} of {len(useful)}" if results.of(rival) else "")
            rows.append(row)
    head = ["network", "fixed point", "k", *(CURVES[rival] for rival in _RIVALS)]
    return f"\n## Against fixed point\n\n{_MATCHED}\n" + table(head, rows)


def _matched(results: Results, fixed: Point, rivals: Sequence[Point]) -> bool:
    return any(
        rival.additions <= fixed.additions and results.quality(rival) >= results.quality(fixed)
        for rival in rivals
    )
