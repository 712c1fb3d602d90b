"""What comes from elsewhere - models, runs, names - is shown as text, and has nothing executed, written or killed."""

from __future__ import annotations

import ast
import csv
import gzip
import json
import os
import re
import stat
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import harness
from segment_helpers import OBLIQUE, greyVoxels
from train_data_stand_ins import StandInEngine, aCase, useModuleFolders
from train_run_stand_ins import REPOSITORY, makeRun, standInInterpreter, writeJson

pytest_plugins = ["segment_fixtures"]
useModuleFolders()

EVIL = '<img src="x" onerror="alert(1)"><b>EVIL</b>'
SOURCES = [path for part in ("TopoMAESegment", "TopoMAETrain") for path in sorted((REPOSITORY / part).rglob("*.py"))]
withLinks = pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights there")


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


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "report", "arguments": ["--pretrain", "x", "--output", "/etc/passwd"]},
        {"kind": "pretrain", "arguments": ["--data", "/data", "--run", "/somewhere/else"]},
        {"kind": "pretrain", "arguments": ["--run=/somewhere/else"]},
        {"kind": "pretrain", "arguments": ["/somewhere"]},
        {"kind": "pretrain", "arguments": ["--data"]},
        {"kind": "-c", "arguments": ["import os"]},
    ],
)
def test_a_run_from_elsewhere_cannot_choose_the_command_that_goes_on_with_it(slicer, tmp_path, record):
    from TopoMAELib.run_folder import RunFolder
    from TopoMAETrainLib.commands import resumeCommand

    run = makeRun(tmp_path / "run", "stopped")
    writeJson(run / ".launch.json", record | {"format": 1, "time": "2020-01-01T00:00:00+00:00"})
    command = resumeCommand(RunFolder(run))
    assert command[:3] == ["pretrain", "--data", "/data"]
    assert "--run" not in " ".join(command)


def test_a_run_started_here_goes_on_with_its_own_options(slicer, tmp_path):
    from TopoMAELib.run_folder import RunFolder
    from TopoMAETrainLib.commands import pretrainCommand, resumeCommand

    command = pretrainCommand("/data", {"steps": 5}, modalityNames=["--run"], leaveOutBad=True)
    run = makeRun(tmp_path / "run", "stopped")
    record = {"kind": command[0], "arguments": command[1:], "time": "2020-01-01T00:00:00+00:00", "format": 1}
    writeJson(run / ".launch.json", record)
    assert resumeCommand(RunFolder(run)) == command


@withLinks
@pytest.mark.parametrize("name", ["console.log", "events.jsonl", "checkpoints", "previews/inner"])
def test_a_run_folder_with_a_link_out_of_it_is_not_written_to(slicer, tmp_path, name):
    from TopoMAELib.run_folder import NotARun
    from TopoMAELib.run_process import startRun

    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = makeRun(tmp_path / "run", "stopped")
    place = run / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(victim)
    before = sorted(run.iterdir())
    with pytest.raises(NotARun, match=re.escape(name)):
        startRun(["pretrain", "--data", "/data"], run, standInInterpreter(tmp_path / "engine"))
    assert victim.read_text() == "mine" and sorted(run.iterdir()) == before


def test_nothing_is_imported_from_the_folder_slicer_was_started_in(slicer, tmp_path, monkeypatch):
    from TopoMAELib.processes import Process

    package = tmp_path / "topomae_elsewhere"
    package.mkdir()
    (package / "__main__.py").write_text("print('executed')")
    monkeypatch.chdir(tmp_path)
    lines = []
    process = Process(lines.append)
    process.start(sys.executable, ["-m", "topomae_elsewhere"])
    assert process.wait(30) and process.end.exitCode != 0
    assert lines == []
    done = subprocess.run([sys.executable, "-m", "topomae_elsewhere"], capture_output=True, text=True, check=True)
    assert done.stdout == "executed\n", "it would have been, from there"


def test_nothing_is_imported_from_a_run_folder(slicer, tmp_path):
    from TopoMAELib.interpreter import Interpreter
    from TopoMAELib.run_process import startRun

    run, marker = makeRun(tmp_path / "run", "stopped"), tmp_path / "executed"
    for name in ("topomae", "typer", "runpy"):
        (run / name).mkdir()
        for file in ("__init__.py", "__main__.py"):
            (run / name / file).write_text(f"open({str(marker)!r}, 'w').close()")
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    process = startRun(["pretrain", "--data", "/nowhere"], run, Interpreter(sys.executable, "", environment))
    assert process._popen.wait(120) != 0
    process.leaveSeat()
    assert not marker.exists()


def test_a_copied_lock_cannot_have_a_process_killed_that_is_not_a_training(slicer, tmp_path):
    import platform

    from TopoMAELib.run_folder import RunFolder
    from TopoMAELib.run_process import RunProcess

    run = makeRun(tmp_path / "run", "running")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for pid in (sleeper.pid, 0, -1):
            writeJson(run / "lock", {"pid": pid, "started": "", "host": platform.node(), "token": "x"})
            RunProcess(RunFolder(run)).kill()
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize(
    ("path", "besides", "elsewhere"),
    [
        (r"\\attacker\share\run", r"C:\runs\mine", True),
        ("//attacker/share/run", "/home/me/runs", True),
        (r"\\server\data\run", r"\\SERVER\data\runs", False),
        (r"C:\runs\other", r"C:\runs\mine", False),
        ("/home/me/pretrain", "/home/me/finetune", False),
    ],
)
def test_a_path_in_a_file_does_not_have_another_computer_asked(slicer, path, besides, elsewhere):
    from TopoMAELib.harmless import isElsewhere

    assert isElsewhere(path, besides) is elsewhere


def test_volumes_csv_holds_no_formula(scene, slicer, tmp_path, makeCardFolder):
    from TopoMAELib.model_folders import ModelCard
    from TopoMAELib.volumes import addVolume
    from TopoMAESegmentLib.folder_files import FolderOutput

    labels = [{"value": 1, "name": "=HYPERLINK(1)", "colour": [1, 2, 3], "terminology": None}]
    output = FolderOutput(tmp_path, tmp_path / "out", ModelCard.read(makeCardFolder(labels=labels)))
    output.write("@case;=1", np.ones((12, 14, 10), np.uint8), addVolume(greyVoxels(), OBLIQUE, "MR"))
    with open(tmp_path / "out" / "volumes.csv", encoding="utf-8", newline="") as file:
        row = list(csv.reader(file))[1]
    assert (row[0], row[2]) == ("'@case;'=1", "'=HYPERLINK(1)")


@withLinks
def test_the_exchange_is_private_and_follows_no_link_out_of_it(slicer, tmp_path):
    from TopoMAELib.exchange import Exchange

    np.save(tmp_path / "secret.npy", np.zeros(3))
    with Exchange() as exchange:
        assert stat.S_IMODE(exchange.folder.stat().st_mode) == 0o700
        (exchange.folder / "labels.npy").symlink_to(tmp_path / "secret.npy")
        for path in (exchange.folder / "labels.npy", exchange.folder / ".." / "secret.npy", tmp_path / "secret.npy"):
            with pytest.raises(ValueError, match="outside of its folder"):
                exchange.load(path)


@pytest.mark.parametrize("what", ["bomb", "enormous", "negative", "not a number", "pipe"])
def test_a_preview_that_is_a_trap_is_refused_before_memory_is_taken(slicer, tmp_path, what):
    resource = pytest.importorskip("resource")

    from TopoMAETrainLib.nifti_preview import readPreview

    path = tmp_path / "step_00000001_input.nii.gz"
    shape = [3, 30000, 30000, 30000] if what == "enormous" else [-5, 4, 4, 4] if what == "negative" else [3, 4, 4, 4]
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, *shape, 1, 1, 1, 1)
    struct.pack_into("<h", header, 70, 16)
    struct.pack_into("<f", header, 108, float("nan") if what == "not a number" else 352.0)
    struct.pack_into("<h", header, 254, 1)
    if what == "pipe":
        os.mkfifo(path)
    else:
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(bytes(header) + bytes(256))
            for _ in range(200 if what == "bomb" else 0):
                file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if what == "bomb":
        assert readPreview(path)[0].shape == (1, 4, 4, 4)
    else:
        with pytest.raises(ValueError, match="cannot be read"):
            readPreview(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@withLinks
def test_a_folder_of_pipes_does_not_make_slicer_wait(slicer, tmp_path):
    from TopoMAELib.model_folders import ModelCard, ModelFolderError
    from TopoMAELib.run_folder import RunFolder, findRuns

    names = ("settings.json", "status.json", "lock", ".driver", ".launch.json", "events.jsonl", "metrics.csv")
    for name in ("run", "model"):
        (tmp_path / name / "previews").mkdir(parents=True)
        (tmp_path / name / "configs").mkdir()
    for name in (*names, "previews/step_00000001_input.nii.gz", "previews/step_00000001_keypoints.json"):
        os.mkfifo(tmp_path / "run" / name)
    for name in ("plan.json", "network.json", "labels.json", "configs/metadata.json"):
        os.mkfifo(tmp_path / "model" / name)
    assert findRuns(tmp_path) == []
    run = RunFolder(tmp_path / "run")
    assert (run.kind, run.owner, run.driver, run.newEvents(), run.curves(), run.previews()) == (
        "",
        None,
        None,
        [],
        {},
        [],
    )
    run.state(), run.lastError()
    with pytest.raises(ModelFolderError):
        ModelCard.read(tmp_path / "model")
