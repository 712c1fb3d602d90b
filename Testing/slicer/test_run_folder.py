"""Run folders as Slicer reads them: states, events, curves, failures, owners, deletion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train_run_stand_ins import ago, makeRun, writeJson

pytestmark = pytest.mark.usefixtures("slicer")


@pytest.fixture
def RunFolder(slicer):
    from TopoMAELib.run_folder import RunFolder

    return RunFolder


@pytest.fixture
def sleeper():
    """A living process of somebody else."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def ownerOf(pid, **changes):
    from TopoMAELib.process_owners import ProcessOwner

    owner = ProcessOwner.ofProcess(pid)
    return {"pid": pid, "started": owner.started, "host": owner.host, "token": "aa"} | changes


def launchRecord(folder, pid=0, secondsAgo=10.0, **changes):
    from TopoMAELib.process_owners import ProcessOwner

    owner = ProcessOwner.ofProcess(pid)
    writeJson(
        folder / ".launch.json",
        {
            "format": 1,
            "kind": "pretrain",
            "arguments": ["--data", "/data"],
            "time": ago(secondsAgo),
            "pid": pid,
            "started": owner.started,
            "host": owner.host,
        }
        | changes,
    )


def test_the_state_is_that_of_the_status_file_while_nobody_works_in_the_folder(tmp_path, RunFolder):
    states = {"ok": "done", "stopped": "stopped", "failed": "failed", "running": "interrupted"}
    for status, state in states.items():
        run = RunFolder(makeRun(tmp_path / status, status))
        assert (run.state(), run.kind, run.isRun, run.step) == (state, "pretrain", True, 20)


def test_a_run_is_running_as_long_as_the_owner_of_its_lock_lives(tmp_path, RunFolder, sleeper):
    folder = makeRun(tmp_path / "run", "running")
    writeJson(folder / "lock", ownerOf(sleeper.pid))
    run = RunFolder(folder)
    assert run.state() == "running"
    assert run.owner.pid == sleeper.pid

    writeJson(folder / "lock", ownerOf(sleeper.pid, started="an earlier process of the same id"))
    assert run.state() == "interrupted"

    writeJson(folder / "lock", ownerOf(sleeper.pid))
    sleeper.kill()  # not even waited for: a zombie is dead
    sleeper.wait()
    assert run.state() == "interrupted"
    assert run.owner is None


def test_a_run_on_another_machine_counts_as_running(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "running")
    writeJson(folder / "lock", ownerOf(1, host="another"))
    assert RunFolder(folder).state() == "running"


def test_a_run_is_running_while_its_process_still_starts_and_failed_if_that_never_opened_it(
    tmp_path, RunFolder, sleeper
):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "console.log").write_text("")
    launchRecord(folder, sleeper.pid)
    run = RunFolder(folder)
    assert (run.isRun, run.kind, run.state()) == (True, "pretrain", "running")
    sleeper.kill()
    sleeper.wait()
    assert run.state() == "failed"
    assert "printed nothing" in str(run.lastError(exitCode=7))


def test_a_stopped_run_whose_resumption_failed_says_why(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "stopped")
    (folder / "console.log").write_text("old words\n")
    launchRecord(folder, consoleStart=10, secondsAgo=5)
    error = {
        "event": "error",
        "time": ago(1),
        "message": "the data set is gone",
        "hint": "Bring it back.",
        "path": "/d",
    }
    with open(folder / "console.log", "a") as console:
        console.write("a warning\n" + json.dumps(error) + "\n")
    run = RunFolder(folder)
    assert run.state() == "failed"
    assert str(run.lastError()) == "the data set is gone (/d). Bring it back."


def test_a_killed_run_says_so_with_its_last_words_even_if_they_have_no_line_end(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "running")
    (folder / "console.log").write_text('{"event": "progress"}\nTraceback\nMemoryError: very last words')
    failure = RunFolder(folder).lastError(exitCode=-9)
    assert "step 20" in str(failure)
    assert "SIGKILL" in str(failure)
    assert failure.lastLines == ("Traceback", "MemoryError: very last words")


def test_events_are_given_once_each_and_only_when_their_line_is_whole(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "running", step=3)
    run = RunFolder(folder)
    assert [event["event"] for event in run.newEvents()] == ["start", "progress"]
    assert (run.progress.step, run.progress.of, run.progress.secondsLeft) == (3, 40, 2.5)
    with open(folder / "events.jsonl", "a") as log:
        log.write('{"event": "progress", "phase": "valid')
        log.flush()
        assert run.newEvents() == []
        log.write('ate", "step": 1, "of": 3, "seconds_left": null}\nnot JSON\n[1]\n')
        log.flush()
        assert [event["phase"] for event in run.newEvents()] == ["validate"]
        assert (run.progress.main.step, run.progress.side.phase) == (3, "validate")
    assert run.newEvents() == []


def test_of_a_long_run_only_the_last_events_are_read_at_first(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "running")
    line = '{"event": "progress", "phase": "pretrain", "step": %d, "of": 90000, "seconds_left": 1}\n'
    (folder / "events.jsonl").write_text("".join(line % step for step in range(90000)))
    run = RunFolder(folder)
    assert 1000 < len(run.newEvents()) < 20000
    assert run.progress.step == 89999


def test_curves_go_on_and_are_read_anew_when_a_resumed_run_has_turned_back(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "running")
    run = RunFolder(folder)
    steps, values = run.curves()["pretrain", "loss"]
    assert (steps.tolist(), values.tolist()) == ([10, 20], [2.5, 1.5])
    with open(folder / "metrics.csv", "a") as table:
        table.write('30,pretrain,loss,nan\n30,validate,"dice/left, upper",0.5\ndamaged\n40,pretr')
    curves = run.curves()
    assert curves["pretrain", "loss"][0].tolist() == [10, 20, 30]
    assert np.isnan(curves["pretrain", "loss"][1][2])
    assert curves["validate", "dice/left, upper"][1].tolist() == [0.5]

    turnedBack = folder / "new.csv"
    turnedBack.write_text("step,phase,name,value\n10,pretrain,loss,2.5\n20,pretrain,loss,1.25\n")
    os.replace(turnedBack, folder / "metrics.csv")
    assert run.curves()["pretrain", "loss"][1].tolist() == [2.5, 1.25]
    assert ("validate", "dice/left, upper") not in run.curves()


def test_previews_count_only_when_their_key_points_are_there(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run")
    previews = folder / "previews"
    previews.mkdir()
    for step in (10, 20):
        for kind in ("input", "masked", "vit", "unetrpp"):
            (previews / f"step_{step:08d}_{kind}.nii.gz").touch()
    (previews / "step_00000010_keypoints.json").write_text("{}")
    found = RunFolder(folder).previews()
    assert [preview.step for preview in found] == [10]
    assert set(found[0].volumes) == {"input", "masked", "vit", "unetrpp"}


def test_runs_are_found_in_a_folder_and_one_level_deeper_and_nothing_else_is_taken_for_one(tmp_path, slicer):
    from TopoMAELib.run_folder import findRuns

    makeRun(tmp_path / "a")
    makeRun(tmp_path / "demo" / "finetune", kind="finetune")
    makeRun(tmp_path / ".hidden" / "b")
    (tmp_path / "photos").mkdir()
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "strange").mkdir()
    writeJson(tmp_path / "strange" / "settings.json", {"kind": "recipe"})
    assert [run.name for run in findRuns(tmp_path)] == ["a", "finetune"]
    assert findRuns(tmp_path / "absent") == []


def test_a_run_is_deleted_whole(tmp_path, slicer):
    from TopoMAELib.run_removal import deleteRun

    folder = makeRun(tmp_path / "runs" / "run")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.pt").write_bytes(b"x")
    deleteRun(folder)
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_is_no_run_or_holds_other_files_or_is_at_work_is_not_deleted(tmp_path, slicer, sleeper):
    from TopoMAELib.run_folder import NotARun
    from TopoMAELib.run_process import RunInUse
    from TopoMAELib.run_removal import deleteRun

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(NotARun, match="not a run"):
        deleteRun(tmp_path / "photos")

    mixed = makeRun(tmp_path / "mixed")
    (mixed / "thesis.docx").touch()
    with pytest.raises(NotARun, match=r"thesis\.docx"):
        deleteRun(mixed)

    link = tmp_path / "link"
    link.symlink_to(makeRun(tmp_path / "linked"))
    with pytest.raises(NotARun):
        deleteRun(link)

    busy = makeRun(tmp_path / "busy", "running")
    writeJson(busy / "lock", ownerOf(sleeper.pid))
    with pytest.raises(RunInUse, match="running"):
        deleteRun(busy)

    driven = makeRun(tmp_path / "driven", "stopped")
    writeJson(driven / ".driver", ownerOf(sleeper.pid))
    with pytest.raises(RunInUse, match="Another Slicer"):
        deleteRun(driven)
    kept = (
        "photos/one.jpg",
        "mixed/thesis.docx",
        "linked/settings.json",
        "busy/settings.json",
        "driven/settings.json",
    )
    assert all((tmp_path / name).exists() for name in kept)


def test_only_one_living_process_sits_in_the_drivers_seat(tmp_path, slicer, sleeper):
    from TopoMAELib.process_owners import ProcessOwner
    from TopoMAELib.run_records import DriverSeat

    other = DriverSeat(tmp_path, ProcessOwner.ofProcess(sleeper.pid))
    mine = DriverSeat(tmp_path)
    assert other.take() is None
    assert mine.take().pid == sleeper.pid
    mine.leave()
    assert (tmp_path / ".driver").exists()
    sleeper.kill()
    sleeper.wait()
    assert mine.take() is None
    assert mine.take() is None
    mine.leave()
    assert not (tmp_path / ".driver").exists()


def test_a_lock_that_its_writer_never_finished_is_taken_over(tmp_path, slicer):
    from TopoMAELib.process_owners import ProcessOwner, takeLock

    (tmp_path / "lock").write_text("{")
    assert takeLock(tmp_path / "lock", ProcessOwner.ofProcess(os.getpid())) is None


def test_slicer_and_the_engine_agree_on_when_a_process_started(slicer, sleeper):
    from TopoMAELib.process_owners import processStarted

    code = f"from topomae.runs.locks import process_started; print(process_started({sleeper.pid}))"
    repository = Path(__file__).resolve().parents[2]
    told = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == processStarted(sleeper.pid)
