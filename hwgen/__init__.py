"""Verified hardware without multipliers from trained convolutional networks."""

__all__ = ["__version__"]

__version__ = "0.1.0"
