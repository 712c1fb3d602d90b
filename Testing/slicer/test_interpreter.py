"""Which Python runs the engine, with which environment, and what it is found to lack."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness
from stand_in_workers import standInWorker
from TopoMAELib import interpreter as interpreters
from TopoMAELib.check_interpreter import isAtLeast, missingRequirements
from TopoMAELib.interpreter import Interpreter, checkInterpreter, findInterpreter, makeInterpreter, saveInterpreter
from TopoMAELib.processes import LineSplitter, Process

SCRIPT = Path(interpreters.__file__).with_name("check_interpreter.py")


@pytest.fixture(autouse=True)
def noNamedInterpreter(monkeypatch):
    """Whoever runs the tests may have named one."""
    monkeypatch.delenv("TOPOMAE_PYTHON", raising=False)


def answering(folder, answer):
    """An interpreter that answers the check as a test wants.

    Args:
        folder: where to put it.
        answer: dict that takes the place of parts of a good answer; or the text that is printed.
    """
    good = {"python": "3.12.10", "pythonFits": True, "missing": [], "engine": "there", "torch": "2.8.0"}
    good |= {"torchError": None, "device": "CPU"}
    text = answer if isinstance(answer, str) else json.dumps(good | answer)
    code = int(text.endswith("!"))
    program = folder / "python"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint({text!r})\nsys.exit({code})\n")
    program.chmod(0o755)
    return Interpreter(str(program), "", dict(os.environ), "setting")


def test_slicers_own_python_is_used_unless_another_one_is_named(monkeypatch, tmp_path):
    assert findInterpreter().isSlicers
    assert Path(findInterpreter().executable).name.startswith(("python", "PythonSlicer"))
    saveInterpreter(str(tmp_path / "mine"))
    assert findInterpreter() == makeInterpreter(tmp_path / "mine", "setting")
    monkeypatch.setenv("TOPOMAE_PYTHON", str(tmp_path / "forced"))
    assert findInterpreter().executable == str(tmp_path / "forced")
    assert findInterpreter().origin == "variable"
    monkeypatch.setenv("TOPOMAE_PYTHON", " ")
    saveInterpreter("")
    assert findInterpreter().isSlicers


def test_under_windows_slicers_python_is_started_without_the_launcher_that_keeps_requests_to_itself(
    monkeypatch, tmp_path
):
    (tmp_path / "python-real.exe").touch()
    monkeypatch.setattr(interpreters.shutil, "which", lambda name: str(tmp_path / f"{name}.exe"))
    monkeypatch.setenv("PYTHONPATH", "of Slicer")
    monkeypatch.setenv("PYTHONHOME", "Slicer's")
    assert Path(findInterpreter().executable).name == "PythonSlicer.exe"
    monkeypatch.setattr(sys, "platform", "win32")
    found = findInterpreter()
    assert (found.executable, found.isSlicers) == (str(tmp_path / "python-real.exe"), True)
    assert found.environment["PYTHONPATH"] == os.pathsep.join([found.source, "of Slicer"])
    assert (found.environment["PYTHONHOME"], found.environment["PYTHONUTF8"]) == ("Slicer's", "1")
    monkeypatch.setenv("PATH", "of another module")
    assert findInterpreter() == found, "a variable that another module has set does not end a warm worker"
    (tmp_path / "python-real.exe").unlink()
    assert Path(findInterpreter().executable).name == "PythonSlicer.exe"


def test_the_folder_of_a_virtual_environment_may_be_named(tmp_path):
    program = tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.touch()
    assert makeInterpreter(tmp_path).executable == str(program)


def test_the_engine_is_found_beside_the_installed_modules_or_in_the_source_tree(monkeypatch, tmp_path):
    root = Path(__file__).resolve().parents[2]
    assert findInterpreter().source == str(root)
    installed = tmp_path / "qt-scripted-modules"
    for package in ("TopoMAELib", "topomae"):
        (installed / package).mkdir(parents=True)
    (installed / "topomae" / "__main__.py").touch()
    monkeypatch.setattr(interpreters, "__file__", str(installed / "TopoMAELib" / "interpreter.py"))
    assert findInterpreter().source == str(installed)
    (installed / "topomae" / "__main__.py").unlink()
    assert findInterpreter().source == ""
    assert "PYTHONPATH" not in findInterpreter().environment


def test_nothing_of_slicers_python_reaches_another_interpreter_and_slicers_environment_stays(slicer, monkeypatch):
    inside = os.path.join(slicer.app.slicerHome, "lib")
    given = {
        "PYTHONHOME": inside,
        "PYTHONPATH": inside,
        "LD_LIBRARY_PATH": os.pathsep.join([inside, "/opt/cuda/lib64"]),
        "DYLD_LIBRARY_PATH": inside,
        "PATH": os.pathsep.join([slicer.app.slicerHome, "/usr/bin"]),
        "HOME": "/home/somebody",
    }
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: dict(given))
    before = dict(os.environ)
    found = findInterpreter()
    assert found.environment == {
        "PYTHONPATH": found.source,
        "LD_LIBRARY_PATH": "/opt/cuda/lib64",
        "PATH": "/usr/bin",
        "HOME": "/home/somebody",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }
    assert dict(os.environ) == before


@pytest.mark.skipif(harness.insideApplication(), reason="the application may lack the packages")
def test_the_python_of_the_tests_is_found_ready_with_versions_and_device():
    check = checkInterpreter(findInterpreter())
    assert check.ok, check.message
    assert check.pythonVersion.startswith("3.") and check.torchVersion and check.device
    assert check.pythonVersion in check.message and check.torchVersion in check.message


@pytest.mark.skipif(os.name == "nt", reason="the stand-in interpreters are scripts with a shebang")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"missing": ["monai>=1.5", "gudhi>=3.10"]},
            r"Missing in Python 3\.12\.10: monai>=1\.5, gudhi>=3\.10\. .*-m pip",
        ),
        ({"pythonFits": False, "python": "3.8.1"}, r"is Python 3\.8\.1; Python 3\.10 to 3\.13 is needed"),
        (
            {"torchError": "OSError: libcudart.so is missing"},
            "PyTorch is installed but does not work: OSError: libcuda",
        ),
        ({"engine": None}, "cannot find the engine"),
        ("Hello, I am a calculator!", r"does not work as a Python interpreter \(exit code 1\)"),
        ('{"missing": ["cut', r"does not work as a Python interpreter \(exit code 0\)"),
    ],
)
def test_what_is_wrong_with_an_interpreter_is_told_in_words(tmp_path, answer, said):
    check = checkInterpreter(answering(tmp_path, answer))
    assert not check.ok
    assert re.search(said, check.message), check.message


def test_an_interpreter_that_is_missing_or_hangs_is_told_too(tmp_path):
    check = checkInterpreter(makeInterpreter(tmp_path / "nowhere"))
    assert not check.ok and "nowhere could not be started" in check.message
    hanging = tmp_path / "sitecustomize.py"
    hanging.write_text("import time\ntime.sleep(60)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    check = checkInterpreter(Interpreter(sys.executable, "", environment), seconds=1)
    assert not check.ok and "did not answer within 1 seconds" in check.message


def test_the_check_runs_in_a_python_with_nothing_installed(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy>=1.26  # arrays\n\n# nothing more\nscikit-image>=0.22\n")
    bare = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(tmp_path / "requirements.txt")], capture_output=True, check=True
    )
    answer = json.loads(bare.stdout)
    assert answer["missing"] == ["numpy>=1.26", "scikit-image>=0.22"]
    assert answer["torch"] is answer["engine"] is answer["device"] is None


@pytest.mark.parametrize(
    ("version", "oldest", "fits"),
    [
        ("2.4", "2.4", True),
        ("2.10.0", "2.4", True),
        ("2.4.0+cu121", "2.4", True),
        ("2.3.1", "2.4", False),
        ("3", "2.99.99", True),
        ("1.5.dev20250101", "1.5", True),
        ("unknown", "0.1", False),
    ],
)
def test_versions_are_compared_as_numbers(version, oldest, fits):
    assert isAtLeast(version, oldest) is fits


def test_a_package_without_metadata_counts_as_there_and_a_leftover_folder_does_not(tmp_path, monkeypatch):
    (tmp_path / "built_with_slicer.py").touch()
    (tmp_path / "half_removed").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert missingRequirements(["built-with-slicer>=9", "half-removed>=1"]) == ["half-removed>=1"]


def test_lines_are_whole_wherever_the_chunks_are_cut():
    text = "Größe\r\n\nend"
    for size in (1, 2, 3, 100):
        splitter, data = LineSplitter(), text.encode()
        lines = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
        assert lines == ["Größe", ""] and splitter.rest() == "end" and splitter.rest() == ""
    splitter = LineSplitter(longest=4)
    assert splitter.feed(b"abcdef") == ["abcdef"], "a line without end does not grow for ever"


def test_a_process_gives_its_lines_and_how_it_ended(tmp_path):
    script = "import sys; print('one'); print('two', file=sys.stderr); sys.stdout.write('thr'); sys.exit(5)"
    lines, ends = [], []
    process = Process(lines.append, lines.append, ends.append)
    process.start(sys.executable, ["-c", script], {**os.environ, "WHO": "me"}, str(tmp_path))
    assert process.alive and process.wait(20) and not process.alive
    assert sorted(lines) == ["one", "two"]
    assert ends == [process.end]
    assert (process.end.exitCode, process.end.crashed, process.end.unfinishedLine) == (5, False, "thr")


def test_a_process_that_is_dropped_while_it_runs_still_ends_in_peace(tmp_path):
    stand_in = standInWorker(tmp_path, "ready()\ntime.sleep(60)")
    ends = []
    process = Process(onEnded=ends.append)
    process.start(stand_in.executable, ["-m", "topomae", "worker"], stand_in.environment, str(tmp_path))
    process.kill()
    del process
    assert harness.pump(lambda: ends, 10)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in interpreters are scripts with a shebang")
def test_closing_slicer_is_not_held_up_by_a_check_that_takes_long(tmp_path, slicer):
    import qt

    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    window = slicer.util.mainWindow()
    wasVisible = window.visible
    window.show()
    qt.QTimer.singleShot(300, window.hide)
    began = time.monotonic()
    try:
        assert not checkInterpreter(makeInterpreter(slow)).ok
        assert time.monotonic() - began < 15
    finally:
        window.setVisible(wasVisible)
