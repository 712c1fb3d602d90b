"""Key points in the views: markups for the points, lines for the box they span and for the errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from TopoMAELib.scene_nodes import findRoleNode, removeRoleNodes, roleNode
from TopoMAESegmentLib.key_point_logic import KeyPoints
from TopoMAESegmentLib.reconstruction import branchName
from TopoMAESegmentLib.roi_box import setBox

FOLDER = "TopoMAE key points"
ROLE = "keypoints."
# Two of Okabe and Ito's colours that are light enough for dark voxels.
TRUE_COLOR = (86 / 255, 180 / 255, 233 / 255)
PREDICTED_COLOR = (230 / 255, 159 / 255, 0)

# Corners are numbered by their sides along the three axes, as binary digits; an edge joins two corners
# that differ along one axis.
BOX_EDGES = tuple((a, a | bit) for bit in (1, 2, 4) for a in range(8) if not a & bit)


class KeyPointView:
    """Points of one crop at a time."""

    def show(self, points: KeyPoints, branch: str) -> None:
        """Show the true points and those of one branch, instead of those shown before.

        Args:
            points: the points.
            branch: "vit" or "unetrpp".
        """
        predicted = points.predicted[branch]
        name = _("TopoMAE key points ({branch})").format(branch=branchName(branch))
        self._markers("predicted", name, predicted, points.names, PREDICTED_COLOR, "Sphere3D")
        self._markers("true", _("TopoMAE key points (true)"), points.true, points.names, TRUE_COLOR, "Diamond2D")
        corners = [(predicted[1 + a], predicted[1 + b]) for a, b in BOX_EDGES]
        self._lines("box", _("TopoMAE predicted box"), corners, PREDICTED_COLOR, 3)
        errors = list(zip(points.true, predicted, strict=True))
        self._lines("errors", _("TopoMAE key point errors"), errors, (0.8, 0.8, 0.8), 1)

    def placeBox(self, points: KeyPoints, roiNode: slicer.vtkMRMLMarkupsROINode | None) -> None:
        """Make a ROI box the crop that was used."""
        if roiNode is not None:
            setBox(roiNode, points.center, points.size, points.affine)

    def nodes(self) -> dict[str, slicer.vtkMRMLNode | None]:
        """The nodes shown: "predicted", "true", "box" and "errors"."""
        return {name: findRoleNode(ROLE + name) for name in ("predicted", "true", "box", "errors")}

    def clear(self) -> None:
        """Remove the nodes."""
        removeRoleNodes(ROLE, FOLDER)

    def _markers(
        self,
        role: str,
        name: str,
        positions: np.ndarray,
        labels: Sequence[str],
        color: Sequence[float],
        glyph: str,
    ) -> None:
        node = roleNode("vtkMRMLMarkupsFiducialNode", ROLE + role, name, FOLDER)
        with slicer.util.NodeModify(node):
            node.SetLocked(False)
            node.RemoveAllControlPoints()
            for position, label in zip(positions, labels, strict=True):
                node.AddControlPointWorld(vtk.vtkVector3d(*(float(value) for value in position)), label)
            # They are an answer, not something to drag.
            node.SetLocked(True)
        display = node.GetDisplayNode()
        with slicer.util.NodeModify(display):
            display.SetSelectedColor(*color)
            display.SetColor(*color)
            display.SetGlyphTypeFromString(glyph)
            display.SetGlyphScale(2.5)
            display.SetTextScale(2.5)
            display.SetPointLabelsVisibility(True)

    def _lines(self, role: str, name: str, lines: Sequence, color: Sequence[float], width: float) -> None:
        points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
        for line in lines:
            cells.InsertNextCell(2)
            for position in line:
                cells.InsertCellPoint(points.InsertNextPoint(*(float(value) for value in position)))
        data = vtk.vtkPolyData()
        data.SetPoints(points)
        data.SetLines(cells)
        node = roleNode("vtkMRMLModelNode", ROLE + role, name, FOLDER, hidden=True)
        node.SetAndObservePolyData(data)
        display = node.GetDisplayNode()
        with slicer.util.NodeModify(display):
            display.SetColor(*color)
            display.SetLineWidth(width)
            display.SetLighting(False)
            display.SetVisibility2D(False)
