"""What pre-training minimizes.

    L = Σ_b L_rec(b) + λ1 · mean_b L_topo(b) + λ2 · Σ_b L_spatial(b) + λ3 · (L_sc + L_rc)

with b over the ViT and the UNETR++ branch (source A, equations of section "Method"). Every term can be
switched off by a weight of 0; its work is then skipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from topomae.config import PretrainSettings
from topomae.networks.co_pretrainer import BranchOutput, voxel_mask
from topomae.topology.loss import TopologicalLoss


class CoPretrainingLoss(nn.Module):
    """Weighted sum of the losses of both branches, and each of them by name.

    Args:
        settings: the weights.
        patch_size: (i, j, k) voxels of a block of the mask.
    """

    def __init__(self, settings: PretrainSettings, patch_size: tuple[int, int, int]):
        super().__init__()
        self.settings = settings
        self.patch_size = patch_size
        self.topology = None
        if settings.topology_weight > 0:
            self.topology = TopologicalLoss(dims=settings.topology_dims, budget=settings.topology_budget)
        self.unfinished_matchings = 0  # in the last step

    def forward(
        self, outputs: Mapping[str, BranchOutput], batch: Mapping[str, torch.Tensor], step: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a step.

        Args:
            outputs: of the branches, see `CoPretrainer`.
            batch: of `PretrainingCrops`: `image`, `mask`, `key_points`, `informative`.
            step: number of the step, for losses that are not computed at each one.
        Returns:
            The total, and the unweighted terms as `loss/branch`, all scalars. A term that was skipped is absent.
        """
        settings, image = self.settings, batch["image"]
        hidden = voxel_mask(batch["mask"], self.patch_size, image.shape[2:])
        pending = self._submit_topology(outputs, image, hidden, step)

        terms = {f"reconstruction/{b}": masked_mse(o.reconstruction, image, hidden) for b, o in outputs.items()}
        total = sum(terms.values())
        if settings.spatial_weight > 0:
            for branch, output in outputs.items():
                term = key_point_mse(output.key_points, batch["key_points"], batch["informative"])
                terms[f"spatial/{branch}"] = term
                total = total + settings.spatial_weight * term
        first, second = outputs.values()
        if settings.spatial_consistency_weight > 0:
            term = key_point_mse(first.key_points, second.key_points, batch["informative"])
            terms["consistency/spatial"] = term
            total = total + settings.spatial_consistency_weight * term
        if settings.reconstruction_consistency_weight > 0:
            term = masked_mse(first.reconstruction, second.reconstruction, hidden)
            terms["consistency/reconstruction"] = term
            total = total + settings.reconstruction_consistency_weight * term
        self.unfinished_matchings = 0
        for branch, loss in pending.items():
            term = loss.result()
            self.unfinished_matchings += self.topology.last.incomplete
            terms[f"topology/{branch}"] = term
            weight = settings.topology_weight * settings.topology_every / len(pending)
            total = total + weight * term
        return total, terms

    def _submit_topology(
        self, outputs: Mapping[str, BranchOutput], image: torch.Tensor, hidden: torch.Tensor, step: int
    ) -> dict:
        """Start the topological losses in the background; the diagrams of the input serve both branches."""
        if self.topology is None or step % self.settings.topology_every:
            return {}
        diagrams = self.topology.diagrams(image)
        return {
            branch: self.topology.submit(composite(output.reconstruction, image, hidden), diagrams)
            for branch, output in outputs.items()
        }


def composite(reconstruction: torch.Tensor, image: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """The reconstruction where voxels were hidden and the image elsewhere.

    Visible voxels are not trained by the reconstruction loss; what a branch says there is noise that must
    not enter the diagrams.
    """
    return torch.where(hidden, reconstruction, image)


def masked_mse(prediction: torch.Tensor, target: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over the hidden voxels.

    Args:
        prediction: (B, C, D, H, W). target: the same shape. hidden: (B, 1, D, H, W) bool.
    """
    squared = (prediction - target).square() * hidden
    return squared.sum() / (hidden.sum() * prediction.shape[1])


def key_point_mse(prediction: torch.Tensor, target: torch.Tensor, informative: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over the axes along which the crop could have lain elsewhere; 0 if there are none.

    Args:
        prediction: (B, 9, 3). target: (B, 9, 3). informative: (B, 3) bool.
    """
    weight = informative[:, None, :].to(prediction.dtype).expand_as(prediction)
    return (F.mse_loss(prediction, target, reduction="none") * weight).sum() / weight.sum().clamp(min=1)
