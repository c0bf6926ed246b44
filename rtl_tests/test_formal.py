"""Proofs of adder graphs: they hold for what is emitted, and fail for what is changed in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from networks import NETWORKS

from hwgen.formal.miter import ask
from hwgen.formal.products import Product, products, prove, read_modules
from hwgen.integer.types import IntegerNetwork
from hwgen.stream.plan import PipelinePlan, plan_pipeline
from hwgen.stream.verilog import emit


@cache
def _built(name: str, family: str) -> tuple[IntegerNetwork, PipelinePlan, str]:
    network = NETWORKS[name]()
    plan = plan_pipeline(network, family=family)
    return network, plan, emit(plan).verilog


def _products(name: str, family: str) -> tuple[Product, ...]:
    found, others = products(*_built(name, family))
    assert not others
    return found


def _faults(*changed: Product) -> list[str | None]:
    """What is wrong with variants of one product, all read at once."""
    renamed = [
        replace(p, module=f"m{k}", verilog=p.verilog.replace(p.module, f"m{k}"))
        for k, p in enumerate(changed)
    ]
    modules = read_modules(renamed)
    return [prove(p, modules[p.module]).fault for p in renamed]


@pytest.mark.parametrize(("name", "family"), [("chain", "ecp5"), ("chain", "ice40")])
def test_every_graph_is_its_matrix(name: str, family: str) -> None:
    found = _products(name, family)
    modules = read_modules(found)
    for product in found:
        proof = prove(product, modules[product.module])
        assert proof.passed, proof.fault
        stages = {stage.name: stage for stage in _built(name, family)[1].stages}
        assert proof.latency == stages[product.module].latency


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ecp5", "ice40"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_proved(name: str, family: str) -> None:
    found, _ = products(*_built(name, family))
    modules = read_modules(found) if found else {}
    assert [prove(p, modules[p.module]).fault for p in found] == [None] * len(found)


def test_another_matrix_or_bias_is_refused() -> None:
    product = _products("chain", "ecp5")[-1]
    matrix = product.matrix.copy()
    matrix[1, 0] += 1
    bias = (product.bias[0] - 1, *product.bias[1:])
    right, weight, constant = _faults(
        product, replace(product, matrix=matrix), replace(product, bias=bias)
    )
    assert right is None
    assert weight is not None
    assert constant is not None
    assert "Output 0" in weight
    assert "Output 0" in constant


def test_changed_verilog_is_refused() -> None:
    product = next(p for p in _products("chain", "ecp5") if p.module == "conv2_adders")
    text = product.verilog

    def changed(pattern: str, new: str | Callable[[re.Match[str]], str]) -> Product:
        after = re.sub(pattern, new, text, count=1)
        assert after != text, pattern
        return replace(product, verilog=after)

    def lower(found: re.Match[str]) -> str:
        return f"i__payload[{int(found[1]) - 1}:{int(found[2]) - 1}]"

    variants = [
        changed(r"(= \S+) \+ ", r"\1 - "),  # another sign
        changed(r"i__payload\[(\d+):([1-9]\d*)\](?=\)? [+-])", lower),  # another shift
        changed(r"if \((_\d+_)\) n0 ", r"if (~\1) n0 "),  # another enable
        changed(r"reg signed \[\d+:0\] n0 ", "reg signed [2:0] n0 "),  # lost bits
        changed(r"(\) o__valid <= )valid\d+", r"\1i__valid"),  # registers less
        changed(r"(\) n\d+ <= )(\w+);", r"\1~\2;"),  # a complement
    ]
    faults = _faults(product, *variants)
    assert faults[0] is None
    assert None not in faults[1:]


def test_a_dropped_sign_is_refused_where_the_solver_finds_it() -> None:
    """Every operand in turn becomes unsigned; the two proofs must agree, and some must fail."""
    product = _products("chain", "ecp5")[-1]
    places = [found.start() for found in re.finditer(r"\$signed\(", product.verilog)][:6]
    variants = [
        replace(product, verilog=f"{product.verilog[:k]}$unsigned({product.verilog[k + 8 :]}")
        for k in places
    ]
    faults = _faults(*variants)
    assert any(faults)
    for variant, fault in zip(variants[:2], faults, strict=False):
        assert ask(variant, seconds=60) == ("equal" if fault is None else "different")


def test_solver_and_words_agree_on_a_right_one() -> None:
    product = min(_products("chain", "ice40"), key=lambda p: p.adders)
    assert ask(product, seconds=60) == "equal"
    wrong = replace(product, matrix=product.matrix + np.eye(*product.matrix.shape, dtype=np.int64))
    assert ask(wrong, seconds=60) == "different"
