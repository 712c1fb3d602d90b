"""Starting, stopping and following trainings: processes that belong to nobody but their run folder."""

import os
import signal
import subprocess
import sys
import time

import pytest

from train_run_stand_ins import makeRun, pythonOfTests, standInInterpreter, writeJson

pytestmark = pytest.mark.usefixtures("slicer")


@pytest.fixture
def interpreter(tmp_path):
    return standInInterpreter(tmp_path / "engine")


@pytest.fixture
def logic(slicer, interpreter):
    from TopoMAETrainLib.logic import TrainLogic

    logic = TrainLogic(lambda: interpreter)
    yield logic
    for process in logic.running():
        process.kill()
        until(lambda process=process: not process.running)


def until(condition, seconds=15.0):
    """Wait for a condition without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def stepsDone(process):
    process.runFolder.newEvents()
    return process.runFolder.progress.step


def test_a_training_is_started_with_the_right_command_and_ends_well(logic, tmp_path):
    seen = []
    process = logic.pretrain(
        tmp_path / "data",
        tmp_path / "run",
        {"steps": 20, "topology_dims": [0, 2], "validate_every": None},
        modalityNames=["T1", "T2"],
        planOverrides={"spacing": "1,1,3"},
        leaveOutBad=True,
        device="cpu",
        waitForCompletion=True,
        onProgress=lambda *progress: seen.append(progress),
    )
    assert (process.state(), process.exitCode, process.failure()) == ("done", 0, None)
    assert seen[-1][:2] == (20, 20)
    launch = process.runFolder.launch
    assert launch.kind == "pretrain"
    assert " ".join(launch.arguments) == (
        f"--data {tmp_path / 'data'} --size small --device cpu --leave-out-bad --modality T1 --modality T2 "
        "--set spacing=1,1,3 --set steps=20 --set topology_dims=0,2 --set validate_every=none"
    )
    assert process.runFolder.driver is None


def test_a_stopped_training_resumes_with_the_same_command_and_finishes(logic, tmp_path):
    process = logic.pretrain(tmp_path, tmp_path / "run", {"steps": 100, "pause": 0.05})
    until(lambda: stepsDone(process) > 2)
    process.stop()
    assert process.stopping
    process.wait(15)
    assert (process.state(), process.failure()) == ("stopped", None)
    done = process.runFolder.step

    resumed = logic.resume(tmp_path / "run", waitForCompletion=True)
    assert resumed.state() == "done"
    steps = resumed.runFolder.curves()["pretrain", "loss"][0]
    assert steps.tolist() == list(range(1, 101))
    assert 2 < done < 100
    with pytest.raises(ValueError, match="is done"):
        logic.resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("mode", "state", "words"),
    [
        ("baddata", "failed", "no images were found"),
        ("silent", "failed", "exit code 7"),
        ("stumble", "failed", "No module named 'monai'"),
        ("crash", "interrupted", "last words without a line end"),
        ("fail", "failed", "the disk is full"),
    ],
)
def test_however_a_training_ends_badly_it_says_why(logic, tmp_path, mode, state, words):
    from TopoMAELib.run_process import RunFailed

    with pytest.raises(RunFailed) as failed:
        logic.pretrain(tmp_path, tmp_path / "run", {"mode": mode}, waitForCompletion=True)
    assert words in str(failed.value)
    process = logic.attach(tmp_path / "run")
    assert process.state() == state
    assert process.exitCode not in (0, None)
    # A Slicer that knows only the folder says the same, but for the exit code.
    from TopoMAELib.run_folder import RunFolder

    if mode != "silent":
        assert words in str(RunFolder(tmp_path / "run").lastError())


def test_a_killed_training_can_be_resumed(logic, tmp_path):
    process = logic.pretrain(tmp_path, tmp_path / "run", {"steps": 60})
    until(lambda: stepsDone(process) > 2)
    os.kill(process.runFolder.owner.pid, signal.SIGKILL)
    until(lambda: not process.running)
    assert process.state() == "interrupted"
    assert "SIGKILL" in str(process.failure())
    assert logic.resume(tmp_path / "run", waitForCompletion=True).state() == "done"


def test_a_training_that_does_not_hear_is_asked_louder_and_in_the_end_killed(logic, tmp_path, monkeypatch):
    now = [0.0]
    for mode, after in (("deaf", 61), ("stone", 601)):
        process = logic.pretrain(tmp_path, tmp_path / mode, {"mode": mode, "steps": 100000})
        process._clock = lambda: now[0]
        until(lambda process=process: stepsDone(process) > 2)
        process.stop()
        process.hurry()
        time.sleep(0.3)
        assert process.running
        now[0] += 61
        process.hurry()
        time.sleep(0.3)
        assert process.running == (mode == "stone")
        now[0] += after - 61
        process.hurry()
        until(lambda process=process: not process.running)
        assert process.state() == ("stopped" if mode == "deaf" else "interrupted")


def test_two_trainings_in_one_folder_are_refused(logic, tmp_path):
    from TopoMAELib.run_process import RunInUse

    process = logic.pretrain(tmp_path, tmp_path / "run", {"mode": "waits"})
    with pytest.raises(RunInUse, match="just being started"):
        logic.pretrain(tmp_path, tmp_path / "run")
    until(lambda: process.runFolder.owner is not None)
    with pytest.raises(RunInUse, match="being trained already"):
        logic.resume(tmp_path / "run")
    process.stop()
    process.wait(10)


def test_a_second_slicer_can_watch_but_not_drive_until_the_first_has_gone(logic, tmp_path, interpreter):
    from TopoMAELib.process_owners import ProcessOwner
    from TopoMAELib.run_folder import RunFolder
    from TopoMAELib.run_process import RunInUse, RunProcess

    first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = logic.pretrain(tmp_path, tmp_path / "run", {"steps": 100000})
    until(lambda: process.runFolder.owner is not None)
    process.leaveSeat()
    owner = ProcessOwner.ofProcess(first.pid)
    seat = {"pid": owner.pid, "started": owner.started, "host": owner.host, "token": "x"}
    writeJson(tmp_path / "run" / ".driver", seat)

    second = RunProcess(RunFolder(tmp_path / "run"))
    assert second.running
    assert second.readOnly.pid == first.pid
    for action in (second.stop, second.kill):
        with pytest.raises(RunInUse, match=f"Another Slicer .process {first.pid}. drives this run"):
            action()
    assert second.running
    first.kill()
    first.wait()
    second.stop()  # the seat is free now
    second.wait(10)
    assert second.state() == "stopped"


def test_a_training_outlives_the_slicer_that_started_it_and_is_followed_by_the_next(slicer, tmp_path, interpreter):
    """Another process starts the run and ends; its child must go on and be found."""
    from TopoMAELib.run_folder import RunFolder
    from TopoMAELib.run_process import RunProcess

    code = (
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
        "import harness; harness.start()\n"
        "from pathlib import Path\n"
        "from train_run_stand_ins import standInInterpreter\n"
        "from TopoMAELib.run_process import startRun\n"
        f"startRun(['pretrain', '--data', '/data', '--set', 'steps=300'], {str(tmp_path / 'run')!r}, "
        f"standInInterpreter(Path({str(tmp_path / 'engine')!r})))\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([pythonOfTests(), "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    process = RunProcess(RunFolder(tmp_path / "run"))
    assert process.running
    assert process.readOnly is None, "the dead Slicer must not keep the driver's seat"
    until(lambda: stepsDone(process) > 2)
    process.stop()
    process.wait(10)
    assert process.state() == "stopped"


def test_an_interpreter_that_does_not_exist_leaves_nothing_behind(slicer, tmp_path):
    from TopoMAELib.interpreter import Interpreter
    from TopoMAELib.run_process import startRun

    with pytest.raises(OSError):
        startRun(["pretrain", "--data", "/data"], tmp_path / "runs" / "run", Interpreter("/no/such/python"))
    assert not (tmp_path / "runs" / "run").exists()


def test_a_folder_with_other_files_is_refused_before_anything_is_written_there(logic, tmp_path):
    from TopoMAELib.run_folder import NotARun

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(NotARun, match=r"one\.jpg"):
        logic.pretrain(tmp_path, tmp_path / "photos")
    with pytest.raises(NotARun, match="is not a run folder"):
        logic.attach(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["one.jpg"]


def test_a_run_begun_on_a_command_line_is_resumed_from_its_settings(slicer, tmp_path):
    from TopoMAELib.run_folder import RunFolder
    from TopoMAETrainLib.commands import resumeCommand

    plan = {"spacing": "['1', '1', '3']", "normalization": "robust"}
    folder = makeRun(
        tmp_path / "run", "stopped", "finetune", init="scratch", fused_stages=[3], validate_every=None, plan=plan
    )
    command = resumeCommand(RunFolder(folder))
    assert command[:6] == ["finetune", "--data", "/data", "--init", "scratch", "--size"]
    assigned = [command[place + 1] for place, part in enumerate(command) if part == "--set"]
    assert assigned == ["spacing=1,1,3", "normalization=robust", "seed=0", "steps=40", "fused_stages=3"]


def test_a_finished_model_is_listed_once_and_a_deleted_run_takes_its_model_off_the_list(logic, tmp_path, slicer):
    added = []

    class Models:
        def add(self, folder):
            added.append(str(folder))

        def remove(self, folder):
            added.remove(str(folder))

    logic.finishedModels.models = Models()
    logic.finetune(tmp_path, tmp_path / "runs" / "run", settings={"steps": 10}, waitForCompletion=True)
    model = str((tmp_path / "runs" / "run" / "model").resolve())
    assert added == [model]
    added.clear()  # the user takes it off
    assert [run.bestDice for run in logic.runs(tmp_path / "runs")] == [0.75]
    assert added == []
    added.append(model)
    logic.deleteRun(tmp_path / "runs" / "run")
    assert added == []
