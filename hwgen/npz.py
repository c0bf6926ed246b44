"""NPZ files that are damaged: NumPy passes on what the archive and its compression raise."""

from __future__ import annotations

import zipfile
import zlib

__all__ = ["DAMAGED"]

DAMAGED = (
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,  # encrypted, or compressed in a way that is not known
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading an NPZ file raises, beside OSError, if it is no such file or is damaged."""
