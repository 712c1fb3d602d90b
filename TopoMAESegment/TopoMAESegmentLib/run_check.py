"""Before a run: what is still missing, and in what the images are unlike those that the model knows."""

from __future__ import annotations

from slicer.i18n import tr as _

from TopoMAELib.model_card import ModelCard
from TopoMAELib.volumes import VolumeError
from TopoMAESegmentLib.parameters import InputMode, SegmentParameters, inputFolder, inputVolumes, sequenceVolumes
from TopoMAESegmentLib.sequences import Frame, framesOf
from TopoMAESegmentLib.volume_groups import casesInFolder

_CASES_LOOKED_AT = 20


def whatIsMissing(parameters: SegmentParameters | None, card: ModelCard | None) -> str:
    """Why it cannot run, in a sentence that says what to do; empty if it can."""
    if parameters is None:
        return _("The scene is being closed.")
    if card is None:
        return _("Choose a model.")
    if parameters.inputMode == InputMode.FOLDER:
        return _missingInFolder(card)
    if parameters.inputMode == InputMode.SEQUENCE:
        return _missingInSequence(parameters, card)
    volumeNodes = inputVolumes(parameters, len(card.modalities))
    if card.isEnough(volumeNodes):
        return ""
    absent = [name for name, node in zip(card.modalities, volumeNodes, strict=False) if node is None]
    message = _("Choose a volume for {names}.")
    if card.missingModalities:
        message = _("Choose a volume for at least one of {names}.")
    return message.format(names=", ".join(absent))


def whatIsUnusual(parameters: SegmentParameters, card: ModelCard) -> list[str]:
    """In what the chosen images do not fit the model, one sentence each; it can run nevertheless."""
    if parameters.inputMode == InputMode.VOLUME:
        return card.misfit(inputVolumes(parameters, len(card.modalities)))
    if parameters.inputMode == InputMode.SEQUENCE:
        return card.misfit(_framesOf(parameters, card)[0].volumeNodes)
    found = casesInFolder(inputFolder(), card)
    misfits = [sentence for case in found.cases[:_CASES_LOOKED_AT] for sentence in card.misfit(case)]
    told = [*found.problems, *misfits]
    more = _("… and {n} more of this kind.").format(n=len(told) - 3)
    return told if len(told) <= 4 else [*told[:3], more]


def _missingInFolder(card: ModelCard) -> str:
    item = inputFolder()
    if not item:
        return _("Choose a folder of volumes.")
    found = casesInFolder(item, card)
    return (
        "" if found.cases else " ".join(found.problems) or _("There is no volume in the folder; choose another one.")
    )


def _missingInSequence(parameters: SegmentParameters, card: ModelCard) -> str:
    if parameters.sequenceBrowser is None:
        return _("Choose a sequence browser.")
    try:
        _framesOf(parameters, card)
    except VolumeError as error:
        return str(error)
    return ""


def _framesOf(parameters: SegmentParameters, card: ModelCard) -> list[Frame]:
    return framesOf(parameters.sequenceBrowser, sequenceVolumes(parameters, len(card.modalities)), card)
