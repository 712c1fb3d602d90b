"""What a model is to be used on: `--input`, or the images of a case by the names of their modalities."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from topomae.commands.completion import run_folders
from topomae.errors import BadSettingError

ModelFolder = Annotated[
    Path,
    typer.Option(help="Model folder, or the run that made it.", show_default=False, autocompletion=run_folders),
]
Inputs = Annotated[
    list[Path] | None,
    typer.Option(help="Volume, DICOM series folder, or folder of volumes. Repeat for more.", show_default=False),
]
NamedImages = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PATH",
        help="Instead of --input, the image of one modality. Repeat for those that there are.",
        show_default=False,
    ),
]


def require_one(input: list[Path] | None, image: list[str] | None) -> None:
    """Refuse both of `--input` and `--image`, and neither, as a wrong use of the command."""
    if bool(input) == bool(image):
        raise typer.BadParameter("give either --input or --image", param_hint="--input")


def given_inputs(input: list[Path] | None, image: list[str] | None) -> Path | list[Path] | dict[str, Path]:
    """What was given, as `topomae.segment` and `topomae.classify` take it.

    Raises:
        BadSettingError: an image without a name, or a name given twice.
    """
    if image:
        return named_files(image)
    return input[0] if len(input) == 1 else input


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
