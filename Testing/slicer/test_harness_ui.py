"""A .ui file becomes widgets as in the application, and one that would not work there is refused."""

import pytest
import slicer

from harness.ctk_widgets import makeCtkModule
from harness.pythonqt import makeQtModule
from harness.ui_loader import UiFileError

qt = makeQtModule()
ctk = makeCtkModule(qt)


UI = """<ui version="4.0"><widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="column">
<item><widget class="ctkCollapsibleButton" name="inputs">
 <property name="text"><string>Inputs</string></property><property name="collapsed"><bool>true</bool></property>
 <layout class="QFormLayout" name="form"><item row="0" column="1"><widget class="qMRMLNodeComboBox" name="volume">
  <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
  <property name="noneEnabled"><bool>true</bool></property>
  <property name="SlicerParameterName" stdset="0"><string>volume</string></property></widget></item></layout>
</widget></item>
<item><widget class="ctkPathLineEdit" name="folder">
 <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property></widget></item>
<item><widget class="QCheckBox" name="more"/></item>
</layout></widget><connections>
<connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>volume</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>
<connection><sender>more</sender><signal>toggled(bool)</signal>
 <receiver>folder</receiver><slot>setVisible(bool)</slot></connection>
</connections></ui>"""


@pytest.fixture
def loadUi(tmp_path):
    """Loads a .ui file of this text, as a module does."""

    def load(text):
        path = tmp_path / "Panel.ui"
        path.write_text(text, encoding="utf-8")
        return slicer.util.loadUI(str(path))

    return load


def test_a_ui_file_gives_its_widgets_by_name_and_the_scene_to_those_connected(scene, loadUi):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1")
    panel = loadUi(UI)
    ui = slicer.util.childWidgetVariables(panel)
    assert ui.volume.mrmlScene() is None
    panel.setMRMLScene(scene)
    ui.volume.setCurrentNode(volume)
    assert ui.volume.currentNode() is volume
    assert (ui.inputs.text, ui.inputs.collapsed, ui.folder.filters) == ("Inputs", True, 0x11)
    assert ui.volume.property("SlicerParameterName") == "volume"
    assert not hasattr(panel, "volume"), "only direct children are attributes in PythonQt"


def test_connections_between_widgets_of_a_ui_file_are_made(loadUi):
    ui = slicer.util.childWidgetVariables(loadUi(UI))
    ui.more.checked = True
    ui.more.checked = False
    assert not ui.folder.visible
    assert ui.folder.isHidden()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('class="QCheckBox"', 'class="ctkTreeComboBox"', "Unknown widget class ctkTreeComboBox"),
        ("<receiver>volume", "<receiver>folder", "qMRMLNodeComboBox volume never gets the scene"),
        ('name="more"', 'name="folder"', "Two widgets are named folder"),
        ('"noneEnabled"', '"noneAllowed"', "qMRMLNodeComboBox volume has no property noneAllowed"),
        ("ctkPathLineEdit::Readable", "ctkPathLineEdit::Legible", "no enumerator ctkPathLineEdit::Legible"),
        ("toggled(bool)", "flipped(bool)", "has no flipped"),
        ("<sender>more", "<sender>less", "names less, which does not exist"),
    ],
)
def test_a_ui_file_that_would_not_work_is_refused(loadUi, old, new, reason):
    with pytest.raises(UiFileError, match=reason):
        loadUi(UI.replace(old, new))


def test_a_missing_ui_file_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="file not found"):
        slicer.util.loadUI(str(tmp_path / "Nothing.ui"))


def test_a_widget_without_a_stand_in_is_missing():
    assert not hasattr(slicer, "qMRMLVolumeThresholdWidget")
    assert not hasattr(ctk, "ctkMatrixWidget")
