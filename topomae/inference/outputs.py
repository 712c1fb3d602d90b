"""Where segmentations go: one file per case, never over anything that was given."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from topomae.data.cases import Case
from topomae.data.file_names import image_suffix, stem_of
from topomae.data.geometry import Geometry
from topomae.data.preprocessing import restore_scores
from topomae.errors import BadDataError, BadSettingError
from topomae.harmless import file_name_problem

_WRITABLE = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd")
# Suffixes that show that a file is meant, although volumes are not written in that format.
_OTHER_FILES = {
    ".mha",
    ".mhd",
    ".nhdr",
    ".gz",
    ".zip",
    ".dcm",
    ".img",
    ".hdr",
    ".npy",
    ".stl",
    ".png",
    ".nii.bz2",
}


@dataclass(frozen=True)
class Output:
    """Files written for a case: its label map and, if asked for, its class probabilities."""

    labels: Path
    probabilities: Path | None = None


def place_outputs(cases: Sequence[Case], output: str | Path, *, probabilities: bool) -> list[Output]:
    """Decide where each case's results go; nothing is written yet.

    Args:
        cases: the inputs.
        output: a file, for a single case; or a folder, which receives `CASE.nii.gz`. A path that does not
            end in .nii.gz, .nii or .nrrd is a folder.
        probabilities: also `CASE_probabilities.nii.gz` beside each.
    Returns:
        One output per case.
    Raises:
        BadSettingError: a result would overwrite an input or another result, or the format is not written.
        BadDataError: a case's name cannot be a file name.
    """
    output = Path(output)
    as_file = not output.is_dir() and image_suffix(output) in _WRITABLE
    if not output.is_dir() and not as_file and output.suffix.lower() in _OTHER_FILES:
        raise BadSettingError(
            "segmentations are not written in this format",
            hint="Name a file .nii.gz, .nii or .nrrd, or a folder.",
            path=output,
        )
    if as_file and len(cases) > 1:
        raise BadSettingError(
            f"{len(cases)} segmentations cannot go into one file",
            hint="Give a folder as output.",
            path=output,
        )
    if not as_file and output.exists() and not output.is_dir():
        raise BadSettingError("the output is a file, not a folder", hint="Choose another name.", path=output)
    files = [output] if as_file else [output / f"{_file_name(case)}.nii.gz" for case in cases]
    outputs = [
        Output(file, file.with_name(f"{stem_of(file)}_probabilities.nii.gz") if probabilities else None)
        for file in files
    ]
    _check_distinct(cases, outputs)
    _check_harmless(cases, outputs)
    return outputs


def restore_probabilities(scores: torch.Tensor, geometry: Geometry) -> np.ndarray:
    """Turn class scores on the preprocessed grid into probabilities on the input's own grid.

    The scores are interpolated and then normalised, so that in each voxel the label is the most probable.
    Memory: 4 bytes per class and voxel of the input, besides the scores.

    Args:
        scores: (L, I, J, K) float32 logits, on the CPU.
        geometry: of the preprocessed case.
    Returns:
        (L, I, J, K) float32 on the input's grid, summing to 1 over L; outside the box background is certain.
    """
    restored = np.empty((scores.shape[0], *geometry.shape), np.float32)
    for c, one in enumerate(scores):
        restored[c] = restore_scores(one, geometry, outside=0.0 if c == 0 else -np.inf)
    for plane in range(restored.shape[1]):
        logits = torch.from_numpy(restored[:, plane])
        logits.copy_(logits.softmax(0))
    return restored


def _file_name(case: Case) -> str:
    """The case's name, if a file in the output folder can be called so."""
    name = case.name
    if problem := file_name_problem(name, "_probabilities.nii.gz"):
        raise BadDataError(f"the case's name {name!r} {problem}", hint="Rename its image file.", case=name)
    return name


def _check_distinct(cases: Sequence[Case], outputs: Sequence[Output]) -> None:
    seen: dict[str, Case] = {}
    for case, output in zip(cases, outputs, strict=True):
        for file in _files(output):
            key = unicodedata.normalize("NFC", str(file)).casefold()  # one file on Windows and macOS
            if key in seen:
                raise BadSettingError(
                    f"the cases {_source(seen[key])} and {_source(case)} would be written to the same file",
                    hint="Rename one of them, or segment them into different folders.",
                    path=file,
                )
            seen[key] = case


def _check_harmless(cases: Sequence[Case], outputs: Sequence[Output]) -> None:
    """Refuse to write over an image or a label map, or into a DICOM series."""
    given = [path for case in cases for path in (*case.files, *([case.label] if case.label else []))]
    files = {path.resolve() for path in given}
    identities = {_identity(path) for path in files if path.is_file()}
    series = {path for path in files if path.is_dir()}
    for file in (file for output in outputs for file in _files(output)):
        if file.resolve() in files or (file.is_file() and _identity(file) in identities):
            raise BadSettingError("the result would overwrite an input", hint="Choose another output.", path=file)
        if file.resolve().parent in series:
            raise BadSettingError(
                "the result would be written into the folder of a DICOM series",
                hint="Choose another output.",
                path=file,
            )


def _identity(file: Path) -> tuple[int, int]:
    """The same for all names of one file, such as hard links."""
    status = file.stat()
    return status.st_dev, status.st_ino


def _files(output: Output) -> list[Path]:
    return [output.labels] if output.probabilities is None else [output.labels, output.probabilities]


def _source(case: Case) -> str:
    return f"{case.name} ({case.files[0]})"
