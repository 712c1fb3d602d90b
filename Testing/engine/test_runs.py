"""A run folder survives kills and second writers, and goes on exactly where it was."""

# ruff: noqa: NPY002 (the global generators are what is tested)

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from run_stand_ins import Recorder, fast_processes, open_run, train, wait_for_owner, what_remains

from topomae.errors import RunError
from topomae.events import Events
from topomae.files import write_json_atomic, write_text_atomic
from topomae.runs import checkpoints
from topomae.runs.folder import Run, finished, rng_state, run_status, set_rng_state
from topomae.runs.locks import Lock

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and processes")


@pytest.fixture(scope="module")
def processes():
    return fast_processes()


@pytest.fixture
def a_folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def short_paths_only(monkeypatch):
    """A system that takes 259 characters, as Windows does where nobody has switched on long paths."""
    monkeypatch.setattr("topomae.files._takes_long_paths", lambda: False)


def of_length(folder: Path, characters: int) -> Path:
    """A folder below another one whose path has so many characters."""
    while (missing := characters - len(str(folder)) - 1) > 100:
        folder = folder / ("d" * 60)
    return folder / ("d" * missing)


def test_a_run_folder_too_deep_for_its_files_is_refused_before_anything_is_written(tmp_path, short_paths_only):
    with open_run(of_length(tmp_path, 158)):
        pass
    deep = of_length(tmp_path, 159)
    with pytest.raises(RunError, match=r"path is too long.*260 characters, Windows takes 259") as told:
        open_run(deep)
    assert "shorter path" in str(told.value)
    assert not deep.exists()


def test_a_long_path_is_no_problem_where_the_system_takes_it(tmp_path):
    file = of_length(tmp_path, 320) / "a.json"
    write_json_atomic(file, {"a": 1})
    assert json.loads(file.read_text()) == {"a": 1}


def test_a_file_that_was_refused_for_its_length_says_so(tmp_path, short_paths_only, monkeypatch):
    def refuse(*_arguments, **_options):
        raise FileNotFoundError(2, "No such file or directory")  # what Windows says of a path that is too long

    file = of_length(tmp_path, 300) / "a.txt"
    file.parent.mkdir(parents=True)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(RunError, match="shorter path"):
        write_text_atomic(file, "text")


@pytest.fixture
def recorder():
    return Recorder()


# --- kills, resuming -------------------------------------------------------------------------------------


def test_twenty_kills_at_random_moments_neither_damage_nor_change_a_run(processes, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    train(undisturbed)
    moments, progress = random.Random(0), []
    while len(progress) < 20 or (progress[-1] <= 20 and len(progress) < 200):  # a crowded machine takes more
        child = processes.Process(target=train, args=(killed, 10**6))
        child.start()
        wait_for_owner(killed, child)
        time.sleep(moments.uniform(0.0, 0.15))
        assert child.is_alive()
        child.kill()
        child.join()
        found = checkpoints.Checkpoints(killed / "checkpoints").load("last", pytest.fail)
        progress.append(found[1] if found else 0)
        whole_lines = (killed / "events.jsonl").read_bytes().split(b"\n")[:-1]
        assert all(json.loads(line)["event"] for line in whole_lines)
    assert progress == sorted(progress), "a kill never loses a checkpoint"
    assert progress[-1] > 20

    # The same settings as the undisturbed run from here on; more steps than the kills allowed.
    steps = progress[-1] + 40
    settings = json.loads((killed / "settings.json").read_text())
    write_json_atomic(killed / "settings.json", {**settings, "settings": {"steps": steps}})
    train(killed, steps)
    train(tmp_path / "as_long", steps)
    assert what_remains(killed) == what_remains(tmp_path / "as_long")
    assert not list(killed.rglob(".tmp-*"))
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in undisturbed.iterdir())


def test_a_run_stopped_by_a_file_resumes_to_the_same_result(processes, tmp_path):
    train(tmp_path / "undisturbed", 50)
    stopped = tmp_path / "stopped"
    child = processes.Process(target=train, args=(stopped, 50, 0.05))
    child.start()
    wait_for_owner(stopped, child)
    time.sleep(0.2)
    (stopped / "stop").touch()
    child.join(20)
    assert child.exitcode == 0
    assert run_status(stopped).status == "stopped"
    assert not (stopped / "stop").exists()
    assert 0 < run_status(stopped).step < 50
    train(stopped, 50)
    assert run_status(stopped).status == "ok"
    assert what_remains(stopped) == what_remains(tmp_path / "undisturbed")


def test_resuming_drops_torn_lines_and_rows_after_the_checkpoint(a_folder):
    with open_run(a_folder) as run:
        for step in (1, 2, 3, 4):
            run.log_metrics(step, "a, b", {"loss": step / 10, "hop": float("inf")})
            if step == 2:
                run.save_checkpoint({"step": 2}, step=2)
        run._stop.honoured = True
    with open(a_folder / "metrics.csv", "ab") as file:
        file.write(b'5,"a, b",lo')
    with open(a_folder / "events.jsonl", "ab") as file:
        file.write(b'{"event": "metr')
    with open_run(a_folder) as run:
        assert run.resuming
        assert (a_folder / "metrics.csv").read_text().endswith('4,"a, b",hop,inf\n')
        assert run.load_checkpoint() == {"step": 2}
        rows = ["step,phase,name,value", '1,"a, b",loss,0.1', '1,"a, b",hop,inf', '2,"a, b",loss,0.2']
        assert (a_folder / "metrics.csv").read_text().split("\n") == [*rows, '2,"a, b",hop,inf', ""]
    assert [json.loads(line)["event"] for line in (a_folder / "events.jsonl").read_text().splitlines()][-2:] == [
        "start",
        "end",
    ]


def test_the_best_model_of_dropped_steps_gives_way_to_the_one_before(a_folder):
    with open_run(a_folder) as run:
        run.save_checkpoint({"at": 1}, "best", step=1)
        run.save_checkpoint({"at": 2}, "last", step=2)
        run.save_checkpoint({"at": 3}, "best", step=3)
        run.save_checkpoint({"at": 5}, "best", step=5)
        run._stop.honoured = True
    with open_run(a_folder) as run:
        assert run.load_checkpoint("best") == {"at": 5}
        assert run.load_checkpoint() == {"at": 2}
        assert run.load_checkpoint("best") == {"at": 1}


# --- one writer ------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_works_there(a_folder, processes):
    child = processes.Process(target=train, args=(a_folder, 10**6))
    child.start()
    wait_for_owner(a_folder, child)
    with pytest.raises(RunError, match=f"in use by process {child.pid}"):
        open_run(a_folder, settings={"steps": 10**6})
    child.kill()
    child.join()
    with (
        open_run(a_folder, settings={"steps": 10**6}),
        pytest.raises(RunError, match=f"in use by process {os.getpid()}"),
    ):
        open_run(a_folder, settings={"steps": 10**6})


def test_nothing_is_saved_by_one_who_lost_the_folder(a_folder):
    with pytest.raises(RunError, match="taken over"), open_run(a_folder) as run:
        run.save_checkpoint({"step": 1}, step=1)
        (a_folder / "lock").unlink()
        other = Lock(a_folder / "lock")
        run.save_checkpoint({"step": 2}, step=2)
    assert [checkpoint.step for checkpoint in run.checkpoints.of("last")] == [1]
    assert other.held, "the loser leaves the winner's lock alone"


# --- what a folder holds ---------------------------------------------------------------------------------


def test_other_settings_are_refused_by_name(a_folder):
    settings = {"size": "small", "weights": {"topology": 0.5, "spatial": 0.1}, "crop": (1, 2), "steps": 5}
    with pytest.raises(ZeroDivisionError), open_run(a_folder, settings=settings):
        1 / 0  # noqa: B018
    with open_run(a_folder, settings=settings) as run:
        run._stop.honoured = True
    other = {
        "size": "small",
        "weights": {"topology": 0.0, "spatial": 0.1},
        "crop": (1, 3),
        "device": "cpu",
        "steps": 5,
    }
    with pytest.raises(RunError) as refused:
        open_run(a_folder, settings=other)
    assert "crop = [1, 2] (now [1, 3])" in str(refused.value)
    assert "device = nothing (now cpu)" in str(refused.value)
    assert "weights.topology = 0.5 (now 0.0)" in str(refused.value)
    assert "spatial" not in str(refused.value)
    with open_run(a_folder, settings=other, changeable={"crop", "device", "weights.topology"}):
        pass
    with pytest.raises(RunError, match="finished"):
        open_run(a_folder, settings=other)
    with open_run(a_folder, settings={**other, "steps": 9}, changeable={"steps"}, extend=True) as run:
        assert run.resuming and not finished(a_folder)
    assert finished(a_folder) and not finished(a_folder / "nowhere")
    with pytest.raises(RunError, match="holds a pretrain run, not a finetune run"):
        open_run(a_folder, kind="finetune")
    assert not (a_folder / "lock").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(RunError, match=r"thesis\.docx"):
        open_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "thesis.docx"]
    (tmp_path / "thesis.docx").unlink()
    with open_run(tmp_path) as run:
        assert not run.resuming
        with pytest.raises(RunError, match="outside"):
            run.write_text("../elsewhere.txt", "")
    (tmp_path / "settings.json").write_text('{"format": 1, "kind"')
    with pytest.raises(RunError, match=r"settings\.json"):
        open_run(tmp_path)


def test_the_story_of_a_run_is_told_to_the_user_and_to_its_folder(a_folder, recorder):
    with pytest.raises(RunError), open_run(a_folder, events=Events(recorder), device="cpu") as run:
        run.log_metrics(1, "train", {"loss": torch.tensor(float("nan"))})
        run.save_checkpoint({"step": 1}, step=1)
        assert (run_status(a_folder).status, run_status(a_folder).step) == ("running", 1)
        raise RunError("went wrong", hint="Do it right.", case="c7")
    stored = [json.loads(line) for line in (a_folder / "events.jsonl").read_text().splitlines()]
    assert stored == recorder.events
    assert [event["event"] for event in stored] == ["start", "metric", "checkpoint", "error", "end"]
    start, metric, checkpoint, error, end = stored
    assert (start["pid"], start["device"], start["resuming"]) == (os.getpid(), "cpu", False)
    assert metric["values"] == {"loss": None}
    assert Path(checkpoint["path"]).is_file()
    assert (error["error"], error["hint"], error["case"]) == ("RunError", "Do it right.", "c7")
    assert (end["status"], end["step"]) == ("failed", 1)
    assert run_status(a_folder).status == "failed"


def test_tensorboard_shows_the_curves_of_a_resumed_run_once(a_folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first in (1, 3):
        time.sleep(1.1)  # TensorBoard sorts files by name: the second, then a number whose 10 comes before its 9
        with Run.open(a_folder, "pretrain", {}) as run:
            run.load_checkpoint()
            for step in range(first, first + 4):
                run.log_metrics(step, "train", {"loss": first + step / 8})
                if step == 2:
                    run.save_checkpoint({}, step=2)
            run._stop.honoured = True
    log = EventAccumulator(str(a_folder / "tensorboard"))
    log.Reload()
    assert [(e.step, e.value) for e in log.Scalars("train/loss")] == [
        (step, (1 if step < 3 else 3) + step / 8) for step in range(1, 7)
    ]


# --- stopping --------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_a_second_ctrl_c_stops_at_once(a_folder, number):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with open_run(a_folder) as run:
            assert not run.stop_requested()
            os.kill(os.getpid(), number)
            assert run.stop_requested() and run.stopped
        assert run_status(a_folder).status == "stopped"
        if number == signal.SIGINT:
            with pytest.raises(KeyboardInterrupt), open_run(a_folder):
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)
                time.sleep(1)
            assert run_status(a_folder).status == "stopped"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@posix
@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, 7), (signal.SIGTERM, -signal.SIGTERM)])
def test_ctrl_c_leaves_the_data_loading_processes_to_the_training(a_folder, number, end):
    ready, tell = os.pipe()
    with open_run(a_folder):
        child = os.fork()
        if child == 0:
            os.write(tell, b"!")
            with suppress(BaseException):
                time.sleep(0.5)
                os._exit(7)
            os._exit(8)
        os.read(ready, 1)
        os.kill(child, number)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == end


def test_a_stop_file_meant_for_an_earlier_process_is_not_obeyed(a_folder):
    a_folder.mkdir()
    (a_folder / "stop").touch()
    os.utime(a_folder / "stop", (time.time() - 3600,) * 2)
    with open_run(a_folder) as run:
        assert not run.stop_requested()
        (a_folder / "stop").touch()
        assert run.stop_requested()


def test_random_numbers_go_on_as_if_nothing_had_happened(a_folder):
    def draw():
        return random.gauss(0, 1), np.random.randn(), float(torch.randn(())), random.random()

    draw()  # leaves half of a pair of normal numbers behind in each generator
    with open_run(a_folder) as run:
        run.save_checkpoint(rng_state(), step=0)
        expected = [draw() for _ in range(5)]
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        set_rng_state(run.load_checkpoint())
        assert [draw() for _ in range(5)] == expected
