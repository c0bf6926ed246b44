"""The FuseSoC core file: what FuseSoC itself makes of it, or its keys if that is not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from hwgen.stream.design import PixelLayout, StreamDesign
from hwgen.stream.wrappers.wrap import core_file

_LAYOUT = PixelLayout(((8, False),))
_DESIGN = StreamDesign("hwgen_net", "", (1, 2, 3), _LAYOUT, (1, 1, 1), _LAYOUT)


def test_every_wrapper_has_its_files_and_its_target() -> None:
    plain = core_file(_DESIGN, "design.v", [])
    assert plain.startswith("CAPI=2:\n")
    assert "design_axis.v" not in plain
    assert "FIFO_BITS" not in plain
    both = core_file(_DESIGN, "design.v", ["axis", "wishbone"])
    for text in ("- design_axis.v", "toplevel: hwgen_net_wishbone", "parameters: [FIFO_BITS]"):
        assert text in both


@pytest.mark.skipif(importlib.util.find_spec("fusesoc") is None, reason="FuseSoC is not installed")
@pytest.mark.parametrize("wrappers", [[], ["axis"], ["axis", "wishbone"]])
def test_fusesoc_reads_it(wrappers: list[str], tmp_path: Path) -> None:
    from fusesoc.capi2.coreparser import Core2Parser
    from fusesoc.core import Core

    path = tmp_path / "design.core"
    path.write_text(core_file(_DESIGN, "design.v", wrappers))  # type: ignore[arg-type]
    core = Core(Core2Parser(), str(path))
    assert str(core.name) == "::hwgen_net:0"
    for target in ("default", "sim", "synth", *wrappers):
        flags = {"target": target, "is_toplevel": True}
        top = core.get_toplevel(flags)
        assert top == ("hwgen_net" if target not in wrappers else f"hwgen_net_{target}")
        files = [str(file["name"]) for file in core.get_files(flags)]
        assert files[0] == "design.v"
        assert (f"design_{target}.v" in files) == (target in wrappers)
        assert list(core.get_parameters(flags)) == (["FIFO_BITS"] if target == "wishbone" else [])
