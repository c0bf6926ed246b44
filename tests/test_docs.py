"""The pages of docs/ run: what their examples print is what the text says."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PAGES = sorted((_ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def _examples(text: str, name: str) -> doctest.DocTest:
    """All examples of a page as one test, so that later ones see what earlier ones made."""
    # what is not code becomes blank lines: a failure is reported with its line of the page
    kept = ["\n"] * text.count("\n")
    for block in _BLOCK.finditer(text):
        first = text[: block.start(1)].count("\n")
        for number, line in enumerate(block[1].splitlines(keepends=True)):
            kept[first + number] = line
    return doctest.DocTestParser().get_doctest("".join(kept), {}, name, name, 0)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_examples_print_what_the_page_says(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_ROOT)
    text = page.read_text(encoding="utf-8")
    test = _examples(text, page.name)
    assert len(test.examples) == text.count("\n>>> ")
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failed, _ = runner.run(test, out=report.append)
    assert failed == 0, "".join(report)


@pytest.mark.parametrize("page", [*_PAGES, _ROOT / "README.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [
        target
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_every_plot_is_on_a_page() -> None:
    shown = {
        target.removeprefix("figures/")
        for page in _PAGES
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if target.startswith("figures/")
    }
    assert shown == {path.name for path in (_ROOT / "docs" / "figures").iterdir()}


def test_a_plot_is_the_same_file_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("figures", _ROOT / "docs" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    written = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        monkeypatch.setattr(figures, "FIGURES", folder)
        figures.scale()
        written.append((folder / "scale.svg").read_bytes())
    assert written[0] == written[1]
    assert b"break-points" in written[0]
