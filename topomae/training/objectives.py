"""What pre-training minimizes.

    L = Σ_b L_rec(b) + λ1 · mean_b L_topo(b) + λ2 · Σ_b L_spatial(b) + λ3 · (L_sc + L_rc) + alignment

with b over the ViT and the UNETR++ branch (source A, equations of section "Method"); for alignment (source B) see
`topomae.alignment`. Every term can be switched off by a weight of 0; its work is then skipped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from topomae.config import PretrainSettings
from topomae.errors import BadDataError
from topomae.networks.co_pretrainer import BranchOutput, voxel_mask
from topomae.parallel.distributed import cores
from topomae.parallel.global_means import Fraction, global_means
from topomae.topology.background import PendingDiagrams, PendingLoss
from topomae.topology.loss import TopologicalLoss
from topomae.training.aligning import Aligning


class CoPretrainingLoss(nn.Module):
    """Weighted sum of the losses of both branches, and each of them by name.

    Args:
        settings: the weights.
        patch_size: (i, j, k) voxels of a block of the mask.
        aligning: makes the alignment terms; None where there are none.
    """

    def __init__(self, settings: PretrainSettings, patch_size: tuple[int, int, int], aligning: Aligning | None = None):
        super().__init__()
        self.settings = settings
        self.patch_size = patch_size
        self.aligning = aligning
        self.topology = None
        if settings.topology_weight > 0:
            self.topology = TopologicalLoss(
                dims=settings.topology_dims,
                every_k=settings.topology_every or 1,
                budget=settings.topology_budget,
                threads=min(8, cores()),
            )
        self.unfinished_matchings = 0  # in the last step
        self.waited: float | None = None  # seconds that the last step stood still for topology; None: not computed

    @property
    def masks(self) -> bool:
        """Whether the branches have to solve masked crops at all."""
        s = self.settings
        weights = (s.reconstruction_weight, s.topology_weight, s.spatial_weight)
        return any((*weights, s.spatial_consistency_weight, s.reconstruction_consistency_weight))

    @property
    def untrained(self) -> tuple[str, ...]:
        """Fields of the branches' outputs that no term looks at."""
        s = self.settings
        looked_at = {
            "reconstruction": (s.reconstruction_weight, s.topology_weight, s.reconstruction_consistency_weight),
            "key_points": (s.spatial_weight, s.spatial_consistency_weight),
        }
        return tuple(name for name, weights in looked_at.items() if not any(weights))

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
        features: Sequence[torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a step.

        Args:
            outputs: of the branches, see `CoPretrainer`; empty where none of their losses is wanted.
            batch: of `PretrainingCrops`: `image`, `mask`, `key_points`, `informative`, `there` if it has it; with
                `features` its views.
            step: number of the step, for losses that are not computed at each one.
            diagrams: what `begin` gave for the same batch and step, if it was called.
            features: of both views, see `CoPretrainer`, where they are to be aligned.
        Returns:
            The total, and the unweighted terms as `loss/branch`, all scalars. A term that was skipped is absent.
        """
        settings, image = self.settings, batch["image"]
        hidden = voxel_mask(batch["mask"], self.patch_size, image.shape[2:])
        if "there" in batch:  # nobody knows what a modality that a case lacks would have shown
            hidden = hidden & batch["there"][:, :, None, None, None]
        pending = self._submit_topology(outputs, image, hidden, step, diagrams)

        weights: dict[str, float] = {}
        parts: dict[str, Fraction] = {}  # every mean is one over the samples of all processes
        if settings.reconstruction_weight > 0:
            for branch, output in outputs.items():
                weights[f"reconstruction/{branch}"] = settings.reconstruction_weight
                parts[f"reconstruction/{branch}"] = masked_error(output.reconstruction, image, hidden)
        if settings.spatial_weight > 0:
            for branch, output in outputs.items():
                weights[f"spatial/{branch}"] = settings.spatial_weight
                parts[f"spatial/{branch}"] = key_point_error(
                    output.key_points, batch["key_points"], batch["informative"]
                )
        if settings.spatial_consistency_weight > 0:
            first, second = outputs.values()
            weights["consistency/spatial"] = settings.spatial_consistency_weight
            parts["consistency/spatial"] = key_point_error(first.key_points, second.key_points, batch["informative"])
        if settings.reconstruction_consistency_weight > 0:
            first, second = outputs.values()
            weights["consistency/reconstruction"] = settings.reconstruction_consistency_weight
            parts["consistency/reconstruction"] = masked_error(first.reconstruction, second.reconstruction, hidden)
        for branch, term in self._topology_terms(pending).items():
            weights[f"topology/{branch}"] = settings.topology_weight / len(pending)
            parts[f"topology/{branch}"] = Fraction(term.to(image.device) * len(image), len(image))
        terms, watched = global_means(parts), {}
        if features is not None:
            aligned, watched = self.aligning.terms(features, batch, step)
            terms, weights = terms | aligned, weights | self.aligning.weights
        total = sum(weights[name] * term for name, term in terms.items())
        if not terms:  # only subjects are to be aligned, and this batch is of a single one
            total = 0 * sum(view.float().mean() for view in features)
        for branch in pending:  # heavier where it is rare, see `TopologicalLoss`; told as it is
            terms[f"topology/{branch}"] = terms[f"topology/{branch}"].detach() / self.topology.every_k
        return total, terms | watched

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
        try:
            terms = {branch: loss.result() for branch, loss in pending.items()}
        except BadDataError:  # a reconstruction that is not a number has no diagrams: this step is left out
            self.unfinished_matchings, self.waited = 0, None
            return {branch: torch.tensor(torch.nan) for branch in pending}
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
        prediction: (B, C, D, H, W). target: the same shape. hidden: (B, 1, D, H, W) or (B, C, D, H, W) bool.
    """
    return masked_error(prediction, target, hidden).value


def masked_error(prediction: torch.Tensor, target: torch.Tensor, hidden: torch.Tensor) -> Fraction:
    """What `masked_mse` is the mean of."""
    squared = (prediction - target).square() * hidden
    return Fraction(squared.sum(), hidden.sum() * (prediction.shape[1] // hidden.shape[1]))


def key_point_mse(prediction: torch.Tensor, target: torch.Tensor, informative: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over the axes along which the crop could have lain elsewhere; 0 if there are none.

    Args:
        prediction: (B, 9, 3). target: (B, 9, 3). informative: (B, 3) bool.
    """
    return key_point_error(prediction, target, informative).value


def key_point_error(prediction: torch.Tensor, target: torch.Tensor, informative: torch.Tensor) -> Fraction:
    """What `key_point_mse` is the mean of."""
    weight = informative[:, None, :].to(prediction.dtype).expand_as(prediction)
    return Fraction((F.mse_loss(prediction, target, reduction="none") * weight).sum(), weight.sum())
