"""The harness: scripted modules are loaded, shown, reloaded and unloaded as in the application."""

import pytest

import harness

MODULE = """
import slicer, qt, ctk, vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Toy(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Toy")
        parent.categories = ["Segmentation"]
        parent.contributors = ["Somebody"]
        parent.helpText = parent.acknowledgementText = "text"


class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ToyLogic()
        self.button = qt.QPushButton(_("Go"))
        self.layout.addWidget(self.button)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")
        self.removeObservers()

    def onSceneClosed(self, caller, event):
        self.calls.append("closed")


class ToyLogic(ScriptedLoadableModuleLogic):
    pass


class ToyTest(ScriptedLoadableModuleTest):
    def runTest(self):
        slicer.toyTested = True
"""


@pytest.fixture
def toyFolder(tmp_path):
    folder = tmp_path / "Toy"
    (folder / "Resources" / "Icons").mkdir(parents=True)
    (folder / "Toy.py").write_text(MODULE)
    return folder


@pytest.fixture
def toy(scene, toyFolder):
    yield harness.load("Toy", toyFolder)
    harness.unload("Toy")


def test_a_module_is_loaded_entered_left_and_unloaded_as_in_the_application(slicer, toy):
    assert slicer.util.getModuleWidget("Toy") is toy is slicer.modules.ToyWidget
    assert slicer.util.getModuleLogic("Toy") is toy.logic
    assert slicer.util.selectedModule() == "Toy" and slicer.modules.toy.title == "Toy"
    assert toy.parent.isEntered and toy.parent.mrmlScene() is slicer.mrmlScene
    assert toy.resourcePath("UI/Toy.ui").endswith("Resources/UI/Toy.ui")
    slicer.mrmlScene.Clear(0)
    harness.unload("Toy")
    assert toy.calls == ["enter", "closed", "exit", "cleanup"]
    slicer.mrmlScene.Clear(0)
    assert toy.calls[-1] == "cleanup" and not hasattr(slicer.modules, "toy")
    with pytest.raises(RuntimeError, match="Toy"):
        slicer.util.getModule("Toy")


def test_a_module_can_be_reloaded_and_tested(slicer, toy):
    slicer.util.reloadScriptedModule("Toy")
    assert toy.calls[-1] == "cleanup"
    assert slicer.modules.ToyWidget is not toy
    assert slicer.util.getModuleWidget("Toy") is slicer.modules.ToyWidget
    slicer.selfTests["Toy"]()
    assert slicer.toyTested


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('parent.categories = ["Segmentation"]', "pass"), "categories"),
        (("parent.contributors", "parent.authors"), "authors"),
        (('["Segmentation"]', '"Segmentation"'), "categories"),
        (("class ToyWidget", "class OtherWidget"), "ToyWidget"),
        (("import slicer, qt", "import slicer, torchh"), "torchh"),
    ],
)
def test_a_module_that_slicer_would_refuse_is_refused(scene, toyFolder, change, message):
    file = toyFolder / "Toy.py"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises((RuntimeError, AttributeError, ImportError), match=message):
        harness.load("Toy", toyFolder)
    harness.unload("Toy")


def test_the_parameter_node_is_one_per_module_and_comes_back_after_closing_the_scene(slicer, toy):
    node = toy.logic.getParameterNode()
    assert node is toy.logic.getParameterNode() and node.GetSingletonTag() == "Toy"
    node.SetParameter("x", "1")
    slicer.mrmlScene.Clear(0)
    assert toy.logic.getParameterNode().GetAttribute("ModuleName") == "Toy"
    assert toy.logic.getParameterNode().GetParameter("x") == ""
    toy.logic.isSingletonParameterNode = False
    slicer.mrmlScene.RemoveNode(node)
    assert toy.logic.getParameterNode() is toy.logic.getAllParameterNodes()[0]
