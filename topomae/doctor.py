"""Looks at the computer before a user loses hours on it: Python, packages, torch, GPU, memory, disk.

Only the standard library is imported at the top: what is examined may be missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

from topomae.versions import installed_version

State = Literal["good", "warning", "problem"]

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
_LEAST_MEMORY, _WANTED_MEMORY = 6.0, 12.0  # GB; a `small` training takes about 3
_LEAST_DISK, _WANTED_DISK = 2.0, 20.0  # GB
_GPU_FOR_BASE = 10.0  # GB
_IMPORTED = {"scikit-image": "skimage", "lightning-fabric": "lightning_fabric", "SimpleITK": "SimpleITK"}
_SLOW_TO_IMPORT = {"torch", "tensorboard", "matplotlib"}


@dataclass(frozen=True)
class Finding:
    """What was looked at.

    Attributes:
        name: of the thing.
        state: `good`, `warning` (works, but) or `problem` (does not work).
        found: what there is, in words.
        advice: what to do; empty if nothing.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def examine(folder: str | Path = ".") -> list[Finding]:
    """Look at everything; never raises.

    Args:
        folder: where runs are to be written.
    """
    folder = Path(folder)
    findings: list[Finding] = []
    for name, look in (
        ("Python", _python),
        ("packages", _packages),
        ("PyTorch", _torch),
        ("graphics card", _graphics_card),
        ("compiled topology", _compiled_topology),
        ("main memory", _memory),
        ("processor", _processor),
        ("disk", lambda: _disk(folder)),
        ("file names", lambda: _file_names(folder)),
    ):
        try:
            findings += look()
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            findings.append(Finding(name, "problem", f"{type(error).__name__}: {reason}", "Please report this."))
    return findings


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} ({sys.executable})"
    span = f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} to {NEWEST_PYTHON[0]}.{NEWEST_PYTHON[1]}"
    fits = OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON
    yield Finding("Python", "good" if fits else "problem", found, "" if fits else f"Use Python {span}.")
    if sys.maxsize < 2**32:
        yield Finding("Python", "problem", "32 bit", "Install the 64-bit Python.")


def _packages() -> Iterator[Finding]:
    """Whether every package is there in a version that fits, and can be imported."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in metadata.requires("topomae") or ()]
    except metadata.PackageNotFoundError:  # run from a folder, as inside Slicer
        yield Finding("packages", "warning", "topomae itself is not installed as a package", "pip install .")
        return
    good = 0
    for requirement in required:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        problem = _problem_of(requirement.name, requirement.specifier)
        if problem:
            yield Finding(requirement.name, "problem", problem, f'pip install "{requirement}"')
        good += not problem
    yield Finding("packages", "good", f"{good} of those that are needed work")


def _problem_of(name: str, specifier: object) -> str:
    version = installed_version(name)
    if version is None:
        return "not installed"
    if not specifier.contains(version, prereleases=True):
        return f"version {version} does not fit"
    if name not in _SLOW_TO_IMPORT:
        try:
            import_module(_IMPORTED.get(name, name))
        except Exception as error:
            return f"version {version} cannot be imported: {type(error).__name__}: {error}"
    return ""


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        reason = f"cannot be imported: {type(error).__name__}: {error}"
        yield Finding("PyTorch", "problem", reason, "Install it as pytorch.org says for your system.")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    yield Finding("PyTorch", "good", f"{torch.__version__}, {build}, {torch.get_num_threads()} threads")


def _graphics_card() -> Iterator[Finding]:
    import torch

    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        memory = card.total_memory / 1e9
        enough = memory >= _GPU_FOR_BASE
        yield Finding(
            f"graphics card {number}",
            "good" if enough else "warning",
            f"{card.name}, {memory:.0f} GB",
            "" if enough else "Use --size small, or a smaller crop: --set crop_size=…",
        )
    if torch.cuda.is_available():
        return
    driver = _nvidia_driver()
    if driver and not torch.version.cuda:
        yield Finding(
            "graphics card",
            "warning",
            f"{driver}, but this PyTorch is built for the CPU",
            "Install the CUDA build of PyTorch that pytorch.org names; training is then much faster.",
        )
    elif driver:
        yield Finding(
            "graphics card",
            "warning",
            f"{driver}, but PyTorch {torch.version.cuda} cannot use it",
            "Update the NVIDIA driver, or install a PyTorch build for an older CUDA.",
        )
    else:
        yield Finding("graphics card", "good", "none that PyTorch can use; small networks train on the CPU")


def _nvidia_driver() -> str:
    """Name of the card and version of the driver, as the driver says; empty if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        told = subprocess.run(
            [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.partition("\n")[0].replace(",", ", driver")


def _compiled_topology() -> Iterator[Finding]:
    """Whether the diagrams can be computed, on an image whose diagram is known: a hollow cube."""
    import numpy as np

    from topomae.topology.betti import betti_numbers

    cube = np.zeros((5, 5, 5), bool)
    cube[1:4, 1:4, 1:4] = True
    cube[2, 2, 2] = False
    found = tuple(betti_numbers(cube))
    if found == (1, 0, 1):
        yield Finding("compiled topology", "good", "works")
    else:
        yield Finding("compiled topology", "problem", f"Betti numbers {found} of a hollow cube", "Reinstall numba.")


def _memory() -> Iterator[Finding]:
    memory = total_memory()
    if memory is None:
        yield Finding("main memory", "warning", "the system does not tell how much there is")
    elif memory < _LEAST_MEMORY:
        yield Finding("main memory", "problem", f"{memory:.0f} GB", "Training needs 6 GB or more.")
    elif memory < _WANTED_MEMORY:
        yield Finding("main memory", "warning", f"{memory:.0f} GB", "Close other programs while training.")
    else:
        yield Finding("main memory", "good", f"{memory:.0f} GB")


def total_memory() -> float | None:
    """Main memory in GB (10⁹ bytes); None if the system does not say."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    if sys.platform != "win32":
        return None
    import ctypes

    sizes = ("total", "free", "page_file", "free_page_file", "virtual", "free_virtual", "free_extended")

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in sizes),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return status.total / 1e9


def _processor() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    yield Finding(
        "processor",
        "good" if cores > 1 else "warning",
        f"{cores} cores, {platform.machine()}",
        "" if cores > 1 else "Training takes hours on one core: think of a GPU.",
    )


def _disk(folder: Path) -> Iterator[Finding]:
    """Room for runs, and whether they can be written there at all."""
    place = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    state: State = "problem" if free < _LEAST_DISK else "warning" if free < _WANTED_DISK else "good"
    advice = "" if state == "good" else "Preprocessed volumes and checkpoints take some GB: choose another disk."
    yield Finding("disk", state, f"{free:.0f} GB free at {place}", advice)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Finding("disk", "problem", f"{place}: {error.strerror or error}", "Write runs to another folder.")


def _file_names(folder: Path) -> Iterator[Finding]:
    """Whether case names with all letters, and deep folders, can be file names here."""
    place = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.is_dir())
    for what, name, advice in (
        ("non-ASCII names", "Ärztin-病例", "Set the language of the system to UTF-8 (LANG=C.UTF-8)."),
        ("long paths", os.path.join("n" * 100, "n" * 100, "n" * 100), _LONG_PATHS),
    ):
        try:
            with tempfile.TemporaryDirectory(dir=place) as temporary:
                deep = Path(temporary) / name
                deep.mkdir(parents=True)
                (deep / "file.txt").write_text("", encoding="utf-8")
        except (OSError, UnicodeError) as error:
            if what == "long paths" and isinstance(error, PermissionError):
                return  # told as a problem of the disk
            yield Finding("file names", "warning", f"no {what} here ({error})", advice)
            return
    yield Finding("file names", "good", "non-ASCII names and long paths work")


_LONG_PATHS = (
    "Windows: switch on LongPathsEnabled (search for “long paths” in the settings), or keep data in short folders."
)


def in_words(findings: list[Finding]) -> str:
    """The findings as lines of text for a terminal of any kind."""
    marks: dict[State, str] = {"good": "ok", "warning": "!", "problem": "NO"}
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]:>3}  {finding.name:<{width}}  {finding.found}")
        if finding.advice:
            lines.append(f"{'':>3}  {'':<{width}}  → {finding.advice}")
    return "\n".join(lines)
