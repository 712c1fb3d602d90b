"""Where a pre-trained model believes a crop lies in the body: nine key points, and where they really are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from TopoMAELib.volumes import volumeArrayAndAffine
from TopoMAESegmentLib.topology_logic import cropCenter
from TopoMAESegmentLib.worker_logic import WorkerLogic
from TopoMAESegmentLib.worker_task import WorkerTask


@dataclass(frozen=True, eq=False)
class KeyPoints:
    """Centre and corners of a crop, true and predicted.

    Attributes:
        names: of the nine points, the centre first.
        true: (9, 3) RAS mm.
        predicted: branch ("vit", "unetrpp") to (9, 3) RAS mm.
        errors: branch to (9,) distances from the true points in mm.
        informative: per axis of the crop whether it can lie in different places along it, so that there
            was anything to learn.
        center: RAS mm of the crop, which may differ from the wanted one near the volume's border.
        size: (x, y, z) mm of the crop.
        affine: (4, 4), voxel index of the crop to RAS mm.
    """

    names: list[str]
    true: np.ndarray
    predicted: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    informative: tuple[bool, bool, bool]
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    affine: np.ndarray

    @classmethod
    def fromResult(cls, result: dict, exchange: object = None) -> KeyPoints:
        """Read the worker's result."""
        crop = result["crop"]
        return cls(
            names=[str(name) for name in result["names"]],
            true=np.array(result["true"], np.float64),
            predicted={branch: np.array(result[branch], np.float64) for branch in result["error_mm"]},
            errors={branch: np.array(errors, np.float64) for branch, errors in result["error_mm"].items()},
            informative=tuple(bool(value) for value in result["informative"]),
            center=tuple(float(value) for value in crop["center"]),
            size=tuple(float(value) for value in crop["size_mm"]),
            affine=np.array(crop["affine"], np.float64),
        )


class KeyPointLogic(WorkerLogic):
    """Usable without a widget.

    Example::

        points = logic.keyPoints(volumeNode, "runs/pretrain", roiNode)
        print(dict(zip(points.names, points.errors["vit"])))
    """

    def keyPoints(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | Sequence[slicer.vtkMRMLScalarVolumeNode],
        pretrained: str,
        roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
        waitForCompletion: bool = True,
        onProgress: Callable | None = None,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ) -> KeyPoints | WorkerTask:
        """Predicted and true key points of a crop.

        Args:
            volumeNode: the volume, or one per modality in the model's order.
            pretrained: folder of the pre-training run.
            roiNode: the crop is centred here, as near as the volume allows; in the volume's middle if None.
                The crop's size is the model's.
            waitForCompletion: return the points; else a task at once.
            onProgress: called with (fraction or None, seconds left or None, phase).
            onFinished: called with the task at its end.

        Raises:
            ValueError: a volume cannot be used.
            WorkerError: the worker could not do it.
        """
        nodes = list(volumeNode) if isinstance(volumeNode, (list, tuple)) else [volumeNode]
        volumes = [volumeArrayAndAffine(node) for node in nodes]
        task = self.start(
            "key_points",
            {"images": volumes},
            {"pretrained": str(pretrained), "center": cropCenter(volumes[0], roiNode)},
            KeyPoints.fromResult,
            nodes,
            onProgress,
            onFinished,
        )
        return task.wait() if waitForCompletion else task

    def cropSize(
        self,
        pretrained: str,
        waitForCompletion: bool = True,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ) -> dict | WorkerTask:
        """Size of a model's crop and what images it needs.

        Returns:
            {"size": (x, y, z) mm, "modalities": names}, or a task.
        """
        task = self.start(
            "crop_size",
            {},
            {"pretrained": str(pretrained)},
            lambda result, exchange: {
                "size": tuple(float(value) for value in result["size_mm"]),
                "modalities": [str(name) for name in result["modalities"]],
            },
            onFinished=onFinished,
            givesFiles=False,
        )
        return task.wait() if waitForCompletion else task
