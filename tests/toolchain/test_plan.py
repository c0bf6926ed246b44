"""Plans as values, and as shell scripts."""

from pathlib import Path

import pytest

from hwgen.toolchain.plan import BuildPlan, Step

_PLAN = BuildPlan((("a.ys", "log hello\n"),), (Step("yosys", ("-s", "a.ys"), "a.log"),))


def test_script_quotes_and_lets_tools_be_replaced() -> None:
    plan = BuildPlan((), (Step("icepack", ("my design", "out.bin"), "pack log"),))
    assert plan.script.splitlines() == [
        "#!/bin/sh",
        "set -e",
        'cd "$(dirname "$0")"',
        ': "${ICEPACK:=yowasp-icepack}"',
        "$ICEPACK 'my design' out.bin > 'pack log' 2>&1",
    ]


def test_plans_join_in_order() -> None:
    other = BuildPlan((("b", "text"),), (Step("icepack", ("b",), "b.log"),))
    joined = _PLAN.then(other)
    assert joined.files == (("a.ys", "log hello\n"), ("b", "text"))
    assert [step.tool for step in joined.steps] == ["yosys", "icepack"]


def test_digest_depends_on_every_part() -> None:
    others = [
        BuildPlan((("a.ys", "log hallo\n"),), _PLAN.steps),
        BuildPlan((("b.ys", "log hello\n"),), _PLAN.steps),
        BuildPlan(_PLAN.files, (Step("yosys", ("-s", "a.ys"), "b.log"),)),
        BuildPlan(_PLAN.files, ()),
    ]
    digests = {plan.digest for plan in (_PLAN, *others)}
    assert len(digests) == 5
    assert BuildPlan(_PLAN.files, _PLAN.steps).digest == _PLAN.digest


def test_written_files_are_whole_and_leave_nothing_else(tmp_path: Path) -> None:
    _PLAN.write(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.ys", "build.sh"]
    assert (tmp_path / "new" / "a.ys").read_text() == "log hello\n"
    assert (tmp_path / "new" / "build.sh").read_text() == _PLAN.script


def test_unknown_tool_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Tool must be one of yosys, .* not 'vivado'"):
        Step("vivado", (), "log")


def test_file_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must differ, but 'a\.ys' occurs twice"):
        _PLAN.then(_PLAN)
