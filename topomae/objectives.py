"""What pre-training minimizes.

    L = Σ_b L_rec(b) + λ1 · mean_b L_topo(b) + λ2 · Σ_b L_spatial(b) + λ3 · (L_sc + L_rc)

with b over the ViT and the UNETR++ branch (source A, equations of section "Method"). Every term can be
switched off by a weight of 0; its work is then skipped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from topomae.config import PretrainSettings
from topomae.networks.co_pretrainer import BranchOutput, voxel_mask
from topomae.topology.background import PendingDiagrams, PendingLoss
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
            self.topology = TopologicalLoss(
                dims=settings.topology_dims, every_k=settings.topology_every or 1, budget=settings.topology_budget
            )
        self.unfinished_matchings = 0  # in the last step
        self.waited: float | None = None  # seconds that the last step stood still for topology; None: not computed

    def begin(self, batch: Mapping[str, torch.Tensor], step: int) -> PendingDiagrams | None:
        """Start on the diagrams of the input, which need no network; to be handed to `forward`."""
        if self.topology is None or not self.topology.due(step):
            return None
        return self.topology.begin_diagrams(batch["image"])

    def forward(
        self,
        outputs: Mapping[str, BranchOutput],
        batch: Mapping[str, torch.Tensor],
        step: int,
        diagrams: PendingDiagrams | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a step.

        Args:
            outputs: of the branches, see `CoPretrainer`.
            batch: of `PretrainingCrops`: `image`, `mask`, `key_points`, `informative`.
            step: number of the step, for losses that are not computed at each one.
            diagrams: what `begin` gave for the same batch and step, if it was called.
        Returns:
            The total, and the unweighted terms as `loss/branch`, all scalars. A term that was skipped is absent.
        """
        settings, image = self.settings, batch["image"]
        hidden = voxel_mask(batch["mask"], self.patch_size, image.shape[2:])
        pending = self._submit_topology(outputs, image, hidden, step, diagrams)

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
        for branch, term in self._topology_terms(pending).items():
            terms[f"topology/{branch}"] = term.detach() / self.topology.every_k
            total = total + settings.topology_weight / len(pending) * term
        return total, terms

    def _submit_topology(
        self,
        outputs: Mapping[str, BranchOutput],
        image: torch.Tensor,
        hidden: torch.Tensor,
        step: int,
        diagrams: PendingDiagrams | None,
    ) -> dict[str, PendingLoss]:
        """Start the topological losses in the background; the diagrams of the input serve both branches."""
        if self.topology is None or not self.topology.due(step):
            return {}
        diagrams = diagrams or self.topology.begin_diagrams(image)
        return {
            branch: self.topology.submit(composite(output.reconstruction, image, hidden), diagrams, call=step)
            for branch, output in outputs.items()
        }

    def _topology_terms(self, pending: Mapping[str, PendingLoss]) -> dict[str, torch.Tensor]:
        """Wait for the topological losses, keeping count of what the user may want to know."""
        asked = time.perf_counter()
        terms = {branch: loss.result() for branch, loss in pending.items()}
        reports = [loss.report for loss in pending.values()]
        self.unfinished_matchings = sum(report.incomplete for report in reports)
        # Before the reconstruction arrived in main memory the GPU was at work: that is no time lost.
        arrived = min((report.ready_at - report.seconds for report in reports), default=asked)
        self.waited = max(0.0, time.perf_counter() - max(asked, arrived)) if pending else None
        return terms


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
