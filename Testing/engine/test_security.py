"""Every claim of SECURITY.md about the engine: what comes from elsewhere is data, and only data."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import pickle
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from security_traps import Payload, deep, with_links
from worker_process import WorkerProcess, volume_file

from conftest import REPOSITORY
from topomae.bounded_reading import is_elsewhere
from topomae.console import ConsoleSink
from topomae.data.cases import Case
from topomae.errors import BadDataError, RunError
from topomae.evaluation.metrics import compare_masks
from topomae.evaluation.scores import Row, rows_from_csv, rows_to_csv
from topomae.evaluation.segmentation import Evaluation
from topomae.harmless import file_name_problem, printable, spreadsheet_cell, text_of_cell
from topomae.inference.outputs import place_outputs
from topomae.reporting.html import tag
from topomae.reporting.report import write_report
from topomae.reporting.run_folder import read_run
from topomae.runs.curves import Curves
from topomae.runs.folder import Run
from topomae.worker.protocol import BadRequest, parse

SOURCES = [
    REPOSITORY / "dev.py",
    *(path for part in ("topomae", "TopoMAESegment", "TopoMAETrain") for path in (REPOSITORY / part).rglob("*.py")),
]
FORMULAS = ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "x;=1", "＝1")


@with_links
@pytest.mark.parametrize("name", ["events.jsonl", "metrics.csv", "lock", "stop", "checkpoints", "previews/deep/link"])
def test_a_run_folder_with_a_link_out_of_it_is_not_written_to(tmp_path, name):
    Run.open(tmp_path / "run", "test", {}).__exit__(None, KeyboardInterrupt(), None)
    victim, place = tmp_path / "victim", tmp_path / "run" / name
    victim.write_text("mine")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(victim)
    with pytest.raises(RunError, match=re.escape(f"{name} is a link that leads out")):
        Run.open(tmp_path / "run", "test", {})
    assert victim.read_text() == "mine"
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(RunError, match="neither a file nor a folder"):
        Run.open(tmp_path / "run", "test", {})


def test_a_file_of_a_run_stays_in_its_folder(tmp_path):
    with Run.open(tmp_path / "run", "test", {}) as run:
        for parts in (("..", "x"), ("previews", "..", "..", "x"), (str(tmp_path / "x"),)):
            with pytest.raises(RunError, match="outside"):
                run.path(*parts)


HOSTILE_TEXTS = ("\x1b[2J\x1b]0;title\x07", "[bold red]x[/]", "a\x9b31mb", "safe\u202egnp.exe", "\r\x08\x7f")


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
@pytest.mark.parametrize("live", [False, True])
def test_names_cannot_steer_the_terminal(text, live, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    sink = ConsoleSink(stream, live=live)
    plain = {"phase": "segment", "step": 1, "of": 2, "seconds_left": 1.0}
    for event in (
        {"event": "warning", "message": text, "case": text},
        {"event": "error", "message": text, "hint": text, "case": text, "path": text},
        {"event": "note", "message": text},
        {"event": "plan", "dataset": text, "labels": {"1": text}, "reasons": {"dataset": text}},
        {"event": "start", "device": text, "folder": text, "versions": {"topomae": text}},
        {"event": "progress", **plain, "phase": text},
        {"event": "metric", "phase": text, "values": {text: 1.0}},
        {"event": "end", "status": text},
    ):
        sink.write(event)
    sink.close()
    said = re.sub(r"\x1b\[(\?25[lh]|[0-9;]*[mAK]|1A|2K)", "", stream.getvalue())  # what rich's own bars need
    assert not set(said) & set("\x1b\x07\x08\x7f\x9b\u202e")
    if "[bold" in text:
        assert "[bold red]x[/]" in said


@given(st.text(alphabet=st.sampled_from("';=+-@,\t\r\nax＝"), max_size=10))
def test_a_cell_is_no_formula_and_gives_the_text_back(text):
    cell = spreadsheet_cell(text)
    assert text_of_cell(cell) == text
    assert not re.search(r"(^|[;\t\r\n])[=+\-@＝]", cell)
    assert cell == _of_slicer().spreadsheetCell(text)


def test_tables_hold_no_formula_and_are_read_back(an_evaluation):
    rows = tuple(replace(an_evaluation[0], case=name, name=name, reason=name) for name in FORMULAS)
    text = rows_to_csv(rows)
    assert not re.search(r"(?m)(^|,)\"?[=+@]", text)
    assert [(row.case, row.name, row.reason) for row in rows_from_csv(text)] == [(n, n, n) for n in FORMULAS]


@pytest.fixture
def an_evaluation():
    mask = np.zeros((6, 6, 6), bool)
    mask[2:4, 2:4, 2:4] = True
    return [Row.of("case", 1, "ring", compare_masks(mask, mask, (1.0, 1.0, 1.0)))]


def test_names_become_plain_tags_of_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = Curves(tmp_path / "metrics.csv", tmp_path / "board")
    curves.append(1, "validate", {"dice/<script>alert(1)</script>\x1b[2J": 0.5})
    curves.close()
    (tag_name,) = EventAccumulator(str(tmp_path / "board")).Reload().Tags()["scalars"]
    assert tag_name == "validate/dice/_script_alert(1)_/script__[2J"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("..", "cannot be"),
        ("a/b", "cannot be"),
        ("a\\b", "cannot be"),
        ("", "cannot be"),
        ("NUL", "device"),
        ("com1.left", "device"),
        ("x" * 300, "too long"),
        ("ä" * 120, "too long"),
        ("safe\u202egnp", "cannot be seen"),
        ("two\nlines", "cannot be seen"),
        ("null\0", "cannot be"),
    ],
)
def test_a_name_that_is_no_file_name_is_refused_before_work(tmp_path, name, told):
    assert told in file_name_problem(name, ".nii.gz")
    with pytest.raises(BadDataError, match="the case's name"):
        place_outputs([Case(name=name, images=(tmp_path / "x.nii.gz",))], tmp_path / "out", probabilities=False)
    assert not (tmp_path / "out").exists()


@given(st.text(max_size=60))
def test_a_name_that_passes_stays_in_its_folder(name):
    if not file_name_problem(name, ".nii.gz"):
        path = os.path.normpath(os.path.join("/out", name + ".nii.gz"))
        assert os.path.dirname(path) == "/out"


@given(st.text(max_size=200))
def test_no_text_can_leave_its_element(text):
    html = tag("td", tag("span", text, title=text, class_="a"), text)
    assert re.fullmatch(r'<td><span title="([^"<>]*)" class="a">([^<>]*)</span>([^<>]*)</td>', html)
    html.encode("utf-8")
    assert not set(printable(text)) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160), 0x202E, 0x2066]))


@with_links
def test_a_report_of_a_run_full_of_traps_is_written_all_the_same(tmp_path):
    run = tmp_path / "run"
    (run / "previews").mkdir(parents=True)
    (run / "settings.json").write_text("{}")
    os.mkfifo(run / "previews" / "step_00000001_input.nii.gz")
    (run / "previews" / "step_00000002_input.nii.gz").write_bytes(b"")
    os.mkfifo(run / "previews" / "step_00000002_keypoints.json")
    (run / "events.jsonl").symlink_to("/dev/zero")
    (run / "plan.json").write_text(deep(100_000))
    lines = [f"{step},train,curve {step},1" for step in range(3000)]
    (run / "metrics.csv").write_text("step,phase,name,value\n" + "\n".join(lines) + f"\n1,{'x' * 9**5},y,1\n")
    html = write_report(tmp_path / "out", finetune=run).read_text(encoding="utf-8")
    assert "more: see metrics.csv" in html and html.count("<img") < 150
    assert read_run(run).facts == ()


@with_links
def test_an_evaluation_that_is_a_pipe_or_points_to_another_computer_is_not_followed(tmp_path):
    os.mkfifo(tmp_path / "summary.json")
    with pytest.raises(BadDataError, match="no complete evaluation"):
        Evaluation.load(tmp_path)
    assert is_elsewhere(r"\\attacker\share\images", Path("C:/evaluation"))
    assert is_elsewhere("//attacker/share/images", Path("/home/me"))
    assert not is_elsewhere("/home/me/images", Path("/home/me/evaluation"))


def _of_slicer():
    """The twin of `topomae.harmless` in the modules, which must not import the engine."""
    if "slicer_harmless" not in sys.modules:
        path = REPOSITORY / "TopoMAESegment" / "TopoMAELib" / "harmless.py"
        specification = importlib.util.spec_from_file_location("slicer_harmless", path)
        sys.modules["slicer_harmless"] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules["slicer_harmless"])
    return sys.modules["slicer_harmless"]


def test_the_worker_does_only_what_its_pipe_says(tmp_path):
    for line in (
        b'{"id": 1, "do": "__import__"}',
        b'{"id": 1, "do": "hello", "_target_": "os.system"}',
        b'{"id": 1, "do": ["segment"]}',
        pickle.dumps(Payload(tmp_path / "executed")),
        b"[" * 100_000,
    ):
        with pytest.raises(BadRequest):
            parse(line)
    assert not (tmp_path / "executed").exists()


def test_the_worker_opens_no_port_and_writes_only_where_it_is_told(tmp_path):
    worker = WorkerProcess()
    try:
        volume = volume_file(tmp_path / "volume.npy", np.arange(125.0).reshape(5, 5, 5) % 7)
        worker.result("persistence", image=volume, output=str(tmp_path / "out"))
        if sys.platform == "linux":
            inodes = {
                match[1]
                for name in os.listdir(f"/proc/{worker.process.pid}/fd")
                if (match := re.fullmatch(r"socket:\[(\d+)\]", _link(worker.process.pid, name)))
            }
            listening = [
                line.split()[9]
                for table in ("tcp", "tcp6", "udp", "udp6")
                for line in Path(f"/proc/{worker.process.pid}/net/{table}").read_text().splitlines()[1:]
            ]
            assert not inodes & set(listening)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "volume.npy"]
    finally:
        assert worker.end() == 0


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{name}")
    except OSError:
        return ""


@with_links
def test_what_is_written_for_a_defect_is_for_the_user_alone(tmp_path):
    code = (
        "import sys; from topomae.commands.telling import told; from topomae.commands.options import EventsTo\n"
        "with told(EventsTo.json): raise KeyError('secret')"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    (log,) = tmp_path.glob("topomae-*.log")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


# Modules that load code from data, or let others in.
FORBIDDEN_MODULES = {
    "pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "socket", "socketserver",
    "http", "xmlrpc", "ftplib", "telnetlib", "urllib", "requests", "webbrowser", "multiprocessing.managers", "runpy",
    "code", "codeop",
}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
FORBIDDEN_ATTRIBUTES = {
    "os.system", "os.popen", "os.startfile", "tempfile.mktemp", "torch.hub", "subprocess.getoutput",
    "subprocess.getstatusoutput", "shutil.unpack_archive", "tarfile.open", "zipfile.ZipFile", "dynamo.export",
}  # fmt: skip
MONAI_LOADERS = {"ConfigParser", "ConfigWorkflow", "run_name", "load_bundle_config", "torch.package"}


# Finds a port for the processes of one training, see SECURITY.md.
EXCEPTIONS = {"launching.py": ["socket"]}


def findings(source: str) -> list[str]:
    """What in a source text could run code from data, a shell, or open a port."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [name for name in names if {name, name.split(".")[0]} & FORBIDDEN_MODULES]
            found += [name for name in names if name.startswith("monai.bundle")]
        elif isinstance(node, ast.Call):
            name, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            last = name.split(".")[-1]
            wrong = name in FORBIDDEN_CALLS | FORBIDDEN_ATTRIBUTES or last in MONAI_LOADERS
            wrong |= name == "torch.load" and given.get("weights_only") != "True"
            wrong |= name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False"
            wrong |= (
                name in ("np.save", "numpy.save", "np.lib.format.write_array") and given.get("allow_pickle") != "False"
            )
            wrong |= "shell" in given or (name.endswith(("connect", "bind")) and "socket" in name)
            found += [f"{name} in line {node.lineno}"] if wrong else []
    return found


def test_no_source_runs_code_from_data_or_a_shell_or_opens_a_port():
    assert len(SOURCES) > 150
    found = {path.name: told for path in SOURCES if (told := findings(path.read_text(encoding="utf-8")))}
    assert found == EXCEPTIONS


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "import http.server",
        "from monai.bundle import run",
        "eval('1')",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "subprocess.run(c, shell=True)",
        "os.system('x')",
        "tempfile.mktemp()",
    ],
)
def test_the_search_would_find_it(source):
    assert findings(source)
