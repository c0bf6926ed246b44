"""What the report and the command line say of a slimmed network."""

from __future__ import annotations

from typing import Any

import pytest

from hwgen.report.slim import slim_facts, slim_plot, slim_table


def _slim(**changed: Any) -> dict[str, Any]:
    """A result of slimming two layers, made up."""
    accuracy = {"accuracy": 0.98, "agreement": 1.0, "error": 0.0}
    loss = {"loss": 0.01, "low": -0.005, "high": 0.03, "images": 200}
    change = {
        "images": 1200,
        "before": accuracy,
        "after": accuracy | {"accuracy": 0.97, "error": 0.125},
        "loss": loss,
        "changed": {"share": 0.02},
    }
    layers = [
        {
            "name": "c1",
            "kernels": [{"5x5": 6}, {"5x5": 2, "3x3": 3}],
            "filters": [6, 5],
            "macs": [15000, 7700],
            "parameters": [156, 82],
            "cost": [1500.0, 770.0],
        },
        {
            "name": "c2",
            "kernels": [{"5x5": 9, "3x5": 2, "3x3": 1111, "1x1": 4, "1x3": 1}, {}],
            "filters": [4, 0],
            "macs": [500, 0],
            "parameters": [28, 0],
            "cost": [500.0, 0.0],
        },
    ]
    step = {"moves": [], "spoiled": 0.0}
    return {
        "objective": "cycles",
        "metric": "accuracy",
        "budget": 0.01,
        "search": "greedy",
        "layers": layers,
        "total": {
            "filters": [10, 5],
            "macs": [15500, 7700],
            "parameters": [184, 82],
            "cost": [2000.0, 770.0],
        },
        "memory": {"parameters": [736.0, 328.0], "running": [5000.0, 3000.0], "peak": [2e3, 1e3]},
        "steps": [
            step | {"cost": 2000.0, "loss": 0.0, "error": 0.0},
            step | {"cost": 770.0, "loss": 0.01, "error": 0.125},
        ],
        "effort": {"trials": 1234, "checks": 5, "fits": 6, "share": 0.5},
        "choosing": change,
        "test": change,
    } | changed


def test_each_layer_before_and_after() -> None:
    table = slim_table(_slim())
    assert table.columns == ("Layer", "Kernels", "Filters", "MACs", "Parameters", "Cycles")
    first, second, total = table.rows
    assert first[1] == "6 of 5x5 → 2 of 5x5, 3 of 3x3"
    assert first[2:] == ("6 → 5", "15,000 → 7,700", "156 → 82", "1,500 → 770")
    assert second[1] == "9 of 5x5, 1,111 of 3x3, 4 of 1x1, 3 others → none"
    assert second[2] == "4 → 0"
    assert total == ("All layers", "", "10 → 5", "15,500 → 7,700", "184 → 82", "2,000 → 770")
    assert slim_table(_slim(objective="macs")).columns[-1] == "Parameters"
    assert slim_table(_slim(objective="luts")).columns[-1] == "LUTs"


def test_what_was_saved_and_what_it_costs() -> None:
    facts = dict(slim_facts(_slim()))
    assert facts["saved"] == "61.5 % of cycles, 50.3 % of MACs, 55.4 % of parameters"
    assert facts["lost"] == (
        "1.00 points (-0.50 to 3.00) on 1,200 test images, which chose nothing, 98.00 % to 97.00 %"
    )
    assert facts["bytes"].startswith("736 → 328 of parameters; 5,000 → 3,000 with all tensors")
    assert facts["search"] == "greedy, 1 step, 1,234 moves tried, 5 networks checked"
    assert "lost" not in dict(slim_facts(_slim(test=None)))
    assert dict(slim_facts(_slim(objective="macs")))["saved"].count("MACs") == 1


@pytest.mark.parametrize("decides", [True, False])
def test_without_labels_decisions_or_outputs_tell(decides: bool) -> None:
    change = _slim()["test"] | {"loss": None}
    if not decides:
        change["changed"] = None
    lost = dict(slim_facts(_slim(test=change)))["lost"]
    assert "outputs within 12.5 % of the original's on 1,200 test images" in lost
    assert lost.startswith("2.00 % of the decisions" if decides else "outputs within")


def test_the_plot_shows_every_step() -> None:
    plot = slim_plot(_slim())
    assert 'aria-label="Loss and output error over cost, step by step"' in plot
    assert plot.count(">cycles<") == 2
    assert slim_plot(_slim()) == plot
    assert slim_plot(_slim(steps=_slim()["steps"][:1])) == ""
