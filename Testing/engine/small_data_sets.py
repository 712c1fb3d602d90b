"""Small volumes, and what tests of them share."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from topomae.data.checks import check_dataset
from topomae.data.dataset import open_dataset
from topomae.data.remembered import Remembered

PLAN = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [1.0, 1.0, 1.0], "batch_size": 2}


def write_volume(path, seed):
    values = np.random.default_rng(seed).normal(size=(16, 16, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1.0, 1.0, 1.0])), path)


def found(folder, file, *, labels=False, told=None):
    dataset = open_dataset(folder)
    with Remembered(file, told) as remembered:
        return check_dataset(dataset, dataset.cases, labels_needed=False, labels_checked=labels, remembered=remembered)


def image_of(folder, name):
    return folder / "imagesTr" / f"{name}.nii"
