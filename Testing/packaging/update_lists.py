#!/usr/bin/env python3
"""Write the lists of packaged files into the CMake files: python3 Testing/packaging/update_lists.py

Slicer packages only the files that a CMake file lists, and says nothing of others. Run this after adding, renaming
or removing a file of the modules or of the engine; a test tells when it was forgotten.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("topomae", "TopoMAESegment", "TopoMAETrain")
KINDS = ("SCRIPTS", "RESOURCES")

# What tools leave behind, and the CMake file itself. Hidden files and folders are left out as well.
NOT_PACKAGED = re.compile(r"(__pycache__|.*\.(pyc|orig|rej|bak|swp)|.*~|#.*#|CMakeLists\.txt)")


def files_present(folder: Path) -> dict[str, list[str]]:
    """What there is to be packaged.

    Args:
        folder: a folder with a CMake file.

    Returns: for "SCRIPTS" the Python files, for "RESOURCES" all others; sorted paths below the folder, with slashes.
    """
    paths = sorted(path.relative_to(folder).as_posix() for path in _files_below(folder))
    scripts = [path for path in paths if path.endswith(".py")]
    return {"SCRIPTS": scripts, "RESOURCES": [path for path in paths if path not in scripts]}


def files_listed(folder: Path) -> dict[str, list[str]]:
    """What the CMake file of a folder lists, as it stands there.

    Raises: ValueError if it lacks one of the two lists.
    """
    text = _read(folder)
    return {kind: _list_in(text, kind, folder).group("files").split() for kind in KINDS}


def update(folder: Path) -> bool:
    """Make the lists in a folder's CMake file those of the files present.

    Returns: whether the CMake file was changed.

    Raises: ValueError if it lacks one of the two lists.
    """
    before = text = _read(folder)
    for kind, paths in files_present(folder).items():
        found = _list_in(text, kind, folder)
        lines = "".join(f"  {path}\n" for path in paths)
        text = text[: found.start("files")] + lines + text[found.end("files") :]
    if text == before:
        return False
    _cmake_file(folder).write_bytes(text.encode("utf-8"))  # as bytes, which keeps the line ends on Windows
    return True


def main() -> int:
    """Update all folders and say what changed; returns the exit code."""
    for name in FOLDERS:
        changed = update(REPOSITORY / name)
        numbers = ", ".join(f"{len(paths)} {kind.lower()}" for kind, paths in files_present(REPOSITORY / name).items())
        print(f"{name}/CMakeLists.txt: {numbers}{', changed' if changed else ''}")
    return 0


def _files_below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or NOT_PACKAGED.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path


def _cmake_file(folder: Path) -> Path:
    return folder / "CMakeLists.txt"


def _read(folder: Path) -> str:
    return _cmake_file(folder).read_bytes().decode("utf-8")


def _list_in(text: str, kind: str, folder: Path) -> re.Match:
    found = re.search(rf"^set\(MODULE_PYTHON_{kind}\n(?P<files>(?:  [^\s()]+\n)*)  \)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{_cmake_file(folder)} has no list MODULE_PYTHON_{kind} with one file a line.")
    return found


if __name__ == "__main__":
    sys.exit(main())
