"""Multi-modal phantoms: heads of many people, scanned in three ways, some twice, with lesions and a class.

What is constant between modalities is the anatomy; what is constant between people is its arrangement. Each
structure shows where it does in real scans: the ventricles everywhere, the deep nuclei on T1c and T2 only,
lesions well on FLAIR, hardly on T1c. Whether a lesion is active, which is the class of a scan, is seen on T1c
alone: as a bright rim.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from topomae.data.phantom_scanner import draw_grid, scan, texture, translation, voxel_positions
from topomae.data.phantom_shapes import Bend, Pose, unit_vectors
from topomae.data.volume_io import write_image, write_labels
from topomae.errors import BadDataError, BadSettingError
from topomae.files import write_json_atomic

MODALITIES = ("T1c", "T2", "FLAIR")
LABELS = {1: "ventricles", 2: "deep nuclei", 3: "lesion"}
CLASSES = {0: "stable", 1: "active"}

_RADII = np.array((26.0, 28.0, 21.0))  # mm, of the head
_SIGNAL = {  # of each tissue on T1c, T2 and FLAIR; 1 is the brightest
    "scalp": (0.75, 0.55, 0.50),
    "skull": (0.08, 0.08, 0.08),
    "fluid": (0.12, 0.95, 0.10),
    "grey matter": (0.45, 0.62, 0.60),
    "white matter": (0.66, 0.44, 0.46),
    "deep nuclei": (0.52, 0.36, 0.47),
    "lesion": (0.57, 0.70, 0.86),
    "rim": (1.00, 0.72, 0.86),
    "vessel": (1.00, 0.20, 0.30),
}
_SECOND_VISIT_EVERY = 4  # people


@dataclass(frozen=True)
class HeadPhantom:
    """One scan of one person.

    Attributes:
        images: (3, I, J, K) float32, in the order of `MODALITIES`, all on one grid.
        labels: (I, J, K) uint8, values of `LABELS`.
        affine: (4, 4) float64, voxel index to RAS position in mm; oblique.
        active: whether a lesion is active.
    """

    images: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    active: bool


@dataclass(frozen=True)
class _Settings:
    subjects: int
    labelled: int
    seed: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


def make_modality_phantoms(
    folder: str | Path,
    *,
    subjects: int = 100,
    labelled: int = 8,
    seed: int = 0,
    shape: tuple[int, int, int] = (32, 32, 24),
    spacing: tuple[float, float, float] = (1.9, 1.9, 1.9),
) -> Path:
    """Write a multi-modal phantom data set in the layout of nnU-Net (one file per modality).

    Every fourth person is scanned twice. Three tenths of the people are for testing and a tenth for validation;
    of the scans of the others only the first `labelled` have label maps. Every scan has its class. Equal
    arguments give equal data sets; a folder that holds the one asked for is left as it is, and one that was
    interrupted is completed.

    Args:
        folder: where to write; created if need be.
        subjects: number of people, at least 10.
        labelled: number of training scans with a label map, at least 1.
        seed: seed of everything random.
        shape: voxels along right, anterior and superior.
        spacing: typical voxel size in mm along right, anterior and superior.

    Returns:
        The folder, which then holds imagesTr, labelsTr, splits.json (with `subject_of`) and dataset.json (with
        `classes`, and the `class` of each scan).

    Raises:
        BadSettingError: too few people.
        BadDataError: the folder holds another data set.
    """
    folder = Path(folder)
    settings = _Settings(subjects, labelled, seed, tuple(shape), tuple(spacing))
    subject_of = _scans(subjects)
    split = _split(settings, subject_of)
    if _is_there(folder, settings):
        return folder
    with_labels = {*split["train"][:labelled], *split["val"], *split["test"]}
    entries = []
    for name, subject in subject_of.items():
        phantom = draw_head(seed=seed, name=name, subject=subject, shape=settings.shape, spacing=settings.spacing)
        files = [f"imagesTr/{name}_{channel:04d}.nii.gz" for channel in range(len(MODALITIES))]
        for file, image in zip(files, phantom.images, strict=True):
            write_image(folder / file, image, phantom.affine)
        entry = {"image": files, "class": int(phantom.active)}
        if name in with_labels:
            entry["label"] = f"labelsTr/{name}.nii.gz"
            write_labels(folder / entry["label"], phantom.labels, phantom.affine)
        entries.append(entry)
    write_json_atomic(folder / "splits.json", {**split, "subject_of": subject_of})
    write_json_atomic(folder / "dataset.json", _describe(settings, entries))  # last: it says that all is there
    return folder


def draw_head(
    *,
    seed: int,
    name: str,
    subject: str,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> HeadPhantom:
    """Draw one scan; it depends on the arguments alone. The anatomy is the same in all scans of a subject.

    Args:
        seed: seed of the data set.
        name: of the scan. subject: of the person.
        shape: voxels along right, anterior and superior.
        spacing: typical voxel size in mm along right, anterior and superior.
    """
    person = np.random.default_rng([seed, *subject.encode()])
    scanner = np.random.default_rng([seed, *name.encode()])
    pose = Pose.draw(person, degrees=6.0, stretch=0.06, shift=1.5)
    bend = Bend.draw(person, unit_vectors(person, 3))
    structures = _Structures.draw(person)
    magnification = min(n * s / (2.15 * r) for n, s, r in zip(shape, spacing, _RADII, strict=True))
    affine, grid = draw_grid(scanner, shape, spacing, wider=1.0)
    positions = voxel_positions(affine, grid) / magnification
    points = bend(pose.to_local(positions))
    tissue = structures.tissues(points)
    lesions, active = _draw_lesions(scanner, points, tissue)
    tissue = {**tissue, **lesions}
    images = np.stack([_draw_image(scanner, tissue, channel, positions) for channel in range(len(MODALITIES))])
    labels = np.zeros(grid, np.uint8)
    for value, where in ((1, tissue["ventricles"]), (2, tissue["deep nuclei"]), (3, lesions["lesion"])):
        labels[where] = value
    return HeadPhantom(images, labels, translation(scanner.uniform(-40.0, 40.0, 3)) @ affine, active)


@dataclass(frozen=True)
class _Structures:
    """How large and how folded the parts of one head are."""

    ventricle_size: float
    nucleus_size: float
    folds: np.ndarray  # (4, 3) waves over the surface of the brain
    phases: np.ndarray  # (4,)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Structures:
        return cls(
            ventricle_size=rng.uniform(0.8, 1.35),
            nucleus_size=rng.uniform(0.85, 1.15),
            folds=unit_vectors(rng, 4) * rng.uniform(5.0, 8.0, (4, 1)),
            phases=rng.uniform(0.0, 2.0 * np.pi, 4),
        )

    def tissues(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Masks by name of points (..., 3) in mm; later ones lie over earlier ones."""
        depth = np.linalg.norm(points / _RADII, axis=-1)
        direction = points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-6)
        fold = 0.05 * np.sin(direction @ self.folds.T + self.phases).mean(axis=-1)
        beside = points * (np.sign(points[..., :1]) * (1, 0, 0) + (0, 1, 1))  # both halves are mirror images
        ventricle = np.linalg.norm((beside - (4.6, -1.0, 3.0)) / (3.0, 9.5, 4.2), axis=-1) / self.ventricle_size
        nucleus = np.linalg.norm((beside - (10.0, 2.0, -3.5)) / (3.8, 6.0, 4.6), axis=-1) / self.nucleus_size
        return {
            "scalp": depth < 1.0,
            "skull": depth < 0.93,
            "fluid": depth < 0.86,
            "grey matter": depth < 0.80 + fold,
            "white matter": depth < 0.64 + 2 * fold,
            "deep nuclei": (nucleus < 1.0) & (ventricle >= 1.0),
            "ventricles": ventricle < 1.0,
        }


def _draw_lesions(
    rng: np.random.Generator, points: np.ndarray, tissue: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], bool]:
    """Masks of lesions in the white matter, of the bright rims of active ones, and of vessels; and whether any is."""
    white = tissue["white matter"] & ~tissue["deep nuclei"] & ~tissue["ventricles"]
    deep = points[white]
    active = bool(rng.random() < 0.5)
    lesion, rim = np.zeros(white.shape, bool), np.zeros(white.shape, bool)
    for number in range(int(rng.integers(2, 6))):
        radius = rng.uniform(3.6, 4.8) if number == 0 else rng.uniform(2.4, 4.6)
        centre = deep[rng.integers(len(deep))]
        shape = 1.0 + rng.uniform(-0.2, 0.2, 3)
        distance = np.linalg.norm((points - centre) / shape, axis=-1)
        inside = (distance < radius) & white
        lesion |= inside
        if active and number == 0:
            rim |= inside & (distance > radius - 1.7)
    vessel = np.zeros(white.shape, bool)
    matter = points[tissue["grey matter"] & ~white]
    for _ in range(3):  # bright on T1c in everybody, so that brightness alone does not tell the class
        vessel |= np.linalg.norm(points - matter[rng.integers(len(matter))], axis=-1) < 1.6
    vessel &= tissue["grey matter"] & ~tissue["ventricles"] & ~tissue["deep nuclei"] & ~lesion
    return {"lesion": lesion, "rim": rim, "vessel": vessel}, bool(rim.any())


def _draw_image(
    rng: np.random.Generator, tissue: dict[str, np.ndarray], channel: int, positions: np.ndarray
) -> np.ndarray:
    signal = np.zeros(positions.shape[:3])
    for name, where in tissue.items():
        brightness = _SIGNAL["fluid" if name == "ventricles" else name][channel] * rng.uniform(0.94, 1.06)
        signal = np.where(where, brightness, signal)
    return scan(rng, signal * (1.0 + texture(rng, signal.shape, 0.06)), positions)


def _scans(subjects: int) -> dict[str, str]:
    """Name of each scan to that of the person."""
    scans = {}
    for number in range(1, subjects + 1):
        person = f"head_{number:03d}"
        scans[f"{person}_a"] = person
        if number % _SECOND_VISIT_EVERY == 0:
            scans[f"{person}_b"] = person
    return scans


def _split(settings: _Settings, subject_of: dict[str, str]) -> dict[str, Any]:
    if settings.subjects < 10:
        raise BadSettingError("multi-modal phantoms need at least 10 people", hint="Ask for more subjects.")
    people = sorted(set(subject_of.values()))
    order = np.random.default_rng([settings.seed, settings.subjects]).permutation(people)
    test, val = settings.subjects * 3 // 10, settings.subjects // 10
    parts = {"train": order[test + val :], "val": order[test : test + val], "test": order[:test]}
    split = {use: [scan for scan, person in subject_of.items() if person in set(part)] for use, part in parts.items()}
    if not 1 <= settings.labelled <= len(split["train"]):
        raise BadSettingError(
            f"{settings.labelled} labelled training scans asked for, but there are {len(split['train'])}",
            hint="Choose fewer, or more subjects.",
        )
    return split


def _describe(settings: _Settings, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of dataset.json."""
    return {
        "name": "Head phantoms",
        "description": "Computed multi-modal MR-like volumes of heads with lesions, exact labels and a class",
        "licence": "Apache-2.0",
        "tensorImageSize": "3D",
        "modality": {str(channel): name for channel, name in enumerate(MODALITIES)},
        "labels": {"0": "background"} | {str(value): name for value, name in LABELS.items()},
        "classes": {str(value): name for value, name in CLASSES.items()},
        "numTraining": len(entries),
        "training": entries,
        "phantoms": json.loads(json.dumps(asdict(settings))),
    }


def _is_there(folder: Path, settings: _Settings) -> bool:
    """Whether the folder already holds this very data set."""
    file = folder / "dataset.json"
    if not file.exists():
        return False
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("phantoms")
    except (ValueError, AttributeError):
        found = None
    if found == json.loads(json.dumps(asdict(settings))):
        return True
    raise BadDataError("another data set lies here", hint="Choose an empty or new folder.", path=folder)
