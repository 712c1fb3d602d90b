"""Previews of pre-training: one crop as it goes in, masked, and as both branches reconstruct it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from topomae.data.crops import cut_crop, token_grid
from topomae.data.key_points import NAMES, crop_voxels, informative_axes, key_points, unscale
from topomae.data.loading import random_mask
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed
from topomae.data.volume_io import write_image
from topomae.networks.co_pretrainer import CoPretrainer, voxel_mask
from topomae.objectives import composite, key_point_mse, masked_mse
from topomae.runs import Run


@dataclass(frozen=True)
class Preview:
    """One masked crop that stays the same during a run, so that previews can be compared.

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
        """Take the crop a quarter into the room there is, so that its place is not simply the middle."""
        size = plan.crop_size
        room = [max(0, n - c) for n, c in zip(case.image.shape[1:], size, strict=True)]
        crop = cut_crop(case.image, None, [r // 4 for r in room], size)
        before = [max(0, c - n) // 2 for n, c in zip(case.image.shape[1:], size, strict=True)]
        affine = case.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ (np.array(crop.offset) - before)
        mask = random_mask(token_grid(size, plan.patch_size), mask_ratio, np.random.default_rng(seed))
        batch = {
            "image": torch.from_numpy(crop.image)[None],
            "mask": torch.from_numpy(mask)[None],
            "key_points": torch.from_numpy(key_points(crop.offset, size, crop.volume_shape))[None],
            "informative": torch.from_numpy(informative_axes(size, crop.volume_shape))[None],
        }
        return cls(batch, affine, crop.offset, crop.volume_shape, plan.patch_size)

    @torch.no_grad()
    def write(self, network: CoPretrainer, run: Run, step: int, device: torch.device) -> dict[str, float]:
        """Write the volumes and key points of `step` into the run's `previews` folder; return the losses."""
        batch = {name: value.to(device) for name, value in self.batch.items()}
        image = batch["image"]
        training = network.training
        outputs = network.eval()(image, batch["mask"])
        network.train(training)

        hidden = voxel_mask(batch["mask"], self.patch_size, image.shape[2:])
        volumes = {"input": image, "masked": image.masked_fill(hidden, 0.0)}
        losses = {}
        for branch, output in outputs.items():
            volumes[branch] = composite(output.reconstruction, image, hidden)
            losses[f"reconstruction/{branch}"] = float(masked_mse(output.reconstruction, image, hidden))
            losses[f"spatial/{branch}"] = float(
                key_point_mse(output.key_points, batch["key_points"], batch["informative"])
            )
        for name, volume in volumes.items():
            path = run.path("previews", f"step_{step:08d}_{name}.nii.gz")
            write_image(path, volume[0].float().cpu().numpy(), self.affine)
        points = {"true": self._to_ras(crop_voxels(self.offset, image.shape[2:]))}
        for branch, output in outputs.items():
            predicted = unscale(output.key_points[0].float().cpu().numpy(), self.volume_shape)
            points[branch] = self._to_ras(predicted)
        name = f"previews/step_{step:08d}_keypoints.json"
        run.write_json(name, {"names": NAMES, **points})
        run.events.emit("preview", step=step, path=run.path(name).parent, losses=losses)
        return losses

    def _to_ras(self, voxels: np.ndarray) -> np.ndarray:
        """Voxel coordinates of the padded volume to RAS mm."""
        in_crop = voxels - np.array(self.offset)
        return in_crop @ self.affine[:3, :3].T + self.affine[:3, 3]
