"""dev.py: one command sets up and runs; failures are one sentence; nothing half-installed is trusted."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def dev(tmp_path):
    """dev.py in a folder of its own whose name holds a space."""
    folder = tmp_path / "a copy"
    folder.mkdir()
    for name in ("dev.py", "pyproject.toml", "constraints-test.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    spec = importlib.util.spec_from_file_location("dev_of_a_copy", folder / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SPACE_NEEDED_GB = 0.0
    return module


@pytest.fixture
def pip_calls(dev, monkeypatch):
    """What pip is asked for; nothing is installed, and the environment is this Python in a shell of a folder."""
    calls = []

    def make_environment(command, **_):
        python = dev.environment_python()
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        return subprocess.CompletedProcess(command, 0, stdout=b"")

    monkeypatch.setattr(dev.subprocess, "run", make_environment)
    monkeypatch.setattr(dev, "environment_version", lambda: sys.version_info[:2])
    monkeypatch.setattr(dev, "installed_version", lambda package: "2.13.0+cpu")
    monkeypatch.setattr(dev, "pip", lambda *arguments: calls.append(arguments))
    return calls


def test_the_second_call_finds_everything_done(dev, pip_calls):
    dev.set_up()
    assert any("--editable" in call for call in pip_calls)
    pip_calls.clear()
    dev.set_up()
    assert pip_calls == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints-test.txt"])
def test_changed_requirements_are_installed_again_in_the_same_environment(dev, pip_calls, name):
    dev.set_up()
    kept = dev.ENVIRONMENT / "kept"
    kept.touch()
    pip_calls.clear()
    with (dev.ROOT / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    dev.set_up()
    assert pip_calls and kept.exists()


def test_an_interrupted_installation_is_begun_anew(dev, pip_calls, monkeypatch):
    def interrupted(*_):
        (dev.ENVIRONMENT / "half a package").touch()
        raise KeyboardInterrupt

    working = dev.pip
    monkeypatch.setattr(dev, "pip", interrupted)
    assert dev.main(["setup"]) == 130
    assert not dev.is_set_up()
    monkeypatch.setattr(dev, "pip", working)
    assert dev.main(["setup"]) == 0
    assert dev.is_set_up() and not (dev.ENVIRONMENT / "half a package").exists()


def test_an_interrupted_renewal_is_not_trusted_either(dev, pip_calls, monkeypatch):
    dev.set_up()
    dev.CONSTRAINTS.write_text("torch==2.13.0\n", encoding="utf-8")
    monkeypatch.setattr(dev, "pip", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert dev.main(["setup"]) == 130
    shutil.copy(REPOSITORY / "constraints-test.txt", dev.CONSTRAINTS)
    assert not dev.is_set_up(), "going back to the old requirements does not undo half an installation"


def test_an_environment_of_another_python_is_replaced_only_if_dev_py_made_it(dev, pip_calls, monkeypatch, capsys):
    monkeypatch.setattr(dev, "environment_version", lambda: (3, 9))
    dev.ENVIRONMENT.mkdir()
    precious = dev.ENVIRONMENT / "precious"
    precious.touch()
    assert dev.main(["setup"]) == 1
    assert precious.exists() and "Remove or rename it" in capsys.readouterr().out
    dev.STAMP.write_text(json.dumps({"python": [3, 9]}), encoding="utf-8")
    assert dev.main(["setup"]) == 0
    assert not precious.exists()


def test_too_little_space_is_said_before_anything_is_made(dev, pip_calls, capsys):
    dev.SPACE_NEEDED_GB = 1e9
    assert dev.main(["demo"]) == 1
    said = capsys.readouterr().out
    assert "GB are free" in said and "Free some space" in said
    assert not dev.ENVIRONMENT.exists() and pip_calls == []


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError(...)': /simple/einops/\n"
            "ERROR: Could not find a version that satisfies the requirement einops>=0.7 (from versions: none)",
            "Check the connection",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.2.2)",
            "no torch==2.13.0 for this machine",
        ),
        ("PermissionError: [WinError 5] Access is denied: '_C.pyd'", "Close programs that use"),
        ("something unheard of\nat line 7", "    at line 7"),
    ],
)
def test_a_failed_installation_is_one_sentence_with_its_remedy_and_the_log(dev, log, words):
    told = dev.why_pip_failed(log)
    assert words in told and str(dev.LOG) in told


def test_pip_failing_for_real_leaves_its_log(dev, monkeypatch, capsys):
    """No stand-in for pip here: it is asked for a package from an empty folder."""
    monkeypatch.setattr(dev, "environment_python", lambda: Path(sys.executable))
    dev.WORK.mkdir()
    empty = dev.ROOT / "empty"
    empty.mkdir()
    with pytest.raises(dev.SetupError, match="Log: "):
        dev.pip("install", "no-such-package-here", "--no-index", "--find-links", str(empty))
    assert "no-such-package-here" in dev.LOG.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("platform", "gpu", "offered", "index_used"),
    [
        ("linux", False, "2.13.0", True),
        ("linux", False, "2.13.0+cpu", False),
        ("linux", True, "2.13.0", False),
        ("win32", False, "2.13.0", False),
        ("darwin", False, "2.13.0", False),
    ],
)
def test_linux_without_a_gpu_is_spared_the_cuda_libraries(
    dev, pip_calls, monkeypatch, platform, gpu, offered, index_used
):
    installed = iter(["", "2.13.0+cpu"])
    monkeypatch.setattr(dev, "installed_version", lambda package: next(installed))
    monkeypatch.setattr(dev.sys, "platform", platform)
    monkeypatch.setattr(dev, "has_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr(dev, "offered_torch", lambda: offered)
    dev.install_torch()
    (call,) = pip_calls
    assert (dev.TORCH_CPU_INDEX in call) == index_used
    assert str(dev.CONSTRAINTS) in call


def test_exit_codes_pass_through(dev, monkeypatch):
    monkeypatch.setattr(dev, "environment_python", lambda: Path(sys.executable))
    assert dev.call(["-c", "raise SystemExit(0)"]) == 0
    assert dev.call(["-c", "raise SystemExit(5)"]) == 5


def test_tests_fail_when_only_the_style_does(dev, monkeypatch):
    monkeypatch.setattr(dev, "call", lambda arguments, **_: 1 if "format" in arguments else 0)
    assert dev.test([]) == 1
    assert dev.test(["-k", "one"]) == 0


def test_what_only_the_slicer_tests_need_is_installed_for_tests_once(dev, pip_calls, monkeypatch):
    there = {"slicer-core", "PySide6-Essentials", "cmake"}
    monkeypatch.setattr(dev, "set_up", lambda: None)
    monkeypatch.setattr(dev, "newer_python", list)
    monkeypatch.setattr(dev, "call", lambda arguments, **_: 0)
    monkeypatch.setattr(dev, "installed_version", lambda package: "1" if package in there else "")
    assert dev.main(["lint"]) == 0 and not pip_calls
    assert dev.main(["test"]) == 0 and len(pip_calls) == 1 and "slicer-test" in str(pip_calls[0])
    there.add("ninja")
    assert dev.main(["test"]) == 0 and len(pip_calls) == 1


def test_an_unknown_command_is_refused_before_any_set_up(dev, pip_calls, capsys):
    assert dev.main(["dmeo"]) == 2
    assert "demo" in capsys.readouterr().out
    assert pip_calls == []


def test_a_python_that_is_too_old_says_what_is_needed(dev, monkeypatch, capsys):
    monkeypatch.setattr(dev.sys, "version_info", (3, 9, 18, "final", 0))
    monkeypatch.setattr(dev.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as end:
        dev.main(["demo"])
    assert end.value.code == 1
    assert "needs Python 3.10 to 3.13; this is 3.9" in capsys.readouterr().out


def test_dev_py_holds_no_syntax_that_an_old_python_cannot_read():
    """An old Python reads the whole file before it can say that it is too old."""
    import ast

    ast.parse((REPOSITORY / "dev.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_a_python_without_venv_is_told_the_remedy(dev, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, stdout=b"ensurepip is not available")
    monkeypatch.setattr(dev.subprocess, "run", lambda *_, **__: failed)
    assert dev.main(["setup"]) == 1
    said = capsys.readouterr().out
    assert "lacks the module venv or ensurepip" in said and "install" in said.lower()
    assert "ensurepip is not available" in dev.LOG.read_text(encoding="utf-8")
