"""Three orthogonal slices through a case or a preview, in true proportions and radiological orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from topomae.data.geometry import bounding_box
from topomae.data.grids import onto_grid
from topomae.data.volume import Volume
from topomae.data.volume_io import read_image, read_labels
from topomae.errors import TopoMAEError
from topomae.reporting.figures import slice_picture
from topomae.reporting.html import Markup, picture, tag
from topomae.reporting.run_folder import PREVIEW_KINDS, Preview

# Axis that is cut, name, letters at the left, right, bottom and top. The first axis shown runs from
# patient right (or anterior) on the left of the picture: as radiologists look at it.
_PLANES = (
    (2, "axial", ("R", "L", "P", "A")),
    (1, "coronal", ("R", "L", "I", "S")),
    (0, "sagittal", ("A", "P", "I", "S")),
)
_PREVIEW_NAMES = {"input": "input", "masked": "masked", "vit": "ViT", "unetrpp": "UNETR++"}


@dataclass(frozen=True)
class Scene:
    """A case in RAS voxel order: prediction and label (I, J, K), image (I, J, K) or None, spacing in mm."""

    label: np.ndarray
    prediction: np.ndarray
    image: np.ndarray | None
    spacing: tuple[float, float, float]


def read_scene(case: str, prediction: Path, label: Path, image: Path | None) -> Scene:
    """Read what is needed to draw a case.

    An image that cannot be read, or lies on another grid, is left out.

    Raises:
        TopoMAEError: prediction or label cannot be read, or their grids differ.
    """
    target = read_labels(label, case=case)
    predicted = onto_grid(read_labels(prediction, case=case), target)
    if predicted is None:
        raise TopoMAEError("prediction and label do not have the same geometry", case=case)
    grey = None
    if image is not None:
        try:
            grey = onto_grid(_first_channel(read_image(image, case=case)), target)
        except TopoMAEError:
            grey = None
    return Scene(
        label=_ras(target)[0],
        prediction=_ras(predicted)[0],
        image=None if grey is None else _ras(grey)[0],
        spacing=_ras(target)[1],
    )


def case_pictures(scene: Scene, values: Sequence[int], case: str) -> list[Markup]:
    """Axial, coronal and sagittal slice through the largest area of the label, with contours.

    Args:
        scene: the case.
        values: label values to draw.
        case: its name, for the alternative text.
    """
    label, prediction = np.isin(scene.label, values), np.isin(scene.prediction, values)
    shown = label if label.any() else prediction
    box = _zoomed(bounding_box(label | prediction), shown.shape, scene.spacing)
    window = _window(None if scene.image is None else scene.image[box])
    figures = []
    for axis, plane, ends in _PLANES:
        areas = shown.sum(axis=tuple(a for a in range(3) if a != axis))
        index = int(areas.argmax()) if shown.any() else shown.shape[axis] // 2
        cut = _Cut(axis, index, box)
        data = slice_picture(
            None if scene.image is None else cut.of(scene.image),
            cut.spacing(scene.spacing),
            ends,
            window=window,
            labels=[cut.of(scene.label) == value for value in values],
            predictions=[cut.of(scene.prediction) == value for value in values],
        )
        alt = f"{case}: {plane} slice {index} with contours of label and prediction"
        caption = f"{plane}, slice {index + 1} of {shown.shape[axis]}"
        figures.append(picture(data, alt, caption, aspect=cut.aspect(scene.spacing)))
    return figures


def preview_pictures(preview: Preview) -> list[Markup]:
    """Middle slices of input, masked input and both reconstructions, all in the input's grey window."""
    volumes: dict[str, Volume] = {}
    for kind in PREVIEW_KINDS:
        try:
            if kind in preview.volumes:
                volumes[kind] = _first_channel(read_image(preview.volumes[kind]))
        except TopoMAEError:
            continue
    if not volumes:
        return []
    reference = next(iter(volumes.values()))
    window = _window(reference.array)
    return [
        tag(
            "div",
            tag("p", _PREVIEW_NAMES[kind]),
            _middle_slices(volume, window, _PREVIEW_NAMES[kind], preview.step),
        )
        for kind, volume in volumes.items()
    ]


def _middle_slices(volume: Volume, window: tuple[float, float], name: str, step: int) -> list[Markup]:
    array, spacing = _ras(volume)
    whole = tuple(slice(0, n) for n in array.shape)
    figures = []
    for axis, plane, ends in _PLANES:
        cut = _Cut(axis, array.shape[axis] // 2, whole)
        data = slice_picture(cut.of(array), cut.spacing(spacing), ends, window=window, height_inches=2.0)
        figures.append(picture(data, f"{name}, step {step}, {plane}"))
    return figures


@dataclass(frozen=True)
class _Cut:
    """A slice across `axis` at `index`, seen inside `box`, turned as it is shown."""

    axis: int
    index: int
    box: tuple[slice, slice, slice]

    def of(self, array: np.ndarray) -> np.ndarray:
        region = tuple(self.index if a == self.axis else side for a, side in enumerate(self.box))
        return array[region][::-1]  # right, or anterior, to the left of the picture

    def spacing(self, spacing: tuple[float, float, float]) -> tuple[float, float]:
        return tuple(s for a, s in enumerate(spacing) if a != self.axis)

    def aspect(self, spacing: tuple[float, float, float]) -> float:
        """Width by height in mm."""
        sides = ((side.stop - side.start) * s for side, s in zip(self.box, spacing, strict=True))
        width, height = (side for a, side in enumerate(sides) if a != self.axis)
        return min(5.0, max(0.2, width / height))


def _ras(volume: Volume) -> tuple[np.ndarray, tuple[float, float, float]]:
    """First channel with axes running right, anterior and superior, and the spacing in that order."""
    orientation = nib.io_orientation(volume.affine).astype(int)
    spacing = [0.0, 0.0, 0.0]
    for own, (axis, _) in zip(volume.spacing, orientation, strict=True):
        spacing[axis] = own
    return nib.orientations.apply_orientation(volume.array[0], orientation), tuple(spacing)


def _first_channel(volume: Volume) -> Volume:
    return Volume(volume.array[:1], volume.affine, volume.path)


def _zoomed(
    box: Sequence[tuple[int, int]] | None, shape: Sequence[int], spacing: Sequence[float]
) -> tuple[slice, slice, slice]:
    """The box with a margin of 40 % of its longest side (at least 10 mm); everything if there is no box."""
    if box is None:
        return tuple(slice(0, n) for n in shape)
    margin = max(10.0, 0.4 * max((stop - start) * s for (start, stop), s in zip(box, spacing, strict=True)))
    return tuple(
        slice(max(0, start - round(margin / s)), min(n, stop + round(margin / s)))
        for (start, stop), n, s in zip(box, shape, spacing, strict=True)
    )


def _window(image: np.ndarray | None) -> tuple[float, float]:
    """Grey window from the 1st to the 99.5th percentile."""
    if image is None or image.size == 0:
        return (0.0, 1.0)
    low, high = np.percentile(image[..., :: max(1, image.shape[-1] // 64)], (1.0, 99.5))
    return float(low), float(high)
