"""How well one predicted structure agrees with its label: overlap, surfaces, volume and topology."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from topomae.data.geometry import bounding_box
from topomae.topology.betti import betti_numbers

NAN = math.nan
LABEL_EMPTY = "label empty"
PREDICTION_EMPTY = "prediction empty"
BOTH_EMPTY = "both empty"


@dataclass(frozen=True)
class MaskScores:
    """Agreement of a predicted structure with its label. What is not defined is nan, and `reason` says why.

    Attributes:
        reason: "" where everything is defined, else "label empty", "prediction empty" or "both empty".
        dice: 2|P∩L| / (|P|+|L|). 0 when only one of the two is empty (the formula says so: a structure was
            missed or made up); nan when both are.
        hd95_mm: the larger of the two directed 95th percentiles of surface distances; nan when one is empty.
        asd_mm: mean of all surface distances, both directions pooled; nan when one is empty.
        surface_dice: share of the two surfaces' area that lies within the tolerance of the other surface;
            0 when only one is empty, nan when both are.
        volume_label_ml: volume of the label.
        volume_prediction_ml: volume of the prediction.
        volume_difference_ml: prediction minus label; nan when both are empty.
        volume_difference_percent: the same, in per cent of the label; nan when the label is empty.
        betti_label: components, tunnels and cavities of the label.
        betti_prediction: components, tunnels and cavities of the prediction.
    """

    reason: str
    dice: float
    hd95_mm: float
    asd_mm: float
    surface_dice: float
    volume_label_ml: float
    volume_prediction_ml: float
    volume_difference_ml: float
    volume_difference_percent: float
    betti_label: tuple[int, int, int]
    betti_prediction: tuple[int, int, int]

    @cached_property
    def betti_error(self) -> tuple[float, float, float]:
        """|b0 - b0'|, |b1 - b1'|, |b2 - b2'|; nan when both masks are empty."""
        if self.reason == BOTH_EMPTY:
            return (NAN, NAN, NAN)
        return tuple(float(abs(p - q)) for p, q in zip(self.betti_prediction, self.betti_label, strict=True))

    @cached_property
    def betti_exact(self) -> float:
        """1 if all three Betti numbers agree, else 0; nan when both masks are empty."""
        return NAN if self.reason == BOTH_EMPTY else float(sum(self.betti_error) == 0)


def compare_masks(
    prediction: np.ndarray,
    label: np.ndarray,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    tolerance_mm: float = 1.0,
) -> MaskScores:
    """Compare a predicted structure with its label.

    Distances are MONAI's, between the centres of surface voxels (for surface Dice: between surface
    elements weighted by their area, Nikolov et al., https://arxiv.org/abs/2111.05408, because counting
    voxels gives the faces of long voxels the wrong weight).

    Args:
        prediction: (I, J, K) bool.
        label: (I, J, K) bool.
        spacing: mm between voxel centres along i, j and k.
        tolerance_mm: distance up to which a piece of surface counts as found by surface Dice.

    Returns:
        The scores; undefined ones are nan with a reason.

    Raises:
        ValueError: the shapes differ or are not three-dimensional.
    """
    if prediction.shape != label.shape or label.ndim != 3:
        raise ValueError(f"two (I, J, K) masks are needed, not {prediction.shape} and {label.shape}")
    box = bounding_box(prediction.astype(bool) | label.astype(bool)) or ((0, 1),) * 3
    box = tuple(slice(*sides) for sides in box)
    prediction, label = prediction[box].astype(bool), label[box].astype(bool)
    spacing = tuple(float(s) for s in spacing)  # MONAI wants all of one type
    voxel_ml = math.prod(spacing) / 1000.0
    volume_prediction = int(prediction.sum()) * voxel_ml
    volume_label = int(label.sum()) * voxel_ml
    reason = _reason(volume_prediction > 0, volume_label > 0)
    difference = volume_prediction - volume_label
    dice, surface_dice, hd95, asd = _overlap_and_surfaces(prediction, label, spacing, tolerance_mm, reason)
    return MaskScores(
        reason=reason,
        dice=dice,
        hd95_mm=hd95,
        asd_mm=asd,
        surface_dice=surface_dice,
        volume_label_ml=volume_label,
        volume_prediction_ml=volume_prediction,
        volume_difference_ml=NAN if reason == BOTH_EMPTY else difference,
        volume_difference_percent=100.0 * difference / volume_label if volume_label > 0 else NAN,
        betti_label=betti_numbers(label),
        betti_prediction=betti_numbers(prediction),
    )


def _reason(has_prediction: bool, has_label: bool) -> str:
    if has_prediction and has_label:
        return ""
    if has_prediction:
        return LABEL_EMPTY
    return PREDICTION_EMPTY if has_label else BOTH_EMPTY


def _overlap_and_surfaces(
    prediction: np.ndarray, label: np.ndarray, spacing: tuple[float, ...], tolerance_mm: float, reason: str
) -> tuple[float, float, float, float]:
    """Dice, surface Dice, HD95 (mm), ASD (mm). Empty masks never reach MONAI, whose answers there vary."""
    if reason:
        overlap = NAN if reason == BOTH_EMPTY else 0.0
        return overlap, overlap, NAN, NAN
    import torch
    from monai import metrics

    p, y = torch.from_numpy(prediction)[None, None], torch.from_numpy(label)[None, None]
    # One channel: MONAI would take it for the background and leave it out.
    common = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI about its own calls
        dice = metrics.compute_dice(p, y, include_background=True)
        surface_dice = metrics.compute_surface_dice(p, y, [tolerance_mm], use_subvoxels=True, **common)
        hd95 = metrics.compute_hausdorff_distance(p, y, percentile=95, **common)
        asd = metrics.compute_average_surface_distance(p, y, symmetric=True, **common)
    return tuple(float(value.item()) for value in (dice, surface_dice, hd95, asd))
