"""Volumes over time: the frames of a sequence browser, and a segmentation of each of them in the same browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from TopoMAELib.model_card import ModelCard
from TopoMAELib.segmentations import updateSegmentation
from TopoMAELib.volumes import VolumeError, placeBeside
from TopoMAESegmentLib.volume_groups import firstVolume

_RESULT_ATTRIBUTE = "TopoMAE.SegmentationOf"  # ID of the sequence of volumes that was segmented


@dataclass(frozen=True)
class Frame:
    """One moment: its index value in the browser, and one volume per modality, None for what is not available."""

    indexValue: str
    volumeNodes: tuple[slicer.vtkMRMLScalarVolumeNode | None, ...]


def volumeSequences(browserNode: slicer.vtkMRMLSequenceBrowserNode) -> list[slicer.vtkMRMLSequenceNode]:
    """The sequences of a browser that hold images, the master sequence first."""
    sequences = vtk.vtkCollection()
    browserNode.GetSynchronizedSequenceNodes(sequences, True)
    found = [sequences.GetItemAsObject(place) for place in range(sequences.GetNumberOfItems())]
    return [sequence for sequence in found if sequence.GetDataNodeClassName() == "vtkMRMLScalarVolumeNode"]


def framesOf(
    browserNode: slicer.vtkMRMLSequenceBrowserNode,
    volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode | None] | None,
    card: ModelCard,
) -> list[Frame]:
    """The frames to segment.

    Args:
        browserNode: the browser.
        volumeNodes: one per modality: the volume that the browser shows for a sequence, or a volume that is the
            same at all times, or None for one that the model does without. None instead takes the browser's
            sequences in their order.
        card: of the model.
    Raises:
        VolumeError: there is no sequence of images, or too few for the model.
    """
    sources = _sources(browserNode, volumeNodes, card)
    timeline = next((source for source in sources if source and source.IsA("vtkMRMLSequenceNode")), None)
    if timeline is None or timeline.GetNumberOfDataNodes() == 0:
        message = _("{browser} has no sequence of images that can be segmented; choose another sequence browser.")
        raise VolumeError(message.format(browser=browserNode.GetName()))
    values = [timeline.GetNthIndexValue(place) for place in range(timeline.GetNumberOfDataNodes())]
    return [Frame(value, tuple(_at(source, value) for source in sources)) for value in values]


class SequenceResult:
    """The segmentations of all frames: a sequence in the browser of the images, and the node that shows it.

    A result of an earlier run is filled again, frame by frame.
    """

    def __init__(
        self,
        browserNode: slicer.vtkMRMLSequenceBrowserNode,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode] | None,
        card: ModelCard,
    ):
        """Find or make the nodes; arguments as of `framesOf`."""
        self._browser, self._card = browserNode, card
        sources = _sources(browserNode, volumeNodes, card)
        self._images = next(source for source in sources if source and source.IsA("vtkMRMLSequenceNode"))
        self._shownVolume = browserNode.GetProxyNode(self._images)
        self._frames = self._earlier() or self._make()
        self.segmentationNode = browserNode.GetProxyNode(self._frames)

    def put(self, frame: Frame, labels: np.ndarray) -> None:
        """Store the label map (I, J, K) of a frame, and show it if the browser shows that frame now."""
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(self._frames.GetName())
        updateSegmentation(node, labels, firstVolume(frame.volumeNodes), self._card.labels, self._shownVolume)
        self._frames.SetDataNodeAtValue(node, frame.indexValue)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self._browser)

    def _earlier(self) -> slicer.vtkMRMLSequenceNode | None:
        sequences = vtk.vtkCollection()
        self._browser.GetSynchronizedSequenceNodes(sequences, True)
        for place in range(sequences.GetNumberOfItems()):
            sequence = sequences.GetItemAsObject(place)
            if sequence.GetAttribute(_RESULT_ATTRIBUTE) == self._images.GetID() and self._browser.GetProxyNode(
                sequence
            ):
                return sequence
        return None

    def _make(self) -> slicer.vtkMRMLSequenceNode:
        name = _("{volume} segmentation").format(volume=self._images.GetName())
        frames = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", slicer.mrmlScene.GenerateUniqueName(name))
        frames.SetIndexName(self._images.GetIndexName())
        frames.SetIndexUnit(self._images.GetIndexUnit())
        frames.SetIndexType(self._images.GetIndexType())
        frames.SetAttribute(_RESULT_ATTRIBUTE, self._images.GetID())
        shown = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", frames.GetName())
        shown.CreateDefaultDisplayNodes()
        if self._shownVolume:
            shown.SetReferenceImageGeometryParameterFromVolumeNode(self._shownVolume)
            placeBeside(shown, self._shownVolume)
        self._browser.AddProxyNode(shown, frames, False)
        # A frame that is not done yet must not look as if it were segmented like the one before.
        self._browser.SetMissingItemMode(frames, slicer.vtkMRMLSequenceBrowserNode.MissingItemSetToDefault)
        return frames


def _sources(browserNode: object, volumeNodes: Sequence | None, card: ModelCard) -> list:
    """Per modality a sequence, a volume that is the same at all times, or None if it is not available."""
    if volumeNodes:
        sources = [node and (browserNode.GetSequenceNode(node) or node) for node in volumeNodes]
    else:
        sources = volumeSequences(browserNode)[: len(card.modalities)]
    if card.isEnough(sources):
        return sources
    message = _("The model needs {needed} images at each time ({names}), but {browser} has {given}.")
    names, given = ", ".join(card.modalities), sum(map(bool, sources))
    raise VolumeError(
        message.format(needed=len(card.modalities), names=names, browser=browserNode.GetName(), given=given)
    )


def _at(source: object, indexValue: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    if source is None:
        return None
    return source.GetDataNodeAtValue(indexValue, False) if source.IsA("vtkMRMLSequenceNode") else source
