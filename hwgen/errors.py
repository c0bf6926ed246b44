"""The one exception tree: every message says what is wrong, where, and what to do."""

__all__ = [
    "BudgetError",
    "DataError",
    "HwgenError",
    "LinkError",
    "ModelError",
    "ResourceError",
    "ToolError",
    "ToolNotFoundError",
    "UnsupportedError",
    "VerifyError",
]


class HwgenError(Exception):
    """Any failure that a user can understand and act on; the command line prints its text alone."""


class ModelError(HwgenError):
    """The model file is missing, damaged or inconsistent."""


class UnsupportedError(ModelError):
    """The model is valid but uses something that hwgen does not implement."""


class DataError(HwgenError):
    """A data file or array is missing, damaged, or does not fit the model."""


class BudgetError(HwgenError):
    """No choice of approximation keeps the loss within the accuracy budget."""


class ResourceError(HwgenError):
    """The design does not fit the board, the disk or the time that was given."""


class LinkError(HwgenError):
    """The board cannot be reached, does not answer, or answers what it should not."""


class ToolError(HwgenError):
    """An outside program (Yosys, nextpnr, Verilator, ...) failed."""


class ToolNotFoundError(ToolError):
    """An outside program that the stage needs is not installed."""


class VerifyError(HwgenError):
    """An intermediate representation is inconsistent, or two of them differ."""
