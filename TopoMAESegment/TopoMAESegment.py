"""Run a trained model on loaded volumes and look at the result. A thin shell; the work is in TopoMAESegmentLib."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from TopoMAESegmentLib.module_logic import ModuleLogic


class TopoMAESegment(ScriptedLoadableModule):
    """What the application shows of the module."""

    def __init__(self, parent: object) -> None:
        super().__init__(parent)
        parent.title = _("TopoMAE Segment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = [
            "Markups",
            "Plots",
            "Segmentations",
            "Sequences",
            "SubjectHierarchy",
            "Tables",
            "Volumes",
        ]
        parent.contributors = [_("The TopoMAE developers")]
        parent.helpText = _(
            "Segments volumes with a model that was trained by the module TopoMAE Train or by the command topomae, "
            "and shows the topology of images and segments, and where in the body the model believes a crop to lie. "
            "For research only; not for diagnosis or treatment."
        )
        parent.acknowledgementText = _(
            "The method is that of Self Pre-training with Topology- and Spatiality-aware Masked Autoencoders for 3D "
            "Medical Image Segmentation, arXiv:2406.10519."
        )
        slicer.app.startupCompleted.connect(registerSampleData)


def registerSampleData() -> None:
    """Offer a phantom volume in the module Sample Data, once Slicer has started and that module is there."""
    from TopoMAESegmentLib import phantom_volume

    phantom_volume.register()


class TopoMAESegmentWidget(ScriptedLoadableModuleWidget):
    """The panel of the module; its content is `SegmentWidget`."""

    def setup(self) -> None:
        super().setup()
        # Imported here, so that Slicer starts as fast as without this module.
        from TopoMAESegmentLib.widget import SegmentWidget

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/TopoMAESegment.ui"))
        self.layout.addWidget(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = TopoMAESegmentLogic()
        self.content = SegmentWidget(uiWidget, self.logic, self.logic.getParameterNode)
        self.ui, self.segmentContext = self.content.ui, self.content.context

    def enter(self) -> None:
        self.content.enter()

    def cleanup(self) -> None:
        if hasattr(self, "content"):  # the setup may have failed
            self.content.cleanup()


class TopoMAESegmentLogic(ModuleLogic, ScriptedLoadableModuleLogic):
    """What scripts use: slicer.util.getModuleLogic("TopoMAESegment"); see `ModuleLogic`."""

    def __init__(self, client: object = None, makeExchange: object = None, modelList: object = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        ModuleLogic.__init__(self, client, makeExchange, modelList)


class TopoMAESegmentTest(ScriptedLoadableModuleTest):
    """Self test inside the application, without data and without the engine."""

    def test_logic_lists_models(self) -> None:
        slicer.mrmlScene.Clear(0)
        self.assertIsInstance(TopoMAESegmentLogic().models(), list)
