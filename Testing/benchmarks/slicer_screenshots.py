"""The README's pictures of both modules, made on the test harness with real runs, real data and the real worker.

    python Testing/benchmarks/slicer_screenshots.py --model RUN --pretrained RUN --key-point-run RUN --train-run RUN \
        --data FOLDER --output Resources/Screenshots

RUN is a run folder of the engine: --model a fine-tuning, the others pre-trainings; crops of --key-point-run must be
smaller than the volumes. They are copied (without checkpoints) into a folder TopoMAE in the folder for temporary
files, so that the paths in the pictures are short; it is removed in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path += [str(REPOSITORY / "Testing" / "slicer"), str(REPOSITORY / "TopoMAESegment")]

import harness  # noqa: E402
from neutral_folder import neutralFolder  # noqa: E402

LARGEST_FILE = 400_000  # bytes
SECONDS = 600  # for one request to the engine, its first start included
COLORS = ((230, 159, 0), (86, 180, 233))  # as the engine gives to labels that have none
PANEL_WIDTH = 560  # pixels; in less, the tables are cut off


def main() -> None:
    """Make the pictures."""
    arguments = parsedArguments()
    os.environ.setdefault("TOPOMAE_PYTHON", sys.executable)
    slicer = harness.start()
    runs = {name: getattr(arguments, name) for name in ("model", "pretrained", "key_point_run", "train_run")}
    with neutralFolder(runs, arguments.data) as places:
        slicer.app.userSettings().setValue("TopoMAE/RunsRoot", str(places["runs"]))
        slicer.app.userSettings().setValue("TopoMAE/PretrainedRun", str(places["pretrained"]))
        studio = Studio(slicer, places, arguments)
        for name, take in studio.pictures().items():
            if not arguments.only or name in arguments.only:
                studio.start()
                take()
                harness.unload(studio.moduleName)
        from TopoMAELib.worker_client import stopSharedWorker

        stopSharedWorker()
    if harness.errors:
        sys.exit("errors in callbacks:\n" + "\n".join(harness.errors))


def parsedArguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs = {
        "model": "finished fine-tuning run",
        "pretrained": "finished pre-training run",
        "key-point-run": "finished pre-training run whose crops are smaller than the volumes",
        "train-run": "pre-training run whose curves are shown; it may be running",
    }
    for name, words in runs.items():
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="RUN", help=words)
    parser.add_argument("--data", type=Path, required=True, help="data set folder, with imagesTr/ and dataset.json")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Resources" / "Screenshots", help="for pictures")
    parser.add_argument("--case", help="image of imagesTr/ shown (without .nii.gz); one that the model did not see")
    parser.add_argument("--topology-case", help="image in the picture Topology; as --case")
    parser.add_argument(
        "--live-steps", type=int, default=0, help="train this long anew, instead of --train-run's curves"
    )
    parser.add_argument("--only", nargs="*", default=[], help="names of the pictures to make, such as Topology")
    return parser.parse_args()


class Studio:
    """Drives the modules as a user does, and takes pictures.

    Args:
        slicer: the harness's.
        places: see `neutralFolder`.
        arguments: of the command line.
    """

    def __init__(self, slicer: object, places: dict[str, Path], arguments: argparse.Namespace):
        self.slicer, self.places, self.arguments = slicer, places, arguments
        self.moduleName = ""
        self.widget = None

    def pictures(self) -> dict[str, Callable[[], None]]:
        """What takes each picture, by the name of its file."""
        return {
            "TopoMAESegment": self.segment,
            "Topology": self.topology,
            "Reconstruction": self.reconstruction,
            "KeyPoints": self.keyPoints,
            "TopoMAETrain": self.train,
            "TrainData": self.trainData,
            "SampleData": self.sampleData,
        }

    def start(self) -> None:
        """An empty scene in the usual layout."""
        self.slicer.mrmlScene.Clear(0)
        self.slicer.app.layoutManager().setLayout(self.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    # ------------------------------------------------------------------------------------ TopoMAE Segment

    def segment(self) -> None:
        """A segmented volume, its segments in 3-D."""
        self._segmented()
        self._show3D()
        self._fit()
        self._turn(azimuth=35, elevation=15, zoom=1.3)
        self._save("TopoMAESegment")

    def topology(self) -> None:
        """A persistence diagram with a feature selected and outlined; Betti numbers of the segments."""
        volume = self._segmented(self.arguments.topology_case)
        ui, panel = self._panel("topologyCollapsibleButton", 0)
        ui.bettiButton.click()
        self._wait(lambda: not panel.betti.run.running, ui.bettiStatusLabel)
        ui.showDiagramButton.click()
        self._wait(lambda: not panel.run.running, ui.diagramStatusLabel)
        self._show3D()
        self._fit()
        row = telling(panel.view.diagrams[0], volume)
        ui.featureTable.setCurrentCell(row + 1, 0)
        self._wait(lambda: self._outline() is not None, ui.diagramStatusLabel)
        self._turn(azimuth=35, elevation=15, zoom=1.2)
        self._save("Topology", scrollTo=ui.findingLabel)

    def reconstruction(self) -> None:
        """The diagrams of an image and of its reconstruction side by side, with their distance."""
        volume = self._opened()
        ui, panel = self._panel("topologyCollapsibleButton", 0)
        choose(ui.sourceComboBox, "reconstruction")
        ui.pretrainedPathLineEdit.setCurrentPath(str(self.places["pretrained"]))
        choose(ui.branchComboBox, "unetrpp")
        ui.showDiagramButton.click()
        self._wait(lambda: not panel.run.running, ui.diagramStatusLabel)
        choose(ui.overlayComboBox, "reconstructed")
        self._fit()
        panel.selection.select(1, telling(panel.view.diagrams[1], volume))
        self._wait(lambda: self._outline() is not None, ui.diagramStatusLabel)
        self._showSlices3D("Red", "Yellow", "Green")
        self._turn(azimuth=35, elevation=20, zoom=1.6)
        self._save("Reconstruction", scrollTo=ui.outlineCheckBox)

    def keyPoints(self) -> None:
        """The nine key points and the box they span, true and predicted."""
        self._opened()
        ui, panel = self._panel("keyPointCollapsibleButton", 1)
        from TopoMAELib.layouts import jumpSlices

        ui.keyPretrainedPathLineEdit.setCurrentPath(str(self.places["key_point_run"]))
        ui.placeCropButton.click()
        box = ui.cropSelector.currentNode()
        before = box.GetSize()
        harness.pump(lambda: box.GetSize() != before, 30)  # until the model has told the size of its crops
        # Away from the middle, where a network that knows nothing would guess it to be.
        box.SetCenter(*(one + moved for one, moved in zip(box.GetCenter(), (-4, 6, -5), strict=True)))
        choose(ui.keyBranchComboBox, "unetrpp")
        ui.predictButton.click()
        self._wait(lambda: not panel.run.running, ui.keyPointStatusLabel)
        box.GetDisplayNode().SetHandlesInteractive(False)  # they hide the points
        self._fit()
        jumpSlices(box.GetCenter())
        self._turn(azimuth=30, elevation=15, zoom=1.4)
        self._save("KeyPoints", scrollTo=ui.keyPointSummaryLabel)

    def _opened(self, case: str | None = None) -> object:
        """The module with a model and a volume that the model has not learned from, ready to run."""
        self.moduleName = "TopoMAESegment"
        from TopoMAELib.model_folders import ModelList

        card = ModelList().add(self.places["model"])
        volume = self.slicer.util.loadVolume(str(self._image(case or self.arguments.case, card.folder)), {})
        self.widget = harness.load("TopoMAESegment")
        ui = self.widget.ui
        self._wait(lambda: ui.segmentButton.enabled, ui.statusLabel)
        assert self.widget.segmentContext.volumeNodes() == [volume]
        return volume

    def _segmented(self, case: str | None = None) -> object:
        volume = self._opened(case)
        ui = self.widget.ui
        for _click in range(2):  # the second is what the user sees most: the worker is warm
            ui.segmentButton.click()
            self._wait(lambda: not self.widget.content.segmentPanel.running, ui.statusLabel)
        assert self.widget.segmentContext.segmentationNode() is not None, ui.statusLabel.text
        return volume

    def _show3D(self) -> None:
        self.slicer.util.findChild(self.widget.parent, "show3DButton").setChecked(True)

    def _panel(self, button: str, number: int) -> tuple[object, object]:
        """Open a panel and close those above it: its widgets and itself."""
        ui = self.widget.ui
        for name in ("inputCollapsibleButton", "modelCollapsibleButton", "optionsCollapsibleButton"):
            getattr(ui, name).collapsed = True
        getattr(ui, button).collapsed = False
        panel = self.widget.content.panels[number]
        return panel.ui, panel

    def _image(self, case: str | None, model: str) -> Path:
        """The volume that is shown: as asked for, else the first one that the model has not learned from."""
        folder = self.places["data"] / "imagesTr"
        if case:
            return folder / f"{case}.nii.gz"
        metadata = json.loads((Path(model) / "configs" / "metadata.json").read_text(encoding="utf-8"))
        seen = set(metadata["training"]["cases"])
        return next(file for file in sorted(folder.glob("*.nii.gz")) if file.name.removesuffix(".nii.gz") not in seen)

    def _outline(self) -> object:
        from TopoMAELib.scene_nodes import findRoleNode

        node = findRoleNode("topology.feature.outline")
        return node if node is not None and node.GetSegmentation().GetNumberOfSegments() else None

    # ------------------------------------------------------------------------------------ TopoMAE Train

    def train(self) -> None:
        """The curves of a training, the latest preview, the list of runs."""
        training = self._trainModule()
        ui, runs = training.ui, self.widget.content.runs
        self._openTrain("trainingCollapsibleButton", "runsCollapsibleButton")
        try:
            if self.arguments.live_steps:
                self._trainLive(training)
            else:
                runs.select(self.places["train_run"])
                runs.ui.attachButton.click()
            self._wait(lambda: ui.previewButton.enabled and ui.curveComboBox.count > 0, ui.stateLabel)
            ui.previewButton.click()
            ui.showCurvesButton.click()
            self._fit()
            self._turn(azimuth=30, elevation=15, zoom=1.3)
            runs.refresh()
            self._save("TopoMAETrain", scrollTo=runs.ui.runsTable)
        finally:
            process = training.process
            if self.arguments.live_steps and process is not None and process.running:
                process.kill()
                harness.pump(lambda: not process.running, SECONDS)

    def trainData(self) -> None:
        """The cases of a data set, and the plan for it with reasons."""
        self._trainModule()
        content = self.widget.content
        self._openTrain("dataCollapsibleButton", "planCollapsibleButton")
        dataUi, planUi = content.panels[0]._ui, content.panels[1]._ui
        self._wait(lambda: planUi.planTable.rowCount > 0 and not content.panels[0]._service.busy, dataUi.summaryLabel)
        planUi.estimateButton.click()
        self._wait(lambda: not content.panels[0]._service.busy, planUi.planStateLabel)
        self._loadTrainingCase()
        self._fit()
        self._turn(azimuth=35, elevation=15, zoom=1.2)
        self._save("TrainData")

    def sampleData(self) -> None:
        """What the module Sample Data offers (its panel is the harness's), with the phantom loaded by its button."""
        from harness.sample_data import samplePanel

        self.moduleName = "TopoMAETrain"
        harness.load(self.moduleName)
        self.widget = samplePanel()
        self.widget.setWindowTitle("Sample Data")
        self.slicer.util.findChild(self.widget, "TopoMAE phantomPushButton").click()
        self._fit()
        self._turn(azimuth=35, elevation=15, zoom=1.3)
        self._save("SampleData")

    def _trainModule(self) -> object:
        self.moduleName = "TopoMAETrain"
        self.widget = harness.load("TopoMAETrain")
        context = self.widget.content.context
        context.set(dataFolder=str(self.places["data"]), device="cpu")
        return self.widget.content.training

    def _trainLive(self, training: object) -> None:
        """Start a training by the button, and wait until it has done some steps."""
        ui = training.ui
        plan = json.loads((self.places["key_point_run"] / "plan.json").read_text(encoding="utf-8"))
        crop = ",".join(str(voxels) for voxels in plan["crop_size"])
        ui.runNameLineEdit.setText("pretrain-live")
        ui.furtherLineEdit.setText(f"preview_every=50 crop_size={crop}")
        ui.stepsSpinBox.setValue(2 * self.arguments.live_steps)
        self._wait(lambda: ui.startButton.enabled, ui.hintLabel)
        ui.startButton.click()
        self._wait(lambda: training._watcher.folder.progress.step > self.arguments.live_steps, ui.stateLabel)

    def _openTrain(self, *buttons: str) -> None:
        for name in ("data", "plan", "training", "runs"):
            button = getattr(self.widget.ui, f"{name}CollapsibleButton")
            button.collapsed = f"{name}CollapsibleButton" not in buttons

    def _loadTrainingCase(self) -> None:
        """The first case of the data set, its labels as segments."""
        slicer, folder = self.slicer, self.places["data"]
        image = sorted((folder / "imagesTr").glob("*.nii.gz"))[0]
        slicer.util.loadVolume(str(image), {})
        labels = slicer.util.loadLabelVolume(str(folder / "labelsTr" / image.name), {"show": False})
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Labels")
        segmentation.CreateDefaultDisplayNodes()
        slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, segmentation)
        segments = segmentation.GetSegmentation()
        for segmentID, color in zip(segments.GetSegmentIDs(), COLORS, strict=False):  # else chosen by chance
            segments.GetSegment(segmentID).SetColor(*(part / 255 for part in color))
        segmentation.CreateClosedSurfaceRepresentation()

    # ------------------------------------------------------------------------------------ camera and film

    def _showSlices3D(self, *names: str) -> None:
        for name in names:
            self.slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().SetSliceVisible(True)

    def _fit(self) -> None:
        """Give the views their size, and fit the slices into them."""
        with tempfile.TemporaryDirectory() as folder:
            harness.screenshot(self.widget, Path(folder) / "size.png", panelWidth=PANEL_WIDTH)
        self.slicer.app.layoutManager().resetSliceViews()

    def _turn(self, azimuth: float, elevation: float, zoom: float) -> None:
        """Look at what the 3-D view shows from ahead, turned by some degrees."""
        view = self.slicer.app.layoutManager().threeDWidget(0).threeDView()
        node = view.mrmlViewNode()
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        node.SetOrientationMarkerType(node.OrientationMarkerTypeAxes)
        camera = view.cameraNode().GetCamera()
        x, y, z = camera.GetFocalPoint()
        camera.SetPosition(x, y + 400, z)
        camera.SetViewUp(0, 0, 1)
        camera.Azimuth(azimuth)
        camera.Elevation(elevation)
        view.resetFocalPoint()
        camera.Dolly(zoom)
        view.cameraNode().ResetClippingRange()

    def _save(self, name: str, scrollTo: object = None) -> None:
        harness.pump()
        path = self.arguments.output / f"{name}.png"
        harness.screenshot(self.widget, path, panelWidth=PANEL_WIDTH, scrollTo=scrollTo)
        compress(path)
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")

    def _wait(self, condition: Callable[[], object], label: object) -> None:
        """Let the application work until something has happened; `label` says why it has not."""
        if not harness.pump(condition, SECONDS):
            sys.exit(f"The module did not get there in {SECONDS} s; it says: {label.text}")


def telling(diagram: object, volume: object) -> int:
    """Row of the feature that tells most in a picture: the longest lasting void well inside the volume."""
    low, high = np.array(_bounds(volume)).reshape(3, 2).T
    margin = 0.15 * (high - low)
    inside = ((diagram.deathPosition > low + margin) & (diagram.deathPosition < high - margin)).all(axis=1)
    rows = np.flatnonzero(inside & (diagram.dim == 2))
    return int(rows[0]) if len(rows) else 0


def _bounds(volume: object) -> list[float]:
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    return bounds


def choose(comboBox: object, key: str) -> None:
    """Choose the entry with this data."""
    comboBox.setCurrentIndex(comboBox.findData(key))


def compress(path: Path) -> None:
    """Write a PNG file as small as it gets; with coarser colours, which nobody sees, if it is too large else."""
    from PIL import Image

    with Image.open(path) as opened:
        exact = np.asarray(opened.convert("RGB")).astype(int)
    for step in (1, 2, 3, 5):  # white stays white with all of them
        coarse = np.minimum((exact + step // 2) // step * step, 255)
        Image.fromarray(coarse.astype(np.uint8)).save(path, optimize=True)
        if path.stat().st_size <= LARGEST_FILE:
            break


if __name__ == "__main__":
    main()
