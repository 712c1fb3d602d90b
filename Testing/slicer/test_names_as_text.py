"""Names that come from elsewhere, in models, runs and files, are shown as text and never as markup."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ElementTree

import harness
from segment_helpers import OBLIQUE, greyVoxels
from train_data_stand_ins import StandInEngine, aCase, useModuleFolders
from train_run_stand_ins import REPOSITORY, makeRun, standInInterpreter

pytest_plugins = ["segment_fixtures"]
useModuleFolders()

EVIL = '<img src="x" onerror="alert(1)"><b>EVIL</b>'
SOURCES = [path for part in ("TopoMAESegment", "TopoMAETrain") for path in sorted((REPOSITORY / part).rglob("*.py"))]


def takenForMarkup(root: object) -> list[str]:
    """Widgets under a widget that show a name of `EVIL` in a way in which Qt may take it for HTML."""
    import qt

    found = []
    for widget in [root, *root.findChildren(qt.QWidget)]:
        if isinstance(widget, qt.QLabel) and _looksLikeMarkup(widget.text) and widget.textFormat != qt.Qt.PlainText:
            found.append(f"{widget.objectName}: {widget.text}")
        tips = [str(widget.toolTip or "")]
        if isinstance(widget, qt.QTableWidget):
            cells = [widget.item(r, c) for r in range(widget.rowCount) for c in range(widget.columnCount)]
            tips += [cell.toolTip() for cell in cells if cell is not None]
        found += [f"tool tip of {widget.objectName}: {tip}" for tip in tips if _looksLikeMarkup(tip)]
    return found


def _looksLikeMarkup(text: str) -> bool:
    return re.search(r"<(img|b)\b", text) is not None


def shownTexts(root: object) -> str:
    """What labels, tables and lists under a widget say."""
    import qt

    texts = [label.text for label in root.findChildren(qt.QLabel)]
    for table in root.findChildren(qt.QTableWidget):
        cells = [table.item(r, c) for r in range(table.rowCount) for c in range(table.columnCount)]
        texts += [cell.text() for cell in cells if cell is not None]
    for box in root.findChildren(qt.QComboBox):
        texts += [box.itemText(place) for place in range(box.count)]
    return "\n".join(texts)


def test_the_sweep_finds_what_qt_would_take_for_html(slicer):
    import qt

    holder = qt.QWidget()
    label, table = qt.QLabel(EVIL, holder), qt.QTableWidget(1, 1, holder)
    table.setItem(0, 0, qt.QTableWidgetItem("harmless"))
    table.item(0, 0).setToolTip(EVIL)
    assert len(takenForMarkup(holder)) == 2
    label.setTextFormat(qt.Qt.PlainText)
    table.item(0, 0).setToolTip("")
    assert takenForMarkup(holder) == []


def test_names_in_a_model_and_of_volumes_are_shown_as_text(scene, makePanel, makeCardFolder, tmp_path):
    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.volumes import addVolume

    labels = [{"value": 1, "name": EVIL, "colour": [1, 2, 3], "terminology": None}]
    plan = {"dataset": EVIL, "modalities": [EVIL], "spacing": [9.0, 9.0, 9.0]}
    ModelList().add(makeCardFolder("evil", plan=plan, labels=labels))
    addVolume(greyVoxels(), OBLIQUE, "MR").SetName(EVIL)
    panel = makePanel()
    panel.enter()
    harness.pump()
    root = panel.ui.modelTable.window()
    assert takenForMarkup(root) == []
    assert "EVIL" in shownTexts(root) and EVIL in panel.ui.misfitLabel.text
    (tmp_path / "evil" / "network.json").write_text(f'{{"network": "{EVIL[:4]}'[:20])
    panel.context.notify()
    assert takenForMarkup(root) == []


def test_names_in_data_sets_and_runs_are_shown_as_text(scene, slicer, tmp_path):
    import qt

    from TopoMAETrainLib.case_table import CaseTable
    from TopoMAETrainLib.context import TrainContext
    from TopoMAETrainLib.logic import TrainLogic
    from TopoMAETrainLib.runs_panel import RunsPanel
    from TopoMAETrainLib.training_panel import TrainingPanel

    name = "<b>EVIL<b>"
    run = makeRun(tmp_path / "runs" / name, "failed", init=EVIL)
    with open(run / "events.jsonl", "a", encoding="utf-8") as events:
        for kind in ("warning", "note", "error"):
            event = {"event": kind, "time": "2100-01-01T00:00:00Z", "message": EVIL, "hint": EVIL, "case": EVIL}
            events.write(json.dumps(event) + "\n")
        progress = {"event": "progress", "phase": EVIL, "step": 1, "of": 2, "seconds_left": 1.0}
        events.write(json.dumps(progress) + "\n")
    (run / "metrics.csv").write_text(f"step,phase,name,value\n1,{name},{name},0.5\n")
    interpreter = standInInterpreter(tmp_path / "engine")
    context = TrainContext(interpreterFinder=lambda: interpreter)
    context.runsRoot = str(tmp_path / "runs")
    logic, holder = TrainLogic(context.interpreter), qt.QWidget()
    layout = qt.QVBoxLayout(holder)
    training = TrainingPanel(layout, context, logic)
    runs = RunsPanel(layout, context, logic, training, openUrl=lambda path: None)
    table, label = qt.QTableWidget(holder), qt.QLabel(holder)
    label.setTextFormat(qt.Qt.PlainText)
    cases = CaseTable(table, label)
    holder.show()
    try:
        runs.enter()
        runs.select(run)
        runs.attach()
        training.setEngineProblem(EVIL)
        cases.fill([aCase(EVIL, errors=(EVIL,), warnings=(EVIL,))])
        table.setCurrentCell(0, 0)
        harness.pump()
        assert shownTexts(holder).count("EVIL") > 6
        assert takenForMarkup(holder) == []
        harness.answers.confirm(False)
        runs.delete()
        assert name in harness.answers.texts("confirm")[0] and run.is_dir()
    finally:
        runs.cleanup()
        training.cleanup()
        holder.deleteLater()


def test_the_data_panel_shows_what_the_engine_says_as_text(scene, slicer, tmp_path):
    import qt

    from TopoMAETrainLib.context import TrainContext
    from TopoMAETrainLib.data_panel import DataPanel
    from TopoMAETrainLib.plan_service import PlanService

    engine, holder = StandInEngine(), qt.QWidget()
    context = TrainContext(interpreterFinder=lambda: standInInterpreter(tmp_path / "engine"))
    service = PlanService(context, engine)
    panel = DataPanel(qt.QVBoxLayout(holder), context, service)
    try:
        folder = tmp_path / "<b>EVIL<b>"
        folder.mkdir()
        context.set(dataFolder=str(folder))
        assert harness.pump(lambda: engine.questions, 5)
        engine.onProgress(EVIL, 0.5, None)
        engine.answer(cases=[aCase(EVIL, errors=(EVIL,))], warnings=[EVIL], error=EVIL)
        harness.pump()
        assert "EVIL" in shownTexts(holder)
        assert takenForMarkup(holder) == []
    finally:
        panel.cleanup()
        holder.deleteLater()


def test_every_label_that_is_given_a_text_is_told_that_it_is_plain():
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    wrong = []
    for file in REPOSITORY.glob("TopoMAE*/Resources/UI/*.ui"):
        for widget in ElementTree.parse(file).iter("widget"):
            formats = [p.findtext("enum") for p in widget.findall("property") if p.get("name") == "textFormat"]
            name = widget.get("name")
            isSet = re.search(rf"\b{name}\.(setText\(|text =)", code)
            if widget.get("class") == "QLabel" and isSet and formats != ["Qt::PlainText"]:
                wrong.append(f"{file.name}: {name}")
    assert wrong == []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert text.count("qt.QLabel()") <= text.count("setTextFormat(qt.Qt.PlainText)"), path


def test_every_tool_tip_and_dialog_with_a_name_in_it_is_plain():
    safe = {"asToolTip", "plainToolTip", "toolTipText"}
    wrong = []
    for path in SOURCES:
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name == "setToolTip" and not (_isOwnText(call.args[0]) or _calls(call.args[0]) & safe):
                wrong.append(f"{path.name}:{call.lineno}")
            isDialog = re.fullmatch(r"(error|warning|info|confirm\w+)Display|messageBox", name)
            if isDialog and not (_isOwnText(call.args[0]) or any(k.arg == "textFormat" for k in call.keywords)):
                wrong.append(f"{path.name}:{call.lineno}")
    assert wrong == []


def _isOwnText(node: ast.expr) -> bool:
    """Whether an expression is a text of ours, translated."""
    if isinstance(node, ast.IfExp):
        return _isOwnText(node.body) and _isOwnText(node.orelse)
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_"


def _calls(node: ast.expr) -> set[str]:
    return {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def test_names_for_nodes_and_segments_lose_what_is_not_text(slicer):
    from TopoMAELib.harmless import cleanName
    from TopoMAELib.segmentations import terminologyText

    assert cleanName("Leber, links") == "Leber, links"
    assert cleanName("a < b & c") == "a < b & c"
    assert cleanName("<b>x</b>\x1b[2J\u202egz.\n\nend") == "‹b>x‹/b> [2J gz. end"
    assert len(cleanName("x" * 10_000)) == 200
    hostile = {"scheme": "SCT", "value": "1~^2", "meaning": EVIL}
    text = terminologyText({"category": hostile, "type": [hostile], "modifier": None})
    assert text.count("~") == 6 and "<img" not in text
