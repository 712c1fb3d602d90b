"""The example in docs/examples, run as a user runs it: in a process of its own, which ends with an exit code."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from segment_helpers import MIRRORED, OBLIQUE, greyVoxels, segmentArray
from segment_models import REPOSITORY, enginePython

pytest_plugins = ("segment_fixtures",)

SCRIPT = REPOSITORY / "docs" / "examples" / "segment_folder.py"
# What `Slicer --no-main-window --python-script SCRIPT -- ARGUMENTS` does, on the harness: no panel is entered.
STAND_IN = """
import runpy, sys
import harness
slicer = harness.start()
import qt
from harness.modules import REPOSITORY, _register
_register("TopoMAESegment", REPOSITORY / "TopoMAESegment" / "TopoMAESegment.py")
sys.argv = sys.argv[1:]
qt.QTimer.singleShot(0, lambda: runpy.run_path(sys.argv[0], run_name="__main__"))
sys.exit(slicer.app.exec())
"""


@pytest.fixture
def imageFolder(scene, slicer, tmp_path) -> Path:
    """A folder of two volumes and a file that is none."""
    from TopoMAELib.volumes import addVolume

    folder = tmp_path / "images"
    folder.mkdir()
    for name, affine in (("one", MIRRORED), ("two", OBLIQUE)):
        node = addVolume(greyVoxels(), affine, name)
        assert slicer.util.saveNode(node, str(folder / f"{name}.nii.gz"), {})
    (folder / "notes.txt").write_text("no volume")
    return folder


def runScript(*arguments: object) -> subprocess.CompletedProcess:
    """Run the example in a Slicer without a window: the application if there is one, else the harness."""
    environment = {**os.environ, "TOPOMAE_PYTHON": enginePython(), "OMP_NUM_THREADS": "1"}
    application = os.environ.get("SLICER_EXECUTABLE")
    if application:
        modules = [str(REPOSITORY / name) for name in ("TopoMAESegment", "TopoMAETrain")]
        command = [application, "--no-splash", "--no-main-window", "--additional-module-paths", *modules]
        command += ["--python-script", str(SCRIPT), "--"]
    else:
        command = [sys.executable, "-c", STAND_IN, str(SCRIPT)]
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parent)
    given = [str(argument) for argument in arguments]
    return subprocess.run([*command, *given], env=environment, capture_output=True, text=True, timeout=300)


def test_one_command_makes_segmentations_and_a_table_of_a_folder(slicer, imageFolder, untrainedModel, tmp_path):
    output = tmp_path / "output"
    done = runScript(imageFolder, untrainedModel, output, "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one (1 of 2)" in done.stdout and "two (2 of 2)" in done.stdout
    assert sorted(path.name for path in output.iterdir()) == ["one.seg.nrrd", "two.seg.nrrd", "volumes.csv"]
    rows = list(csv.DictReader((output / "volumes.csv").open(encoding="utf-8")))
    assert [(row["case"], row["name"]) for row in rows] == [
        (case, name) for case in ("one", "two") for name in ("Anterior", "Left kidney")
    ]
    for row in rows:
        volume = slicer.util.loadVolume(str(imageFolder / f"{row['case']}.nii.gz"), {})
        node = slicer.util.loadSegmentation(str(output / f"{row['case']}.seg.nrrd"))
        segmentID = node.GetSegmentation().GetSegmentIdBySegmentName(row["name"])
        assert segmentArray(slicer, node, segmentID, volume).sum() == int(row["voxels"])
    assert sum(int(row["voxels"]) for row in rows) > 0


def test_what_went_wrong_is_told_in_words_and_by_an_exit_code(imageFolder, untrainedModel, tmp_path):
    (imageFolder / "broken.nii.gz").write_bytes(b"no volume either")
    done = runScript(imageFolder, untrainedModel, tmp_path / "output", "--device", "cpu")
    assert done.returncode == 1
    assert "Error: 1 of 3 could not be segmented. broken: " in done.stderr
    assert sorted(path.name for path in (tmp_path / "output").glob("*.nrrd")) == ["one.seg.nrrd", "two.seg.nrrd"]

    done = runScript(imageFolder, tmp_path / "no model", tmp_path / "other")
    assert done.returncode == 2
    assert "Error: There is no folder" in done.stderr and "Traceback" not in done.stderr

    done = runScript(imageFolder)
    assert done.returncode == 2
    assert "the following arguments are required: MODEL, OUTPUT" in done.stderr


@pytest.mark.skipif(harness.insideApplication(), reason="the other tests run the application itself")
def test_the_two_dashes_before_the_arguments_may_reach_the_script():
    done = runScript("--", "--help")
    assert done.returncode == 0
    assert "usage: segment_folder.py" in done.stdout
