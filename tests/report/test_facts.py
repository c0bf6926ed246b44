"""A summary in words."""

import pytest
from small_workspace import STAGES, fill

from hwgen.flow.summary import summarise
from hwgen.report.facts import facts, next_command, number, percent, verdict


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.976, "97.6 %"), (0.9999, "99.99 %"), (1e-9, "0.0000 %")],
)
def test_percentages_do_not_round_to_all_or_nothing(share, text):
    assert percent(share) == text


def test_numbers_have_thousands():
    assert (number(1234567), number(0.5, 1)) == ("1,234,567", "0.5")


@pytest.mark.parametrize(
    ("count", "sentence", "command"),
    [
        (0, "Nothing yet", "hwgen import MODEL.onnx --out DIR"),
        (1, "Imported, not approximated yet", "hwgen approximate DIR --data DATA.npz"),
        (2, "Approximated, no hardware yet", "hwgen generate DIR"),
        (3, "Hardware generated, not verified yet", "hwgen verify DIR"),
        (4, "Bit-exact on 10 images, without a multiplier", "hwgen synth DIR --board BOARD"),
        (
            5,
            "Bit-exact on 10 images, without a multiplier; bitstream built",
            "hwgen report DIR",
        ),
    ],
)
def test_verdict_and_next_command(tmp_path, count, sentence, command):
    summary = summarise(fill(tmp_path, STAGES[:count]))
    assert verdict(summary)[0] == sentence
    assert (verdict(summary)[1] == "good") == (count == 5)
    assert next_command(summary, "DIR") == command


def test_nothing_comes_after_the_report(tmp_path):
    workspace = fill(tmp_path)
    workspace.write("report.html", "")
    assert next_command(summarise(workspace), "DIR") is None


def test_a_clock_below_the_boards_is_bad(tmp_path):
    summary = summarise(fill(tmp_path))
    summary["hardware"]["clock_mhz"] = 24.9
    assert verdict(summary) == ("The bitstream is too slow for the clock of the board", "bad")


def test_facts_of_a_whole_build(tmp_path):
    lines = dict(facts(summarise(fill(tmp_path))))
    assert list(lines) == [
        "network",
        "weights",
        "accuracy",
        "an image",
        "adders",
        "area",
        "speed",
        "verified",
    ]
    approximation = summarise(fill(tmp_path / "again"))["approximation"]
    assert approximation["mix"] in lines["weights"]
    assert f"{approximation['mean_terms']:.2f} signed powers of two each" in lines["weights"]
    assert "0 multiplications" in lines["an image"]
    assert "1,200 LUTs (5 %)" in lines["area"]
    assert "200 words compared, 0 differed" in lines["verified"]
    assert facts(summarise(fill(tmp_path / "empty", ()))) == []
