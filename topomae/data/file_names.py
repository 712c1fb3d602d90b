"""File names: which files are volumes, and which paths stay inside a folder."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PureWindowsPath

from topomae.errors import BadDataError

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr")
READABLE = "NIfTI (.nii, .nii.gz) or NRRD (.nrrd, .nhdr)"
_CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")


def image_suffix(path: str | Path) -> str | None:
    """Return the volume suffix of a file name in lower case, e.g. ".nii.gz"; None if it has none."""
    name = Path(path).name.lower()
    return next((s for s in IMAGE_SUFFIXES if name.endswith(s) and len(name) > len(s)), None)


def is_image_file(path: str | Path) -> bool:
    """Say whether a path is named like a volume: a known suffix, not hidden, not a folder."""
    path = Path(path)
    return not path.name.startswith(".") and image_suffix(path) is not None and not path.is_dir()


def stem_of(path: str | Path) -> str:
    """Return the file name without its volume suffix, in Unicode composed form: "a.nii.gz" gives "a"."""
    name = Path(path).name
    suffix = image_suffix(name)
    return unicodedata.normalize("NFC", name[: -len(suffix)] if suffix else Path(name).stem)


def split_channel(stem: str) -> tuple[str, int | None]:
    """Split nnU-Net's channel number off a stem: "a_0001" gives ("a", 1), "a" gives ("a", None)."""
    match = _CHANNEL.match(stem)
    return (match["case"], int(match["channel"])) if match else (stem, None)


def check_inside(path: Path, folder: Path, *, case: str = "") -> Path:
    """Return `path` if it lies in `folder` once links are followed.

    Raises:
        BadDataError: the file, or what it links to, lies elsewhere.
    """
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links before Python 3.13
        inside = False
    if not inside:
        raise BadDataError(
            f"the file leads outside the folder {folder}",
            hint="Copy the file into the data folder and refer to it by a relative path.",
            case=case,
            path=path,
        )
    return path


def check_encodable(path: Path) -> Path:
    """Return `path` if its name is text: results are named after it, and files list it.

    Raises:
        BadDataError: the name's bytes are no UTF-8, as of archives made long ago.
    """
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError:
        raise BadDataError(
            "the file's name is not valid text (its bytes are not UTF-8)",
            hint="Rename it, with plain letters and digits.",
            path=path,
        ) from None
    return path


def path_within(text: str, folder: Path, *, case: str = "") -> Path:
    """Turn a relative path written in a file into a path inside `folder`.

    Both "/" and "\\" separate folders, so that files written on Windows open elsewhere.

    Raises:
        BadDataError: empty, absolute, or leading outside the folder.
    """
    relative = PureWindowsPath(text)
    if not text.strip() or "\0" in text or relative.drive or relative.root:
        raise BadDataError(
            f"'{text}' is not a path relative to the data folder",
            hint="Write paths like ./imagesTr/case.nii.gz.",
            case=case,
            path=folder,
        )
    return check_inside(folder.joinpath(*relative.parts), folder, case=case)
