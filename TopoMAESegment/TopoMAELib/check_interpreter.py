"""What a Python interpreter lacks for running the engine. Run as a script in that interpreter, it prints JSON.

Only the standard library may be used: the interpreter may be any Python 3 with nothing installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from importlib import metadata

OLDEST_PYTHON, FIRST_TOO_NEW_PYTHON = (3, 10), (3, 14)

# Import names of packages whose distribution is called otherwise.
_IMPORT_NAMES = {"scikit-image": "skimage"}

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9][0-9.]*))?$")


def readRequirements(path: str | os.PathLike) -> list[str]:
    """Lines of a requirements file such as `numpy>=1.26`, without comments.

    Args:
        path: the file.

    Returns: list of requirements.
    """
    with open(path, encoding="utf-8") as lines:
        stripped = [line.split("#")[0].strip() for line in lines]
    return [line for line in stripped if line]


def requirementName(requirement: str) -> str:
    """Name of the package in `name>=version`.

    Raises:
        ValueError: it is written in another way.
    """
    return _parts(requirement)[0]


def missingRequirements(requirements: list[str]) -> list[str]:
    """Which packages are not installed here, or are too old. Nothing is imported.

    Args:
        requirements: list of `name` or `name>=version`.

    Returns: those requirements that are not met.
    """
    return [requirement for requirement in requirements if not _isMet(*_parts(requirement))]


def isAtLeast(version: str, oldest: str) -> bool:
    """Whether a version such as 2.4.0+cpu is at least another, such as 2.4; only the leading numbers count."""
    numbers = _numbers(version)
    wanted = _numbers(oldest)
    length = max(len(numbers), len(wanted))
    return numbers + [0] * (length - len(numbers)) >= wanted + [0] * (length - len(wanted))


def _parts(requirement: str) -> tuple[str, str]:
    match = _REQUIREMENT.match(requirement)
    if match is None:
        raise ValueError("Not of the form name>=version: " + requirement)
    return match.group(1), match.group(2) or "0"


def _numbers(version: str) -> list[int]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return [int(number) for number in match.group().split(".")] if match else [0]


def _isMet(name: str, oldest: str) -> bool:
    try:
        # The version of a half removed package is None.
        return isAtLeast(metadata.version(name) or "", oldest)
    except metadata.PackageNotFoundError:
        return _isImportable(_IMPORT_NAMES.get(name, name.replace("-", "_")))


def _isImportable(module: str) -> bool:
    """Whether a module is there that pip knows nothing of, as the SimpleITK that older Slicers were built with."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # a folder left by an incomplete removal has no origin


def check(requirements: list[str]) -> dict:
    """Look at this interpreter.

    Args:
        requirements: list of `name>=version`.

    Returns: dict of python, pythonFits, missing, engine (its folder or None), torch, torchError, device.
    """
    answer = {
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "pythonFits": OLDEST_PYTHON <= sys.version_info[:2] < FIRST_TOO_NEW_PYTHON,
        "missing": missingRequirements(requirements),
        "engine": None,
        "torch": None,
        "torchError": None,
        "device": None,
    }
    engine = importlib.util.find_spec("topomae")
    if engine is not None and engine.origin:
        answer["engine"] = engine.origin
    if importlib.util.find_spec("torch") is not None:
        try:
            import torch

            answer["torch"] = str(torch.__version__)
            answer["device"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
        except Exception as error:  # whatever a broken installation raises is what the user is to read
            answer["torchError"] = f"{type(error).__name__}: {error}"
    return answer


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))  # its modules are named as those of other packages may be
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    print("\n" + json.dumps(check(readRequirements(sys.argv[1]))))
