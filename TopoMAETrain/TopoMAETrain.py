"""Train segmentation models on the user's own volumes. A thin shell; the work is in TopoMAETrainLib."""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

_here = Path(__file__).resolve().parent
if not (_here / "TopoMAELib").is_dir() and (_here.parent / "TopoMAESegment" / "TopoMAELib").is_dir():
    # In a source tree the library of both modules lies in the other one; installed, they share a folder.
    _library = str(_here.parent / "TopoMAESegment")
    if _library not in sys.path:
        sys.path.append(_library)

from TopoMAETrainLib.logic import TrainLogic  # noqa: E402


class TopoMAETrain(ScriptedLoadableModule):
    """What the application shows of the module."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("TopoMAE Train")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["TopoMAESegment"]
        self.parent.contributors = [_("The TopoMAE developers")]
        self.parent.helpText = _(
            "Train a segmentation model on your own volumes: pre-training needs no labels, fine-tuning labels for a "
            "handful of cases. Trainings run in the background and go on when Slicer is closed. "
            "For research only; not for diagnosis or treatment."
        )
        self.parent.helpText += self.getDefaultModuleDocumentationLink()
        self.parent.acknowledgementText = _(
            "The method is that of Self Pre-training with Topology- and Spatiality-aware Masked Autoencoders for 3D "
            "Medical Image Segmentation, arXiv:2406.10519."
        )
        slicer.app.startupCompleted.connect(registerSampleData)


def registerSampleData() -> None:
    """Offer a phantom data set in the module Sample Data, once Slicer has started and that module is there."""
    from TopoMAETrainLib import phantom_data_set

    phantom_data_set.register()


class TopoMAETrainWidget(ScriptedLoadableModuleWidget):
    """The panel of the module; its content is `TrainWidget`."""

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        # Imported here, so that Slicer starts as fast as without this module.
        from TopoMAETrainLib.widget import TrainWidget

        panel = slicer.util.loadUI(self.resourcePath("UI/TopoMAETrain.ui"))
        self.layout.addWidget(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(panel)
        for name in ("dataLayout", "planLayout", "trainingLayout", "runsLayout"):
            button = getattr(self.ui, name.replace("Layout", "CollapsibleButton"))
            setattr(self.ui, name, button.layout())  # layouts are no widgets
        self.logic = TopoMAETrainLogic()
        self.content = TrainWidget(self.ui, self.logic)

    def enter(self) -> None:
        """Called when the user opens the module."""
        self.content.enter()

    def exit(self) -> None:
        """Called when the user opens another module."""
        self.content.exit()

    def cleanup(self) -> None:
        """Called when the module is unloaded or reloaded, and when Slicer ends."""
        if hasattr(self, "content"):
            self.content.cleanup()


class TopoMAETrainLogic(TrainLogic, ScriptedLoadableModuleLogic):
    """What scripts use: slicer.util.getModuleLogic("TopoMAETrain"); see `TrainLogic`."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        TrainLogic.__init__(self)


class TopoMAETrainTest(ScriptedLoadableModuleTest):
    """Run by "Reload and Test": the module can be shown, and finds no runs in an empty folder."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def test_runsOfAnEmptyFolder(self) -> None:
        self.setUp()
        self.assertEqual(TopoMAETrainLogic().runs(slicer.app.temporaryPath + "/TopoMAE-no-such-folder"), [])
