"""What comes from elsewhere, models and runs, has nothing executed, written or killed."""

from __future__ import annotations

import csv
import gzip
import os
import re
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest

from segment_helpers import OBLIQUE, greyVoxels
from train_data_stand_ins import useModuleFolders
from train_run_stand_ins import makeRun, standInInterpreter, writeJson

pytest_plugins = ["segment_fixtures"]
useModuleFolders()

withLinks = pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights there")


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
