"""What a pre-trained model makes of a crop whose blocks are mostly hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from TopoMAESegmentLib.persistence_diagram import PersistenceDiagram, dimensionName

BRANCHES = ("vit", "unetrpp")
"""The two networks that are pre-trained together."""


def branchName(branch: str) -> str:
    """What a branch is called."""
    return {"vit": "ViT", "unetrpp": "UNETR++"}[branch]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A crop, what the model saw of it and what both branches made of it.

    Attributes:
        images: "input", "masked", "vit" and "unetrpp" to (I, J, K) normalised intensities.
        affine: (4, 4), voxel index of these to RAS mm.
        size: (x, y, z) mm of the crop.
        meanSquaredError: branch to mean squared error.
        diagrams: "input" and the branches to their diagrams.
        wasserstein: branch to 2-Wasserstein distance to the input's diagram: "0", "1", "2" and "total".
    """

    images: dict[str, np.ndarray]
    affine: np.ndarray
    size: tuple[float, float, float]
    meanSquaredError: dict[str, float]
    diagrams: dict[str, PersistenceDiagram]
    wasserstein: dict[str, dict[str, float]]

    @classmethod
    def fromResult(cls, result: dict, exchange: object) -> Reconstruction:
        """Read the worker's result and its files."""
        # Copied, because the files are removed.
        images = {name: np.array(exchange.load(result[name])) for name in ("input", "masked", *BRANCHES)}
        return cls(
            images=images,
            affine=np.array(result["affine"], np.float64),
            size=tuple(float(value) for value in result["size_mm"]),
            meanSquaredError={branch: float(value) for branch, value in result["mse"].items()},
            diagrams={
                name: PersistenceDiagram.fromResult(diagram, exchange.load(diagram["diagram"]))
                for name, diagram in (result.get("diagrams") or {}).items()
            },
            wasserstein={
                branch: {part: float(value) for part, value in parts.items()}
                for branch, parts in (result.get("wasserstein") or {}).items()
            },
        )

    def distanceText(self, branch: str) -> str:
        """How far a branch's diagram is from the input's, in words."""
        parts = self.wasserstein[branch]
        each = ", ".join(f"{dimensionName(dimension)} {parts[str(dimension)]:.3g}" for dimension in range(3))
        text = _("W2 between the diagrams of the image and of {branch}: {total} ({each}); mean squared error {error}")
        return text.format(
            branch=branchName(branch),
            total=f"{parts['total']:.3g}",
            each=each,
            error=f"{self.meanSquaredError[branch]:.3g}",
        )
