"""Persistence diagrams of volumes and of reconstructions, and the voxels of their features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import slicer

from TopoMAELib.volumes import volumeArrayAndAffine
from TopoMAESegmentLib.betti_logic import BettiLogic
from TopoMAESegmentLib.persistence_diagram import PersistenceDiagram
from TopoMAESegmentLib.reconstruction import Reconstruction
from TopoMAESegmentLib.roi_box import cutBox, roiCenter
from TopoMAESegmentLib.worker_task import WorkerTask

SHOWN_FEATURES = 2000


class TopologyLogic(BettiLogic):
    """Diagrams, reconstructions and Betti numbers; usable without a widget.

    Example::

        diagram = logic.persistenceDiagram(volumeNode, roiNode)
        print(diagram.countText(), diagram.persistence[:10])
        mask, affine = logic.featureMask(diagram, 0)
    """

    def persistenceDiagram(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
        superlevel: bool = False,
        waitForCompletion: bool = True,
        dims: Sequence[int] = (0, 1, 2),
        count: int = SHOWN_FEATURES,
        onProgress: Callable | None = None,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ) -> PersistenceDiagram | WorkerTask:
        """Persistence diagram of a volume, or of a box of it.

        Args:
            volumeNode: the volume.
            roiNode: the box, whose smallest index-aligned box around it counts; the whole volume if None.
            superlevel: look at bright structures (for instance of a probability map), not at dark ones.
            waitForCompletion: return the diagram; else a task at once.
            dims: dimensions wanted: 0 components, 1 loops, 2 voids.
            count: number of features wanted, the longest lasting ones.
            onProgress: called with (fraction or None, seconds left or None, phase).
            onFinished: called with the task at its end.

        Raises:
            ValueError: the volume cannot be used, or the box lies outside of it.
            WorkerError: the worker could not do it.
        """
        array, affine = cutBox(*volumeArrayAndAffine(volumeNode), roiNode)
        task = self.start(
            "persistence",
            {"image": (array, affine)},
            {"dims": [int(dimension) for dimension in dims], "superlevel": bool(superlevel), "count": int(count)},
            _readDiagram,
            [volumeNode],
            onProgress,
            onFinished,
        )
        return task.wait() if waitForCompletion else task

    def reconstruct(
        self,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        pretrained: str,
        roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
        maskRatio: float = 0.75,
        seed: int = 0,
        waitForCompletion: bool = True,
        onProgress: Callable | None = None,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ) -> Reconstruction | WorkerTask:
        """What a pre-trained model makes of a crop, with the diagrams of both and their distance.

        Args:
            volumeNodes: one volume per modality, in the model's order.
            pretrained: folder of the pre-training run.
            roiNode: the crop is centred here, as near as the volume allows; in the volume's middle if None.
            maskRatio: part of the crop's blocks that the model does not see, 0 to 1.
            seed: of the choice of hidden blocks.
            waitForCompletion, onProgress, onFinished: as for `persistenceDiagram`.
        """
        volumes = [volumeArrayAndAffine(node) for node in volumeNodes]
        task = self.start(
            "reconstruct",
            {"images": volumes},
            {
                "pretrained": str(pretrained),
                "center": cropCenter(volumes[0], roiNode),
                "mask_ratio": float(maskRatio),
                "seed": int(seed),
                "diagrams": True,
            },
            Reconstruction.fromResult,
            volumeNodes,
            onProgress,
            onFinished,
        )
        return task.wait() if waitForCompletion else task

    def featureMask(
        self,
        diagram: PersistenceDiagram,
        row: int,
        waitForCompletion: bool = True,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray] | WorkerTask:
        """The voxels of a feature.

        Args:
            diagram: a diagram that the worker still remembers.
            row: row in it.
            waitForCompletion, onFinished: as for `persistenceDiagram`.

        Returns:
            (I, J, K) uint8 mask and its (4, 4) affine, voxel index to RAS mm.
        """
        task = self.start(
            "feature",
            {},
            {"handle": diagram.handle, "dim": int(diagram.dim[row]), "index": int(diagram.index[row])},
            lambda result, exchange: (np.array(exchange.load(result["mask"])), np.array(result["affine"], np.float64)),
            (),
            None,
            onFinished,
        )
        return task.wait() if waitForCompletion else task


def cropCenter(volume: tuple[np.ndarray, np.ndarray], roiNode: slicer.vtkMRMLMarkupsROINode | None) -> list[float]:
    """RAS mm of a ROI box's centre, or of a volume's middle if there is no box."""
    if roiNode is not None:
        return roiCenter(roiNode)
    array, affine = volume
    middle = affine[:3, :3] @ ((np.array(array.shape) - 1) / 2) + affine[:3, 3]
    return [float(value) for value in middle]


def _readDiagram(result: dict, exchange: object) -> PersistenceDiagram:
    return PersistenceDiagram.fromResult(result, exchange.load(result["diagram"]))
