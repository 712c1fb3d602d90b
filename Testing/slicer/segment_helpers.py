"""Helpers of the tests of the segment panel: made-up volumes, and a client that answers without a worker."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import harness
from segment_models import REPOSITORY

MODULE_FOLDER = str(REPOSITORY / "TopoMAESegment")
if MODULE_FOLDER not in sys.path:
    sys.path.append(MODULE_FOLDER)

KIDNEY = {
    "category": {"scheme": "SCT", "value": "123037004", "meaning": "Anatomical Structure"},
    "type": {"scheme": "SCT", "value": "64033007", "meaning": "Kidney"},
    "modifier": {"scheme": "SCT", "value": "7771000", "meaning": "Left"},
}
KIDNEY_TEXT = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~"
    "SCT^64033007^Kidney~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
)

OBLIQUE = np.array(
    [[-0.77, 0.17, 0.32, 31.5], [0.19, 0.88, -0.56, -42.25], [-0.09, 0.12, 2.93, 7.125], [0.0, 0.0, 0.0, 1.0]]
)
OBLIQUE[:3, :3] = np.linalg.qr(OBLIQUE[:3, :3])[0] @ np.diag([0.8, 0.9, 3.0])
MIRRORED = np.array([[-1.0, 0, 0, 12.0], [0, 1.2, 0, -7.5], [0, 0, 1.0, 3.0], [0, 0, 0, 1.0]])


def greyVoxels(shape=(12, 14, 10), offset=0) -> np.ndarray:
    """Voxels of which no two are alike."""
    return (np.arange(np.prod(shape)).reshape(shape) + offset).astype(np.int16)


def labelsOf(voxels: np.ndarray) -> np.ndarray:
    """What `StandInClient` finds in a volume: label 1 in every third voxel, label 4 in the last quarter."""
    labels = (voxels % 3 == 0).astype(np.uint8)
    labels[voxels >= 0.75 * voxels.max()] = 4
    return labels


def segmentArray(slicer, segmentationNode, segmentID, volumeNode) -> np.ndarray:
    """(I, J, K) bool of a segment on the voxels of a volume."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentID, volumeNode).T.astype(bool)


class StandInClient:
    """Answers requests when it is told to, with labels made from the volume by a simple rule.

    Attributes:
        requests: all that were made. failing: names the error of the next answers; None for good answers.
    """

    def __init__(self, answersAtOnce: bool = True):
        self.requests: list[StandInRequest] = []
        self.failing: Exception | None = None
        self.answersAtOnce = answersAtOnce
        self.recentLog = ["Traceback (most recent call last):", "the worker's last words"]
        self.started = False

    def startUp(self):
        self.started = True

    def stop(self):
        self.started = False

    def request(self, do, arguments, onProgress=None, onWarning=None, onFinished=None):
        import qt

        request = StandInRequest(self, do, arguments, onProgress, onWarning, onFinished)
        self.requests.append(request)
        if self.answersAtOnce:
            qt.QTimer.singleShot(0, request.answer)
        return request


class StandInRequest:
    """One request; `answer` ends it."""

    def __init__(self, client, do, arguments, onProgress, onWarning, onFinished):
        self.client, self.do, self.arguments = client, do, arguments
        self.onProgress, self.onWarning, self.onFinished = onProgress, onWarning, onFinished
        self.state, self.result, self.error = "running", None, None

    def answer(self):
        if self.state != "running":
            return
        if self.client.failing:
            self._end("failed", error=self.client.failing)
            return
        voxels = np.load(next(image for image in self.arguments["images"] if image)["array"])
        labels = labelsOf(voxels)
        output = Path(self.arguments["output"])
        np.save(output / "labels.npy", labels)
        result = {"labels": str(output / "labels.npy"), "probabilities": None, "device": "cpu"}
        if self.arguments["probabilities"]:
            probabilities = np.stack([labels == 0, labels == 1, labels == 4]).astype(np.float32)
            np.save(output / "probabilities.npy", probabilities)
            result["probabilities"] = str(output / "probabilities.npy")
        self._end("done", result=result)

    def cancel(self):
        import qt

        qt.QTimer.singleShot(0, lambda: self._end("cancelled"))

    def wait(self, seconds=None):
        assert harness.pump(lambda: self.state != "running", seconds or 10)
        if self.error:
            raise self.error
        return self.result

    def _end(self, state, result=None, error=None):
        if self.state == "running":
            self.state, self.result, self.error = state, result, error
            self.onFinished(self)


TWO_IMAGES = {"modalities": ["T1", "FLAIR"], "normalization": [{"kind": "robust"}] * 2}
FRAMES = 3


def addSequence(slicer, name, offset):
    """A sequence of volumes at the times 0, 10 and 20, no two of them alike."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("time")
    for frame in range(FRAMES):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, greyVoxels(offset=frame + offset).T)
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(OBLIQUE))
        volume.SetName(f"{name} {frame}")
        sequence.SetDataNodeAtValue(volume, str(10 * frame))
    return sequence


def press(panel):
    panel.ui.segmentButton.click()


def finish(panel):
    assert harness.pump(lambda: not panel.segmentPanel.running)


def run(panel):
    press(panel)
    finish(panel)
    return panel.context.segmentationNode()


def leftovers(slicer) -> list[Path]:
    """Folders of exchanges that were not removed."""
    return list(Path(slicer.app.temporaryPath).glob("TopoMAE-*"))


def writeJson(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


class Engine:
    """Answers for `checkInterpreter`."""

    def __init__(self):
        self.message, self.ok = "Ready: Python 3.12.10, PyTorch 2.8.0, CPU.", True

    def __call__(self, interpreter):
        from TopoMAELib.interpreter import InterpreterCheck

        return InterpreterCheck(self.ok, self.message, [] if self.ok else ["monai>=1.5"])
