"""What follows `--image` on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from topomae.errors import BadSettingError


def named_files(texts: Iterable[str]) -> dict[str, Path]:
    """Split `NAME=PATH` texts.

    Raises:
        BadSettingError: a text of another form, or the same name twice.
    """
    files: dict[str, Path] = {}
    for text in texts:
        name, equals, path = (part.strip() for part in text.partition("="))
        if not (equals and name and path):
            raise BadSettingError(
                f"--image {text!r} is not of the form NAME=PATH", hint="Example: --image T1=a.nii.gz."
            )
        if name in files:
            raise BadSettingError(f"--image names {name!r} twice", hint="Give one image for each modality.")
        files[name] = Path(path)
    return files
