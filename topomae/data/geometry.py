"""The way from a volume's own voxel grid to the preprocessed grid, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from topomae.data.resampling import Shape, resampled_affine
from topomae.data.volume import Volume
from topomae.errors import BadDataError

RAS = np.array([[0, 1], [1, 1], [2, 1]])  # nibabel's orientation array of volumes already in RAS order
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where a preprocessed volume came from. All three steps are undone in reverse order to go back.

    Attributes:
        shape: (I, J, K) of the input file.
        affine: (4, 4) of the input file, voxel to RAS mm.
        orientation: per input axis the RAS axis it becomes (0, 1, 2) and 1 or -1 for kept or reversed
            (nibabel's orientation array).
        box: (start, stop) voxels kept per RAS axis; what lies outside is constant border.
        preprocessed_shape: voxels per RAS axis after resampling of the box.
    """

    shape: Shape
    affine: np.ndarray
    orientation: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    box: Box
    preprocessed_shape: Shape

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the dataclass is frozen for everybody else
        set_field(self, "shape", _three_counts(self.shape))
        set_field(self, "preprocessed_shape", _three_counts(self.preprocessed_shape))
        set_field(self, "affine", np.array(self.affine, np.float64))
        set_field(self, "orientation", tuple((int(a), int(flip)) for a, flip in self.orientation))
        set_field(self, "box", tuple((int(start), int(stop)) for start, stop in self.box))
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError("affine must be 4 by 4 finite numbers")
        if sorted(a for a, _ in self.orientation) != [0, 1, 2] or {f for _, f in self.orientation} - {1, -1}:
            raise ValueError("orientation must name each RAS axis once, with direction 1 or -1")
        if len(self.box) != 3 or any(
            not 0 <= start < stop <= n for (start, stop), n in zip(self.box, self.ras_shape, strict=True)
        ):
            raise ValueError("box must lie inside the volume")

    @classmethod
    def of(cls, volume: Volume) -> Geometry:
        """The geometry that only reorients a volume: nothing cut, nothing resampled.

        Raises:
            BadDataError: the affine is singular or not finite.
        """
        orientation = _orientation(volume)
        ras_shape = _in_ras_order(volume.shape, orientation)
        return cls(volume.shape, volume.affine, orientation, tuple((0, n) for n in ras_shape), ras_shape)

    @property
    def ras_shape(self) -> Shape:
        """Voxels per RAS axis of the whole reoriented input."""
        return _in_ras_order(self.shape, self.orientation)

    @property
    def ras_spacing(self) -> tuple[float, float, float]:
        """mm between voxel centres of the input per RAS axis."""
        return tuple(float(s) for s in np.linalg.norm(self.ras_affine[:3, :3], axis=0))

    @property
    def box_shape(self) -> Shape:
        """Voxels per RAS axis inside the box."""
        return tuple(stop - start for start, stop in self.box)

    @property
    def ras_affine(self) -> np.ndarray:
        """(4, 4), voxel of the reoriented input to RAS mm."""
        return self.affine @ nib.orientations.inv_ornt_aff(np.array(self.orientation), self.shape)

    @property
    def preprocessed_affine(self) -> np.ndarray:
        """(4, 4), voxel of the preprocessed volume to RAS mm."""
        into_box = np.eye(4)
        into_box[:3, 3] = [start for start, _ in self.box]
        return resampled_affine(self.ras_affine @ into_box, self.box_shape, self.preprocessed_shape)

    def to_ras(self, array: np.ndarray) -> np.ndarray:
        """View of (I, J, K) or (C, I, J, K) with its last three axes in RAS order and direction."""
        spatial_first = np.moveaxis(array, (-3, -2, -1), (0, 1, 2))
        turned = nib.orientations.apply_orientation(spatial_first, np.array(self.orientation))
        return np.moveaxis(turned, (0, 1, 2), (-3, -2, -1))

    def cut(self, array: np.ndarray) -> np.ndarray:
        """View of the box in an array whose last three axes are in RAS order."""
        return array[(..., *(slice(start, stop) for start, stop in self.box))]

    def from_box(self, inside: np.ndarray, outside: float) -> np.ndarray:
        """Place an array of `box_shape` into the input's own grid.

        Args:
            inside: values inside the box, RAS order.
            outside: value of every voxel outside the box.
        Returns:
            `shape`, C-contiguous, the type of `inside`.
        """
        whole = np.full(self.ras_shape, outside, inside.dtype)
        self.cut(whole)[:] = inside
        back = nib.orientations.ornt_transform(RAS, np.array(self.orientation))
        return np.ascontiguousarray(nib.orientations.apply_orientation(whole, back))

    def to_dict(self) -> dict:
        """The geometry as JSON holds it."""
        return {
            "shape": list(self.shape),
            "affine": self.affine.tolist(),
            "orientation": [list(axis) for axis in self.orientation],
            "box": [list(sides) for sides in self.box],
            "preprocessed_shape": list(self.preprocessed_shape),
        }

    @classmethod
    def from_dict(cls, content: Mapping) -> Geometry:
        """Rebuild from `to_dict`.

        Raises:
            ValueError: an entry is missing or impossible.
        """
        try:
            return cls(**content)
        except (TypeError, AttributeError, OverflowError) as error:  # OverflowError: an infinite number of voxels
            raise ValueError(f"not a geometry: {error}") from None


def _orientation(volume: Volume) -> list[tuple[int, int]]:
    """Per voxel axis the RAS axis closest to it, and its direction."""
    affine = np.asarray(volume.affine, np.float64)
    if affine.shape == (4, 4) and np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12:
        orientation = nib.orientations.io_orientation(affine)
        if np.isfinite(orientation).all():
            return [(int(axis), int(direction)) for axis, direction in orientation]
    raise BadDataError(
        "the affine gives the voxels no position: it is singular or not finite",
        hint="Export the volume again with a valid voxel spacing and orientation.",
        path=volume.path,
    )


def bounding_box(mask: np.ndarray) -> Box | None:
    """Smallest box around the True voxels of (I, J, K), as (start, stop) per axis; None if there are none."""
    sides = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if not len(hit):
            return None
        sides.append((int(hit[0]), int(hit[-1]) + 1))
    return tuple(sides)


def _in_ras_order(shape: Sequence[int], orientation: Sequence[tuple[int, int]]) -> Shape:
    return tuple(n for _, n in sorted(zip((axis for axis, _ in orientation), shape, strict=True)))


def _three_counts(counts: Sequence[int]) -> Shape:
    shape = tuple(int(n) for n in counts)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"{counts} is not three positive numbers of voxels")
    return shape
