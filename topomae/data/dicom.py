"""Reading one DICOM series: slices sorted by position, gaps checked, geometry from the positions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from topomae.data.dicom_elements import series_of
from topomae.data.nrrd import itk_array, read_with_itk
from topomae.data.raw_volume import RawVolume, check_affine, not_scalar
from topomae.errors import BadDataError

# DICOM PS3.6 data elements, as ITK writes their tags.
_POSITION, _ORIENTATION, _PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
_ROWS, _COLUMNS, _SAMPLES, _FRAMES = "0028|0010", "0028|0011", "0028|0002", "0028|0008"
_DESCRIPTION, _NUMBER, _MODALITY = "0008|103e", "0020|0011", "0008|0060"

# Rounding of positions stays below; a missing slice is 100 % of a gap away.
_GAP_TOLERANCE = 0.05
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class _Slice:
    path: Path
    position: np.ndarray  # (3,) mm, LPS, centre of the first pixel
    orientation: np.ndarray  # (2, 3) directions of a row and of a column, LPS
    pixel_spacing: tuple[float, float]  # mm between rows, between columns
    size: tuple[int, int]  # rows, columns


def read_dicom_series(folder: Path) -> RawVolume:
    """Read the one DICOM series that lies in a folder (not in its sub-folders).

    Args:
        folder: holds the slices of one series; other files in it are ignored.

    Returns:
        RawVolume with a float32 array (1, I, J, K): I along rows, J along columns, K along the
        slice normal; rescale slope and intercept applied. The slice step is measured from the
        positions (the SliceThickness element need not be the distance of slices).

    Raises:
        BadDataError: no series or several, uneven gaps, slices that do not form one grid, colour.
    """
    slices = [_read_slice(path) for path in _one_series(folder)]
    _check_same(slices, folder)
    normal = np.cross(*slices[0].orientation)
    slices.sort(key=lambda one: float(one.position @ normal))
    step, notes = _slice_step(slices, normal, folder)
    affine = np.eye(4)
    affine[:3, 0] = slices[0].orientation[0] * slices[0].pixel_spacing[1]
    affine[:3, 1] = slices[0].orientation[1] * slices[0].pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = slices[0].position
    affine = _LPS_TO_RAS @ affine
    check_affine(affine, folder)
    image = read_with_itk([str(one.path) for one in slices], as_float=True)
    return RawVolume(itk_array(image, np.float32), affine, notes)


def _one_series(folder: Path) -> list[Path]:
    """Return the files of the only series in the folder."""
    found = _series_in(folder)
    if not found:
        raise _no_series(folder)
    if len(found) > 1:
        listed = "; ".join(_describe(files) for files in found.values())
        raise BadDataError(
            f"the folder holds {len(found)} DICOM series: {listed}",
            hint="Move each series to a folder of its own and give one of them.",
            path=folder,
        )
    files = next(iter(found.values()))
    known = set(files)
    unread = next((p for p in _files(folder) if p not in known and _looks_like_dicom(p)), None)
    if unread is not None:
        raise BadDataError(
            "a DICOM file in the series folder cannot be read",
            hint="Copy the series again, or move this file away if it is no slice.",
            path=unread,
        )
    return files


def _series_in(folder: Path) -> dict[str, list[Path]]:
    """The files of every series in a folder, by the id of the series."""
    found: dict[str, list[Path]] = {}
    for path in _files(folder):
        if series := series_of(path):
            found.setdefault(series, []).append(path)
    return found


def _no_series(folder: Path) -> BadDataError:
    below = [p.name for p in sorted(folder.iterdir()) if p.is_dir() and _holds_series(p)]
    if below:
        return BadDataError(
            f"no DICOM slices directly in the folder, but in its sub-folders {', '.join(below[:8])}",
            hint="Give one of the sub-folders.",
            path=folder,
        )
    damaged = next((p for p in _files(folder) if _looks_like_dicom(p)), None)
    return BadDataError(
        "the folder holds no DICOM series that can be read",
        hint="Give a folder with the slices of one series, or a NIfTI or NRRD file.",
        path=damaged or folder,
    )


def _files(folder: Path) -> list[Path]:
    """Files of a folder by name, not its sub-folders; a pipe, which would be waited for, is refused."""
    paths = [path for path in sorted(folder.iterdir()) if not path.is_dir()]
    odd = next((path for path in paths if path.exists() and not path.is_file()), None)
    if odd is not None:
        raise BadDataError("neither a file nor a folder", hint="Move it away from the series.", path=odd)
    return [path for path in paths if path.is_file()]


def _holds_series(folder: Path) -> bool:
    try:
        return bool(_series_in(folder))
    except (BadDataError, OSError):
        return False


def _looks_like_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _describe(files: list[Path]) -> str:
    header = _open(files[0])
    name = _text(header, _DESCRIPTION) or "without description"
    number = f" number {_text(header, _NUMBER)}" if _text(header, _NUMBER) else ""
    size = f"{_text(header, _COLUMNS)}×{_text(header, _ROWS)} pixels"
    modality = _text(header, _MODALITY)
    return f"'{name}'{number} ({modality}, {size}, {len(files)} files such as {files[0].name})"


def _open(path: Path) -> sitk.ImageFileReader:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what is odd is told as an error of ours
    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    try:
        header.ReadImageInformation()
    except RuntimeError:
        raise BadDataError("the DICOM header cannot be read", hint="Copy the series again.", path=path) from None
    return header


def _text(header: sitk.ImageFileReader, tag: str) -> str:
    return header.GetMetaData(tag).strip() if header.HasMetaDataKey(tag) else ""


def _read_slice(path: Path) -> _Slice:
    header = _open(path)
    if _text(header, _SAMPLES) not in ("", "1"):
        raise not_scalar(path, "colours")
    if _text(header, _FRAMES) not in ("", "1"):
        raise BadDataError(
            "a multi-frame DICOM file", hint="Convert it to NIfTI, for instance with dcm2niix.", path=path
        )
    try:
        position = np.array([float(x) for x in _text(header, _POSITION).split("\\")])
        orientation = np.array([float(x) for x in _text(header, _ORIENTATION).split("\\")]).reshape(2, 3)
        between_rows, between_columns = (float(x) for x in _text(header, _PIXEL_SPACING).split("\\"))
        size = int(_text(header, _ROWS)), int(_text(header, _COLUMNS))
        if position.shape != (3,):
            raise ValueError
    except ValueError:
        raise BadDataError(
            "the slice states no position, orientation or pixel spacing",
            hint="Export the series as primary CT or MR images.",
            path=path,
        ) from None
    return _Slice(path, position, orientation, (between_rows, between_columns), size)


def _check_same(slices: list[_Slice], folder: Path) -> None:
    """Refuse a stack that is no volume: one slice, or slices of different size, spacing or direction."""
    first = slices[0]
    if len(slices) < 2:
        raise BadDataError("the series has a single slice, not a volume", hint="Copy all its slices.", path=folder)
    for one in slices[1:]:
        for differs, what in (
            (one.size != first.size, f"{one.size[0]}×{one.size[1]} pixels"),
            (not np.allclose(one.pixel_spacing, first.pixel_spacing, rtol=1e-3), "another pixel spacing"),
            (not np.allclose(one.orientation, first.orientation, atol=1e-3), "another direction"),
        ):
            if differs:
                raise BadDataError(
                    f"slice {one.path.name} has {what} than {first.path.name} "
                    f"({first.size[0]}×{first.size[1]} pixels)",
                    hint="Give a folder with the slices of one volume only.",
                    path=folder,
                )


def _slice_step(slices: list[_Slice], normal: np.ndarray, folder: Path) -> tuple[np.ndarray, list[str]]:
    """Return the step from slice to slice, (3,) mm LPS, after checking that every gap is this step."""
    positions = np.array([one.position for one in slices])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    double = np.flatnonzero(gaps < 1e-3)
    if len(double):
        a, b = slices[double[0]].path.name, slices[double[0] + 1].path.name
        raise BadDataError(
            f"{len(double)} positions hold more than one slice, for instance {a} and {b} "
            "(a time, echo or diffusion series)",
            hint="Export each volume of the series on its own.",
            path=folder,
        )
    uneven = np.flatnonzero(np.abs(gaps - usual) > _GAP_TOLERANCE * usual)
    if len(uneven):
        at = int(uneven[np.abs(gaps[uneven] - usual).argmax()])
        a, b = slices[at].path.name, slices[at + 1].path.name
        raise BadDataError(
            f"uneven slice gaps: {gaps[at]:.2f} mm between slices {at + 1} and {at + 2} ({a} and {b}), "
            f"{usual:.2f} mm between others",
            hint="A slice is missing: copy the whole series again, or resample it to even gaps.",
            path=folder,
        )
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    straight = positions[0] + step * np.arange(len(slices))[:, None]
    if np.abs(positions - straight).max() > 0.5 * usual:
        raise BadDataError(
            "the slices are shifted against each other",
            hint="Give a folder with the slices of one straight stack.",
            path=folder,
        )
    tilt = np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1)))
    sheared = f"tilted slices (gantry tilt of {tilt:.1f} degrees): the voxel grid is sheared"
    return step, [sheared] if tilt > 0.1 else []
