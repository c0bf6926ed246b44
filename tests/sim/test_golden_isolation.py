"""The golden model stays independent of what it checks."""

from __future__ import annotations

import ast
from pathlib import Path

from hwgen.sim import golden

ALLOWED = {
    "__future__",
    "collections.abc",
    "numpy",
    "numpy.typing",
    "typing",
    "hwgen.integer.types",
    "hwgen.numeric",
}
DATA_TYPES = {"FixedFormat", "Range", "IntArray", "Dyadic"}


def test_the_golden_model_imports_numpy_and_data_types_alone() -> None:
    tree = ast.parse(Path(golden.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module in ALLOWED
            if node.module == "hwgen.numeric":
                assert {alias.name for alias in node.names} <= DATA_TYPES
