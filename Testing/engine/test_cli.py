"""The command line: it teaches, it refuses in one sentence, and programs can rely on it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import topomae
from topomae.cli import app
from topomae.config import FinetuneSettings, PretrainSettings, settings_from
from topomae.data.phantoms import make_phantoms
from topomae.errors import BadSettingError

COMMANDS = ("plan", "pretrain", "finetune", "segment", "evaluate", "report", "demo", "phantoms")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=4, labelled=1)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"topomae {command}" in result.output.split("Options")[0].split("Usage:")[1][20:]


@pytest.mark.parametrize("command", ["plan", "pretrain", "finetune", "segment", "evaluate"])
def test_every_command_takes_the_common_options(command):
    text = run(command, "--help").output
    for option in ("--device", "--size", "--seed", "--set", "--events"):
        assert option in text


def test_the_api_has_the_names_of_the_commands():
    for name in (*COMMANDS[:5], "demo", "make_phantoms", "write_report"):
        for _ in range(2):  # a module of that name would be found the second time
            assert callable(getattr(topomae, name))
    with pytest.raises(AttributeError):
        topomae.no_such_thing  # noqa: B018


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, topomae; assert not {'torch', 'monai', 'gudhi', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_plan_is_printed_with_reasons_and_written(phantoms, tmp_path):
    result = run("plan", "--data", phantoms, "--output", tmp_path / "plan.json", "--set", "spacing=2,2,3")
    assert result.exit_code == 0, result.output
    assert "crop_size" in result.output
    assert "set by the user" in result.output
    assert json.loads((tmp_path / "plan.json").read_text())["spacing"] == [2.0, 2.0, 3.0]


def test_events_are_one_json_object_per_line(phantoms, tmp_path):
    result = run("plan", "--data", phantoms, "--events", "json")
    kinds = [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert {"progress", "plan"} <= set(kinds)


def test_phantoms_are_made_while_programs_are_told_how_far_it_is(tmp_path):
    result = run("phantoms", "--output", tmp_path / "made ü", "--cases", 4, "--labelled", 1, "--events", "json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    told = [(event["step"], event["of"]) for event in events if event["event"] == "progress"]
    assert (told[0], told[-1]) == ((0, 4), (4, 4))
    assert (events[0]["event"], events[-1]["event"], events[-1]["status"]) == ("start", "end", "ok")
    assert json.loads((tmp_path / "made ü" / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 4
    result = run("phantoms", "--output", tmp_path / "few", "--cases", 2)
    assert result.exit_code == 1
    assert "need at least 3 cases" in result.output
    assert not (tmp_path / "few").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--data", "NOWHERE"], "does not exist"),
        (["plan", "--data", "PHANTOMS", "--set", "spacng=1"], "no field"),
        (["plan", "--data", "PHANTOMS", "--set", "spacing"], "key=value"),
        (["plan", "--data", "PHANTOMS", "--set", "spacing=a,b,c"], "spacing"),
        (["pretrain", "--data", "PHANTOMS", "--run", "RUN", "--set", "stepz=4"], "no setting 'stepz'"),
        (["pretrain", "--data", "PHANTOMS", "--run", "RUN", "--set", "steps=0"], "steps"),
        (["pretrain", "--data", "PHANTOMS", "--run", "RUN", "--set", "mask_ratio=1"], "mask_ratio"),
        (["pretrain", "--data", "PHANTOMS", "--run", "RUN", "--device", "cuda"], "CUDA"),
        (["finetune", "--data", "PHANTOMS", "--run", "RUN", "--init", "NOWHERE"], "no such folder"),
        (["segment", "--model", "NOWHERE", "--input", "PHANTOMS", "--output", "RUN"], "model"),
        (["evaluate", "--predictions", "NOWHERE", "--labels", "PHANTOMS", "--output", "RUN"], "NOWHERE"),
        (["report", "--output", "RUN"], "nothing to report"),
    ],
)
def test_bad_input_is_one_clear_sentence_and_exit_code_1(phantoms, tmp_path, arguments, words):
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    places = {"PHANTOMS": phantoms, "RUN": tmp_path / "run", "NOWHERE": tmp_path / "NOWHERE"}
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "error: " in result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_settings_are_read_as_typed():
    settings = settings_from(PretrainSettings, ["steps=7", "topology_dims=0,2", "workers=none"], seed=3)
    assert (settings.steps, settings.topology_dims, settings.workers, settings.seed) == (7, (0, 2), None, 3)
    assert settings_from(FinetuneSettings, ["augmentation=0.5"]).augmentation == 0.5
    assert settings_from(FinetuneSettings).resolved("base").steps == FinetuneSettings.BY_SIZE["base"]["steps"]
    with pytest.raises(BadSettingError, match="nan"):
        settings_from(PretrainSettings, ["topology_weight=nan"])
    for name in ("kind", "assignments"):  # a recipe may say so
        with pytest.raises(BadSettingError, match=f"no setting '{name}'"):
            settings_from(PretrainSettings, **{name: 1})
