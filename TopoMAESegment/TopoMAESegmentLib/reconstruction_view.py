"""The reconstructed crop over the image in the slice views."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.scene_nodes import findRoleNode, removeRoleNodes, roleNode
from TopoMAELib.volumes import updateVolume
from TopoMAESegmentLib.diagram_chart import FOLDER
from TopoMAESegmentLib.reconstruction import Reconstruction, branchName

ROLE = "topology.reconstruction."


class ReconstructionView:
    """Three volume nodes: the crop as the networks get it, with the hidden blocks, and reconstructed."""

    def show(self, reconstruction: Reconstruction, branch: str) -> None:
        """Fill the volumes.

        Args:
            reconstruction: what to show.
            branch: whose.
        """
        names = {
            "input": _("TopoMAE crop"),
            "masked": _("TopoMAE crop, partly hidden"),
            "reconstructed": _("TopoMAE reconstruction ({branch})").format(branch=branchName(branch)),
        }
        for role, name in names.items():
            image = reconstruction.images[branch if role == "reconstructed" else role]
            node = roleNode("vtkMRMLScalarVolumeNode", ROLE + role, name, FOLDER, hidden=True)
            updateVolume(node, image, reconstruction.affine)
            if node.GetDisplayNode() is None:
                node.CreateDefaultDisplayNodes()
        self._shareWindow(reconstruction.images["input"])

    def overlay(self, role: str) -> None:
        """Lay one of the volumes over the image in all slice views.

        Args:
            role: "input", "masked" or "reconstructed"; empty for none of them.
        """
        node = findRoleNode(ROLE + role, "vtkMRMLScalarVolumeNode") if role else None
        ours = [findRoleNode(ROLE + name) for name in ("input", "masked", "reconstructed")]
        known = [one.GetID() for one in ours if one is not None]
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if node is not None:
                composite.SetForegroundVolumeID(node.GetID())
                composite.SetForegroundOpacity(1.0)
            elif composite.GetForegroundVolumeID() in known:
                composite.SetForegroundVolumeID(None)
                composite.SetForegroundOpacity(0.0)

    def clear(self) -> None:
        """Remove the volumes."""
        self.overlay("")
        removeRoleNodes(ROLE, FOLDER)

    @staticmethod
    def _shareWindow(image: np.ndarray) -> None:
        """Same brightness for all three, else they cannot be compared."""
        darkest, brightest = (float(value) for value in np.percentile(image, (0.5, 99.5)))
        for role in ("input", "masked", "reconstructed"):
            display = findRoleNode(ROLE + role, "vtkMRMLScalarVolumeNode").GetDisplayNode()
            display.AutoWindowLevelOff()
            display.SetWindowLevelMinMax(darkest, brightest)
