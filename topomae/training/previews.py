"""Previews of pre-training: one crop as it goes in, masked, and as both branches reconstruct it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from topomae.data.crops import cut_crop, padding_before, token_grid
from topomae.data.key_points import NAMES, crop_voxels, informative_axes, key_points, unscale
from topomae.data.loading import random_mask
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed
from topomae.data.volume_io import write_image
from topomae.networks.co_pretrainer import CoPretrainer, voxel_mask
from topomae.runs.folder import Run
from topomae.training.objectives import composite, key_point_mse, masked_mse


@dataclass(frozen=True)
class Seen:
    """What a network makes of a masked crop.

    Attributes:
        volumes: (C, *crop_size) float32 on the CPU of `input`, `masked`, and the reconstruction of each
            branch, which is the input where nothing was hidden.
        points: (9, 3) voxel coordinates in the padded volume of the `true` key points and of those that
            each branch predicts.
        losses: `reconstruction/BRANCH` (masked mean squared error) and `spatial/BRANCH`.
    """

    volumes: dict[str, np.ndarray]
    points: dict[str, np.ndarray]
    losses: dict[str, float]


@dataclass(frozen=True)
class Preview:
    """A masked crop of a volume.

    Attributes:
        batch: as `PretrainingCrops` gives it, with one sample.
        affine: (4, 4), crop voxel to RAS mm.
        offset: (i, j, k) voxel of the padded volume at which the crop begins.
        volume_shape: (i, j, k) of the padded volume.
        patch_size: (i, j, k) voxels of a block.
    """

    batch: dict[str, torch.Tensor]
    affine: np.ndarray
    offset: tuple[int, int, int]
    volume_shape: tuple[int, int, int]
    patch_size: tuple[int, int, int]

    @classmethod
    def of(cls, case: Preprocessed, plan: Plan, mask_ratio: float, seed: int) -> Preview:
        """A crop that stays the same during a run, so that its previews can be compared.

        It lies a quarter into the room there is, so that its place is not simply the middle.
        """
        return cls.at([room // 4 for room in _room(case, plan)], case, plan, mask_ratio, seed)

    @classmethod
    def around(cls, center: Sequence[float], case: Preprocessed, plan: Plan, mask_ratio: float, seed: int) -> Preview:
        """The crop whose centre is as near to `center`, RAS mm, as the volume allows."""
        to_voxel = np.linalg.inv(case.affine)
        voxel = to_voxel[:3, :3] @ np.asarray(center, np.float64) + to_voxel[:3, 3]
        first = voxel + padding_before(case.image.shape[1:], plan.crop_size) - (np.array(plan.crop_size) - 1) / 2
        offset = np.clip(np.floor(first + 0.5), 0, _room(case, plan)).astype(int)
        return cls.at(offset.tolist(), case, plan, mask_ratio, seed)

    @classmethod
    def at(cls, offset: Sequence[int], case: Preprocessed, plan: Plan, mask_ratio: float, seed: int) -> Preview:
        """The crop at a voxel of the padded volume.

        Args:
            offset: (i, j, k) of its first voxel.
            case: the volume.
            plan: for the sizes of crop and blocks.
            mask_ratio: part of the blocks that is hidden.
            seed: of the choice of these.
        """
        size = plan.crop_size
        crop = cut_crop(case.image, None, offset, size)
        affine = case.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ (np.array(crop.offset) - padding_before(case.image.shape[1:], size))
        mask = random_mask(token_grid(size, plan.patch_size), mask_ratio, np.random.default_rng(seed))
        batch = {
            "image": torch.from_numpy(crop.image)[None],
            "mask": torch.from_numpy(mask)[None],
            "key_points": torch.from_numpy(key_points(crop.offset, size, crop.volume_shape))[None],
            "informative": torch.from_numpy(informative_axes(size, crop.volume_shape))[None],
        }
        if case.available is not None:
            batch["available"] = torch.tensor(case.available)[None]
        return cls(batch, affine, crop.offset, crop.volume_shape, plan.patch_size)

    @torch.no_grad()
    def show_to(self, network: CoPretrainer, device: torch.device | str) -> Seen:
        """Let a network, which is on `device`, reconstruct and locate the crop; it is left in the mode it was in."""
        batch = {name: value.to(device) for name, value in self.batch.items()}
        image = batch["image"]
        training = network.training
        outputs = network.eval()(image, batch["mask"], batch.get("available"))
        network.train(training)

        hidden = voxel_mask(batch["mask"], self.patch_size, image.shape[2:])
        volumes = {"input": image, "masked": image.masked_fill(hidden, 0.0)}
        points = {"true": crop_voxels(self.offset, image.shape[2:])}
        losses = {}
        for branch, output in outputs.items():
            volumes[branch] = composite(output.reconstruction, image, hidden)
            points[branch] = unscale(output.key_points[0].float().cpu().numpy(), self.volume_shape)
            losses[f"reconstruction/{branch}"] = float(masked_mse(output.reconstruction, image, hidden))
            losses[f"spatial/{branch}"] = float(
                key_point_mse(output.key_points, batch["key_points"], batch["informative"])
            )
        arrays = {name: volume[0].float().cpu().numpy() for name, volume in volumes.items()}
        return Seen(arrays, points, losses)

    def write(self, network: CoPretrainer, run: Run, step: int, device: torch.device) -> dict[str, float]:
        """Write the volumes and key points of `step` into the run's `previews` folder; return the losses."""
        seen = self.show_to(network, device)
        for name, volume in seen.volumes.items():
            write_image(run.path("previews", f"step_{step:08d}_{name}.nii.gz"), volume, self.affine)
        points = {name: self.to_ras(voxels) for name, voxels in seen.points.items()}
        name = f"previews/step_{step:08d}_keypoints.json"
        run.write_json(name, {"names": NAMES, **points})
        run.events.emit("preview", step=step, path=run.path(name).parent, losses=seen.losses)
        return seen.losses

    def to_ras(self, voxels: np.ndarray) -> np.ndarray:
        """(…, 3) voxel coordinates of the padded volume to RAS mm."""
        in_crop = voxels - np.array(self.offset)
        return in_crop @ self.affine[:3, :3].T + self.affine[:3, 3]


def _room(case: Preprocessed, plan: Plan) -> list[int]:
    """Voxels along each axis by which the crop can be moved."""
    return [max(0, n - c) for n, c in zip(case.image.shape[1:], plan.crop_size, strict=True)]
