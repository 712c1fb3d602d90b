"""Betti numbers of the segments of a segmentation, asked of the worker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from TopoMAELib.volumes import transformToWorld
from TopoMAESegmentLib.segment_topology import Finding, SegmentTopology, expectedNumbers
from TopoMAESegmentLib.worker_logic import WorkerLogic
from TopoMAESegmentLib.worker_task import WorkerTask


class BettiTask:
    """One request per layer of a segmentation (segments that overlap lie in different layers), as one.

    Attributes:
        state, value, error: as of `WorkerTask`; the value is a list of `SegmentTopology`.
    """

    def __init__(self, onFinished: Callable[[BettiTask], None] | None = None):
        self.state, self.value, self.error = "running", None, None
        self.tasks: list[WorkerTask] = []
        self._onFinished = onFinished
        self._missing = 0

    def follow(self, starters: list[Callable[[Callable], WorkerTask]], collect: Callable[[list], list]) -> None:
        """Start the requests; `collect` makes the value of their values."""
        self._collect, self._missing = collect, len(starters)
        if not starters:
            self._end("done", collect([]))
        for start in starters:
            self.tasks.append(start(self._onTaskFinished))

    def cancel(self) -> None:
        """Give up."""
        for task in self.tasks:
            task.cancel()

    def wait(self, seconds: float | None = None) -> list[SegmentTopology]:
        """Wait for the end; see `WorkerTask.wait`."""
        for task in self.tasks:
            task.wait(seconds)
        if self.error is not None:
            raise self.error
        return self.value

    def _onTaskFinished(self, task: WorkerTask) -> None:
        self._missing -= 1
        if self.state != "running":
            return
        if task.state != "done":
            self._end(task.state, None, task.error)
            self.cancel()
        elif self._missing == 0:
            self._end("done", self._collect([one.value for one in self.tasks] or [task.value]))

    def _end(self, state: str, value: list | None, error: Exception | None = None) -> None:
        self.state, self.value, self.error = state, value, error
        if self._onFinished is not None:
            self._onFinished(self)


class BettiLogic(WorkerLogic):
    """Usable without a widget."""

    def bettiNumbers(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        waitForCompletion: bool = True,
        onFinished: Callable[[BettiTask], None] | None = None,
    ) -> list[SegmentTopology] | BettiTask:
        """Components, tunnels and cavities of every segment.

        Args:
            segmentationNode: its binary labelmaps are looked at, voxel by voxel as they are stored.
            waitForCompletion: return the numbers; else a task at once.
            onFinished: called with the task at its end.

        Returns:
            One entry per segment, in the segmentation's order.

        Raises:
            ValueError: there is no segmentation, or it has no segment.
            WorkerError: the worker could not do it.
        """
        if segmentationNode is None or segmentationNode.GetSegmentation().GetNumberOfSegments() == 0:
            raise ValueError(_("There is no segment to count. Choose a segmentation with segments."))
        layers = layersOf(segmentationNode)
        task = BettiTask(onFinished)
        starters = [
            lambda finished, layer=layer: self.start(
                "betti",
                {"labels": (layer[0], layer[1])},
                {},
                lambda result, exchange: result["labels"],
                [segmentationNode],
                onFinished=finished,
            )
            for layer in layers
        ]
        segmentation = segmentationNode.GetSegmentation()
        task.follow(starters, lambda values: _segments(segmentation, [layer[2] for layer in layers], values))
        return task.wait() if waitForCompletion else task


def layersOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> list[tuple[np.ndarray, np.ndarray, dict[str, int]]]:
    """The binary labelmaps of a segmentation: every layer holds segments that do not overlap.

    Returns:
        Per layer: (I, J, K) labels, (4, 4) affine to the world in mm, and segment id to label.
    """
    name = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    segmentation = segmentationNode.GetSegmentation()
    if not segmentation.ContainsRepresentation(name) and not segmentation.CreateRepresentation(name):
        raise ValueError(
            _('"{name}" cannot be turned into voxels. Give it a reference volume in the Segmentations module.').format(
                name=segmentationNode.GetName()
            )
        )
    toWorld = transformToWorld(segmentationNode)
    layers = []
    for number in range(segmentation.GetNumberOfLayers(name)):
        image = segmentation.GetLayerDataObject(number, name)
        if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
            continue
        first = image.GetExtent()[::2]
        array = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions(), order="F")
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        affine = slicer.util.arrayFromVTKMatrix(matrix)
        affine[:3, 3] += affine[:3, :3] @ first
        labels = {
            segmentID: segmentation.GetSegment(segmentID).GetLabelValue()
            for segmentID in segmentation.GetSegmentIDsForLayer(number, name)
        }
        layers.append((array, toWorld @ affine, labels))
    return layers


def _segments(
    segmentation: slicer.vtkSegmentation, labelsOfLayers: list[dict[str, int]], values: list[dict]
) -> list[SegmentTopology]:
    """Put the worker's answers for every layer into the order of the segments."""
    found = {
        segmentID: answers.get(str(label))
        for labels, answers in zip(labelsOfLayers, values, strict=True)
        for segmentID, label in labels.items()
    }
    topologies = []
    for segmentID in segmentation.GetSegmentIDs():
        segment, answer = segmentation.GetSegment(segmentID), found.get(segmentID)
        if answer is None:
            answer = {"components": 0, "tunnels": 0, "cavities": 0, "features": []}
        topologies.append(
            SegmentTopology(
                segmentID=segmentID,
                name=segment.GetName(),
                numbers=(int(answer["components"]), int(answer["tunnels"]), int(answer["cavities"])),
                expected=expectedNumbers(segment),
                findings=[
                    Finding(
                        kind=str(one["kind"]),
                        voxels=None if one["voxels"] is None else int(one["voxels"]),
                        position=tuple(float(value) for value in one["position"]),
                    )
                    for one in answer["features"]
                ],
            )
        )
    return topologies
