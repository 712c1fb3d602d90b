"""Fixtures of folders with a few small volumes; a test file names this one in `pytest_plugins`."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest
from small_data_sets import write_volume

from topomae.data import checks
from topomae.data.case_loading import load_case_image


@pytest.fixture
def five_cases(tmp_path):
    """A folder with five images, three of which have label maps."""
    folder = tmp_path / "data"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for n in range(5):
        write_volume(folder / "imagesTr" / f"case{n}.nii", n)
    for n in range(3):
        labels = np.zeros((16, 16, 16), np.uint8)
        labels[4 : 8 + n] = 1
        nib.save(nib.Nifti1Image(labels, np.diag([-1.0, 1.0, 1.0, 1.0])), folder / "labelsTr" / f"case{n}.nii")
    return folder


@pytest.fixture
def five_images(five_cases):
    """The same without label maps, so that none is held out."""
    shutil.rmtree(five_cases / "labelsTr")
    return five_cases


@pytest.fixture
def read(monkeypatch):
    """Names of the cases whose images were read to be checked, in alphabetical order once sorted."""
    names = []

    def watched(dataset, case, problems=None):
        names.append(case.name)
        return load_case_image(dataset, case, problems)

    monkeypatch.setattr(checks, "load_case_image", watched)
    return names
