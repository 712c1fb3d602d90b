"""Versions of what decides the results."""

from __future__ import annotations

import platform
from importlib import metadata

import topomae


def versions() -> dict[str, str | None]:
    """Versions of the libraries that decide the results; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "topomae": topomae.__version__}
    for name in ("torch", "monai", "numpy", "numba"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
