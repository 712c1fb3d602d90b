"""Phantom data sets: small MR-like volumes of organ-like shapes, with exact labels of known topology."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from topomae.data.phantom_scanner import WIDER, draw_grid, scan, texture, translation, voxel_positions
from topomae.data.phantom_shapes import BODY_WIDTH, ORGANS, Anatomy, shows_topology
from topomae.data.volume_io import write_image, write_labels
from topomae.errors import BadDataError, BadSettingError
from topomae.files import write_json_atomic

PHANTOM_SHAPE = (46, 46, 30)  # with the variation between cases just inside a crop of 48×48×32
_ATTEMPTS = 20
_BODY, _FLUID = 0.40, 0.30  # mean signal of the tissue between the organs, and in the hollow organ


@dataclass(frozen=True)
class Phantom:
    """One phantom scan.

    Attributes:
        image: (I, J, K) float32, MR-like, without a unit.
        labels: (I, J, K) uint8, 0 for background and n for organ n of `phantom_shapes.ORGANS`.
        affine: (4, 4) float64, voxel index to RAS position in mm; oblique.
    """

    image: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class _Settings:
    cases: int
    labelled: int
    seed: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


def make_phantoms(
    folder: str | Path,
    *,
    cases: int = 24,
    labelled: int = 4,
    seed: int = 0,
    shape: tuple[int, int, int] = (48, 48, 32),
    spacing: tuple[float, float, float] = (1.6, 1.6, 2.4),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a phantom data set in the layout of the Medical Segmentation Decathlon.

    A quarter of the cases is for testing and an eighth for validation, all with labels. Of the others, the
    training cases, only `labelled` have labels. Equal arguments give equal data sets on every machine. A
    folder that already holds the data set asked for is left as it is; one that was interrupted is completed.

    Args:
        folder: where to write; created if need be.
        cases: number of scans, at least 3.
        labelled: number of training cases with labels, at least 1.
        seed: seed of everything random.
        shape: typical number of voxels along right, anterior and superior; cases differ by some voxels.
        spacing: typical voxel size in mm along right, anterior and superior; cases differ by some percent.
        progress: called with (cases written, cases in all) before the first case and after each.

    Returns:
        The folder, which then holds imagesTr, labelsTr, splits.json and dataset.json. `betti` in dataset.json
        maps each label value to its numbers of components, tunnels and cavities.

    Raises:
        BadSettingError: too few cases, or voxels too coarse to show the shapes.
        BadDataError: the folder holds another data set.
    """
    folder = Path(folder)
    settings = _Settings(cases, labelled, seed, tuple(shape), tuple(spacing))
    split = _split(settings)
    _check_grid(settings.shape, settings.spacing)
    description = _describe(settings, split)
    if _is_there(folder, description):
        return folder
    unlabelled = _unlabelled(settings, split)
    tell = progress or (lambda done, of: None)
    tell(0, cases)
    for index, name in enumerate(_names(cases)):
        phantom = draw_phantom(seed=seed, index=index, shape=settings.shape, spacing=settings.spacing)
        write_image(folder / "imagesTr" / f"{name}.nii.gz", phantom.image, phantom.affine)
        if name not in unlabelled:
            write_labels(folder / "labelsTr" / f"{name}.nii.gz", phantom.labels, phantom.affine)
        tell(index + 1, cases)
    write_json_atomic(folder / "splits.json", split)
    write_json_atomic(folder / "dataset.json", description)  # last: it says that all the rest is there
    return folder


def draw_phantom(
    *, seed: int, index: int, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Phantom:
    """Draw one phantom scan; it depends on the arguments alone.

    Args:
        seed: seed of the data set.
        index: number of the case in the data set.
        shape: typical number of voxels along right, anterior and superior.
        spacing: typical voxel size in mm along right, anterior and superior.

    Raises:
        BadSettingError: the voxels are too coarse to show the shapes.
    """
    _check_grid(shape, spacing)
    rng = np.random.default_rng([seed, index])
    # The body is as large as the field of view, so that any shape and spacing show all of it.
    magnification = min(n * s for n, s in zip(shape, spacing, strict=True)) / BODY_WIDTH
    for _ in range(_ATTEMPTS):
        anatomy = Anatomy.draw(rng)
        affine, wide_shape = draw_grid(rng, shape, spacing)
        surfaces = anatomy.surfaces(voxel_positions(affine, wide_shape) / magnification)
        labels = _labels(surfaces)
        window = _draw_field_of_view(rng, labels, wide_shape)
        labels = labels[window]
        affine = affine @ translation([part.start for part in window])
        if shows_topology(labels):
            break
    else:
        raise BadSettingError(
            f"phantoms of {_by(shape)} voxels of {_by(spacing)} mm are too coarse for their shapes",
            hint="Ask for more voxels along the shortest side.",
        )
    image = _draw_image(rng, anatomy, labels, voxel_positions(affine, labels.shape) / magnification)
    affine = translation(rng.uniform(-60.0, 60.0, 3)) @ affine
    return Phantom(image, labels, affine)


def _draw_field_of_view(
    rng: np.random.Generator, labels: np.ndarray, wide_shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """The part of the wide grid that is scanned: all organs, two voxels or more around them, off centre."""
    window = []
    for axis, wide in enumerate(wide_shape):
        used = np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (max(0, used[0] - 2), min(wide - 1, used[-1] + 2)) if used.size else (0, wide - 1)
        size = max(last - first + 1, round(wide / WIDER * rng.uniform(0.92, 1.08)))
        start = int(rng.integers(max(0, last + 1 - size), min(first, wide - size) + 1))
        window.append(slice(start, start + int(size)))
    return tuple(window)


def _labels(surfaces: np.ndarray) -> np.ndarray:
    nearest = surfaces.argmin(axis=0)
    return np.where(surfaces.min(axis=0) < 0.0, nearest + 1, 0).astype(np.uint8)


def _draw_image(rng: np.random.Generator, anatomy: Anatomy, labels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What the scanner makes of the anatomy: tissue, blur, uneven coil sensitivity, noise, any scale."""
    signal = np.where(anatomy.is_body(positions), _BODY * (1.0 + texture(rng, labels.shape, 0.08)), 0.0)
    signal = np.where(anatomy.is_cavity(positions), _FLUID, signal)
    for value, organ in enumerate(ORGANS, start=1):
        tissue = organ.brightness * rng.uniform(0.93, 1.07)
        signal = np.where(labels == value, tissue * (1.0 + texture(rng, labels.shape, organ.texture)), signal)
    return scan(rng, signal, positions)


def _names(cases: int) -> list[str]:
    return [f"phantom_{number:03d}" for number in range(1, cases + 1)]


def _split(settings: _Settings) -> dict[str, Any]:
    """Case names by use, drawn by chance, as splits.json holds them."""
    test, val = max(1, settings.cases // 4), max(1, settings.cases // 8)
    train = settings.cases - test - val
    if train < 1:
        raise BadSettingError("phantom data sets need at least 3 cases", hint="Ask for more cases.")
    if not 1 <= settings.labelled <= train:
        raise BadSettingError(
            f"{settings.labelled} labelled training cases asked for, but there are {train} training cases",
            hint=f"Choose a number from 1 to {train}, or more cases.",
        )
    order = np.random.default_rng([settings.seed, settings.cases]).permutation(_names(settings.cases))
    names = [str(name) for name in order]
    return {
        "rule": f"seeded shuffle; only the first {settings.labelled} training cases have labels",
        "train": sorted(names[:train]),
        "val": sorted(names[train : train + val]),
        "test": sorted(names[train + val :]),
    }


def _unlabelled(settings: _Settings, split: dict[str, Any]) -> set[str]:
    """Training cases without labels. Which cases are for training is random, so which come first is too."""
    return set(split["train"][settings.labelled :])


def _describe(settings: _Settings, split: dict[str, Any]) -> dict[str, Any]:
    """The content of dataset.json."""
    unlabelled = _unlabelled(settings, split)
    entries = []
    for name in _names(settings.cases):
        entry = {"image": f"./imagesTr/{name}.nii.gz"}
        if name not in unlabelled:
            entry["label"] = f"./labelsTr/{name}.nii.gz"
        entries.append(entry)
    labels = {"0": "background"} | {str(n): organ.name for n, organ in enumerate(ORGANS, start=1)}
    return {
        "name": "Phantoms",
        "description": "Computed MR-like volumes of organ-like shapes with exact labels of known topology",
        "licence": "Apache-2.0",
        "tensorImageSize": "3D",
        "modality": {"0": "MR"},
        "labels": labels,
        "numTraining": len(entries),
        "numTest": 0,
        "training": entries,
        "test": [],
        "betti": {str(n): list(organ.betti) for n, organ in enumerate(ORGANS, start=1)},
        "phantoms": json.loads(json.dumps(asdict(settings))),
    }


def _check_grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise BadSettingError(f"the shape {_by(shape)} is not usable", hint="Give three numbers of voxels.")
    if len(spacing) != 3 or not min(spacing) > 0:
        raise BadSettingError(f"the spacing {_by(spacing)} is not usable", hint="Give three lengths in mm.")


def _is_there(folder: Path, description: dict[str, Any]) -> bool:
    """Whether the folder already holds this very data set."""
    file = folder / "dataset.json"
    if not file.exists():
        return False
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if found == description:
        return True
    raise BadDataError("another data set lies here", hint="Choose an empty or new folder.", path=folder)


def _by(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
