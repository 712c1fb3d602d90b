"""What decides the results besides data and settings: versions of the libraries, the code itself, the machine."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import topomae

_PACKAGE = Path(topomae.__file__).parent


def versions() -> dict[str, str | None]:
    """Versions of the libraries that decide the results; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "topomae": topomae.__version__}
    return found | {name: installed_version(name) for name in ("torch", "monai", "numpy", "scipy", "numba")}


def installed_version(package: str) -> str | None:
    """Version of a package, without importing it; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def code_state() -> dict[str, str | None]:
    """Which code this is: `sha256` of all its files, and the `git_revision` if it runs from a checkout of its own.

    A revision ends in "+" when files differ from it.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + hashlib.sha256(content).digest())
    return {"sha256": digest.hexdigest(), "git_revision": _git_revision()}


def machine() -> dict[str, Any]:
    """What of the machine rounding depends on: instruction set of the CPU and number of threads."""
    import torch

    return {"cpu_instructions": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}


def _git_revision() -> str | None:
    if not (_PACKAGE.parent / ".git").exists():
        return None
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return None
    return revision + ("+" if _git("status", "--porcelain", "--", _PACKAGE.name) else "")


def _git(*arguments: str) -> str | None:
    """What git says in the checkout; None if there is no git, or it refuses."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=_PACKAGE.parent,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
