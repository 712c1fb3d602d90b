"""The plan panel: reasons, values set by hand and judged by the engine, time and memory."""

import pytest

import harness
from train_data_stand_ins import StandInEngine, texts, useModuleFolders

ROWS = ("modalities", "labels", "normalization", "spacing", "crop_size", "patch_size", "stem_stride", "batch_size")
VALUE, RESET, REASON = 1, 2, 3


@pytest.fixture
def makePanel(scene):
    """A function that makes a plan panel; it is cleaned up after the test."""
    useModuleFolders()
    import qt

    from TopoMAETrainLib.context import TrainContext
    from TopoMAETrainLib.plan_panel import PlanPanel
    from TopoMAETrainLib.plan_service import PlanService

    made = []

    def make(engine=None):
        place = qt.QWidget()
        context = TrainContext()
        panel = PlanPanel(qt.QVBoxLayout(place), context, PlanService(context, engine) if engine else None)
        made.append((place, panel))
        return panel

    yield make
    for place, panel in made:
        panel.cleanup()
        place.deleteLater()


@pytest.fixture
def engine():
    return StandInEngine()


@pytest.fixture
def panel(makePanel, engine, tmp_path):
    """A panel that shows the plan of a data set."""
    made = makePanel(engine)
    made._context.set(dataFolder=str(tmp_path))
    assert harness.pump(lambda: engine.questions, 5)
    engine.accept()
    return made


def type_(panel, field, text):
    """Edit a value as a user does."""
    panel._ui.planTable.item(ROWS.index(field), VALUE).setText(text)


def test_every_value_is_shown_with_its_reason(panel, engine):
    table = panel._ui.planTable
    assert texts(table, ROWS.index("crop_size")) == ["Crop (voxels)", "40, 56, 40", "", "holds the median volume"]
    assert texts(table, ROWS.index("labels"))[1] == "1 Anterior, 2 Posterior"
    assert texts(table, 8)[1] == "left-right"
    assert panel._ui.planStateLabel.text == "Planned for: CPU."
    assert not panel._ui.resetButton.enabled
    assert len(engine.questions) == 1


def test_long_names_of_labels_leave_room_for_the_reasons(panel, engine):
    import qt

    table = panel._ui.planTable
    table.window().resize(520, 900)
    table.window().show()
    labels = {n: f"structure with a long name {n}" for n in range(1, 20)}
    panel._table.fill({"labels": labels, "crop_size": [40, 56, 40], "reasons": {"labels": "why"}}, {}, None)
    qt.QApplication.processEvents()
    assert table.columnWidth(REASON) > table.columnWidth(VALUE) > 0
    assert table.rowHeight(0) > 2 * table.rowHeight(1), "the names go on in further lines"


def test_an_edited_value_becomes_an_override_once_the_engine_has_accepted_it(panel, engine):
    type_(panel, "spacing", "1 × 1 × 2.5")
    assert engine.questions[-1].overrides == (("spacing", "1,1,2.5"),)
    assert panel._context.planOverrides == {}
    assert not panel._ui.planTable.enabled
    engine.accept(spacing=[1.0, 1.0, 2.5], crop_size=[40, 56, 16])
    assert panel._context.planOverrides == {"spacing": "1,1,2.5"}
    assert texts(panel._ui.planTable, 3)[1:] == ["1, 1, 2.5", "", "set by the user"]
    assert texts(panel._ui.planTable, 4)[1] == "40, 56, 16"
    harness.pump(seconds=1)
    assert len(engine.questions) == 2  # the accepted answer is not asked for again

    panel._ui.planTable.cellWidget(3, RESET).click()
    assert engine.questions[-1].overrides == ()
    engine.accept()
    assert panel._context.planOverrides == {}
    assert panel._ui.planTable.cellWidget(3, RESET) is None


def test_a_value_that_the_engine_refuses_is_marked_and_the_plan_stays(panel, engine):
    type_(panel, "batch_size", "many")
    engine.answer(error="batch_size = 'many' is not valid: a number.", settingIsWrong=True)
    assert panel._context.planOverrides == {}
    assert texts(panel._ui.planTable, 7)[1] == "many"
    assert not panel._ui.planTable.item(7, VALUE).icon().isNull()
    assert "batch_size = 'many' is not valid" in panel._ui.planMessageLabel.text
    assert "Crops per step cannot be many" in panel._ui.planMessageLabel.text
    panel._ui.resetButton.click()
    assert texts(panel._ui.planTable, 7)[1] == "2"
    assert panel._ui.planMessageLabel.text == ""


def test_axes_are_typed_in_words_and_none_is_something_else_than_nothing(panel, engine):
    panel._ui.planTable.item(8, VALUE).setText("foot-head, left-right")
    assert engine.questions[-1].overrides == (("mirror_axes", "2,0"),)
    engine.accept(mirror_axes=[0, 2])
    panel._ui.planTable.item(8, VALUE).setText("none")
    assert engine.questions[-1].overrides == (("mirror_axes", ","),)
    engine.accept(mirror_axes=[])
    panel._ui.planTable.item(8, VALUE).setText("")
    assert engine.questions[-1].overrides == ()


def test_size_and_device_are_asked_with_and_an_estimate_holds_until_the_plan_changes(panel, engine):
    ui = panel._ui
    assert "not been estimated" in ui.estimateLabel.text
    ui.estimateButton.click()
    assert engine.questions[-1].estimate
    estimates = {
        "pretrain": {"seconds_per_step": 1.5, "memory_gb": 0.91, "steps": 500},
        "finetune": {"seconds_per_step": 0.8, "memory_gb": 0.9, "steps": 3000},
    }
    engine.answer(plan=dict(panel._service.answer.plan), device="CPU", estimates=estimates)
    first, second, _device = ui.estimateLabel.text.splitlines()
    assert first == "Pre-training: 0.91 GB of memory, 1.5 s per step, about 12 min 30 s for 500 steps."
    assert "40 min 00 s for 3000 steps" in second

    ui.sizeComboBox.setCurrentIndex(1)
    assert panel._context.size == "base"
    assert harness.pump(lambda: engine.questions[-1].size == "base", 5)
    engine.accept(crop_size=[48, 64, 48])
    assert "not been estimated" in ui.estimateLabel.text
    ui.deviceComboBox.setCurrentIndex(1)
    assert harness.pump(lambda: engine.questions[-1].device == "cpu", 5)
    assert ui.estimateButton.text == "Cancel"
    ui.estimateButton.click()
    assert engine.cancelled == 1
    assert texts(ui.planTable, 4)[1] == "48, 64, 48"


def test_another_data_set_forgets_the_plan_and_what_was_being_asked(panel, engine, tmp_path):
    type_(panel, "batch_size", "4")
    (tmp_path / "other").mkdir()
    panel._context.set(dataFolder=str(tmp_path / "other"), planOverrides={})
    assert engine.cancelled == 1
    assert panel._service.answer is None
    assert not panel._ui.estimateButton.enabled
    assert harness.pump(lambda: engine.questions[-1].dataFolder.endswith("other"), 5)
    assert engine.questions[-1].overrides == ()


def test_the_real_engine_plans_judges_and_estimates(makePanel, dataFolder, tmp_path):
    folder = tmp_path / "set" / "images"
    folder.mkdir(parents=True)
    for path in sorted((dataFolder / "hippocampus" / "imagesTr").glob("hippocampus_*.nii.gz"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    panel = makePanel()
    service = panel._service
    small = {"crop_size": "16,16,16"}
    panel._context.set(dataFolder=str(tmp_path / "set"), modalityNames=["MR"], device="cpu", planOverrides=small)
    assert harness.pump(lambda: service.answer is not None, 120)
    assert service.answer.error == ""
    assert texts(panel._ui.planTable, 0)[1] == "MR"
    assert texts(panel._ui.planTable, 4)[1] == "16, 16, 16"
    assert texts(panel._ui.planTable, 4)[REASON] == "set by the user"
    assert panel._ui.planStateLabel.text == "Planned for: CPU, as asked for."

    type_(panel, "patch_size", "7,8,8")
    assert harness.pump(lambda: not service.busy, 120)
    assert service.rejected[0] == "patch_size"
    assert "multiple of patch_size" in panel._ui.planMessageLabel.text
    assert panel._context.planOverrides == small

    panel._ui.estimateButton.click()
    assert harness.pump(lambda: not service.busy, 200)
    assert set(service.answer.estimates) == {"pretrain", "finetune"}
    assert "Pre-training:" in panel._ui.estimateLabel.text
    assert texts(panel._ui.planTable, 4)[1] == "16, 16, 16"
