"""A selected feature in the slice and 3-D views: where it is born and dies, and its voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk

from TopoMAELib.layouts import jumpSlices
from TopoMAELib.scene_nodes import findRoleNode, removeRoleNodes, roleNode
from TopoMAESegmentLib.diagram_chart import FOLDER
from TopoMAESegmentLib.persistence_diagram import DIMENSION_COLORS, ESSENTIAL, PersistenceDiagram, shortNumber

ROLE = "topology.feature."


class FeatureView:
    """Points and outline of one feature at a time."""

    def showPoints(self, diagram: PersistenceDiagram, row: int, goTo: str = "") -> None:
        """Mark the birth and death of a feature, and bring one of them into the slice views.

        Args:
            diagram: its diagram.
            row: its row; the component that never disappears has a birth only.
            goTo: "birth" or "death"; if empty, the one that lies among the feature's voxels: a component
                surrounds its birth, a loop or void is closed at its death.
        """
        self.clearOutline()
        if row == ESSENTIAL:
            label = _("birth {value}").format(value=shortNumber(diagram.essentialValue))
            self.showMarkers([diagram.essentialPosition], [label], DIMENSION_COLORS[0])
            jumpSlices(diagram.essentialPosition)
            return
        positions = (diagram.birthPosition[row], diagram.deathPosition[row])
        labels = (
            _("birth {value}").format(value=shortNumber(diagram.birth[row])),
            _("death {value}").format(value=shortNumber(diagram.death[row])),
        )
        self.showMarkers(positions, labels, DIMENSION_COLORS[int(diagram.dim[row])])
        atDeath = goTo == "death" or (not goTo and diagram.dim[row] > 0)
        jumpSlices(positions[1 if atDeath else 0])

    def showMarkers(
        self, positions: Sequence[Sequence[float]], labels: Sequence[str], color: Sequence[float]
    ) -> slicer.vtkMRMLMarkupsFiducialNode:
        """Show points in the views, instead of those shown before.

        Args:
            positions: RAS mm.
            labels: a text for each.
            color: red, green, blue, 0 to 1.
        """
        node = roleNode(
            "vtkMRMLMarkupsFiducialNode", ROLE + "points", _("TopoMAE feature points"), FOLDER, hidden=True
        )
        with slicer.util.NodeModify(node):
            node.SetLocked(False)
            node.RemoveAllControlPoints()
            for position, label in zip(positions, labels, strict=True):
                node.AddControlPointWorld(vtk.vtkVector3d(*(float(value) for value in position)), label)
            node.SetLocked(True)
        # The colours of the plot, lighter: they must be seen on dark voxels.
        lighter = [0.55 * part + 0.45 for part in color]
        display = node.GetDisplayNode()
        with slicer.util.NodeModify(display):
            display.SetSelectedColor(*lighter)
            display.SetColor(*lighter)
            display.SetGlyphType(display.CrossDot2D)
            display.SetUseGlyphScale(True)
            display.SetGlyphScale(3.5)
            display.SetTextScale(3.0)
            display.SetVisibility(True)
        return node

    def showOutline(
        self,
        mask: np.ndarray,
        affine: np.ndarray,
        name: str,
        color: Sequence[float],
        volumeNode: slicer.vtkMRMLVolumeNode | None = None,
    ) -> slicer.vtkMRMLSegmentationNode:
        """Outline voxels in the views, instead of those outlined before.

        Args:
            mask: (I, J, K), not zero where the feature is.
            affine: (4, 4), voxel index to RAS mm.
            name: what the feature is called.
            color: red, green, blue, 0 to 1.
            volumeNode: volume that it was found in, for the geometry of the segmentation.
        """
        node = roleNode("vtkMRMLSegmentationNode", ROLE + "outline", _("TopoMAE feature"), FOLDER, hidden=True)
        segmentation = node.GetSegmentation()
        segmentation.RemoveAllSegments()
        if volumeNode is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        image = _labelmap(mask, affine)
        if image is None:
            return node
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(*color)
        segment.AddRepresentation(slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName(), image)
        segmentation.AddSegment(segment, "feature")
        node.CreateClosedSurfaceRepresentation()
        display = node.GetDisplayNode()
        with slicer.util.NodeModify(display):
            display.SetOpacity2DFill(0.25)
            display.SetOpacity2DOutline(1.0)
            display.SetOpacity3D(0.6)
            display.SetSliceIntersectionThickness(2)
            display.SetVisibility(True)
        return node

    def clearOutline(self) -> None:
        """Outline nothing."""
        node = findRoleNode(ROLE + "outline", "vtkMRMLSegmentationNode")
        if node is not None:
            node.GetSegmentation().RemoveAllSegments()

    def clear(self) -> None:
        """Remove the nodes."""
        removeRoleNodes(ROLE, FOLDER)


def _labelmap(mask: np.ndarray, affine: np.ndarray) -> slicer.vtkOrientedImageData | None:
    """Binary labelmap of the smallest box around the voxels of a mask; None if there are none."""
    voxels = np.argwhere(mask)
    if len(voxels) == 0:
        return None
    first, last = voxels.min(axis=0), voxels.max(axis=0)
    box = np.asarray(mask)[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] != 0
    image = slicer.vtkOrientedImageData()
    # VTK counts i fastest.
    image.SetExtent(*(int(value) for pair in zip(first, last, strict=True) for value in pair))
    scalars = numpy_to_vtk(box.astype(np.uint8).ravel(order="F"), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.asarray(affine, np.float64)))
    return image
