"""Segmentation of volumes, sequences and folders in the worker. Needs no widget; shows no message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from TopoMAELib.model_folders import ModelCard, ModelFolderError, ModelList
from TopoMAELib.segmentations import updateSegmentation
from TopoMAELib.volumes import VolumeError, volumeArrayAndAffine
from TopoMAESegmentLib.batch_task import BatchItem, BatchTask
from TopoMAESegmentLib.folder_files import FolderOutput, filesToSegment, loadVolumes
from TopoMAESegmentLib.probabilities import outdateProbabilities, updateProbabilities
from TopoMAESegmentLib.sequences import Frame, SequenceResult, framesOf
from TopoMAESegmentLib.volume_groups import casesInFolder, firstVolume
from TopoMAESegmentLib.worker_logic import WorkerLogic
from TopoMAESegmentLib.worker_task import WorkerTask

_MODEL_ATTRIBUTE = "TopoMAE.Model"
_DEVICE_ATTRIBUTE = "TopoMAE.Device"


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment: device `auto`, `cpu` or `cuda`; average over mirrored views; compute probabilities."""

    device: str = "auto"
    mirror: bool = False
    probabilities: bool = False


class SegmentLogic(WorkerLogic):
    """Segments with trained models.

    Example, in the Python console::

        logic = slicer.util.getModuleLogic("TopoMAESegment")
        segmentation = logic.segment(volumeNode, model="/models/hippocampus", waitForCompletion=True)
    """

    def __init__(
        self, client: object = None, makeExchange: Callable | None = None, modelList: ModelList | None = None
    ):
        """Args: client, makeExchange: see `WorkerLogic`. modelList: the application's own by default."""
        super().__init__(client, makeExchange)
        self.modelList = modelList or ModelList()

    def models(self) -> list[ModelCard]:
        """The models on the user's list that can be used now."""
        return self.modelList.cards()

    def segment(
        self,
        volumeNodes: slicer.vtkMRMLScalarVolumeNode | Sequence[slicer.vtkMRMLScalarVolumeNode | None],
        model: str | Path | ModelCard,
        device: str = "auto",
        mirror: bool = False,
        probabilities: bool = False,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        waitForCompletion: bool = False,
        onProgress: Callable | None = None,
        onFinished: Callable[[WorkerTask], None] | None = None,
    ) -> slicer.vtkMRMLSegmentationNode | WorkerTask:
        """Segment a volume.

        Args:
            volumeNodes: the volume, or one per modality in the model's order, all on the same voxels; None for
                one that is not available, if the model does without (`ModelCard.missingModalities`).
            model: folder of a model or of a finished fine-tuning run, or the name of a model on the list.
            device: `auto`, `cpu` or `cuda`.
            mirror: average over mirrored views; slower, usually a little better.
            probabilities: also make a volume of probabilities per label.
            segmentationNode: receives the segments. None: that of an earlier run of the same model on the same
                volume, else a new one.
            waitForCompletion: return the segmentation when it is there, while the application stays alive; else
                return a task at once, whose `value` is the segmentation in the end.
            onProgress: called with (fraction or None, seconds left or None, phase).
            onFinished: called with the task at its end.
        Raises:
            ModelFolderError: there is no such model.
            VolumeError: the volumes cannot be used, or are not as many as the model needs.
            WorkerError: (only if waiting) the worker could not do it; the message says why.
        """
        card = self.findModel(model)
        nodes = _asList(volumeNodes)
        options = SegmentOptions(device, mirror, probabilities)
        task = self._segmentScene(card, nodes, options, segmentationNode, onProgress, onFinished)
        return task.wait() if waitForCompletion else task

    def segmentSequence(
        self,
        browserNode: slicer.vtkMRMLSequenceBrowserNode,
        model: str | Path | ModelCard,
        volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode] | None = None,
        device: str = "auto",
        mirror: bool = False,
        waitForCompletion: bool = False,
        onProgress: Callable | None = None,
        onFinished: Callable[[BatchTask], None] | None = None,
    ) -> slicer.vtkMRMLSegmentationNode | BatchTask:
        """Segment every frame of a sequence; the result is a sequence of segmentations in the same browser.

        Args:
            browserNode: the browser. It is not moved, and may be used meanwhile.
            volumeNodes: for models of several modalities the volumes that the browser shows, in the model's
                order; a volume that is in no sequence of the browser is used for every frame.
            model, device, mirror, waitForCompletion, onProgress, onFinished: as for `segment`; the task's
                `value` is a list with the segmentation node for each frame done.
        Returns:
            The segmentation that the browser shows, or the task.
        Raises:
            VolumeError: the browser has no images, or too few for the model.
            BatchError: (only if waiting) some frames could not be segmented.
        """
        card = self.findModel(model)
        frames = framesOf(browserNode, volumeNodes, card)
        result = SequenceResult(browserNode, volumeNodes, card)
        options = SegmentOptions(device, mirror)
        watched = [browserNode, result.segmentationNode]

        def startFrame(frame: Frame, progress: Callable, finished: Callable) -> WorkerTask:
            def read(answer: dict, exchange: object) -> slicer.vtkMRMLSegmentationNode:
                result.put(frame, exchange.load(answer["labels"]))
                return result.segmentationNode

            return self._send(card, frame.volumeNodes, options, read, watched, progress, finished)

        items = [BatchItem(_frameName(browserNode, frame), _bound(startFrame, frame)) for frame in frames]
        task = BatchTask(items, onProgress, onFinished)
        if not waitForCompletion:
            return task
        task.wait()
        return result.segmentationNode

    def segmentItem(
        self,
        itemID: int,
        model: str | Path | ModelCard,
        device: str = "auto",
        mirror: bool = False,
        probabilities: bool = False,
        waitForCompletion: bool = False,
        onProgress: Callable | None = None,
        onFinished: Callable[[BatchTask], None] | None = None,
    ) -> list[slicer.vtkMRMLSegmentationNode] | BatchTask:
        """Segment all volumes beneath an item (folder, patient, study) of the subject hierarchy.

        Args:
            itemID: of the subject hierarchy. For a model of several modalities, the volumes directly in one
                folder are the modalities of one case. Where some are missing and the model does without, the
                names of the volumes must hold those of the modalities.
            model, device, mirror, probabilities, waitForCompletion, onProgress, onFinished: as for `segment`.
        Returns:
            One segmentation per case, or the task.
        Raises:
            VolumeError: there is nothing that the model can segment.
            BatchError: (only if waiting) some volumes could not be segmented.
        """
        card = self.findModel(model)
        found = casesInFolder(itemID, card)
        if not found.cases:
            raise VolumeError(" ".join(found.problems) or _("There is no volume in the folder; choose another one."))
        options = SegmentOptions(device, mirror, probabilities)

        def startCase(nodes: Sequence, progress: Callable, finished: Callable) -> WorkerTask:
            return self._segmentScene(card, nodes, options, None, progress, finished)

        items = [BatchItem(firstVolume(nodes).GetName(), _bound(startCase, nodes)) for nodes in found.cases]
        task = BatchTask(items, onProgress, onFinished, found.problems)
        return task.wait() if waitForCompletion else task

    def segmentFolder(
        self,
        inputFolder: str | Path | int,
        model: str | Path | ModelCard,
        outputFolder: str | Path | None = None,
        device: str = "auto",
        mirror: bool = False,
        waitForCompletion: bool = False,
        onProgress: Callable | None = None,
        onFinished: Callable[[BatchTask], None] | None = None,
    ) -> list | BatchTask:
        """Segment all volumes of a folder on the disk; nothing stays in the scene.

        Writes `NAME.seg.nrrd` per case, and `volumes.csv` with the volume of every segment in mm³.

        Args:
            inputFolder: folder of volume files (NIfTI, NRRD, MetaImage); for a model of several modalities, files
                NAME_0000.*, NAME_0001.* and so on are one case. An integer is an item of the subject hierarchy:
                see `segmentItem`.
            outputFolder: receives the files; made if it does not exist.
            model, device, mirror, waitForCompletion, onProgress, onFinished: as for `segment`.
        Returns:
            The files written, or the task.
        Raises:
            VolumeError: there is nothing to segment.
            BatchError: (only if waiting) some volumes could not be segmented.
        """
        if isinstance(inputFolder, int):
            return self.segmentItem(
                inputFolder, model, device, mirror, False, waitForCompletion, onProgress, onFinished
            )
        card = self.findModel(model)
        cases = filesToSegment(inputFolder, len(card.modalities), card.missingModalities)
        output = FolderOutput(inputFolder, outputFolder, card)
        options = SegmentOptions(device, mirror)

        def startCase(case: tuple[str, list[Path | None]], progress: Callable, finished: Callable) -> WorkerTask:
            name, files = case
            nodes = loadVolumes(files)

            def read(answer: dict, exchange: object) -> Path:
                return output.write(name, exchange.load(answer["labels"]), firstVolume(nodes))

            def finish(task: WorkerTask) -> None:
                for node in filter(None, nodes):
                    slicer.mrmlScene.RemoveNode(node)
                finished(task)

            return self._send(card, nodes, options, read, (), progress, finish)

        items = [BatchItem(case[0], _bound(startCase, case)) for case in cases]
        task = BatchTask(items, onProgress, onFinished)
        return task.wait() if waitForCompletion else task

    def findModel(self, model: str | Path | ModelCard) -> ModelCard:
        """The card of a model given by its card, its folder, or its name on the list.

        Raises:
            ModelFolderError: there is no such model.
        """
        if isinstance(model, ModelCard):
            return model
        if not Path(model).exists():
            named = [card for card in self.models() if card.name == str(model)]
            if named:
                return named[0]
        return ModelCard.read(model)

    def earlierResult(self, volumeNode: object, card: ModelCard) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation of a volume that the same model made before, if it is still in the scene."""
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            reference = node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole())
            if reference == volumeNode.GetID() and node.GetAttribute(_MODEL_ATTRIBUTE) == card.folder:
                return node
        return None

    def _segmentScene(
        self,
        card: ModelCard,
        nodes: Sequence,
        options: SegmentOptions,
        segmentationNode: object,
        onProgress: Callable | None,
        onFinished: Callable | None,
    ) -> WorkerTask:
        """Segment volumes of the scene into a segmentation of the scene."""
        watched = [node for node in (*nodes, segmentationNode) if node is not None]

        def read(answer: dict, exchange: object) -> slicer.vtkMRMLSegmentationNode:
            volumeNode = firstVolume(nodes)
            target = segmentationNode or self.earlierResult(volumeNode, card) or _addSegmentation(volumeNode)
            probabilities = answer.get("probabilities")
            updateSegmentation(target, exchange.load(answer["labels"]), volumeNode, card.labels)
            outdateProbabilities(target)
            if probabilities:
                updateProbabilities(target, exchange.load(probabilities), volumeNode, card.labels)
            target.SetAttribute(_MODEL_ATTRIBUTE, card.folder)
            target.SetAttribute(_DEVICE_ATTRIBUTE, str(answer.get("device", "")))
            return target

        return self._send(card, nodes, options, read, watched, onProgress, onFinished)

    def _send(
        self,
        card: ModelCard,
        nodes: Sequence,
        options: SegmentOptions,
        read: Callable[[dict, object], object],
        watched: Sequence,
        onProgress: Callable | None,
        onFinished: Callable | None,
    ) -> WorkerTask:
        volumes = _checkedVolumes(nodes, card)
        arguments = {
            "model": card.folder,
            "device": options.device,
            "mirror": options.mirror,
            "probabilities": options.probabilities,
        }
        return self.start("segment", {"images": volumes}, arguments, read, watched, onProgress, onFinished)


def _checkedVolumes(nodes: Sequence, card: ModelCard) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Arrays and affines, of as many volumes as the model has modalities; None where it does without.

    Raises:
        VolumeError: there are more or fewer, or one cannot be used.
    """
    if not card.isEnough(nodes):
        given = sum(node is not None for node in nodes)
        message = _("The model needs {needed} volumes ({names}), but {given} were given.")
        raise VolumeError(message.format(needed=len(card.modalities), names=", ".join(card.modalities), given=given))
    return [node and volumeArrayAndAffine(node) for node in nodes]


def _addSegmentation(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    name = _("{volume} segmentation").format(volume=volumeNode.GetName())
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name))


def _asList(volumeNodes: object) -> list:
    isOne = volumeNodes is None or hasattr(volumeNodes, "GetImageData")
    return [volumeNodes] if isOne else list(volumeNodes)


def _bound(start: Callable, what: object) -> Callable:
    """`start` for one piece of a batch; bound here, since a loop's variable would change under it."""
    return lambda progress, finished: start(what, progress, finished)


def _frameName(browserNode: object, frame: Frame) -> str:
    return _("{browser}, frame {value}").format(browser=browserNode.GetName(), value=frame.indexValue)


__all__ = ["ModelFolderError", "SegmentLogic", "SegmentOptions", "VolumeError"]
