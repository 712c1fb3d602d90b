"""Volumes to what networks see, and what networks say back to the volume's own voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from topomae.data.geometry import Geometry, bounding_box
from topomae.data.grids import describe_grid, onto_grid
from topomae.data.normalization import border_value, normalize
from topomae.data.plan import Plan
from topomae.data.resampling import index_type, resample_argmax, resample_image, resample_linearly
from topomae.data.volume import Volume
from topomae.errors import BadDataError

# An axis is "thick" if its voxels are this many times longer than the shortest: neighbouring slices then
# show different anatomy, and a cubic curve through them would overshoot.
THICK = 3.0
FOREGROUND_VOXELS = 1000


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A case as networks see it; arrays may be memory-mapped files, so copy before changing them.

    Attributes:
        image: (C, I, J, K) float32, RAS order, at the plan's spacing, normalised.
        label: (I, J, K) class indices, 0 background, k the plan's k-th label; uint8 (uint16 for more than
            256 classes); None if the case has no label.
        affine: (4, 4) float64, voxel of these arrays to RAS mm.
        geometry: the way back to the input's grid.
        foreground: class index to (N, 3) int32 voxel positions, at most 1000 drawn evenly from each class
            present in the label; crops are centred on them so that small structures are seen often.
        available: which of the modalities the case has; the others are zero. None where nothing is missing.
    """

    image: np.ndarray
    label: np.ndarray | None
    affine: np.ndarray
    geometry: Geometry
    foreground: dict[int, np.ndarray] = field(default_factory=dict)
    available: tuple[bool, ...] | None = None


def preprocess(image: Volume, label: Volume | None, plan: Plan) -> Preprocessed:
    """Reorient to RAS, cut the constant border, normalise and resample to the plan's spacing.

    Images are interpolated cubically (linearly along thick slices). Each class of a label is interpolated
    linearly and the strongest wins: unlike the nearest neighbour that keeps surfaces where they are, to a
    fraction of a voxel. Label voxels inside the constant border are dropped with it. A modality that is missing
    stays zero and has no say in where the border is.

    Args:
        image: (C, I, J, K), one channel per modality of the plan.
        label: (1, I, J, K) label values on the same grid, up to axis order and direction; or None.
        plan: what to do.
    Raises:
        BadDataError: the channels, the grid, the intensities or a label value do not fit the plan.
    """
    _check_image(image, plan)
    borders = [border_value(channel) for channel in image.array]
    geometry = plan_geometry(image, plan, borders)
    channels = []
    orders = _spline_orders(geometry, plan)
    available = image.available or (True,) * plan.channels
    for channel, how, border, there in zip(image.array, plan.normalization, borders, available, strict=True):
        if not there:
            channels.append(np.zeros(geometry.preprocessed_shape, np.float32))
            continue
        inside = normalize(geometry.cut(geometry.to_ras(channel)), how, border)
        channels.append(resample_image(inside, geometry.preprocessed_shape, orders))
    classes = None if label is None else _resampled_classes(image, label, geometry, plan)
    return Preprocessed(
        image=np.stack(channels),
        label=classes,
        affine=geometry.preprocessed_affine,
        geometry=geometry,
        foreground={} if classes is None else foreground_positions(classes),
        available=image.available,
    )


def plan_geometry(image: Volume, plan: Plan, borders: Sequence[float | None]) -> Geometry:
    """Say where each step of preprocessing takes a volume.

    The new number of voxels is rounded, so that the volume's outer edges stay exactly where they are;
    the new spacing is therefore the plan's only to within half a voxel over the volume's length.

    Args:
        image: the input.
        plan: for the spacing.
        borders: constant border value of each channel, or None (`border_value`).
    """
    whole = Geometry.of(image)
    box = whole.box
    if None not in borders:
        content = np.zeros(image.shape, bool)
        for channel, border in zip(image.array, borders, strict=True):
            content |= channel != border
        box = bounding_box(whole.to_ras(content)) or box
    lengths = [(stop - start) * s for (start, stop), s in zip(box, whole.ras_spacing, strict=True)]
    # An exact half is rounded up, also if the affine, written by one program or another, makes it a bit less.
    new_shape = tuple(max(1, math.floor(mm / s + 0.5 + 1e-4)) for mm, s in zip(lengths, plan.spacing, strict=True))
    return replace(whole, box=box, preprocessed_shape=new_shape)


def restore_labels(scores: np.ndarray | torch.Tensor, geometry: Geometry, class_values: Sequence[int]) -> np.ndarray:
    """Turn class scores into a label map in the input's own voxels.

    Every class's score is interpolated linearly and the highest wins. Memory: besides the scores, one
    label map and a few float32 slabs; neither grows with the number of classes.

    Args:
        scores: (L, I, J, K) on the preprocessed grid, any float type, any device; logits or probabilities.
        geometry: of the preprocessed case.
        class_values: label value of each of the L classes; the first is background.
    Returns:
        (I, J, K) of the input, label values in the smallest unsigned type; outside the box background.
    """
    _check_scores(scores, (len(class_values), *geometry.preprocessed_shape))
    winner = resample_argmax(
        lambda c, planes: scores[c, planes],
        len(class_values),
        geometry.preprocessed_shape,
        geometry.box_shape,
    )
    values = np.array(class_values, np.min_scalar_type(max(class_values)))
    return geometry.from_box(values[winner], outside=values[0])


def restore_scores(scores: np.ndarray | torch.Tensor, geometry: Geometry, *, outside: float = 0.0) -> np.ndarray:
    """Bring the scores of one class to the input's own voxels, interpolated linearly.

    Args:
        scores: (I, J, K) on the preprocessed grid.
        geometry: of the preprocessed case.
        outside: value where the constant border was cut; 1 for the probability of background.
    Returns:
        (I, J, K) of the input, float32.
    """
    _check_scores(scores, geometry.preprocessed_shape)
    return geometry.from_box(resample_linearly(scores, geometry.box_shape), outside)


def foreground_positions(label: np.ndarray, *, seed: int = 0) -> dict[int, np.ndarray]:
    """Draw up to 1000 voxels of every class but background.

    Args:
        label: (I, J, K) class indices.
        seed: the draw is the same for the same seed and label.
    Returns:
        class index to (N, 3) int32 positions, in the array's order; classes that are absent are left out.
    """
    rng = np.random.default_rng(seed)
    positions = {}
    for c in np.unique(label[label > 0]).tolist():
        where = np.flatnonzero(label == c)
        if len(where) > FOREGROUND_VOXELS:
            where = np.sort(rng.choice(where, FOREGROUND_VOXELS, replace=False))
        positions[c] = np.stack(np.unravel_index(where, label.shape), axis=1).astype(np.int32)
    return positions


def _spline_orders(geometry: Geometry, plan: Plan) -> tuple[int, int, int]:
    """Cubic, but linear along axes that are thick before or after resampling."""
    before, after = np.array(geometry.ras_spacing), np.array(plan.spacing)
    thick = (before > THICK * before.min()) | (after > THICK * after.min())
    return tuple(1 if t else 3 for t in thick)


def _resampled_classes(image: Volume, label: Volume, geometry: Geometry, plan: Plan) -> np.ndarray:
    """Class indices on the preprocessed grid."""
    placed = onto_grid(label, image)
    if placed is None:
        raise BadDataError(
            f"label and image lie on different grids: {describe_grid(label)}; {describe_grid(image)}",
            hint="Resample the label onto the image, or export both again.",
            path=label.path,
        )
    inside = geometry.cut(geometry.to_ras(placed.array[0]))
    present = np.unique(inside)
    unknown = [int(v) for v in present if v not in plan.class_values]
    if unknown:
        raise BadDataError(
            f"the label holds {', '.join(map(str, unknown))}, but the plan knows only "
            f"{', '.join(map(str, plan.class_values))}",
            hint="Correct the label map, or name the value in dataset.json and plan again.",
            path=label.path,
        )
    indices = np.searchsorted(plan.class_values, present).astype(index_type(plan.classes))
    if inside.shape == geometry.preprocessed_shape:
        return np.ascontiguousarray(indices[np.searchsorted(present, inside)])
    winner = resample_argmax(
        lambda c, planes: inside[planes] == present[c],
        len(present),
        inside.shape,
        geometry.preprocessed_shape,
    )
    return indices[winner]


def _check_image(image: Volume, plan: Plan) -> None:
    problem, hint = "", ""
    if len(image.array) != plan.channels:
        names = ", ".join(plan.modalities)
        problem = f"the image has {len(image.array)} channels, the plan {plan.channels}: {names}"
        hint = "Give one image per modality, in the plan's order."
    elif not np.isfinite(image.array).all():
        problem, hint = "the image holds NaN or infinite voxels", "Replace them with the background's value."
    elif all(channel.min() == channel.max() for channel in image.array):
        problem = f"the image is constant: every voxel is {image.array.flat[0]:g}"
        hint = "Export it again, or leave the case out."
    if problem:
        raise BadDataError(problem, hint=hint, path=image.path)


def _check_scores(scores: np.ndarray | torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(scores.shape) != tuple(shape):
        raise ValueError(f"scores have shape {tuple(scores.shape)}, the geometry needs {tuple(shape)}")
