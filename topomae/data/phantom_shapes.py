"""Four organ-like shapes of known topology, posed and bent in a body: the geometry of the phantoms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.measure import euler_number

BODY_WIDTH = 76.0  # mm; the organs of every phantom fit into a cube of about this size

_CONNECTED_26 = np.ones((3, 3, 3), dtype=bool)
_CONNECTED_6 = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True)
class Organ:
    """One labelled structure.

    Attributes:
        name: name of the label.
        betti: numbers of components, tunnels and enclosed cavities of the label map.
        centre: where it lies in the body, mm, right-anterior-superior.
        surface: points (..., 3) in mm around the centre to roughly the distance from the surface in mm,
            negative inside.
        brightness: mean signal, where 1 is the brightest tissue.
        texture: standard deviation of the signal inside, as a part of `brightness`.
    """

    name: str
    betti: tuple[int, int, int]
    centre: tuple[float, float, float]
    surface: Callable[[np.ndarray], np.ndarray]
    brightness: float
    texture: float


def _solid(points: np.ndarray) -> np.ndarray:
    return 10.0 * (np.linalg.norm(points / (13.5, 9.5, 11.0), axis=-1) - 1.0)


def _hollow(points: np.ndarray) -> np.ndarray:
    return np.abs(np.linalg.norm(points / (1.0, 1.1, 0.95), axis=-1) - 9.4) - 3.7


def _ring(points: np.ndarray) -> np.ndarray:
    from_axis = np.hypot(points[..., 0], points[..., 1])
    return np.hypot(from_axis - 9.6, points[..., 2]) - 4.4


_TUBE = (  # start, end (mm) and radius (mm) of each piece
    ((0.0, 0.0, -12.0), (0.0, 0.0, 0.0), 4.7),
    ((0.0, 0.0, 0.0), (9.5, 2.0, 9.0), 4.3),
    ((0.0, 0.0, 0.0), (-9.0, 3.0, 9.5), 4.3),
)


def _branching_tube(points: np.ndarray) -> np.ndarray:
    distances = [_from_segment(points, np.array(start), np.array(end)) - r for start, end, r in _TUBE]
    return np.minimum.reduce(distances)


def _from_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along = end - start
    part = np.clip((points - start) @ along / (along @ along), 0.0, 1.0)
    return np.linalg.norm(points - start - part[..., None] * along, axis=-1)


# At four corners of a cube, so that they are as far from each other as they can be.
ORGANS: tuple[Organ, ...] = (
    Organ("solid organ", (1, 0, 0), (-14.5, -14.5, -14.5), _solid, 0.62, 0.05),
    Organ("hollow organ", (1, 0, 1), (14.5, 14.5, -14.5), _hollow, 0.80, 0.04),
    Organ("ring", (1, 1, 0), (14.5, -14.5, 14.5), _ring, 0.18, 0.08),
    Organ("branching tube", (1, 0, 0), (-14.5, 14.5, 14.5), _branching_tube, 0.95, 0.03),
)


@dataclass(frozen=True)
class Pose:
    """Where something lies: rotated, stretched along its own axes, then moved."""

    rotation: np.ndarray  # (3, 3)
    stretch: np.ndarray  # (3,)
    position: np.ndarray  # (3,) mm

    @classmethod
    def draw(cls, rng: np.random.Generator, *, degrees: float, stretch: float, shift: float) -> Pose:
        """A random pose within the given limits: degrees per axis, part of the size, mm."""
        return cls(
            rotation=Rotation.from_euler("xyz", rng.uniform(-degrees, degrees, 3), degrees=True).as_matrix(),
            stretch=1.0 + rng.uniform(-stretch, stretch, 3),
            position=rng.uniform(-shift, shift, 3),
        )

    def to_local(self, points: np.ndarray) -> np.ndarray:
        """Outer coordinates (..., 3) in mm to the coordinates of the thing itself."""
        return (points - self.position) @ self.rotation / self.stretch


@dataclass(frozen=True)
class Bend:
    """A smooth bend of space: each point is moved by a sum of three long waves.

    Their slopes add up to less than 1, so the bend neither folds nor tears: no shape changes its topology and
    no two shapes come to touch.
    """

    wave_vectors: np.ndarray  # (3 waves, 3) radians per mm
    wave_shifts: np.ndarray  # (3 waves, 3) mm
    wave_phases: np.ndarray  # (3 waves,) radians

    @classmethod
    def draw(cls, rng: np.random.Generator, directions: np.ndarray) -> Bend:
        """A random bend by waves that run along `directions`, (3, 3) unit vectors as rows."""
        return cls(
            wave_vectors=directions * (2.0 * np.pi / rng.uniform(45.0, 75.0, (3, 1))),
            wave_shifts=unit_vectors(rng, 3) * rng.uniform(0.4, 1.4, (3, 1)),
            wave_phases=rng.uniform(0.0, 2.0 * np.pi, 3),
        )

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in mm, moved."""
        return points + np.sin(points @ self.wave_vectors.T + self.wave_phases) @ self.wave_shifts


@dataclass(frozen=True)
class Anatomy:
    """One phantom patient: pose of the body, poses of the organs and a smooth bend of everything."""

    body: Pose
    organs: tuple[Pose, ...]
    bend: Bend

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        """A random patient."""
        directions = unit_vectors(rng, 3)
        return cls(
            body=Pose.draw(rng, degrees=8.0, stretch=0.06, shift=3.0),
            organs=tuple(Pose.draw(rng, degrees=22.0, stretch=0.08, shift=1.8) for _ in ORGANS),
            bend=Bend.draw(rng, directions),
        )

    def to_body(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in mm, right-anterior-superior, to coordinates in the unbent standard body."""
        return self.bend(self.body.to_local(points))

    def surfaces(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in mm to roughly the distance (organ, ...) from each surface, negative inside."""
        in_body = self.to_body(points)
        return np.stack(
            [
                organ.surface(pose.to_local(in_body - organ.centre))
                for organ, pose in zip(ORGANS, self.organs, strict=True)
            ]
        )

    def is_body(self, points: np.ndarray) -> np.ndarray:
        """Whether points (..., 3) in mm lie in the body, a box with round corners."""
        return np.sum((self.to_body(points) / 33.0) ** 4, axis=-1) < 1.0

    def is_cavity(self, points: np.ndarray) -> np.ndarray:
        """Whether points (..., 3) in mm lie in the cavity of the hollow organ."""
        index = next(i for i, organ in enumerate(ORGANS) if organ.betti[2])
        local = self.organs[index].to_local(self.to_body(points) - ORGANS[index].centre)
        return (ORGANS[index].surface(local) > 0) & (np.linalg.norm(local, axis=-1) < 9.0)


def unit_vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random directions, (count, 3)."""
    vectors = rng.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def shows_topology(labels: np.ndarray) -> bool:
    """Whether a label map shows every organ whole, apart from the others and with its Betti numbers.

    The numbers must come out the same however voxels that share only an edge or a corner are counted.

    Args:
        labels: (I, J, K), 0 for background and n for organ n of `ORGANS`.
    """
    for value, organ in enumerate(ORGANS, start=1):
        mask = labels == value
        if not mask.any() or mask[1:-1, 1:-1, 1:-1].sum() != mask.sum():
            return False
        around = ndimage.binary_dilation(mask, _CONNECTED_26)
        if np.any(around & (labels > 0) & ~mask):
            return False
        if any(_betti_numbers(mask, corners) != organ.betti for corners in (True, False)):
            return False
    return True


def _betti_numbers(mask: np.ndarray, corners: bool) -> tuple[int, int, int]:
    """Betti numbers of a mask whose voxels hang together across corners (26 neighbours) or faces only (6).

    The rooms above have a general one; the data floor does not know them.
    """
    inside, outside = (_CONNECTED_26, _CONNECTED_6) if corners else (_CONNECTED_6, _CONNECTED_26)
    components = ndimage.label(mask, inside)[1]
    cavities = ndimage.label(~np.pad(mask, 1), outside)[1] - 1
    euler = euler_number(np.pad(mask, 1), connectivity=3 if corners else 1)
    return components, components + cavities - int(euler), cavities
