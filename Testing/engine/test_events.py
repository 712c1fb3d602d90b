"""Events reach people and programs, whole and honest, and never stop the work they tell of."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from run_stand_ins import Recorder

from topomae.console import ConsoleSink, duration
from topomae.errors import BadDataError
from topomae.events import Events, JsonLines, Progress
from topomae.reporting.tables import print_evaluation


class Clock:
    """Time that passes only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def clock():
    return Clock()


def strict(line):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(line, parse_constant=refuse)


# --- for programs ----------------------------------------------------------------------------------------


def test_every_value_becomes_strictly_valid_json_on_one_line():
    @dataclasses.dataclass
    class Box:
        low: tuple

    stream = io.StringIO()
    Events(JsonLines(stream)).emit(
        "metric",
        values={
            "a": float("nan"),
            "b": np.float32("inf"),
            "c": torch.tensor(2.5, requires_grad=True),
            3: 0.1,
        },
        path=Path("x") / "y",
        array=np.array([[1, 2]], np.uint8),
        box=Box((1, np.int64(2))),
        flag=np.bool_(True),
        name="line\nbreak, Herz, \udcff",
        odd=ValueError("odd"),
        time="not to be changed by a field",
    )
    assert stream.getvalue().count("\n") == 1
    event = strict(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", event.pop("time"))
    assert event == {
        "event": "metric",
        "values": {"a": None, "b": None, "c": 2.5, "3": 0.1},
        "path": str(Path("x") / "y"),
        "array": [[1, 2]],
        "box": {"low": [1, 2]},
        "flag": True,
        "name": "line\nbreak, Herz, \udcff",
        "odd": "odd",
    }


def test_a_training_outlives_the_program_that_reads_its_events():
    work = (
        "import sys\n"
        "from topomae.events import Events, JsonLines\n"
        "how = sys.argv[1]\n"
        "events = Events(JsonLines(sys.stdout)) if how == 'stream' else Events.to(how)\n"
        "for _ in range(20000): events.warning('x' * 100)\n"
        "events.close()\n"
        "print('somebody else prints')\n"
        "sys.stderr.write('done')\n"
    )
    for how in ("json", "stream", "auto"):
        command = [sys.executable, "-c", work, how]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.readline()
        child.stdout.close()
        told = child.stderr.read().replace(b"somebody else prints", b"")  # json: stderr takes it
        assert told.strip() == b"done"
        assert child.wait() == 0


def test_what_libraries_print_does_not_get_between_the_json_lines(capsys):
    before = sys.stdout
    try:
        events = Events.to("json")
        print("a library says hello")
        events.emit("end", status="ok")
    finally:
        sys.stdout = before
    out, err = capsys.readouterr()
    assert strict(out)["status"] == "ok"
    assert err == "a library says hello\n"


def test_a_sink_that_fails_is_left_out_and_the_others_are_told(recorder):
    class Broken(Recorder):
        def write(self, event):
            raise KeyError("bug")

    events = Events(Broken(), recorder)
    for step in range(3):
        events.emit("metric", step=step, phase="train", values={})
    assert [event["event"] for event in recorder.events].count("warning") == 1
    assert [event["step"] for event in recorder.events if event["event"] == "metric"] == [0, 1, 2]


def test_an_error_is_told_once_with_what_the_user_needs(recorder):
    events = Events(recorder)
    error = BadDataError("has no voxels", hint="Export it again.", case="c3", path="c3.nii")
    events.error(error)
    events.error(error)
    events.error(ZeroDivisionError("division by zero"))
    mine, foreign = recorder.events
    expected = ("BadDataError", "has no voxels", "Export it again.", "c3", "c3.nii")
    assert tuple(mine[name] for name in ("error", "message", "hint", "case", "path")) == expected
    assert foreign["message"] == "ZeroDivisionError: division by zero"


# --- time left -------------------------------------------------------------------------------------------


def test_tracking_a_resumed_work_gives_what_is_left_of_it(recorder):
    events = Events(recorder)
    assert list(events.track(5, "train", done=3)) == [3, 4]
    assert [(e["step"], e["of"]) for e in recorder.events] == [(3, 5), (5, 5)]
    assert list(events.track("ab", "cases", done=1)) == ["a", "b"]
    assert (recorder.events[-1]["step"], recorder.events[-1]["of"]) == (3, 3)
    endless = events.track(iter("ab"), "files")
    assert list(endless) == ["a", "b"]
    assert endless.seconds_left is None


def progress_of(seconds_per_step, of, clock, events=None):
    progress = Progress(events or Events(), of, "train", clock=clock)
    for seconds in seconds_per_step:
        clock.now += seconds
        progress.advance()
    return progress


def test_the_time_left_forgets_warm_up_and_averages_over_validations(clock):
    assert progress_of([30.0], 1001, clock).seconds_left == pytest.approx(30.0 * 1000)
    assert progress_of([30.0, *[0.1] * 3], 1004, clock).seconds_left == pytest.approx(100.0)
    # Every hundredth step is followed by a validation of 20 s: 0.3 s a step in the long run.
    steps = [20.1 if step % 100 == 0 else 0.1 for step in range(1, 2001)]
    for done in (730, 1050, 1399, 1999):
        left = progress_of(steps[:done], 2000 + done, clock).seconds_left
        assert left == pytest.approx(0.3 * 2000, rel=0.35)
    # A machine that gets three times slower is noticed long before the work has doubled.
    left = progress_of([0.1] * 2000 + [0.3] * 1000, 4000, clock).seconds_left
    assert left == pytest.approx(0.3 * 1000, rel=0.15)


def test_fast_steps_do_not_flood_the_reader_and_the_last_is_always_told(recorder, clock):
    progress_of([0.001] * 10_000, 10_000, clock, Events(recorder))
    told = [event["step"] for event in recorder.events]
    assert told[0] == 0
    assert told[-1] == 10_000
    assert 15 <= len(told) <= 25, "ten seconds, two a second"
    assert [duration(s) for s in (0.4, 59.6, 200, 3900)] == ["0 s", "1 min 00 s", "3 min 20 s", "1 h 05 min"]


# --- for people ------------------------------------------------------------------------------------------


def test_a_log_file_gets_few_plain_lines(clock):
    stream = io.StringIO()
    sink = ConsoleSink(stream, clock=clock)
    events = Events(sink)
    events.start(kind="pretrain", device="cpu", folder="runs/r1", resuming=True)
    events.emit("plan", spacing=(0.7, 0.7, 5.0), reasons={"spacing": "median of 20 cases"})
    progress = Progress(events, 1000, "pretrain", clock=clock)
    for step in range(1, 1001):
        clock.now += 0.5
        events.emit("metric", step=step, phase="pretrain", values={"loss": 1 / step, "topo": float("nan")})
        if step == 500:
            events.warning("has [bold]no[/bold] \x1b[2J label", case="c1")
        progress.advance()
    for _ in range(2):
        list(Progress(events, 3, "validate", clock=clock))
        events.emit("metric", step=1000, phase="validate", values={"dice": 0.9})
    events.emit("end", status="stopped")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("TopoMAE ") and lines[0].endswith("· pretrain · cpu · runs/r1 · going on")
    assert lines[1] == "  spacing: 0.7 × 0.7 × 5  (median of 20 cases)"
    assert lines[2] == "pretrain  20/1000 (2 %)  8 min 10 s left  loss 0.05  topo –"
    assert "warning: case c1: has [bold]no[/bold] \ufffd[2J label" in lines
    assert lines[-6:] == [
        "pretrain  1000/1000 (100 %)  loss 0.001  topo –",
        *["validate  3/3 (100 %)", "validate  dice 0.9"] * 2,
        "stopped; the same command goes on from here",
    ]
    assert 50 <= len(lines) <= 66, "one for about ten seconds"


def test_a_terminal_shows_a_bar_per_phase_with_time_left_and_values():
    stream, clock = Terminal(), Clock()
    events = Events(ConsoleSink(stream, live=True))
    for phase in ("pretrain", "[i]check[/i]"):
        progress = Progress(events, 4, phase, clock=clock)
        for step in range(3):
            clock.now += 60
            events.emit("metric", step=step, phase=phase, values={"loss": 0.25})
            progress.advance()
    events.warning("look out", case="c1")
    events.error(BadDataError("is broken", hint="Repair it."))
    events.emit("end", status="failed")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    shown = text[: text.rindex("failed")].rstrip().splitlines()[-2:]
    assert all(re.search(r"3/4 .*, 1 min 00 s left +loss 0\.25", line) for line in shown)
    assert [line.split()[0] for line in shown] == ["pretrain", "[i]check[/i]"]
    assert "warning: case c1: look out" in text
    assert "error: is broken. Repair it." in text
    assert text.rstrip().endswith("failed")


def test_an_evaluation_is_printed_as_a_table_with_what_is_undefined():
    from topomae.evaluation.scores import LabelSummary, Statistic, Summary
    from topomae.evaluation.segmentation import Evaluation

    metrics = {"dice": Statistic.of([0.5, 0.75]), "hd95_mm": Statistic.of([float("nan")])}
    label = LabelSummary(name="[b]aorta", missed=0, made_up=0, absent=0, metrics=metrics)
    summary = Summary(cases=2, overall=metrics, per_label={3: label}, surface_tolerance_mm={3: 1.0})
    stream = io.StringIO()
    print_evaluation(Evaluation((), summary), stream)
    row = next(line for line in stream.getvalue().splitlines() if "aorta" in line)
    assert [cell.strip() for cell in row.split("│")[1:5]] == ["3 [b]aorta", "0.625", "–", "–"]
