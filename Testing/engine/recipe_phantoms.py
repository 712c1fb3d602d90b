"""Phantoms of the data sets that recipes are for: their case names, labels, voxel sizes, units and folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from topomae.cli import app
from topomae.data.volume_io import write_image, write_labels
from topomae.events import Events
from topomae.recipes.recipe import Recipe

FULL_SIZE = {"CT": (512, 512, 90), "cine MR": (216, 256, 10), "MRI": (36, 50, 35), "LGE-MRI": (240, 150, 88)}
SMALL_SIZE = {"CT": (48, 44, 18), "cine MR": (40, 44, 8), "MRI": (36, 50, 35), "LGE-MRI": (40, 36, 24)}
OFFSETS = {"CT": (-1000.0, 40.0, 60.0), "cine MR": (5.0, 200.0, 80.0)}  # outside, body, organs on top of it
TINY = {"crop_size": (32, 32, 16), "patch_size": (16, 16, 8), "stem_stride": (4, 4, 2), "batch_size": 1}
SET_TINY = [
    part
    for name, value in TINY.items()
    for part in ("--set", f"{name}={value}".translate({ord(c): "" for c in "() "}))
]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


class Told(Events):
    """Events that are kept: `said("warning")` are the messages of that kind."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def emit(self, kind, /, **fields):
        self.kept.append((kind, fields))

    def said(self, kind):
        return [fields["message"] for name, fields in self.kept if name == kind]


def as_downloaded(recipe: Recipe, folder: Path, *, whole: int = 0, only: int | None = None) -> Path:
    """Write a data set as its publishers lay it out.

    Args:
        recipe: of the data set.
        folder: to be made.
        whole: so many cases have the full number of voxels; the others show a small field of view.
        only: write only the first cases of the recipe.
    """
    layout = recipe.data.layout
    inside = folder / layout.inside[-1]
    for place, name in enumerate(recipe.split.cases[:only]):
        parts = {"case": name, "number": name[3:], "subject": recipe.subject_of[name]}
        image, label, affine = a_case(recipe, place, whole=place < whole)
        write_image(inside / f"{layout.images[0].format(**parts)}.nii.gz", image, affine)
        write_labels(inside / f"{layout.label.format(**parts)}.nii.gz", label, affine)
    return folder


def as_decathlon(recipe: Recipe, folder: Path, **options: int | None) -> Path:
    """Write a data set of the Medical Segmentation Decathlon: with its dataset.json and without splits.json."""
    as_downloaded(recipe, folder, **options)
    inside = folder / recipe.data.layout.inside[-1]
    names = sorted(path.name for path in (inside / "imagesTr").iterdir())
    description = {
        "name": recipe.name,
        "modality": {"0": recipe.data.modalities[0]},
        "labels": {"0": "background", **{str(value): name for value, name in recipe.data.labels.items()}},
        "numTraining": len(names),
        "numTest": 1,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": ["./imagesTs/held_back.nii.gz"],
    }
    (inside / "dataset.json").write_text(json.dumps(description))
    return inside


def a_case(recipe: Recipe, place: int, *, whole: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A body with every label of the recipe as a block: image, label map (I, J, K) and affine (4, 4).

    Voxel sizes go through the whole range of the data set; axes and directions differ from case to case.
    """
    random = np.random.default_rng(place)
    modality = recipe.data.modalities[0]
    shape = np.array((FULL_SIZE if whole else SMALL_SIZE)[modality])
    lower, upper = np.array(recipe.data.voxel_mm).T
    spacing = lower + (upper - lower) * (place % 5) / 4
    outside, body, organ = OFFSETS.get(modality, (0.0, 300.0, 100.0))
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    inside = axes[0] ** 2 + axes[1] ** 2 < 0.9
    image = np.where(inside, body, outside).astype(np.float32)
    image[inside & (axes[1] > 0.6)] = body - 140.0 if modality == "CT" else body / 2  # fat
    label = np.zeros(shape, np.uint8)
    for index, value in enumerate(recipe.data.labels):
        corner = np.array((0.22 + 0.14 * (index % 4), 0.25 + 0.12 * (index // 4), 0.3)) * shape
        box = tuple(slice(int(c), int(c) + max(2, int(0.1 * n))) for c, n in zip(corner, shape, strict=True))
        label[box] = value
        image[box] = body + organ * (1 + index % 3)
    image[inside] += random.normal(0, 8, int(inside.sum())).astype(np.float32)
    flip = np.array((-1, -1, 1) if place % 2 else (1, 1, 1))
    affine = np.diag([*(flip * spacing), 1.0])
    return np.round(image).astype(np.int16), label, affine
