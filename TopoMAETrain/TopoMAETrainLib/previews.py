"""Previews of a pre-training in the scene: volumes of one crop, and the key points that were predicted for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.harmless import cleanName
from TopoMAELib.run_folder import PREVIEW_KINDS, RunPreview
from TopoMAELib.scene_nodes import findRoleNode, removeRoleNodes, roleNode
from TopoMAELib.volumes import updateVolume
from TopoMAETrainLib.nifti_preview import readPreview

_ROLE = "preview."
_MOST_BYTES = 1 << 20  # of nine points
_COLORS = {
    "true": (0.0, 158 / 255, 115 / 255),
    "vit": (213 / 255, 94 / 255, 0.0),
    "unetrpp": (0.0, 114 / 255, 178 / 255),
}
_GLYPHS = {"true": "Sphere3D", "vit": "Triangle2D", "unetrpp": "Diamond2D"}


def kindTitles() -> dict[str, str]:
    """Names of the volumes of a preview for the user, in order."""
    titles = (_("Input"), _("Masked input"), _("Reconstruction of the ViT"), _("Reconstruction of UNETR++"))
    return dict(zip(PREVIEW_KINDS, titles, strict=True))


@dataclass(frozen=True)
class KeyPoints:
    """The nine key points of the preview's crop.

    Args:
        names: of the points.
        positions: from "true", "vit" or "unetrpp" to (9, 3) RAS mm.
    """

    names: tuple[str, ...]
    positions: dict[str, np.ndarray]

    @classmethod
    def read(cls, preview: RunPreview) -> KeyPoints:
        """Read them.

        Raises:
            ValueError: the file cannot be read.
        """
        try:
            if preview.keyPoints.stat().st_size > _MOST_BYTES:
                raise ValueError("impossibly large")
            content = json.loads(preview.keyPoints.read_text(encoding="utf-8"))
            names = tuple(cleanName(name) for name in content["names"])
            positions = {name: np.array(content[name], float) for name in _COLORS if name in content}
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"The key points {preview.keyPoints} cannot be read: {error}") from error
        if "true" not in positions or any(p.shape != (len(names), 3) for p in positions.values()):
            raise ValueError(f"The key points {preview.keyPoints} are damaged.")
        return cls(names, positions)

    def errors(self) -> dict[str, np.ndarray]:
        """From "vit" or "unetrpp" to the distance of every point from the true one, (9,) mm."""
        true = self.positions["true"]
        return {
            name: np.linalg.norm(points - true, axis=1) for name, points in self.positions.items() if name != "true"
        }


class PreviewScene:
    """Loads previews into the scene, always into the same nodes, so that views keep showing them.

    Args:
        folder: subject hierarchy folder of the nodes.
    """

    def __init__(self, folder: str = ""):
        self._folder = folder or _("TopoMAE preview")

    def load(self, runName: str, preview: RunPreview, channel: int = 0) -> KeyPoints:
        """Load the volumes and key points of a preview.

        Args:
            runName: for the names of the nodes.
            preview: what to load.
            channel: image channel (modality) to show.
        Returns:
            The key points.
        Raises:
            ValueError: a file cannot be read; nothing has changed then.
        """
        keyPoints = KeyPoints.read(preview)
        volumes = {kind: readPreview(preview.volumes[kind]) for kind in PREVIEW_KINDS if kind in preview.volumes}
        titles = kindTitles()
        first = volumes["input"][0]
        channel = min(channel, len(first) - 1)
        shown = (float(first[channel].min()), float(first[channel].max()))
        for kind, (array, affine) in volumes.items():
            name = f"{runName} {preview.step} {titles[kind]}"
            node = roleNode("vtkMRMLScalarVolumeNode", _ROLE + kind, name, self._folder)
            updateVolume(node, array[channel], affine)
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetAutoWindowLevel(False)  # the same greys in all of them, so that eyes can compare
            display.SetWindowLevelMinMax(*shown)
        for name, points in keyPoints.positions.items():
            self._loadPoints(runName, preview.step, name, keyPoints.names, points)
        return keyPoints

    def volume(self, kind: str) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The volume of a kind; None if no preview is loaded."""
        return findRoleNode(_ROLE + kind, "vtkMRMLScalarVolumeNode")

    def points(self, name: str) -> slicer.vtkMRMLMarkupsFiducialNode | None:
        """The key points "true", "vit" or "unetrpp"; None if no preview is loaded."""
        return findRoleNode(f"{_ROLE}points.{name}", "vtkMRMLMarkupsFiducialNode")

    def show(self, kind: str) -> None:
        """Show a volume in the slice views."""
        node = self.volume(kind)
        if node is not None:
            slicer.util.setSliceViewerLayers(background=node, foreground=None, label=None, fit=True)

    def clear(self) -> None:
        """Remove everything from the scene."""
        removeRoleNodes(_ROLE, self._folder)

    def _loadPoints(self, runName: str, step: int, name: str, names: tuple[str, ...], points: np.ndarray) -> None:
        title = {"true": _("true key points"), "vit": _("key points of the ViT")}.get(name, _("key points of UNETR++"))
        role = f"{_ROLE}points.{name}"
        node = roleNode("vtkMRMLMarkupsFiducialNode", role, f"{runName} {step} {title}", self._folder)
        with slicer.util.NodeModify(node):
            node.SetLocked(False)
            slicer.util.updateMarkupsControlPointsFromArray(node, points)
            for index, pointName in enumerate(names):
                node.SetNthControlPointLabel(index, pointName)
            node.SetLocked(True)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSelectedColor(*_COLORS[name])
        display.SetColor(*_COLORS[name])
        display.SetGlyphTypeFromString(_GLYPHS[name])
        display.SetPointLabelsVisibility(name == "true")  # three labels at one place could not be read
