"""The stand-ins of CTK and qMRML widgets behave as the widgets they stand for."""

import gc
import weakref

import numpy as np
import pytest
import slicer
import vtk

import harness
from harness.ctk_widgets import makeCtkModule
from harness.pythonqt import makeQtModule

qt = makeQtModule()
ctk = makeCtkModule(qt)


def heardBy(signal):
    """The list that fills with what a signal says."""
    heard = []
    signal.connect(heard.append)
    return heard


def colors(widget, width=300, height=120):
    """How often each colour appears in a picture of a widget."""
    widget.resize(width, height)
    widget.show()
    harness.pump()
    image = widget.grab().toImage().convertToFormat(qt.QImage.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(-1, 4)[:, 2::-1]
    widget.hide()
    kinds, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(kind.tolist()): int(count) for kind, count in zip(kinds, counts, strict=True)}


# ---------------------------------------------------------------------- CTK


def test_a_slider_keeps_its_value_in_its_bounds_and_says_so_once():
    slider = ctk.ctkSliderWidget()
    heard = heardBy(slider.valueChanged)
    slider.setRange(0, 1)
    slider.decimals = 2
    slider.value = 0.333
    slider.setValue(7)
    slider.maximum = 0.5
    assert heard == [0.33, 1.0, 0.5]
    assert (slider.value, slider.minimum, slider.maximum) == (0.5, 0.0, 0.5)


def test_a_range_stays_in_order():
    box = ctk.ctkRangeWidget()
    box.setRange(-10, 10)
    box.setValues(5, -5)
    box.minimumValue = 0
    assert (box.minimumValue, box.maximumValue) == (0, 5)


def test_a_collapsed_button_hides_what_lies_below_and_shows_again_only_what_was_shown():
    window = qt.QWidget()
    qt.QVBoxLayout(window)
    button = ctk.ctkCollapsibleButton("Advanced", window)
    window.layout().addWidget(button)
    shown, hidden = qt.QLabel("shown"), qt.QLabel("hidden")
    form = qt.QVBoxLayout(button)
    form.addWidget(shown)
    form.addWidget(hidden)
    hidden.hide()
    window.show()
    height = button.sizeHint().height()
    heard = heardBy(button.contentsCollapsed)
    button.collapsed = True
    assert (shown.visible, heard) == (False, [True])
    assert button.sizeHint().height() < height
    button.click()
    assert (button.collapsed, shown.visible, hidden.visible) == (False, True, False)
    window.hide()


def test_a_button_that_is_collapsed_before_it_is_filled_hides_its_contents_too():
    button = ctk.ctkCollapsibleButton()
    button.collapsed = True
    child = qt.QLabel("child")
    qt.QVBoxLayout(button).addWidget(child)
    button.show()
    harness.pump()
    assert not child.visible
    button.collapsed = False
    assert child.visible
    button.hide()


def test_a_path_is_remembered_in_the_settings_by_its_key(tmp_path):
    line = ctk.ctkPathLineEdit()
    line.settingKey = "TopoMAE/Runs"
    changes, validity = heardBy(line.currentPathChanged), heardBy(line.validInputChanged)
    line.currentPath = str(tmp_path)
    line.addCurrentPathToHistory()
    assert (changes, validity) == ([str(tmp_path)], [True])
    another = ctk.ctkPathLineEdit()
    another.settingKey = "TopoMAE/Runs"
    assert another.currentPath == str(tmp_path)


def test_browsing_takes_the_answer_of_the_dialog(monkeypatch):
    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *given: asked.append(given[2]) or "/data")
    line = ctk.ctkPathLineEdit()
    line.filters = ctk.ctkPathLineEdit.Dirs
    line.currentPath = "/home"
    line.browse()
    assert (asked, line.currentPath) == (["/home"], "/data")


# ---------------------------------------------------------------------- nodes


@pytest.fixture
def selector(scene):
    """A combo box of scalar volumes with a scene."""
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(scene)
    return box


def addVolume(scene, name, **attributes):
    volume = slicer.vtkMRMLScalarVolumeNode()
    volume.SetName(name)
    for key, value in attributes.items():
        volume.SetAttribute(key, value)
    return scene.AddNode(volume)


def test_a_node_selector_is_grey_until_it_has_a_scene_and_keeps_a_wish_for_then(scene):
    volume, wanted = addVolume(scene, "T1"), addVolume(scene, "T2")
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setCurrentNode(wanted)
    assert (box.enabled, box.currentNode()) == (False, None)
    box.setMRMLScene(scene)
    assert (box.enabled, box.currentNode(), box.nodeCount()) == (True, wanted, 2)
    assert box.nodeFromIndex(0) is volume


def test_without_none_the_first_node_is_chosen_and_with_none_nothing(scene, selector):
    optional = slicer.qMRMLNodeComboBox()
    optional.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    optional.noneEnabled = True
    optional.setMRMLScene(scene)
    heard = heardBy(selector.currentNodeIDChanged)
    volume = addVolume(scene, "T1")
    assert (selector.currentNode(), optional.currentNode()) == (volume, None)
    assert (selector.currentNodeID, heard) == (volume.GetID(), [volume.GetID()])
    selector.setCurrentNode(None)
    assert selector.currentNode() is None


def test_the_next_node_takes_the_place_of_a_removed_one(scene, selector):
    first, second, third = (addVolume(scene, name) for name in ("A", "B", "C"))
    selector.setCurrentNode(second)
    scene.RemoveNode(second)
    assert selector.currentNode() is third
    scene.RemoveNode(third)
    assert selector.currentNode() is first


def test_closing_the_scene_empties_the_selector_with_one_word(scene, selector):
    addVolume(scene, "A")
    addVolume(scene, "B")
    heard = heardBy(selector.currentNodeChanged)
    scene.Clear(0)
    assert (selector.nodeCount(), selector.currentNode(), heard) == (0, None, [None])


def test_hidden_nodes_other_classes_and_nodes_without_the_attribute_are_not_listed(scene):
    hidden = addVolume(scene, "hidden")
    hidden.SetHideFromEditors(1)
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    probability = addVolume(scene, "probability", TopoMAE="probability")
    addVolume(scene, "T1")
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(scene)
    assert box.nodeCount() == 3
    box.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert box.nodeCount() == 2
    box.addAttribute("vtkMRMLScalarVolumeNode", "TopoMAE", "probability")
    assert [box.nodeFromIndex(index) for index in range(box.nodeCount())] == [probability]
    box.setCurrentNode(hidden)
    assert box.currentNode() is None


def test_a_new_node_has_the_base_name_and_the_attributes(scene, selector):
    selector.addAttribute("vtkMRMLScalarVolumeNode", "TopoMAE", "probability")
    selector.baseName = "Probability"
    added = heardBy(selector.nodeAddedByUser)
    node = selector.addNode()
    assert added == [node]
    assert (node.GetName(), node.GetAttribute("TopoMAE"), selector.currentNode()) == (
        "Probability",
        "probability",
        node,
    )
    assert selector.addNode("vtkMRMLModelNode") is None


def test_the_selector_shows_the_name_of_its_node_also_after_renaming(scene, selector):
    volume = addVolume(scene, "T1")
    shown = selector.findChild(qt.QComboBox)
    assert shown.currentText == "T1"
    volume.SetName("hippocampus")
    assert shown.currentText == "hippocampus"


def test_a_deleted_selector_no_longer_hears_of_the_scene(scene):
    window = qt.QWidget()
    box = slicer.qMRMLNodeComboBox(window)
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(scene)
    window.deleteLater()
    harness.pump()
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    volume = addVolume(scene, "T1")
    volume.SetName("T2")
    assert "_observerTags" not in box.__dict__
    with pytest.raises(RuntimeError, match="already deleted"):
        box.enabled  # noqa: B018


def test_garbage_collection_amid_a_callback_leaves_the_selector_whole_until_its_end(scene):
    """A forgotten panel whose selectors hear of the scene is deleted by the collector, which comes when it likes."""

    def forgetAPanel():
        panel = slicer.qMRMLWidget()
        selector = slicer.qMRMLNodeComboBox(panel)
        selector.nodeTypes = ("vtkMRMLScalarVolumeNode",)
        selector.setMRMLScene(scene)
        vars(panel)["itself"] = panel
        return weakref.ref(selector)

    thresholds = gc.get_threshold()
    for allocations in range(1, 80):
        gc.collect()
        gc.disable()
        selector = forgetAPanel()
        assert selector() is not None
        gc.set_threshold(allocations)
        gc.enable()
        scene.AddNewNodeByClass("vtkMRMLTextNode")
        gc.set_threshold(*thresholds)
        assert not harness.errors, f"the collector came after {allocations} allocations"
    gc.collect()
    assert selector() is None, "the callbacks do not keep a panel"


def test_an_error_in_a_callback_is_written_down_and_keeps_no_node(scene):
    def fail(caller, event):
        held = scene.AddNewNodeByClass("vtkMRMLTextNode", "held")
        kept.append(weakref.ref(held))
        raise ValueError("of this test")

    kept = []
    tag = scene.AddObserver(scene.StartBatchProcessEvent, fail)
    scene.StartState(scene.BatchProcessState)
    scene.EndState(scene.BatchProcessState)
    scene.RemoveObserver(tag)
    assert [error.splitlines()[-1] for error in harness.errors] == ["ValueError: of this test"]
    harness.errors.clear()
    scene.Clear(0)
    gc.collect()
    assert kept[0]() is None


def test_several_nodes_can_be_checked(scene):
    box = slicer.qMRMLCheckableNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.setMRMLScene(scene)
    first, second = addVolume(scene, "A"), addVolume(scene, "B")
    box.check(second)
    assert (box.checkedNodes(), box.uncheckedNodes()) == ((second,), (first,))
    scene.RemoveNode(second)
    assert box.checkedNodes() == ()


def test_a_subject_hierarchy_item_is_chosen_by_level(scene):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    box = slicer.qMRMLSubjectHierarchyComboBox()
    box.setLevelFilter([slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyLevelFolder()])
    box.setMRMLScene(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "cases")
    volume = hierarchy.GetItemByDataNode(addVolume(scene, "T1"))
    heard = heardBy(box.currentItemChanged)
    box.setCurrentItem(volume)
    box.setCurrentItem(folder)
    assert (box.currentItem(), box.currentText, heard) == (folder, "cases", [folder])
    hierarchy.RemoveItem(folder)
    assert box.currentItem() == 0


# ---------------------------------------------------------------------- segments, points, tables


@pytest.fixture
def segmentation(scene):
    """A segmentation with an orange and a blue segment, shown."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().AddEmptySegment("a", "anterior", (230 / 255, 159 / 255, 0))
    node.GetSegmentation().AddEmptySegment("p", "posterior", (0, 114 / 255, 178 / 255))
    return node


def test_the_segments_table_shows_names_and_colours_and_gives_the_selected_segments(scene, segmentation):
    table = slicer.qMRMLSegmentsTableView()
    table.setMRMLScene(scene)
    table.setSegmentationNode(segmentation)
    changes = []
    table.selectionChanged.connect(lambda: changes.append(table.selectedSegmentIDs()))
    table.setSelectedSegmentIDs(["p"])
    assert (table.segmentCount, changes) == (2, [("p",)])
    segmentation.GetSegmentation().AddEmptySegment("t", "tail")
    assert (table.segmentCount, table.selectedSegmentIDs()) == (3, ("p",))
    assert colors(table)[(230, 159, 0)] > 100
    scene.RemoveNode(segmentation)
    assert (table.segmentCount, table.segmentationNode()) == (0, None)


def test_the_eye_in_the_segments_table_hides_the_segment(scene, segmentation):
    table = slicer.qMRMLSegmentsTableView()
    table.setSegmentationNode(segmentation)
    table.tableWidget().cellClicked.emit(1, 0)
    assert not segmentation.GetDisplayNode().GetSegmentVisibility("p")
    table.readOnly = True
    table.tableWidget().cellClicked.emit(1, 0)
    assert not segmentation.GetDisplayNode().GetSegmentVisibility("p")


def test_a_segment_is_chosen_from_a_segmentation(scene, segmentation):
    box = slicer.qMRMLSegmentSelectorWidget()
    heard = heardBy(box.currentSegmentChanged)
    box.setMRMLScene(scene)
    box.setCurrentNode(segmentation)
    box.setCurrentSegmentID("p")
    segmentation.GetSegmentation().RemoveSegment("p")
    assert heard == ["a", "p", "a"]
    assert (box.currentNode(), box.currentSegmentID()) == (segmentation, "a")


def test_show_3d_makes_surfaces_and_removes_them(scene):
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    volume = slicer.util.addVolumeFromArray(labels, nodeClassName="vtkMRMLLabelMapVolumeNode")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(volume, node)
    button = slicer.qMRMLSegmentationShow3DButton()
    assert not button.enabled
    assert not hasattr(button, "setMRMLScene")
    button.setSegmentationNode(node)
    button.click()
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    button.click()
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_the_points_of_a_list_are_shown_as_they_move(scene):
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    widget = slicer.qSlicerSimpleMarkupsWidget()
    widget.setMRMLScene(scene)
    widget.setCurrentNode(points)
    points.AddControlPoint(vtk.vtkVector3d(1, 2, 3), "centre")
    points.SetNthControlPointPosition(0, 4, 5, 6)
    table = widget.tableWidget()
    assert [table.item(0, column).text() for column in range(4)] == ["centre", "4.000", "5.000", "6.000"]


def test_a_table_node_is_shown_with_its_columns(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(node, np.array([[1.0, 2.0], [3.0, 4.0]]), ["birth", "death"])
    view = slicer.qMRMLTableView()
    view.setMRMLScene(scene)
    view.setMRMLTableNode(node)
    model = view.model()
    assert (model.rowCount(), model.columnCount()) == (2, 2)
    assert model.headerData(1, qt.Qt.Horizontal) == "death"
    assert float(model.data(model.index(1, 0))) == 3


def test_a_plot_view_says_what_was_selected(scene):
    view, heard = slicer.qMRMLPlotView(), []
    view.dataSelected.connect(lambda ids, collection: heard.append((ids.GetNumberOfValues(), collection)))
    view.dataSelected.emit(vtk.vtkStringArray(), vtk.vtkCollection())
    assert heard[0][0] == 0
