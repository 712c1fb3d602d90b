"""What fine-tuning minimizes: Dice and cross-entropy at every resolution of the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from topomae.parallel.global_means import summed

_SMOOTH = 1e-5  # added above and below, so that a class that is nowhere does not divide by zero


class DeepDiceCrossEntropy(nn.Module):
    """Soft Dice of the whole batch, background left out, plus cross-entropy, as a weighted sum over resolutions.

    The same as MONAI's `DeepSupervisionLoss(DiceCELoss(include_background=False, to_onehot_y=True, softmax=True,
    batch=True), weights=weights)`; but the sums that Dice is a ratio of are taken over the samples of all processes.

    Args:
        weights: one per resolution, finest first.
    """

    def __init__(self, weights: Sequence[float]):
        super().__init__()
        self.weights = tuple(weights)

    def forward(self, logits: Sequence[torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Args:
            logits: (B, L, d, h, w) of each resolution, finest first; no more than there are weights.
            label: (B, 1, D, H, W) class indices; taken at the nearest voxel for lower resolutions.
        Returns:
            A scalar.
        """
        sums = summed(torch.stack([_sums(level.float(), label) for level in logits]))
        return sum(weight * _loss(level) for weight, level in zip(self.weights, sums, strict=False))


def _sums(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """What the loss of a resolution is made of: per class but the background what label and prediction have in
    common, then what they have together; the cross-entropy of all voxels, and their number. (2 (L - 1) + 2,)"""
    if label.shape[2:] != logits.shape[2:]:
        label = F.interpolate(label.float(), size=logits.shape[2:], mode="nearest-exact")
    index = label[:, 0].long()
    predicted = logits.softmax(1)[:, 1:]
    true = F.one_hot(index, logits.shape[1]).movedim(-1, 1)[:, 1:].to(predicted)
    everywhere = (0, 2, 3, 4)
    common = (predicted * true).sum(everywhere)
    together = predicted.sum(everywhere) + true.sum(everywhere)
    entropy = F.cross_entropy(logits, index, reduction="sum")
    return torch.cat([common, together, torch.stack([entropy, entropy.new_tensor(index.numel())])])


def _loss(sums: torch.Tensor) -> torch.Tensor:
    common, together = sums[:-2].chunk(2)
    dice = 1 - (2 * common + _SMOOTH) / (together + _SMOOTH)
    return dice.mean() + sums[-2] / sums[-1]
