"""LUTs of tables of constants, against functions whose LUTs are known."""

import numpy as np
import pytest

from hwgen.estimate.tables import BoolArray, Function, function_luts, read_table

BITS = tuple(f"a:{k}" for k in range(6))
INDEX = np.arange(64)


@pytest.mark.parametrize(
    ("values", "luts"),
    [
        (INDEX < 64, 0),
        (INDEX & 4 == 0, 0),
        (INDEX % 8 == 5, 1),
        (INDEX % 16 == 5, 1),
        (INDEX == 63, 1 + 2 / 3),
        (INDEX >= 48, 1),
        (np.where(INDEX >= 32, INDEX % 16 == 6, INDEX % 16 == 9), 3),
        (np.array([index.bit_count() % 2 for index in INDEX.tolist()]), 1 + 2 / 3),
        (np.where(INDEX >= 32, INDEX % 16 == 5, INDEX % 4 == 3), 1 + 1 / 3),
    ],
)
def test_known_functions(values: BoolArray, luts: float) -> None:
    found = function_luts(Function(BITS, values.astype(bool)), set())
    assert found == pytest.approx(luts)


def test_functions_are_built_once_or_inverted() -> None:
    built: set[object] = set()
    assert function_luts(Function(BITS, INDEX % 16 == 5), built) == 1
    assert function_luts(Function(BITS, INDEX % 16 != 5), built) == 0
    others = tuple(f"b:{k}" for k in range(6))
    assert function_luts(Function(others, INDEX % 16 == 5), built) == 1


TABLE = """\
    assign \\y [1:0] 2'01
    assign \\z [0] 1'0
    switch \\x [2:0]
      case 3'001, 3'11-
        assign \\y [1:0] 2'10
      case 3'--1
        assign \\y [1:0] 2'11
        assign \\z [0] 1'1
    end
"""


def test_the_first_case_that_matches_counts() -> None:
    table = read_table(TABLE)
    assert table is not None
    assert table.select == "\\x [2:0]"
    y, z = (table.bits[name].astype(int) for name in ("\\y [1:0]", "\\z [0]"))
    assert (y @ [1, 2]).tolist() == [1, 2, 1, 3, 1, 3, 2, 2]
    assert z[:, 0].tolist() == [0, 0, 0, 1, 0, 1, 0, 0]


def test_only_constants_are_a_table() -> None:
    assert read_table(TABLE.replace("2'11", "\\w [1:0]")) is None
    assert read_table(TABLE + "    switch \\rst [0]\n      case 1'1\n    end\n") is None
