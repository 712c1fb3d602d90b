"""Fixtures of the tests of the segment panel; a test file names them as its `pytest_plugins`."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from segment_helpers import KIDNEY, MODULE_FOLDER, OBLIQUE, Engine, StandInClient, addSequence, greyVoxels, writeJson
from segment_models import makeModel


@pytest.fixture(scope="session")
def untrainedModel(tmp_path_factory) -> Path:
    """Folder of a model of one MR image and two labels, made by the engine."""
    return makeModel(tmp_path_factory.mktemp("models") / "untrained" / "model")


@pytest.fixture
def makeCardFolder(tmp_path):
    """Makes model folders that hold the text files only, which is all that the module itself reads."""

    def make(name: str = "model", **changes) -> Path:
        place = tmp_path / name
        (place / "configs").mkdir(parents=True)
        plan = {
            "version": 1,
            "dataset": "Kidneys",
            "modalities": ["MRI"],
            "spacing": [1.0, 1.0, 1.0],
            "normalization": [{"kind": "robust"}],
        }
        network = {"architecture": "fused", "size": "small"} | changes.pop("network", {})
        metadata = {"eval_metrics": {"validation_dice": 0.8765}, "training": {"cases": ["a", "b", "c"]}}
        labels = [
            {"value": 1, "name": "Left kidney", "colour": [230, 159, 0], "terminology": KIDNEY},
            {"value": 4, "name": "Lesion", "colour": [86, 180, 233], "terminology": None},
        ]
        writeJson(place / "plan.json", plan | changes.pop("plan", {}))
        writeJson(place / "network.json", {"format": 1, "network": network})
        writeJson(place / "labels.json", {"labels": changes.pop("labels", labels)})
        writeJson(place / "configs" / "metadata.json", metadata)
        assert not changes
        return place

    return make


@pytest.fixture
def card(makeCardFolder, slicer):
    """Card of a model with the labels 1 "Left kidney" and 4 "Lesion"."""
    from TopoMAELib.model_folders import ModelCard

    return ModelCard.read(makeCardFolder())


@pytest.fixture
def aVolume(scene, slicer):
    """An oblique, left- or right-handed volume of (12, 14, 10) voxels, without symmetry."""
    from TopoMAELib.volumes import addVolume

    return addVolume(greyVoxels(), OBLIQUE, "MR head")


@pytest.fixture
def client(slicer):
    """A client that answers at the next turn of the event loop."""
    return StandInClient()


@pytest.fixture
def logic(slicer, client):
    """The module's logic with that client."""
    from TopoMAESegmentLib.module_logic import ModuleLogic

    return ModuleLogic(client)


@pytest.fixture
def aBrowser(scene, slicer):
    """A sequence browser that shows a moving volume of three frames."""
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "heart beat")
    browser.SetAndObserveMasterSequenceNodeID(addSequence(slicer, "heart", 0).GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser


@pytest.fixture
def engine():
    """What is found out about the interpreter."""
    return Engine()


@pytest.fixture
def makePanel(scene, slicer, client, engine):
    """Makes the content of the module's panel, with the stand-in client; the user has not opened it yet."""
    made = []

    def make():
        import TopoMAESegment
        from TopoMAESegmentLib.widget import SegmentWidget

        uiWidget = slicer.util.loadUI(f"{MODULE_FOLDER}/Resources/UI/TopoMAESegment.ui")
        uiWidget.setMRMLScene(scene)
        logic = TopoMAESegment.TopoMAESegmentLogic(client)
        content = SegmentWidget(uiWidget, logic, logic.getParameterNode, engine)
        made.append((content, uiWidget))
        return content

    yield make
    for content, _ in made:
        content.cleanup()


@pytest.fixture
def panel(makePanel, makeCardFolder):
    """The panel with one model on its list, opened by the user."""
    from TopoMAELib.model_folders import ModelList

    ModelList().add(makeCardFolder("kidneys"))
    panel = makePanel()
    panel.enter()
    harness.pump()
    return panel
