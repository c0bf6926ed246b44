"""Plans of NFUs that are made without hardware, and the check before there is any."""

from __future__ import annotations

from dataclasses import replace

import pytest
from networks import Sketch

from hwgen.errors import VerifyError
from hwgen.hybrid.design import build_hybrid
from hwgen.hybrid.plan import plan_hybrid
from hwgen.integer.types import IntegerNetwork
from hwgen.nfu import design
from hwgen.nfu.compile import CompiledNetwork, compile_network
from hwgen.nfu.config import NfuConfig
from hwgen.nfu.design import build_system, plan_system


def _network() -> IntegerNetwork:
    s = Sketch((1, 4, 4), seed=3)
    x = s.requantise(s.conv("image", 2, name="a.sum"), name="a")
    return s.done(s.dense(x, 2, name="b.sum"))


def _unfenced(network: IntegerNetwork, config: NfuConfig) -> CompiledNetwork:
    compiled = compile_network(network, config)
    program = tuple(replace(instruction, cp_fence=0) for instruction in compiled.program)
    return replace(compiled, program=program)


def test_no_hardware_of_a_program_that_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network()
    plan_system(network, tile=(2, 2)).check()
    whole = plan_hybrid(network, cut="a", tile=(2, 2))
    monkeypatch.setattr(design, "compile_network", _unfenced)
    planned = plan_system(network, tile=(2, 2))
    for make in (
        planned.check,
        lambda: build_system(network, tile=(2, 2)),
        lambda: build_hybrid(replace(whole, unit=planned)),
    ):
        with pytest.raises(VerifyError, match="needs a fence"):
            make()
