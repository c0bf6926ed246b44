"""The report: sound HTML that loads nothing, shows what is known, and trusts no name."""

import json
import re
from dataclasses import asdict
from html.parser import HTMLParser

import pytest
from small_workspace import STAGES, fill, tiny_network, verify_report

from hwgen.flow.summary import gather, summarise
from hwgen.report.page import render

HOSTILE = "$\\fra$<script>alert('x')</script>&\""
_VOID = {"meta", "br", "img", "link", "input"}
_LOADS = {"src", "srcset", "data", "poster", "action", "background", "cite"}


class _Page(HTMLParser):
    """Checks nesting, and keeps tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _rendered(workspace) -> str:
    found = gather(workspace)
    summary = summarise(workspace, found)
    return render(summary, approx=found.approx, integer=found.integer)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def html(workspace):
    return _rendered(workspace)


@pytest.mark.parametrize("count", range(len(STAGES) + 1))
def test_a_page_after_every_stage(tmp_path, count):
    page = _Page(_rendered(fill(tmp_path, STAGES[:count])))
    headings = {
        "Accuracy": 2,
        "Layers": 2,
        "Approximation": 2,
        "Operations of each layer": 2,
        "Hardware": 3,
        "Verification": 4,
    }
    for heading, needs in headings.items():
        assert (f"{heading}\n" in page.text) == (count >= needs), heading
    for stage in STAGES[count:]:
        assert f"The stage '{stage}' has not run." in page.text


def test_nothing_is_loaded(html):
    page = _Page(html)
    assert "http" not in html
    assert "@import" not in html
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    for name, value in page.attributes:
        assert name not in _LOADS, (name, value)
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", html))


def test_the_same_workspace_gives_the_same_bytes(workspace, html):
    assert _rendered(workspace) == html
    assert len(html) < 200_000


def test_all_that_is_known_is_shown(workspace, html):
    summary = summarise(workspace)
    page = _Page(html)
    for layer in summary["layers"]:
        assert page.text.count(layer["name"]) >= 3, layer["name"]
    hardware, accuracy = summary["hardware"], summary["accuracy"]
    for value in (
        f"{hardware['cycles_per_image']:,.0f}",
        f"{hardware['images_per_second']:,.0f}",
        f"{100 * accuracy['float']:.2f} %",
        f"{100 * accuracy['integer']:.2f} %",
        "1,200 of 24,288",
        "0 of 28",
        "50.0 MHz",
        "P4",
        "12.5 s",
        "1,000",
        "Bit-exact on 10 images, without a multiplier; bitstream built",
        *summary["commands"],
        *summary["limits"],
    ):
        assert value in page.text, value


@pytest.mark.parametrize(
    ("digit", "cell", "note"),
    [
        (None, "7", "7 adders"),
        (1, "7 \u00d7 1 bit", "7 adders of 1 bit"),
        (4, "7 \u00d7 4 bits", "of 4 bits"),
    ],
)
def test_adders_of_digits_are_told_from_whole_ones(workspace, digit, cell, note):
    summary = summarise(workspace)
    summary["layers"][0] |= {"form": "adders", "adders": 7, "digit": digit, "lanes": None}
    html = render(summary)
    assert note in _Page(html).text
    assert f">{cell}</td>" in html


def test_lanes_say_how_much_they_take_at_once(workspace):
    summary = summarise(workspace)
    summary["layers"][0] |= {"form": "memory", "adders": None, "lanes": 8, "abreast": 4}
    html = render(summary)
    assert ">8 lanes \u00d7 4</td>" in html


def test_a_failed_verification_comes_first(tmp_path):
    workspace = fill(tmp_path)
    workspace.path("stages/verify.json").unlink()
    reports = [asdict(verify_report("fast", differed=4))]
    workspace.write("results/verify.json", json.dumps({"reports": reports}))
    page = _Page(_rendered(workspace))
    assert "The hardware differs from the golden model" in page.text
    assert ("class", "verdict bad") in page.attributes
    assert "frame 3, channel 1, row 0, column 0: expected 5, got 6" in page.text
    assert "Bit-exact" not in page.text


def test_hostile_names_are_text(tmp_path):
    network = tiny_network(prefix=HOSTILE, name=HOSTILE)
    page = _Page(_rendered(fill(tmp_path, STAGES[:3], network=network)))
    assert "script" not in page.tags
    assert f"{HOSTILE}stem" in page.text
    assert not any(name.startswith("on") for name, _ in page.attributes)
