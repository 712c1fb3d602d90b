"""Every way in which fuzzing made Slicer's readers of run and model folders misbehave, and any event at all."""

import json
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train_run_stand_ins import makeRun, writeJson

pytestmark = pytest.mark.usefixtures("slicer")
ENDLESS = "9" * 400  # a whole number that no floating-point number can be
INFINITE = "1e999"  # what JSON spells and Python reads as infinity
DEEP = "[" * 100_000


@pytest.fixture
def RunFolder(slicer):
    from TopoMAELib.run_folder import RunFolder

    return RunFolder


@pytest.fixture
def aModel(tmp_path):
    """Writes a model folder, with the text of one file replaced; returns it."""

    def write(name="", text=""):
        network = {"format": 1, "network": {"architecture": "fused", "size": "small"}}
        plan = {"version": 1, "dataset": "d", "modalities": ["MR"], "spacing": [1, 1, 1]}
        plan["normalization"] = [{"kind": "robust"}]
        contents = {
            "plan.json": plan,
            "network.json": network,
            "labels.json": {"labels": [{"value": 1, "name": "a", "colour": [1, 2, 3]}]},
            "configs/metadata.json": {},
        }
        (tmp_path / "configs").mkdir()
        for file, content in contents.items():
            (tmp_path / file).write_text(text if file == name else json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize("status", [[], {}, None, 3, ["ok"]])
def test_a_status_that_is_no_word_is_that_of_an_interrupted_run(tmp_path, RunFolder, status):
    folder = makeRun(tmp_path / "run", "ok")
    writeJson(folder / "status.json", {"status": status, "step": 1})
    assert RunFolder(folder).state() == "interrupted"


@pytest.mark.parametrize("step", [ENDLESS, "-3", "true", "1.5", "null", '"4"'])
def test_a_step_that_no_run_can_be_at_counts_as_none(tmp_path, RunFolder, step):
    folder = makeRun(tmp_path / "run", "stopped")
    (folder / "status.json").write_text(f'{{"status": "stopped", "step": {step}}}')
    assert RunFolder(folder).step == 0


def test_records_with_infinite_numbers_or_nested_too_deeply_are_as_good_as_none(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "ok")
    launch = '{"kind": "pretrain", "arguments": [], "time": "", "pid": %s, "consoleStart": %s}'
    lock = '{"pid": %s, "started": "", "host": "", "token": ""}'
    for text in (launch % (INFINITE, 0), launch % (0, INFINITE), lock % INFINITE, DEEP):
        for name in (".launch.json", "lock", ".driver"):
            (folder / name).write_text(text)
        run = RunFolder(folder)
        assert (run.launch, run.owner, run.driver, run.state()) == (None, None, None, "done")


@pytest.mark.parametrize("start", [10**30, -5])
def test_a_launch_that_began_at_no_place_in_the_console_log_is_told_without_last_words(tmp_path, RunFolder, start):
    folder = makeRun(tmp_path / "run", "failed")
    (folder / "events.jsonl").unlink(missing_ok=True)
    (folder / "console.log").write_text("")
    launch = {"kind": "pretrain", "arguments": [], "time": "2100-01-01T00:00:00+00:00", "consoleStart": start}
    writeJson(folder / ".launch.json", launch)
    assert str(RunFolder(folder).lastError())


def test_events_with_numbers_that_nothing_can_take_are_shown_without_them(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "running")
    event = '{"event": "progress", "phase": "pretrain", "step": %s, "of": %s, "seconds_left": %s}\n'
    for number in (ENDLESS, "-" + ENDLESS, INFINITE, "-" + INFINITE, "NaN", "-5"):
        (folder / "events.jsonl").write_text(event % (number, number, number))
        run = RunFolder(folder)
        run.newEvents()
        progress = run.progress
        assert (progress.step, progress.of, progress.secondsLeft, progress.main.fraction) == (0, None, None, None)


def test_a_flood_of_warnings_is_cut(tmp_path, RunFolder):
    """Each is compared with all before it, while the application waits."""
    folder = makeRun(tmp_path / "run", "running")
    events = (json.dumps({"event": "warning", "message": str(n)}) for n in range(5000))
    (folder / "events.jsonl").write_text("".join(f"{event}\n" for event in events))
    run = RunFolder(folder)
    run.newEvents()
    assert run.progress.warnings == [str(n) for n in range(1000)]


def test_a_line_without_end_is_passed_over(tmp_path, monkeypatch, slicer):
    """It would be read again, from its start, several times a second."""
    from TopoMAELib import line_tail

    monkeypatch.setattr(line_tail, "_MOST_BYTES", 100)
    (tmp_path / "a").write_text("first\n" + "x" * 250)
    tail = line_tail.LineTail(tmp_path / "a")
    assert (tail.read(), tail.read(), tail.read()) == (["first"], [], [])
    with open(tmp_path / "a", "a") as file:
        file.write("y\nlast\n")
    assert tail.read()[-1] == "last"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipes_in_a_run_folder_are_not_waited_for(tmp_path, RunFolder):
    folder = makeRun(tmp_path / "run", "stopped")
    for name in ("events.jsonl", "metrics.csv", "status.json", "console.log", ".launch.json"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    run = RunFolder(folder)
    assert (run.newEvents(), run.curves(), run.state()) == ([], {}, "interrupted")
    assert run.lastError() is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, DEEP) for name in ("plan.json", "network.json", "labels.json", "configs/metadata.json")),
        ("plan.json", '{"dataset": "d", "modalities": ["MR"], "spacing": [1e999, 1, 1], "normalization": []}'),
        ("plan.json", f'{{"dataset": "d", "modalities": ["MR"], "spacing": [{ENDLESS}, 1, 1], "normalization": []}}'),
        ("labels.json", '{"labels": [{"value": 1e999, "name": "a", "colour": [1, 2, 3]}]}'),
        ("labels.json", '{"labels": [{"value": 1, "name": "a", "colour": [1e999, 2, 3]}]}'),
    ],
)
def test_a_model_with_impossible_numbers_or_nested_too_deeply_is_damaged(aModel, name, text):
    from TopoMAELib.model_card import ModelCard, ModelFolderError

    with pytest.raises(ModelFolderError, match="damaged"):
        ModelCard.read(aModel(name, text))


def test_a_model_in_a_run_with_unreadable_settings_is_shown_without_its_origin(aModel):
    from TopoMAELib.model_card import ModelCard

    folder = aModel()
    (folder.parent / "settings.json").write_text(DEEP)
    assert ModelCard.read(folder).pretrainedRun == ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**320) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ("phase", "step", "of", "seconds_left", "message", "case", "hint", "path", "status", "device", "time")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["start", "progress", "warning", "error", "end", "?"]), st.data())
def test_any_event_is_taken(kind, data):
    sys.modules["slicer"]  # started by the fixture
    from TopoMAELib.run_failure import RunFailure
    from TopoMAELib.run_progress import RunProgress, parsedEvent

    content = {name: data.draw(VALUES) for name in data.draw(st.lists(st.sampled_from(FIELDS), max_size=5))}
    event = parsedEvent(json.dumps({"event": kind, **content}))
    progress = RunProgress()
    progress.take({"event": "progress", "phase": "pretrain", "step": 1, "of": 9})
    progress.take(event)
    assert isinstance(progress.step, int) and progress.step >= 0
    assert progress.side is None or progress.side.fraction is None or 0 <= progress.side.fraction <= 1
    assert progress.secondsLeft is None or 0 <= progress.secondsLeft < float("inf")
    assert str(RunFailure.ofEvent(event))
