"""The tabulator key: commands, options, choices, settings, and runs that are there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from topomae.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two runs, a model in a folder with a space, and a folder that is none of these."""
    for run in ("runs/pretrain", "runs/finetune 1"):
        (tmp_path / run).mkdir(parents=True)
        for name in ("settings.json", "status.json"):
            (tmp_path / run / name).write_text("{}", encoding="utf-8")
    (tmp_path / "my model" / "configs").mkdir(parents=True)
    (tmp_path / "my model" / "configs" / "metadata.json").write_text("{}", encoding="utf-8")
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "scans").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(*words: str) -> list[str]:
    """What bash is told for the last word."""
    asked = {"_TOPOMAE_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], prog_name="topomae", env=asked)
    return [line for line in result.output.splitlines() if line]


def test_commands_options_and_choices_are_offered():
    assert {"plan", "pretrain", "finetune", "segment", "phantoms"} <= set(offered("topomae", ""))
    assert offered("topomae", "segment", "--dev") == ["--device"]
    assert offered("topomae", "pretrain", "--size", "") == ["small", "base"]
    assert offered("topomae", "plan", "--device", "c") == ["cpu", "cuda"]


def test_settings_and_fields_of_the_plan_are_offered():
    assert offered("topomae", "pretrain", "--set", "topology_w") == ["topology_weight="]
    assert offered("topomae", "plan", "--set", "spac") == ["spacing="]
    assert "topology_weight=" not in offered("topomae", "segment", "--set", "")


def test_runs_and_models_are_offered_where_they_lie(folder):
    runs = [os.path.join("runs", "finetune 1"), os.path.join("runs", "pretrain")]
    assert offered("topomae", "pretrain", "--run", "ru") == runs
    assert offered("topomae", "finetune", "--init", os.path.join("runs", "p")) == runs[1:]
    assert offered("topomae", "finetune", "--init", "") == ["scratch", "my model", *runs]
    assert offered("topomae", "segment", "--model", "my") == ["my model"]
    assert offered("topomae", "segment", "--model", "sc") == []  # the shell goes on with its own files


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_it_is_installed_for_the_shell(tmp_path):
    variables = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", "from topomae.cli import main; main()", "--install-completion", "bash"]
    # Which shell it is, is seen from the process that starts it; the exit keeps bash from handing itself over.
    in_bash = ["bash", "-c", '"$@"; exit $?', "bash", *command]
    done = subprocess.run(in_bash, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / ".bash_completions" / "topomae.sh").read_text(encoding="utf-8")
    assert "complete -o default -F _topomae_completion topomae" in script
    assert "topomae.sh" in (tmp_path / ".bashrc").read_text(encoding="utf-8")
