"""The harness's `qt` answers as PythonQt, and refuses what PythonQt refuses."""

import functools
import sys
from pathlib import Path

import pytest

import harness
from harness.pythonqt import makeQtModule
from harness.source_rules import violations

qt = makeQtModule()

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE_SOURCES = sorted(path for folder in REPOSITORY.glob("TopoMAE*") for path in folder.rglob("*.py"))


def test_a_property_is_an_attribute_beside_its_setter():
    box = qt.QCheckBox("Mirror")
    assert (box.text, box.checked, box.isChecked()) == ("Mirror", False, False)
    box.checked = True
    box.setText("Flip")
    assert (box.text, box.checked, box.isEnabled(), box.enabled) == ("Flip", True, True, True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("QLabel", "text"), ("QComboBox", "currentIndex"), ("QTableWidget", "rowCount"), ("QComboBox", "currentData")],
)
def test_calling_a_property_fails(kind, name):
    with pytest.raises(TypeError, match="not callable"):
        getattr(getattr(qt, kind)(), name)()


def test_table_items_are_no_objects_of_qt_and_keep_their_methods():
    table = qt.QTableWidget(2, 1)
    item = qt.QTableWidgetItem("case 1")
    table.setItem(0, 0, item)
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    item.setData(qt.Qt.UserRole, "ID")
    assert (table.item(0, 0).text(), table.item(0, 0).data(qt.Qt.UserRole)) == ("case 1", "ID")
    assert table.item(1, 0) is None
    table.selectRow(0)
    assert [each.text() for each in table.selectedItems()] == ["case 1"]
    assert isinstance(table.selectedItems(), tuple)


def test_nothing_new_can_be_put_on_a_qt_object_but_on_a_class_of_ones_own():
    button = qt.QPushButton()
    with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
        button.caseName = "case 1"
    with pytest.raises(AttributeError, match="Slot 'setText' can not be overwritten"):
        button.setText = print
    with pytest.raises(AttributeError, match="Signal 'clicked' can not be overwritten"):
        button.clicked = print
    with pytest.raises(AttributeError, match="not writable"):
        button.isActiveWindow = True

    class Own(qt.QWidget):
        pass

    own = Own()
    own.caseName = "case 1"
    assert own.caseName == "case 1"
    with pytest.raises(AttributeError, match="Slot 'update' can not be overwritten"):
        own.update = print


def test_a_property_whose_getter_is_virtual_is_read_as_any_other():
    bar = qt.QProgressBar()
    bar.setRange(0, 100)
    bar.value = 40
    bar.format = "%p % done"
    assert bar.text == "40 % done"
    bar.setValue(50)
    assert bar.text == "50 % done"


def test_a_value_of_the_wrong_type_is_refused_by_a_property():
    with pytest.raises(
        AttributeError, match="Property 'checked' of QCheckBox does not accept an object of type object"
    ):
        qt.QCheckBox().checked = object()


def test_an_unknown_attribute_is_missing_and_a_dynamic_property_is_there():
    label = qt.QLabel()
    assert not hasattr(label, "caption")
    label.setProperty("caption", "one")
    label.caption = "two"
    assert label.property("caption") == label.caption == "two"


def test_children_are_found_by_their_name():
    parent = qt.QWidget()
    child = qt.QLabel("x", parent)
    child.objectName = "note"
    assert parent.note is child
    assert child.name == "note"
    assert parent.findChild(qt.QLabel, "note") is child
    assert parent.children() == (child,)


@pytest.mark.parametrize("kind", ["QPushButton", "QTimer", "QProcess"])
def test_a_signal_named_by_text_is_refused(kind):
    with pytest.raises(TypeError, match=r"use object\.signalName\.connect\(callable\)"):
        getattr(qt, kind)().connect("destroyed()", print)
    with pytest.raises(TypeError, match="string-typed disconnect"):
        getattr(qt, kind)().disconnect("destroyed()", print)


def test_a_slot_gets_as_many_arguments_as_it_takes_and_a_partial_gets_all():
    button, heard = qt.QPushButton(), []
    button.clicked.connect(lambda: heard.append("none"))
    button.clicked.connect(lambda checked: heard.append(checked))
    button.clicked.connect(functools.partial(lambda *values: heard.append(values), "partial"))
    button.click()
    assert heard == ["none", False, ("partial", False)]


def test_a_slot_can_be_disconnected():
    box, heard = qt.QSpinBox(), []
    box.valueChanged.connect(heard.append)
    box.value = 3
    box.valueChanged.disconnect(heard.append)
    box.value = 4
    assert heard == [3]


def test_enumerators_are_integers():
    assert qt.QProcess.NotRunning == 0
    assert int(qt.QProcess.CrashExit) == 1
    assert qt.QLabel().textFormat == qt.Qt.AutoText
    assert qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable == 33


def test_every_widget_is_a_widget():
    assert isinstance(qt.QTableWidget().horizontalHeader(), qt.QHeaderView)
    assert isinstance(qt.QComboBox().view(), qt.QWidget)


def test_settings_are_of_this_process_and_lists_come_back_as_tuples():
    settings = qt.QSettings()
    assert "harness" in settings.fileName()
    settings.setValue("TopoMAE/ModelFolders", ["/a", "/b"])
    assert qt.QSettings().value("TopoMAE/ModelFolders") == ("/a", "/b")
    assert qt.QSettings().value("TopoMAE/Nothing", "default") == "default"
    assert qt.QSettings().value("TopoMAE/Nothing") is None
    with pytest.raises(TypeError):
        settings.value("TopoMAE/Nothing", type=bool)


def test_a_process_tells_its_output_and_its_exit_code():
    process, finished = qt.QProcess(), []
    process.finished.connect(lambda code, status: finished.append((code, status)))
    process.start(sys.executable, ["-c", "print('größe'); raise SystemExit(3)"])
    harness.pump(lambda: finished, 20)
    assert finished == [(3, qt.QProcess.NormalExit)]
    assert process.state() == qt.QProcess.NotRunning
    output = process.readAllStandardOutput().data()
    assert isinstance(output, bytes)
    assert output.decode("utf-8").strip() == "größe"


def test_a_program_that_does_not_exist_is_an_error_with_a_number():
    process, errors = qt.QProcess(), []
    process.errorOccurred.connect(errors.append)
    process.start("/no/such/program", [])
    harness.pump(lambda: errors, 10)
    assert errors == [qt.QProcess.FailedToStart]


def test_a_single_shot_calls_once():
    heard = []
    qt.QTimer.singleShot(0, lambda: heard.append(1))
    harness.pump(lambda: heard, 5)
    assert heard == [1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("button.connect('clicked()', f)", "string-typed connect"),
        ("qt.Qt.ItemDataRole.UserRole", "enumerators of PythonQt belong to the class: qt.Qt.UserRole"),
        ("qt.QProcess.ProcessState.NotRunning", "qt.QProcess.NotRunning"),
        ("qt.QRegExp('x')", "does not exist"),
        ("qt.QSettings().value('key', type=bool)", "no keyword arguments"),
        ("qt.QLabel('x', parent=p)", "no keyword arguments"),
        ("panel.findChild(qt.QLabel, name='note')", "no keyword arguments"),
        ("bytes(process.readAllStandardOutput())", "use its data()"),
        ("qt.Signal(str)", "no signals of Python classes"),
        ("box.checkStateChanged.connect(f)", "Qt 5.15 and Qt 6"),
        ("ctk.ctkUnknownWidget()", "does not exist"),
        ("slicer.qMRMLUnknownWidget()", "does not exist"),
        ("_(f'{n} volumes')", "plain text"),
    ],
)
def test_what_only_pyside_can_do_is_found_in_the_source(tmp_path, line, reason):
    source = tmp_path / "module.py"
    source.write_text(f"{line}\n", encoding="utf-8")
    assert [reason in violation for violation in violations(source)] == [True]


def test_what_pythonqt_can_do_is_not_complained_about(tmp_path):
    source = tmp_path / "module.py"
    source.write_text(
        "button.clicked.connect(self.onApply)\n"
        "item.setData(qt.Qt.UserRole, name)\n"
        "qt.QTimer.singleShot(0, self.update)\n"
        "slicer.util.loadVolume(path, properties={})\n"
        "_('{n} volumes').format(n=n)\n"
        "qt.QSettings().value('key', '')\n",
        encoding="utf-8",
    )
    assert violations(source) == []


@pytest.mark.skipif(not MODULE_SOURCES, reason="no modules in this tree")
@pytest.mark.parametrize("path", MODULE_SOURCES, ids=lambda path: path.stem)
def test_the_modules_keep_to_what_pythonqt_has(path):
    assert violations(path) == []
