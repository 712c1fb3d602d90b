"""What a persistence diagram can be made of, and the requests for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from TopoMAESegmentLib.persistence_diagram import PersistenceDiagram
from TopoMAESegmentLib.reconstruction import Reconstruction, branchName

IMAGE, RECONSTRUCTION, PROBABILITY = "image", "reconstruction", "probability"


@dataclass(frozen=True)
class DiagramChoice:
    """What the user wants to see.

    Attributes:
        source: `IMAGE`, `RECONSTRUCTION` or `PROBABILITY`.
        roiNode: the box; None for the whole volume.
        volumeNode: for the image.
        segmentID: for the probability map.
        pretrained, hiddenPart: for the reconstruction: folder of the run, part of the blocks not shown (0 to 1).
    """

    source: str
    roiNode: slicer.vtkMRMLMarkupsROINode | None
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
    segmentID: str = ""
    pretrained: str = ""
    hiddenPart: float = 0.75


def volumeOf(choice: DiagramChoice, segmentContext: object) -> slicer.vtkMRMLScalarVolumeNode:
    """The volume that a choice is about; of a reconstruction the first modality.

    Raises:
        ValueError: there is none; the message says what to do.
    """
    if choice.source == IMAGE:
        if choice.volumeNode is None:
            raise ValueError(_("Choose a volume first."))
        return choice.volumeNode
    if choice.source == RECONSTRUCTION:
        volumes = segmentContext.volumeNodes()
        if not volumes:
            raise ValueError(_("Choose the input volumes in the upper part of the module first."))
        return volumes[0]
    segmentation = segmentContext.segmentationNode()
    if segmentation is None or not choice.segmentID:
        raise ValueError(_("Choose a segment of a segmentation first."))
    volume = segmentContext.probabilityNode(choice.segmentID)
    if volume is None:
        segment = segmentation.GetSegmentation().GetSegment(choice.segmentID)
        raise ValueError(
            _('There is no probability map of "{name}". Tick the probabilities and segment again.').format(
                name=segment.GetName() if segment is not None else choice.segmentID
            )
        )
    return volume


def startDiagram(
    logic: object, choice: DiagramChoice, segmentContext: object, onProgress: Callable, onFinished: Callable
) -> object:
    """Ask for what was chosen.

    Args:
        logic: `TopologyLogic`.
        choice: what is wanted.
        segmentContext: tells volumes and segmentation.
        onProgress, onFinished: see `WorkerTask`.

    Returns:
        The task; its value is a `PersistenceDiagram` or a `Reconstruction`.

    Raises:
        ValueError: something is missing; the message says what to do.
    """
    volumeNode = volumeOf(choice, segmentContext)
    if choice.source == RECONSTRUCTION:
        return logic.reconstruct(
            segmentContext.volumeNodes(),
            choice.pretrained,
            choice.roiNode,
            maskRatio=choice.hiddenPart,
            waitForCompletion=False,
            onProgress=onProgress,
            onFinished=onFinished,
        )
    return logic.persistenceDiagram(
        volumeNode,
        choice.roiNode,
        superlevel=choice.source == PROBABILITY,
        waitForCompletion=False,
        onProgress=onProgress,
        onFinished=onFinished,
    )


def diagramsOf(
    value: PersistenceDiagram | Reconstruction, name: str, branch: str
) -> tuple[list[PersistenceDiagram], list[str], str]:
    """Diagrams to show, their titles, and a summary in words.

    Args:
        value: the value of the task.
        name: of the volume or segment.
        branch: which network's reconstruction is shown.
    """
    if isinstance(value, Reconstruction):
        diagrams = [value.diagrams["input"], value.diagrams[branch]]
        titles = [
            _("Image: {name}").format(name=name),
            _("Reconstruction by {branch}").format(branch=branchName(branch)),
        ]
        counts = [f"{title}: {one.countText()}." for title, one in zip(titles, diagrams, strict=True)]
        return diagrams, titles, "\n".join([*counts, value.distanceText(branch) + "."])
    if value.superlevel:
        title = _("Probability of {name}").format(name=name)
    else:
        title = _("Image: {name}").format(name=name)
    return [value], [title], f"{title}: {value.countText()}."
