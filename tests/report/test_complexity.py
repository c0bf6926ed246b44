"""Tables and files of operation counts: sound, complete, and the same numbers in each."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from hwgen.approx.complexity import Complexity, LayerComplexity, Operations
from hwgen.report.complexity import complexity_table, complexity_tables, to_csv, to_json, to_latex

HOSTILE = 'a_1 & "b" %#$ {c} \\d ^~ <e>|f,\n"g'
_ROW = re.compile(r"^    (?!\\|&|Layer )(.+) \\\\$", re.MULTILINE)


def _counted(*, shared: bool, name: str = "conv") -> Complexity:
    def layer(name: str, operator: str, pixels: int, size: int) -> LayerComplexity:
        return LayerComplexity(
            name,
            operator,
            channels=size,
            positions=pixels,
            exact=Operations(1000 * size, 900 * size, functions=size),
            approximated=Operations(0, 1200 * size, 800 * size, comparisons=size),
            shared=Operations(0, 700 * size, 300 * size, comparisons=size) if shared else None,
        )

    layers = (layer(name, "Conv", 1024, 8), layer("act", "Activation", 64, 3))
    return Complexity("net_1", layers)


@pytest.mark.parametrize("shared", [False, True])
def test_a_table_has_a_row_a_layer_and_one_of_all(shared: bool) -> None:
    counted = _counted(shared=shared)
    table = complexity_table(counted, per="output")
    assert [row[0] for row in table.rows] == ["conv", "act", "All layers"]
    assert {len(row) for row in table.rows} == {len(table.columns)} == {10 + 3 * shared}
    before = ("8,000", "7,200", "0", "0", "9,600", "6,400")
    assert table.rows[0] == (
        "conv",
        "Conv",
        "8",
        "1,024",
        *before,
        *("0", "5,600", "2,400")[: 3 * shared],
    )
    assert table.rows[-1][4:7] == ("11,000", "9,900", "0")
    image = complexity_table(counted, per="image")
    assert image.rows[-1][4] == f"{8000 * 1024 + 3000 * 64:,}"
    assert [found for _, found in complexity_tables(counted)] == [table, image]


@pytest.mark.parametrize("shared", [False, True])
def test_csv_reads_back_as_what_was_counted(shared: bool) -> None:
    counted = _counted(shared=shared, name=HOSTILE)
    rows = list(csv.DictReader(io.StringIO(to_csv(counted), newline="")))
    assert len(rows) == (len(counted.layers) + 1) * len(counted.forms) * 2
    found = {(row["scope"], row["name"], row["form"], row["per"]): row for row in rows}

    def operations(*key: str) -> Operations:
        return Operations(**{name: int(found[key][name]) for name in asdict(Operations())})

    for form in counted.forms:
        for layer in counted.layers:
            output = layer.operations(form)
            assert operations("layer", layer.name, form, "output") == output
            assert operations("layer", layer.name, form, "image") == output.times(layer.positions)
        assert operations("network", "net_1", form, "output") == counted.per_output(form)
        assert operations("network", "net_1", form, "image") == counted.per_image(form)


@pytest.mark.parametrize("shared", [False, True])
def test_json_reads_back_as_what_was_counted(shared: bool) -> None:
    counted = _counted(shared=shared, name=HOSTILE)
    found = json.loads(to_json(counted))
    assert found["network"] == "net_1"
    for layer, read in zip(counted.layers, found["layers"], strict=True):
        assert (read["name"], read["operator"]) == (layer.name, layer.operator)
        assert (read["channels"], read["pixels"]) == (layer.channels, layer.positions)
        assert set(read["output"]) == set(read["image"]) == set(counted.forms)
        for form in counted.forms:
            assert Operations(**read["output"][form]) == layer.operations(form)
    for form in counted.forms:
        assert Operations(**found["total"]["output"][form]) == counted.per_output(form)
        assert Operations(**found["total"]["image"][form]) == counted.per_image(form)


def test_latex_escapes_and_has_a_row_a_layer() -> None:
    counted = _counted(shared=True, name=HOSTILE)
    text = to_latex(counted)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    for part, (_, table) in zip(
        text.split(r"\begin{table}")[1:], complexity_tables(counted), strict=True
    ):
        rows = [row.split(" & ") for row in _ROW.findall(part)]
        assert [row[1:] for row in rows] == [
            [cell.replace(",", r"\,") for cell in row[1:]] for row in table.rows
        ]
    escaped = (
        r"a\_1 \& \textquotedbl{}b\textquotedbl{} \%\#\$ \{c\} \textbackslash{}d "
        r"\textasciicircum{}\textasciitilde{} \textless{}e\textgreater{}\textbar{}f, "
        r"\textquotedbl{}g"
    )
    assert text.count(f"    {escaped} & Conv & 8 & 1\\,024 & ") == 2
    assert r"\label{tab:net-1-image}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("shared", [False, True])
def test_latex_compiles(shared: bool, tmp_path: Path) -> None:
    (tmp_path / "table.tex").write_text(to_latex(_counted(shared=shared, name=HOSTILE)))
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
        r"\begin{document}\input{table}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "Misplaced" not in done.stdout
