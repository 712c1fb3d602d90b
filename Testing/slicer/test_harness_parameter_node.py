"""The harness: typed parameter nodes. Where TOPOMAE_SLICER_SOURCE names a Slicer source tree, its own too."""

import enum
import pathlib
from typing import Annotated, Union

import pytest

from harness.slicer_source import parameterNodeWrapperOfSlicer, sourceFolder


class Device(enum.Enum):
    AUTO = "auto"
    CPU = "cpu"

    def label(self):
        return self.value.upper()


@pytest.fixture(params=["stand-in", "Slicer's own"])
def package(request, slicer):
    """The package slicer.parameterNodeWrapper."""
    if request.param == "stand-in":
        import slicer.parameterNodeWrapper

        return slicer.parameterNodeWrapper
    if sourceFolder() is None:
        pytest.skip("no Slicer source tree; TOPOMAE_SLICER_SOURCE names one")
    return parameterNodeWrapperOfSlicer()


@pytest.fixture
def Parameters(package, slicer):
    @package.parameterNodeWrapper
    class Parameters:
        volume: slicer.vtkMRMLScalarVolumeNode
        either: Union[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLModelNode, None]  # noqa: UP007
        threshold: Annotated[float, package.WithinRange(0, 1), package.Default(0.5)]
        steps: int = 100
        mirror: bool
        name: str = "none"
        device: Device = Device.CPU
        folder: pathlib.Path
        labels: list[str]
        sizes: tuple[int, float]
        overrides: dict[str, str]
        kind: Annotated[str, package.Choice(["pretrain", "finetune"])] = "pretrain"

    return Parameters


@pytest.fixture
def node(slicer, scene):
    """A module's parameter node, as ScriptedLoadableModuleLogic makes it."""
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class ToyLogic(ScriptedLoadableModuleLogic):
        pass

    return ToyLogic().getParameterNode()


@pytest.fixture
def parameters(Parameters, node):
    made = Parameters(node)
    yield made
    for tag in range(3):
        made.disconnectGui(tag)  # the widgets of the test go now, the node stays


@pytest.fixture
def form(slicer):
    """A panel with one widget per type, named by the dynamic property of .ui files."""
    import ctk
    import qt

    panel = slicer.qMRMLWidget()
    layout = qt.QFormLayout(panel)
    kinds = {
        "threshold": ctk.ctkSliderWidget,
        "steps": qt.QSpinBox,
        "mirror": qt.QCheckBox,
        "name": qt.QLineEdit,
        "device": qt.QComboBox,
        "folder": ctk.ctkPathLineEdit,
        "kind": qt.QComboBox,
        "volume": slicer.qMRMLNodeComboBox,
    }
    for name, kind in kinds.items():
        widget = kind()
        widget.setProperty("SlicerParameterName", name)
        widget.setObjectName(name)
        if hasattr(widget, "setMRMLScene"):
            widget.noneEnabled = True
            widget.setMRMLScene(slicer.mrmlScene)
        layout.addRow(name, widget)
    return panel, slicer.util.childWidgetVariables(panel)


def test_values_that_were_never_set_are_the_defaults(parameters, node):
    assert (parameters.threshold, parameters.steps, parameters.mirror) == (0.5, 100, False)
    assert (parameters.name, parameters.device, parameters.folder) == ("none", Device.CPU, pathlib.Path())
    assert parameters.volume is parameters.either is None
    assert list(parameters.labels) == [] and dict(parameters.overrides) == {}
    assert node.GetParameter("steps") == "100" and parameters.default("steps").value == 100


def test_values_of_every_type_come_back(slicer, parameters, Parameters, node):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    values = {
        "volume": volume,
        "either": model,
        "threshold": 0.25,
        "steps": 7,
        "mirror": True,
        "name": "ä b",
        "device": Device.AUTO,
        "folder": pathlib.Path("/a/b"),
        "labels": ["one", "two"],
        "sizes": (3, 0.5),
        "overrides": {"steps": "5"},
        "kind": "finetune",
    }
    for name, value in values.items():
        setattr(parameters, name, value)
    for name, value in values.items():
        assert getattr(parameters, name) == getattr(Parameters(node), name) == value == parameters.getValue(name)
    assert node.GetParameter("mirror") == "True" and node.GetParameter("labels_1") == "two"
    assert node.GetNodeReference("volume") is volume and node.GetParameter("device") == "AUTO"
    parameters.either = None
    assert Parameters(node).either is None


def test_lists_and_dictionaries_write_themselves_back(parameters, Parameters, node):
    parameters.labels = ["a", "b", "c"]
    parameters.labels.append("d")
    parameters.labels[0] = "z"
    parameters.labels.remove("b")
    parameters.overrides["steps"] = "5"
    again = Parameters(node)
    assert again.labels == ["z", "c", "d"] and again.overrides == {"steps": "5"}
    assert not node.HasParameter("labels_3")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 1.5),
        ("threshold", "0.5"),
        ("steps", 1.0),
        ("steps", None),
        ("mirror", 1),
        ("name", 5),
        ("folder", "/a/b"),
        ("device", "CPU"),
        ("labels", [1]),
        ("kind", "predict"),
        ("either", 5),
    ],
)
def test_values_of_the_wrong_type_or_range_are_refused(parameters, name, value):
    before = parameters.getValue(name)
    with pytest.raises((TypeError, ValueError)):
        setattr(parameters, name, value)
    assert parameters.getValue(name) == before


def test_a_node_of_another_class_is_refused(slicer, parameters):
    with pytest.raises(TypeError):
        parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")


def test_classes_that_slicer_would_refuse_are_refused(package):
    with pytest.raises(Exception, match=r"complex|serializer"):

        @package.parameterNodeWrapper
        class Unkept:
            value: complex

    with pytest.raises(Exception, match=r"str \| None|serializer"):

        @package.parameterNodeWrapper
        class NewUnion:
            value: str | None

    with pytest.raises(ValueError, match="default"):

        @package.parameterNodeWrapper
        class Reserved:
            default: int

    with pytest.raises(ValueError, match="absent"):
        package.parameterNodeWrapper(type("Empty", (), {"__annotations__": {}})).dataType("absent")


def test_widgets_follow_the_parameters_and_the_other_way_round(slicer, parameters, form):
    _panel, ui = form
    parameters.name = "before"
    parameters.connectGui(ui)
    assert (ui.name.text, ui.steps.value, ui.device.currentText, ui.kind.count) == ("before", 100, "CPU", 2)
    assert (ui.threshold.minimum, ui.threshold.maximum) == (0, 1)
    ui.threshold.value = 0.75
    ui.steps.value = 12
    ui.mirror.checked = True
    ui.name.text = "typed"
    ui.device.currentIndex = 0
    ui.kind.currentIndex = 1
    ui.folder.currentPath = "/x/y"
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    ui.volume.setCurrentNode(volume)
    assert (parameters.threshold, parameters.steps, parameters.mirror) == (0.75, 12, True)
    assert (parameters.name, parameters.device, parameters.kind) == ("typed", Device.AUTO, "finetune")
    assert parameters.folder == pathlib.Path("/x/y") and parameters.volume is volume
    parameters.steps = 55
    parameters.volume = None
    assert ui.steps.value == 55 and ui.volume.currentNode() is None


def test_a_disconnected_panel_is_left_alone(parameters, form):
    _panel, ui = form
    tag = parameters.connectParametersToGui({"steps": ui.steps, "name": ui.name})
    parameters.disconnectGui(tag)
    ui.steps.value = 5
    parameters.name = "other"
    assert parameters.steps == 100 and ui.name.text == "none"


def test_widgets_and_types_that_slicer_does_not_bind_are_refused(slicer, parameters):
    import ctk
    import qt

    for name, widget in (("labels", qt.QLineEdit()), ("mirror", qt.QRadioButton()), ("steps", qt.QDoubleSpinBox())):
        with pytest.raises(RuntimeError, match="connector"):
            parameters.connectParametersToGui({name: widget})
    with pytest.raises(RuntimeError, match="Choice"):
        parameters.connectParametersToGui({"name": qt.QComboBox()})
    with pytest.raises(RuntimeError):
        parameters.connectParametersToGui({"mirror": ctk.ctkCheckBox()})
    with pytest.raises(ValueError, match="absent"):
        parameters.connectParametersToGui({"absent": qt.QLineEdit()})


def test_observers_are_told_once_per_change(parameters, node):
    import slicer
    import vtk

    told = []
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: told.append(parameters.steps))
    parameters.steps = 3
    with slicer.util.NodeModify(parameters):
        parameters.steps = 4
        parameters.labels = ["a", "b"]
    parameters.RemoveObserver(tag)
    parameters.steps = 5
    assert told == [3, 4]


def test_parameters_survive_saving_closing_and_reading_the_scene(slicer, parameters, Parameters, node, form, tmp_path):
    _panel, ui = form
    widgets = {"steps": ui.steps, "volume": ui.volume}
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Kept")
    parameters.volume, parameters.steps, parameters.labels = volume, 9, ["a"]
    slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.GetSingletonNode("Toy", "vtkMRMLScriptedModuleNode") is node
    assert parameters.steps == 100 and parameters.volume is None
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    assert slicer.mrmlScene.GetSingletonNode("Toy", "vtkMRMLScriptedModuleNode") is node
    again = Parameters(node)  # as modules do after a scene was read: what an old one has kept may be out of date
    again.connectParametersToGui(widgets)
    assert again.steps == 9 and again.volume.GetName() == "Kept" and again.labels == ["a"]
    assert ui.steps.value == 9 and ui.volume.currentNode().GetName() == "Kept"
    again.disconnectGui(0)


def test_a_removed_node_is_no_value_any_more(slicer, parameters):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.volume = volume
    slicer.mrmlScene.RemoveNode(volume)
    assert parameters.volume is None
