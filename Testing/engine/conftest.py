"""Fixtures that every engine test may use: where the real data lie, and small made-up volumes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def find_data_folder() -> Path | None:
    """Folder of real volumes: `TOPOMAE_DATA`, else `shared/data` beside the repository; None if absent."""
    named = os.environ.get("TOPOMAE_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real volumes; the test is skipped where there is none."""
    folder = find_data_folder()
    if folder is None:
        pytest.skip("no real volumes here; TOPOMAE_DATA names the folder that holds hippocampus/, broken/")
    return folder


@pytest.fixture(scope="session")
def broken_folder(data_folder) -> Path:
    """Bad inputs, one folder per case, described by its cases.json."""
    folder = data_folder / "broken"
    if not folder.is_dir():
        pytest.skip(f"no folder 'broken' in {data_folder}")
    return folder


@pytest.fixture(scope="session")
def broken_cases(broken_folder) -> dict[str, dict]:
    """cases.json of the bad inputs, by case name."""
    entries = json.loads((broken_folder / "cases.json").read_text(encoding="utf-8"))
    return {entry["case"]: entry for entry in entries}


def _real_dataset(data_folder: Path, name: str):
    from topomae.data.dataset import open_dataset

    if not (data_folder / name).is_dir():
        pytest.skip(f"no folder '{name}' in {data_folder}")
    return open_dataset(data_folder / name)


@pytest.fixture(scope="session")
def hippocampus_dataset(data_folder):
    """260 small MR volumes (about 36x50x35 at 1 mm), labels 1 and 2, with a fixed split."""
    return _real_dataset(data_folder, "hippocampus")


@pytest.fixture(scope="session")
def left_atrium_dataset(data_folder):
    """100 LGE-MR volumes (about 240x150x88 at 0.625 mm), label 1, with a fixed split."""
    return _real_dataset(data_folder, "left_atrium")


@pytest.fixture(scope="session")
def brats_dataset(data_folder):
    """6 MR volumes of two modalities in two files each, labels 1 to 4."""
    return _real_dataset(data_folder, "brats15_2mod")


@pytest.fixture(scope="session")
def ms_lesions_dataset(data_folder):
    """3 MR volumes of four modalities in one 4-D file each, label 1."""
    return _real_dataset(data_folder, "ms_lesions_4mod")


@pytest.fixture(scope="session")
def ct_dataset(data_folder):
    """2 abdominal CTs of very different spacing."""
    return _real_dataset(data_folder, "ct_smoke")


@pytest.fixture(scope="session")
def is_clear():
    """A function that says whether a TopoMAEError is one line that names what, where and the remedy."""

    def check(error) -> bool:
        text = str(error)
        complete = bool(error.message and error.hint and error.path)
        return complete and "\n" not in text and "object at 0x" not in text

    return check


@pytest.fixture
def an_oblique_affine() -> np.ndarray:
    """A rotated, anisotropic, left-handed voxel-to-RAS affine: (4, 4), mm."""
    a, b = np.deg2rad(20.0), np.deg2rad(-13.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag([-0.7, 0.9, 3.0])
    affine[:3, 3] = [31.5, -42.25, 7.125]
    return affine


@pytest.fixture
def a_grey_volume() -> np.ndarray:
    """A smooth float32 volume of shape (1, 12, 14, 10) without symmetry: a flip or permutation shows."""
    i, j, k = np.meshgrid(np.arange(12), np.arange(14), np.arange(10), indexing="ij")
    return (100 + 3 * i + 0.5 * j * j - 2 * k + i * k / 7)[None].astype(np.float32)


@pytest.fixture
def a_label_map() -> np.ndarray:
    """uint8 (12, 14, 10) with two boxes, values 1 and 2, placed off centre."""
    labels = np.zeros((12, 14, 10), np.uint8)
    labels[2:6, 3:7, 1:5] = 1
    labels[7:9, 9:13, 4:9] = 2
    return labels
