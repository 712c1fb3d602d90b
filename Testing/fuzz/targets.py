"""Every parser that is fuzzed, by name. A target is a function of bytes that raises if a parser misbehaves."""

from __future__ import annotations

import importlib
from collections.abc import Callable

Target = Callable[[bytes], None]

# Name of the target: module, longest input in bytes, whether its inputs are texts of JSON.
TARGETS: dict[str, tuple[str, int, bool]] = {
    "nifti": ("fuzz.volume_targets", 4096, False),
    "nrrd": ("fuzz.volume_targets", 2048, False),
    "dicom": ("fuzz.volume_targets", 4096, False),
    "data_set": ("fuzz.text_targets", 3072, True),
    "plan_and_settings": ("fuzz.text_targets", 2048, True),
    "worker": ("fuzz.text_targets", 2048, True),
    "run_folder": ("fuzz.folder_targets", 4096, True),
    "model_folder": ("fuzz.folder_targets", 4096, True),
}
NEEDS_SLICER = {"run_folder", "model_folder"}


def load(name: str) -> Target:
    """The target of a name; imports the parser."""
    return getattr(importlib.import_module(TARGETS[name][0]), name)
