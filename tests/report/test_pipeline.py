"""The picture of the pipeline: every box and arrow is there, and none lies upon another."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from hwgen.report.pipeline import Box, draw, shorten


def _chain(count: int) -> list[Box]:
    boxes = [Box("b0", "input", "1", "", "end")]
    for k in range(1, count):
        boxes.append(Box(f"b{k}", "conv", "1", "", "adders", ((f"b{k - 1}", f"{k} bit"),)))
    return boxes


def _residual(blocks: int, *, lead: int = 0) -> list[Box]:
    boxes, last = [Box("in", "", "", "", "end")], "in"
    for k in range(lead):
        boxes.append(Box(f"l{k}", "conv", "", "", "adders", ((last, "7 bit"),)))
        last = f"l{k}"
    for k in range(blocks):
        boxes += [
            Box(f"a{k}", "conv", "", "", "adders", ((last, "8 bit"),)),
            Box(f"b{k}", "conv", "", "", "adders", ((f"a{k}", "8 bit"),)),
            Box(f"s{k}", "add", "", "", "plain", ((f"b{k}", "8 bit"), (last, "9 deep"))),
        ]
        last = f"s{k}"
    return boxes


def _fork(branches: int) -> list[Box]:
    middle = [Box(f"m{k}", "conv", "", "", "memory", (("in", ""),)) for k in range(branches)]
    reads = tuple((box.name, "") for box in middle)
    return [Box("in", "", "", "", "end"), *middle, Box("out", "concat", "", "", "end", reads)]


def _parse(boxes: list[Box]):
    svg = ElementTree.fromstring(draw(boxes))
    rects = {}
    for group in svg.findall("g"):
        rect = group.find("rect")
        name = group.find("title").text.partition(":")[0]
        rects[name] = tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))
    return svg, rects


def _points(path: str) -> list[tuple[float, float]]:
    """Corners of a path of the commands M, H, V and h."""
    x = y = 0.0
    points = []
    for command, numbers in re.findall(r"([MHVh])([^MHVh]*)", path):
        values = [float(v) for v in numbers.split()]
        if command == "M":
            x, y = values
        elif command == "H":
            x = values[0]
        elif command == "h":
            x += values[0]
        else:
            y = values[0]
        points.append((x, y))
    return points


CASES = {
    "one": _chain(1),
    "two bands": _chain(9),
    "four bands": _chain(23),
    "residual": _residual(1),
    "residual over bands": _residual(6),
    "residual, one later": _residual(6, lead=1),
    "residual, two later": _residual(6, lead=2),
    "shortcut past a band": [
        *_chain(15),
        Box("end", "", "", "", "end", (("b14", ""), ("b0", "90 deep"), ("b2", ""))),
    ],
    "fork": _fork(4),
}


@pytest.mark.parametrize("boxes", CASES.values(), ids=CASES)
def test_boxes_lie_apart_and_inside(boxes):
    svg, rects = _parse(boxes)
    assert list(rects) == [box.name for box in boxes]
    _, _, width, height = map(float, svg.get("viewBox").split())
    placed = list(rects.values())
    for index, (x, y, w, h) in enumerate(placed):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for x2, y2, w2, h2 in placed[:index]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


@pytest.mark.parametrize("boxes", CASES.values(), ids=CASES)
def test_arrows_lead_from_box_to_box_and_cross_none(boxes):
    svg, rects = _parse(boxes)
    _, _, width, height = map(float, svg.get("viewBox").split())
    arrows = [path.get("d") for path in svg.findall("path")]
    ends = [(source, box.name) for box in boxes for source, _ in box.reads]
    assert len(arrows) == len(ends)
    for path, (source, target) in zip(arrows, ends, strict=True):
        points = _points(path)
        assert _near(points[0], rects[source])
        assert _near(points[-1], rects[target])
        for (x1, y1), (x2, y2) in pairwise(points):
            assert 0 <= min(x1, x2)
            assert max(x1, x2) <= width
            assert 0 <= min(y1, y2)
            assert max(y1, y2) <= height
            for x, y, w, h in rects.values():
                outside = max(x1, x2) <= x or min(x1, x2) >= x + w
                assert outside or max(y1, y2) <= y or min(y1, y2) >= y + h, (source, target)


def _near(point: tuple[float, float], rect: tuple[float, float, float, float]) -> bool:
    x, y, w, h = rect
    return x - 1 <= point[0] <= x + w + 1 and y - 1 <= point[1] <= y + h + 1


def test_labels_and_names_are_escaped():
    boxes = [Box("<a>", "&", "", "", "end"), Box("b", "", "", "", "end", (("<a>", '"<&'),))]
    svg, _ = _parse(boxes)
    texts = [text.text for text in svg.iter("text")]
    assert "<a>" in texts
    assert '"<&' in texts


def test_long_names_lose_their_middle():
    assert shorten("short", 5) == "short"
    assert shorten("/layer1/layer1.0/conv1/Conv", 12) == "/layer\u2026/Conv"
    assert all(len(shorten("x" * n, 7)) == min(n, 7) for n in range(20))
