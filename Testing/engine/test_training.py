"""Pre-training and fine-tuning on phantoms: no labels read, nothing lost, a resumed run equal to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recorder import Recorder

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.dataset import open_dataset
from topomae.data.phantoms import make_phantoms
from topomae.data.volume_io import read_labels
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.models.folder import load_model
from topomae.models.pretrained import load_pretrained
from topomae.networks.factory import UNETRPP_SIZES
from topomae.training.averaging import averaged_model
from topomae.training.segmentation import SegmentationTraining

PLAN = {"crop_size": [24, 24, 16], "patch_size": [8, 8, 8], "spacing": [3.0, 3.0, 3.0], "batch_size": 2}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=7, labelled=2)


@pytest.fixture(scope="module")
def pretrained(phantoms, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "pretrain"
    settings = PretrainSettings(steps=20, checkpoint_every=4, preview_every=10)
    topomae.pretrain(phantoms, run, settings=settings, plan=PLAN)
    return run


def rows(run) -> list[list[str]]:
    return [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()[1:]]


def stop_at(run, kind: str, step: int) -> Events:
    """Events that ask the run to stop once something of `kind` was told at `step`."""

    def act(event):
        if event["event"] == kind and event.get("step") == step:
            (run / "stop").touch()

    return Events(Recorder(act))


def test_every_loss_is_logged_by_branch_and_the_reconstruction_improves(pretrained):
    values: dict[str, list[float]] = {}
    for _, phase, name, value in rows(pretrained):
        if phase == "pretrain":
            values.setdefault(name, []).append(float(value))
    for loss in ("reconstruction", "topology", "spatial"):
        assert {f"{loss}/vit", f"{loss}/unetrpp"} <= set(values)
    assert {"consistency/spatial", "consistency/reconstruction", "loss", "learning_rate"} <= set(values)
    assert values["reconstruction/unetrpp"][-1] < values["reconstruction/unetrpp"][0]
    assert values["loss"][-1] < values["loss"][0]


def test_previews_show_input_mask_and_both_reconstructions(pretrained):
    for step in (10, 20):
        found = {path.name for path in (pretrained / "previews").glob(f"step_{step:08d}_*")}
        parts = ("input.nii.gz", "masked.nii.gz", "vit.nii.gz", "unetrpp.nii.gz", "keypoints.json")
        assert found == {f"step_{step:08d}_{part}" for part in parts}
    points = json.loads((pretrained / "previews" / "step_00000020_keypoints.json").read_text())
    assert {len(points[name]) for name in ("names", "true", "vit", "unetrpp")} == {9}


def test_pre_training_opens_no_label_file(phantoms, tmp_path):
    """Labels that cannot be read do not matter to it."""
    import shutil

    data = shutil.copytree(phantoms, tmp_path / "data")
    for label in (data / "labelsTr").iterdir():
        label.write_bytes(b"not a label map")
    topomae.pretrain(data, tmp_path / "run", settings=PretrainSettings(steps=1), plan=PLAN)
    assert (tmp_path / "run" / "model" / "pretrained.safetensors").is_file()


def test_held_out_cases_are_not_seen_by_pre_training(phantoms, pretrained):
    split = json.loads((phantoms / "splits.json").read_text())
    seen = {json.loads(path.read_text())["case"] for path in (pretrained / "preprocessed").glob("*/*.json")}
    assert seen == set(split["train"])


def test_a_stopped_and_resumed_pre_training_equals_an_undisturbed_one(phantoms, pretrained, tmp_path):
    settings = PretrainSettings(steps=20, checkpoint_every=4, preview_every=10)
    run = tmp_path / "run"

    def act(event):
        if event["event"] == "progress" and event["phase"] == "pretrain" and event["step"] >= 5:
            (run / "stop").touch()

    topomae.pretrain(phantoms, run, settings=settings, plan=PLAN, events=Events(Recorder(act)))
    assert not (run / "model").exists()
    assert json.loads((run / "status.json").read_text())["status"] == "stopped"
    topomae.pretrain(phantoms, run, settings=settings, plan=PLAN)
    undisturbed, resumed = load_pretrained(pretrained).weights, load_pretrained(run).weights
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)
    assert (run / "metrics.csv").read_bytes() == (pretrained / "metrics.csv").read_bytes()


def test_fine_tuning_killed_at_any_moment_resumes_to_the_same_model(phantoms, pretrained, tmp_path):
    command = [sys.executable, "-m", "topomae", "finetune", "--data", str(phantoms), "--init", str(pretrained)]
    command += ["--set", "steps=12", "--set", "checkpoint_every=3", "--set", "validate_every=4", "--events", "json"]
    run_once([*command, "--run", str(tmp_path / "undisturbed")])
    disturbed = [*command, "--run", str(tmp_path / "killed")]
    kill_at(disturbed, lambda event: event["event"] == "checkpoint" and event["step"] >= 3)
    kill_at(disturbed, lambda event: event["event"] == "progress" and event["phase"] == "validate")
    run_once(disturbed)
    one, other = (load_model(tmp_path / name).network.state_dict() for name in ("undisturbed", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert rows(tmp_path / "undisturbed") == rows(tmp_path / "killed")


def run_once(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=one_thread())
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "ok"


def kill_at(command: list[str], when) -> None:
    """Kill the process, without any warning, at the first event for which `when` is true."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=one_thread())
    for line in process.stdout:
        if when(json.loads(line)):
            process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
            break
    process.stdout.close()
    assert process.wait(timeout=60) != 0


def one_thread() -> dict[str, str]:
    """The order of sums depends on the number of threads, so all runs to be compared have the same."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("architecture", "initialization"),
    [("fused", "pretrained"), ("fused", "vit-only"), ("fused", "unetrpp-only"), ("unetrpp", "pretrained")],
)
def test_each_start_takes_over_what_it_says(phantoms, pretrained, tmp_path, architecture, initialization):
    from topomae.networks.factory import build_segmenter
    from topomae.training.initialization import find_start, initialize

    settings = FinetuneSettings(architecture=architecture, initialization=initialization)
    start = find_start(pretrained, settings)
    spec = start.weights.spec.model_copy(update={"architecture": architecture, "out_channels": 5})
    torch.manual_seed(7)
    network = build_segmenter(spec)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    initialize(network, start, initialization)
    taken = {
        name.split(".")[0] for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    expected = {"pretrained": {"vit", "unetrpp"}, "vit-only": {"vit"}, "unetrpp-only": {"unetrpp"}}[initialization]
    assert taken == (expected if architecture == "fused" else {"unetrpp"})
    weights = load_pretrained(pretrained).weights
    if "unetrpp" in taken:
        name = "encoder.0.0.attention.query_key_values.weight"
        assert torch.equal(network.unetrpp.state_dict()[name], weights["unetrpp." + name])


@pytest.mark.parametrize("architecture", ["fused", "unetrpp"])
def test_new_heads_begin_with_how_frequent_labels_are_and_those_of_a_model_stay(phantoms, tmp_path, architecture):
    still = {"steps": 1, "learning_rate": 1e-12, "architecture": architecture}
    new = topomae.finetune(phantoms, tmp_path / "new", init="scratch", settings=FinetuneSettings(**still), plan=PLAN)
    with torch.no_grad():
        said = load_model(new).network(torch.randn(2, 1, 24, 24, 16)).softmax(1)
    assert said.std(dim=(0, 2, 3, 4)).max() < 1e-5, "whatever the image"
    found = said.mean(dim=(0, 2, 3, 4))
    dataset = open_dataset(phantoms)
    labels = [read_labels(case.label).array for case in dataset.cases if case.label is not None]
    for frequency, value in zip(found.tolist(), (0, *dataset.labels), strict=True):
        share = np.mean([np.mean(label == value) for label in labels])
        assert 0.25 * share < frequency < 4 * share

    trained = FinetuneSettings(**{**still, "steps": 2, "learning_rate": 0.01})
    model = topomae.finetune(phantoms, tmp_path / "trained", init="scratch", settings=trained, plan=PLAN)
    goes_on = topomae.finetune(phantoms, tmp_path / "goes_on", init=model, settings=FinetuneSettings(**still))
    before, after = (load_model(folder).network.heads[0].conv.conv for folder in (model, goes_on))
    torch.testing.assert_close(after.weight, before.weight, rtol=0, atol=1e-8)
    assert before.weight.abs().max() > 1e-4


def test_labels_that_are_never_found_are_named_at_the_end(phantoms, tmp_path):
    labels = open_dataset(phantoms).labels.values()
    for name, steps, rate in (("short", 1, 1e-12), ("long", 8, 0.01)):
        seen = Recorder()
        settings = FinetuneSettings(steps=steps, learning_rate=rate, labelled=1, validate_every=8, ema=0)
        topomae.finetune(phantoms, tmp_path / name, init="scratch", settings=settings, plan=PLAN, events=Events(seen))
        dice = {row[2]: float(row[3]) for row in rows(tmp_path / name)}
        missed = [label for label in labels if dice[f"dice/{label}"] == 0]
        told = [message for message in seen.messages() if "does not find" in message]
        assert len(told) == bool(missed)
        assert all((label in "".join(told)) == (label in missed) for label in labels)
        assert (missed == list(labels)) == (name == "short")


def test_a_label_that_no_validation_case_has_is_not_called_missed():
    label = np.zeros((4, 4, 4), np.uint8)
    label[0] = 2
    val, labels = [SimpleNamespace(label=label)], {1: "lesion", 5: "organ"}
    training = SimpleNamespace(plan=SimpleNamespace(labels=labels), teaching=SimpleNamespace(val=val))
    (doubt,) = SegmentationTraining.doubts(training, {"dice/lesion": 0.0, "dice/organ": 0.0})
    assert "does not find organ:" in doubt


def test_a_pre_training_of_an_earlier_version_goes_on_as_the_network_it_was(phantoms, pretrained, tmp_path):
    from topomae.models.pretrained import save_pretrained
    from topomae.networks.factory import build_co_pretrainer

    now = load_pretrained(pretrained)
    assert (now.spec.block_norm, now.spec.form) == ("instance", "joined")
    then = now.spec.model_copy(update={"block_norm": None, "form": None})
    save_pretrained(tmp_path / "then", build_co_pretrainer(then), then, now.plan)
    settings = FinetuneSettings(steps=1)
    model = load_model(topomae.finetune(phantoms, tmp_path / "run", init=tmp_path / "then", settings=settings))
    assert (model.spec.block_norm, model.spec.form) == (None, None)
    assert not model.network.unetrpp.joined
    assert any(isinstance(module, torch.nn.GroupNorm) for module in model.network.unetrpp.encoder.modules())


def test_a_run_of_an_earlier_version_does_not_go_on_as_another_network(phantoms, tmp_path, monkeypatch):
    settings, run = PretrainSettings(steps=3, topology_weight=0, checkpoint_every=1), tmp_path / "run"
    with monkeypatch.context() as then:
        then.setitem(UNETRPP_SIZES, "small", replace(UNETRPP_SIZES["small"], form="published"))
        events = stop_at(run, "checkpoint", 1)
        topomae.pretrain(phantoms, run, settings=settings, plan=PLAN, events=events)
    with pytest.raises(RunError, match="begun by another version of TopoMAE"):
        topomae.pretrain(phantoms, run, settings=settings, plan=PLAN)


def test_bfloat16_is_refused_where_its_gradients_are_wrong():
    from topomae.parallel.devices import choose_device, chosen_precision

    for precision in ("bf16", "16"):
        with pytest.raises(BadSettingError, match="needs a GPU"):
            chosen_precision(choose_device("cpu"), precision)
    assert chosen_precision(choose_device("cpu"), "auto") == "32-true"


@pytest.mark.parametrize("architecture", ["unetrpp", "unetr", "swinunetr"])
def test_baselines_train_by_the_same_call(phantoms, tmp_path, architecture):
    settings, seen = FinetuneSettings(steps=1, architecture=architecture), Recorder()
    given = {"init": "scratch", "settings": settings, "plan": PLAN, "events": Events(seen)}
    model = topomae.finetune(phantoms, tmp_path / "run", **given)
    assert load_model(model).spec.architecture == architecture
    costly = [message for message in seen.messages() if "times as long" in message]
    assert [("28.4 times" in message, "crop_size=64,64,64" in message) for message in costly] == (
        [(True, True)] if architecture == "swinunetr" else []
    )


def test_training_goes_on_from_a_finished_model(phantoms, tmp_path):
    settings = FinetuneSettings(steps=1, ema=0, learning_rate=1e-12)
    first = topomae.finetune(phantoms, tmp_path / "first", init="scratch", settings=settings, plan=PLAN)
    second = topomae.finetune(phantoms, tmp_path / "second", init=first, settings=settings)
    one, other = (load_model(model).network.state_dict() for model in (first, second))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_only_the_first_labelled_cases_are_used_when_asked(phantoms, tmp_path):
    settings = FinetuneSettings(steps=1, labelled=1)
    model = load_model(topomae.finetune(phantoms, tmp_path / "run", init="scratch", settings=settings, plan=PLAN))
    split = json.loads((phantoms / "splits.json").read_text())
    assert model.metadata["training"]["cases"] == split["train"][:1]


def test_the_learning_rate_rises_then_falls_to_nothing():
    from topomae.training.optimization import make_optimizer, set_learning_rate

    layer = torch.nn.Linear(2, 2)
    settings = FinetuneSettings(learning_rate=0.1).resolved("small")
    for schedule in ("cosine", "poly"):
        optimizer = make_optimizer([(layer, 1.0)], settings)
        rates = [set_learning_rate(optimizer, step, 100, 0.1, schedule) for step in range(100)]
        assert rates[:10] == pytest.approx([0.01 * (n + 1) for n in range(10)])
        assert all(a >= b for a, b in pairwise(rates[9:]))
        assert rates[-1] < 0.01


def test_a_loss_that_is_not_a_number_is_left_out_and_ends_the_run_if_it_stays():
    from topomae.training.optimization import LossGuard

    recorder = Recorder()
    guard = LossGuard(Events(recorder))
    assert guard.accepts(torch.tensor(1.0), 0)
    assert not guard.accepts(torch.tensor(float("nan")), 1)
    assert recorder.events[-1]["event"] == "warning"
    assert guard.accepts(torch.tensor(1.0), 2)
    with pytest.raises(RunError, match="in a row"):
        for step in range(100):
            guard.accepts(torch.tensor(float("inf")), step)


@pytest.mark.parametrize(
    ("init", "settings", "message"),
    [
        ("nowhere", {}, "no such folder"),
        ("PHANTOMS", {}, "model"),
        ("PRETRAINED", {"architecture": "unetr"}, "cannot take over"),
        ("PRETRAINED", {"labelled": 99}, "more than the 2 labelled"),
    ],
)
def test_a_bad_start_is_told_before_anything_is_trained(phantoms, pretrained, tmp_path, init, settings, message):
    init = {"PHANTOMS": phantoms, "PRETRAINED": pretrained}.get(init, init)
    with pytest.raises((BadDataError, BadSettingError), match=message):
        topomae.finetune(phantoms, tmp_path / "run", init=init, settings=FinetuneSettings(steps=1, **settings))


def test_fine_tuning_without_labels_says_so(phantoms, tmp_path):
    import shutil

    shutil.copytree(phantoms / "imagesTr", tmp_path / "images")
    with pytest.raises(BadDataError, match="no training case has a label"):
        topomae.finetune(tmp_path / "images", tmp_path / "run", init="scratch")


def test_a_changed_plan_is_noticed_when_a_run_goes_on(phantoms, tmp_path):
    run = tmp_path / "run"
    settings = PretrainSettings(steps=4, checkpoint_every=1)
    topomae.pretrain(phantoms, run, settings=settings, plan=PLAN, events=stop_at(run, "checkpoint", 1))
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps({**plan, "crop_size": [32, 32, 16]}))
    with pytest.raises(RunError, match=r"plan\.json was changed"):
        topomae.pretrain(phantoms, run, settings=settings, plan=PLAN)


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_moving_average_soon_forgets_the_first_weights(decay):
    network = torch.nn.Linear(1, 1, bias=False)
    average = averaged_model(network, decay)
    expected = 0.0
    for step, weight in enumerate([5.0, *[1.0] * 200]):
        torch.nn.init.constant_(network.weight, weight)
        average.update_parameters(network)
        kept = min(decay, (1 + step) / (4 + step)) if step else 0.0
        expected = kept * expected + (1 - kept) * weight
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.module.weight.item() == pytest.approx(1, abs=1e-4), "a fixed 0.99 would still be at 1.5"
