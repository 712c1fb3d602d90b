"""Persistence diagrams as the worker sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

# Components, loops, voids; the first, second and third of Okabe and Ito's colours.
DIMENSION_COLORS = ((0, 114 / 255, 178 / 255), (213 / 255, 94 / 255, 0), (0, 158 / 255, 115 / 255))

ESSENTIAL = -1
"""Stands for the component that never disappears where rows of a diagram are meant."""


def dimensionName(dimension: int) -> str:
    """What features of a dimension are called, in the plural."""
    return (_("components"), _("loops"), _("voids"))[dimension]


def featureName(dimension: int) -> str:
    """What one feature of a dimension is called."""
    return (_("component"), _("loop"), _("void"))[dimension]


@dataclass(frozen=True, eq=False)
class PersistenceDiagram:
    """The longest lasting features of a volume, longest first; row r is one feature.

    Attributes:
        dim: (m,) 0 component, 1 loop, 2 void.
        index: (m,) number of the feature within its dimension, for asking the worker about it.
        birth, death: (m,) intensities at which it appears and disappears.
        birthPosition, deathPosition: (m, 3) RAS mm of the voxels where that happens.
        birthVoxel, deathVoxel: (m, 3) voxel indices (of the box that was cut out, if one was).
        counts: number of features of every dimension, also of those that are not among the m.
        essentialValue: intensity at which the one component appears that never disappears.
        essentialPosition: RAS mm of its voxel.
        superlevel: True if bright structures were looked at: birth is above death then.
        handle: the worker's name of the diagram, as long as it remembers it.
    """

    dim: np.ndarray
    index: np.ndarray
    birth: np.ndarray
    death: np.ndarray
    birthPosition: np.ndarray
    deathPosition: np.ndarray
    birthVoxel: np.ndarray
    deathVoxel: np.ndarray
    counts: dict[int, int]
    essentialValue: float
    essentialPosition: tuple[float, float, float]
    superlevel: bool
    handle: str

    @classmethod
    def fromResult(cls, result: Mapping, arrays: Mapping[str, np.ndarray]) -> PersistenceDiagram:
        """Read a diagram.

        Args:
            result: the worker's description.
            arrays: the arrays of its file.
        """
        return cls(
            dim=np.array(arrays["dim"], np.int64),
            index=np.array(arrays["index"], np.int64),
            birth=np.array(arrays["birth"], np.float64),
            death=np.array(arrays["death"], np.float64),
            birthPosition=np.array(arrays["birth_position"], np.float64).reshape(-1, 3),
            deathPosition=np.array(arrays["death_position"], np.float64).reshape(-1, 3),
            birthVoxel=np.array(arrays["birth_voxel"], np.int64).reshape(-1, 3),
            deathVoxel=np.array(arrays["death_voxel"], np.int64).reshape(-1, 3),
            counts={int(dimension): int(count) for dimension, count in result["features"].items()},
            essentialValue=float(result["essential"]["value"]),
            essentialPosition=tuple(float(value) for value in result["essential"]["position"]),
            superlevel=bool(result["superlevel"]),
            handle=str(result["handle"]),
        )

    def __len__(self) -> int:
        return len(self.dim)

    @property
    def persistence(self) -> np.ndarray:
        """(m,) how long every feature lasts, in intensity."""
        return np.abs(self.death - self.birth)

    def featureText(self, row: int) -> str:
        """One feature in a few words: "loop, 12.5 to 80.1"."""
        return _("{feature}, {birth} to {death}").format(
            feature=featureName(int(self.dim[row])),
            birth=shortNumber(self.birth[row]),
            death=shortNumber(self.death[row]),
        )

    def countText(self) -> str:
        """How many features there are, and how many of them are shown."""
        parts = [f"{self.counts.get(dimension, 0)} {dimensionName(dimension)}" for dimension in sorted(self.counts)]
        total = sum(self.counts.values())
        text = ", ".join(parts)
        if len(self) < total:
            text += _(" (the {shown} longest lasting are shown)").format(shown=len(self))
        return text


def valueRange(diagrams: Sequence[PersistenceDiagram]) -> tuple[float, float]:
    """Range of intensities that holds every birth and death of some diagrams, with a small margin.

    Args:
        diagrams: at least one.
    """
    values = np.concatenate([[d.essentialValue, *d.birth, *d.death] for d in diagrams])
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def shortNumber(value: float) -> str:
    """A number with about four digits."""
    return f"{value:.4g}"
