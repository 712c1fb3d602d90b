"""What the documents about the modules say holds: examples run, and the tests and files they name are there."""

from __future__ import annotations

import os
import re

import harness
from segment_models import REPOSITORY, enginePython

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_documents_name_tests_and_files_that_exist():
    docs = REPOSITORY / "docs"
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", (docs / "peers.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for file, test in named:
        path = REPOSITORY / file if "/" in file else REPOSITORY / "Testing" / "slicer" / file
        assert f"def {test}(" in path.read_text(encoding="utf-8"), f"{file}::{test}"
    for document in (docs / "slicer.md", docs / "peers.md", docs / "runs.md"):
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            assert (docs / target).exists(), f"{document.name}: {target}"


def test_the_examples_for_scripts_run(scene, slicer, hippocampusFile, hippocampusRuns, tmp_path, monkeypatch, capsys):
    import qt

    monkeypatch.setenv("TOPOMAE_PYTHON", enginePython())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("TopoMAESegment", "TopoMAETrain"):
        harness.load(name)
    pretrain, finetune = hippocampusRuns
    scans = tmp_path / "data" / "scans"
    scans.mkdir(parents=True)
    os.symlink(hippocampusFile, scans / "anna.nii.gz")
    paths = {
        '"/data/': f'"{tmp_path}/data/',
        '"/training/': f'"{tmp_path}/training/',
        '"/models/hippocampus"': f'"{finetune}"',
        '"/runs/pretrain"': f'"{pretrain}"',
        '"steps": 500': '"steps": 2',
    }
    text = (REPOSITORY / "docs" / "slicer.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert len(blocks) >= 10
    names = {"slicer": slicer}
    for block in blocks:
        for written, here in paths.items():
            block = block.replace(written, here)
        exec(compile(block, "docs/slicer.md", "exec"), names)
        if "task" in names:
            assert harness.pump(lambda: names["task"].state != "running", 60)
            assert names.pop("task").state == "done"
    names.clear()  # such as the subject hierarchy, which nobody may keep while the scene is closed
    told = capsys.readouterr().out
    assert "done None" not in told and "pretrain pretrain done 2 None" in told
    assert qt.QSettings().value("TopoMAE/Python") == "/path/to/.venv"
    assert (tmp_path / "data" / "results" / "volumes.csv").is_file()
