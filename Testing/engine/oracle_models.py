"""Models whose right answer is known in every voxel, for tests of segmentation."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from topomae.data.plan import Plan
from topomae.models.folder import Model
from topomae.networks.factory import NetworkSpec

HU = {"kind": "ct", "lower": -1000.0, "upper": 1000.0, "mean": 0.0, "sd": 100.0}
AFFINES = {
    "RAS": np.diag([0.9, 0.7, 3.0, 1.0]),
    "negative determinant": np.diag([-0.9, 0.7, 3.0, 1.0]),
    "LPS, moved": np.array([[-0.9, 0, 0, 40.5], [0, -0.7, 0, 12.25], [0, 0, 3, -99], [0, 0, 0, 1.0]]),
    "axes permuted": np.array([[0, 0, 0.9, -5], [3, 0, 0, 7.5], [0, -0.7, 0, 1], [0, 0, 0, 1.0]]),
}


class ByIntensity(nn.Module):
    """Each voxel's class is the centre nearest to its (first) intensity. In units of 100 HU."""

    def __init__(self, *centres: float):
        super().__init__()
        self.register_buffer("centres", torch.tensor(centres).reshape(1, -1, 1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return -((image[:, :1] - self.centres) ** 2)


class Brighter(nn.Module):
    """Class 1 where the second image is brighter than the first."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.stack([image[:, 0], image[:, 1]], dim=1)


class Ramp(nn.Module):
    """The score of class 1 rises along the window's first axis."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rising = torch.arange(image.shape[2], dtype=torch.float32).reshape(1, 1, -1, 1, 1)
        return torch.cat([torch.zeros_like(image), rising.expand_as(image)], dim=1)


class Collector:
    """A sink that keeps events."""

    def __init__(self):
        self.seen: list[dict] = []

    def write(self, event: dict) -> None:
        self.seen.append(event)

    def close(self) -> None:
        pass

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.seen if event["event"] == kind]


def make_plan(**changes) -> Plan:
    values = {
        "dataset": "oracle",
        "modalities": ("CT",),
        "labels": {3: "low", 7: "high"},
        "spacing": (0.9, 0.7, 3.0),
        "normalization": (HU,) * len(changes.get("modalities", ("CT",))),
        "crop_size": (16, 16, 8),
        "patch_size": (4, 4, 4),
        "stem_stride": (2, 2, 2),
        "batch_size": 1,
        "size": "small",
    }
    return Plan(**(values | changes))


def make_model(network: nn.Module, plan: Plan) -> Model:
    return Model(network.eval(), NetworkSpec.of(plan), plan, {}, Path("oracle"))


def right_answer(hu: np.ndarray) -> np.ndarray:
    return np.select([hu > 200, hu > 0], [7, 3], 0)


def save_volume(path: Path, affine: np.ndarray, shape=(23, 18, 11), seed=0) -> np.ndarray:
    """Write blobs of random HU without 0 and 200, where the oracle could not decide; return them."""
    coarse = np.random.default_rng(seed).integers(-300, 500, [-(-n // 3) for n in shape])
    hu = np.kron(coarse, np.ones((3, 3, 3), int))[tuple(slice(n) for n in shape)]
    hu = np.where(np.isin(hu, (0, 200)), 13, hu).astype(np.int16)
    nib.save(nib.Nifti1Image(hu, affine), path)
    return hu
