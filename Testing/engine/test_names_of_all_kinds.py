"""Folders with spaces, cases named in any script: the whole course by commands, on a console that cannot show them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from topomae.data.phantoms import make_phantoms

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("Fall ä 1", "Fall & 2", "患者 3", "Пациент 4", "it's 5", "é" * 40)
DATA, PRETRAIN, FINETUNE = "Daten ß 1", "Läufe 1/Vor ü", "Läufe 1/Fein ü"
COURSE = (
    ("plan", "--data", DATA, "--output", "Plan ä.json"),
    ("pretrain", "--data", DATA, "--run", PRETRAIN, "--set", "steps=1", "--set", "topology_weight=0"),
    ("finetune", "--data", DATA, "--run", FINETUNE, "--init", PRETRAIN, "--set", "steps=1"),
    ("segment", "--model", FINETUNE, "--input", f"{DATA}/imagesTr", "--output", "Ergebnis é"),
    ("evaluate", "--predictions", "Ergebnis é", "--labels", DATA, "--output", "Güte 患"),
    ("report", "--pretrain", PRETRAIN, "--finetune", FINETUNE, "--evaluation", "Güte 患", "--output", "Bericht.html"),
)
ONE_PROCESS = """
import json, sys
from topomae.cli import app
for arguments in json.loads(sys.argv[1]):
    app([*arguments, "--events", "auto"], standalone_mode=False)
"""


@pytest.fixture
def project(tmp_path):
    """A working folder with a data set whose cases bear such names."""
    folder = tmp_path / "Mein Projekt ü"
    data = make_phantoms(folder / DATA, cases=6, labelled=2, shape=(24, 24, 16), spacing=(3.2, 3.2, 4.8))
    names = {f"phantom_{number:03d}": name for number, name in enumerate(NAMES, start=1)}
    for file in [*data.glob("*Tr/*.nii.gz")]:
        file.rename(file.with_name(names[file.name.removesuffix(".nii.gz")] + ".nii.gz"))
    for file in data.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        for before, after in names.items():
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")
    return folder


def test_the_whole_course_keeps_every_name(project):
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "cp1252", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS, json.dumps(COURSE)], cwd=project, env=variables, capture_output=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode("cp1252", "replace")[-3000:]
    names = {file.name.removesuffix(".nii.gz") for file in (project / "Ergebnis é").glob("*.nii.gz")}
    assert names == set(NAMES)
    for name in NAMES:
        label, image = (
            nib.load(project / place / f"{name}.nii.gz") for place in ("Ergebnis é", Path(DATA) / "imagesTr")
        )
        np.testing.assert_allclose(label.affine, image.affine, atol=1e-4)
    report = (project / "Bericht.html").read_text(encoding="utf-8")
    tested = json.loads((project / DATA / "splits.json").read_text(encoding="utf-8"))["test"]
    assert tested and all(name.replace("&", "&amp;").replace("'", "&#x27;") in report for name in tested)
    shutil.rmtree(project)
