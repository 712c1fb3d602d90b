"""What the panels of the module need to know of what is chosen in the segment panel."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from TopoMAELib.model_card import ModelCard
from TopoMAESegmentLib.parameters import SegmentParameters, inputVolumes
from TopoMAESegmentLib.probabilities import probabilityNode


class SegmentContext:
    """A view of the segment panel's choices for the other panels, which never change them.

    Attributes:
        changed: functions called without arguments whenever something below may have changed.
    """

    def __init__(self) -> None:
        self.changed: list[Callable[[], None]] = []
        self._parameters: SegmentParameters | None = None
        self._card: ModelCard | None = None

    def volumeNodes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The chosen volumes, one per modality of the model, without those not chosen yet."""
        if self._parameters is None:
            return []
        count = len(self._card.modalities) if self._card else 1
        return [node for node in inputVolumes(self._parameters, count) if node is not None]

    def volumeOfEachModality(self) -> list[slicer.vtkMRMLScalarVolumeNode | None]:
        """The chosen volumes in the order of the model's modalities, None where none is chosen."""
        if self._parameters is None or self._card is None:
            return []
        return inputVolumes(self._parameters, len(self._card.modalities))

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The chosen or last made segmentation."""
        return self._parameters.segmentation if self._parameters else None

    def modelCard(self) -> ModelCard | None:
        """The chosen model."""
        return self._card

    def probabilityNode(self, segmentID: str) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The probability map of a segment of the segmentation; None if it was not computed."""
        return probabilityNode(self.segmentationNode(), segmentID)

    def device(self) -> str:
        """`auto`, `cpu` or `cuda`."""
        return self._parameters.device if self._parameters else "auto"

    def setParameters(self, parameters: SegmentParameters | None) -> None:
        """For the segment panel: the parameter node of the present scene; None while there is none."""
        self._parameters = parameters

    def setModelCard(self, card: ModelCard | None) -> None:
        """For the segment panel: the model that is chosen now."""
        self._card = card

    def notify(self) -> None:
        """Tell everybody that something changed."""
        for callback in list(self.changed):
            callback()
