"""Whether the nodes of a case fit together, told in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from TopoMAELib.volumes import VolumeError, volumeArrayAndAffine
from TopoMAETrainLib.scene_cases import SceneCase
from TopoMAETrainLib.scene_grids import fractionOutside, isOrthogonal, sameVolumeGrid
from TopoMAETrainLib.scene_labels import SceneLabel, segmentNames

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a case (`ERROR`: it cannot be written), or what the user should know (`WARNING`)."""

    level: str
    text: str


def checkVolumes(case: SceneCase, modalities: Sequence[str]) -> list[Problem]:
    """Whether the volumes of a case can be the channels of one image.

    Args:
        case: one volume per modality.
        modalities: names of the channels.
    """
    missing = [name or _("image") for name, node in zip(modalities, case.volumeNodes, strict=True) if node is None]
    if missing:
        return [Problem(ERROR, _("There is no volume for {names}; choose one.").format(names=", ".join(missing)))]
    if len({node.GetID() for node in case.volumeNodes}) < len(case.volumeNodes):
        return [Problem(ERROR, _("One volume is chosen for two channels; choose a volume for each."))]
    first = case.volumeNodes[0]
    for node in case.volumeNodes:
        try:
            affine = volumeArrayAndAffine(node)[1]
        except VolumeError as error:
            return [Problem(ERROR, str(error))]
        if not isOrthogonal(affine):
            text = _("The axes of {name} do not stand at right angles (sheared, or a tilted gantry); resample it.")
            return [Problem(ERROR, text.format(name=node.GetName()))]
        if not sameVolumeGrid(first, node):
            text = _("{first} and {other} have different voxels; resample one to the other (Resample Scalar Volume).")
            return [Problem(ERROR, text.format(first=first.GetName(), other=node.GetName()))]
    return []


def checkSegments(case: SceneCase, labels: Mapping[int, SceneLabel]) -> list[Problem]:
    """Whether the segments of a case lie on its image, without resampling anything.

    Args:
        case: with a segmentation, and volumes that `checkVolumes` finds nothing wrong with.
        labels: label by value.
    """
    node, volumeNode = case.segmentationNode, case.volumeNodes[0]
    try:
        array, affine = volumeArrayAndAffine(volumeNode)
        names = segmentNames(node)
        chosen = {one: name for one, name in names.items() if any(label.holds(name) for label in labels.values())}
        outside = {name: fractionOutside(node, one, affine, array.shape) for one, name in chosen.items()}
    except VolumeError as error:
        return [Problem(ERROR, str(error))]
    problems = []
    if not chosen:
        text = _("{name} has none of the labels; choose labels it has, or write the image as unlabelled.")
        problems.append(Problem(ERROR, text.format(name=node.GetName())))
    absent = [label.name for label in labels.values() if not any(label.holds(name) for name in chosen.values())]
    if chosen and absent:
        text = _("It has no {names}; if that is in the image, it will be learned as background.")
        problems.append(Problem(WARNING, text.format(names=", ".join(absent))))
    if outside and min(outside.values()) > 0.99:
        text = _("{segmentation} lies outside {volume}; choose the volume it was drawn on.")
        problems.append(Problem(ERROR, text.format(segmentation=node.GetName(), volume=volumeNode.GetName())))
    else:
        for name, fraction in outside.items():
            if fraction > 0:
                percent = max(1, round(100 * fraction))
                text = _("{percent} % of {name} lie outside {volume} and are cut off.")
                level = ERROR if fraction > 0.5 else WARNING
                problems.append(Problem(level, text.format(percent=percent, name=name, volume=volumeNode.GetName())))
    return problems
