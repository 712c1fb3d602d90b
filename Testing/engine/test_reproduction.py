"""A model says where it comes from, and can be trained again from that to the last bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import topomae
from topomae.cli import app
from topomae.config import ClassifySettings, FinetuneSettings, PretrainSettings
from topomae.data.phantoms import make_phantoms
from topomae.data.volume_io import write_image
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.networks import factory
from topomae.runs.provenance import read_provenance, weights_digest
from topomae.versions import code_state, machine, versions

TINY = {"crop_size": (32, 32, 16), "patch_size": (16, 16, 16), "stem_stride": (4, 4, 4)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=6, labelled=2, shape=(36, 36, 24))


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    """A fine-tuned model, with the pre-training it started from."""
    runs = tmp_path_factory.mktemp("runs")
    settings = PretrainSettings(steps=3, topology_weight=0, checkpoint_every=1)
    topomae.pretrain(data, runs / "pretrain", settings=settings, plan=TINY, device="cpu")
    settings = FinetuneSettings(steps=3, seed=4)
    topomae.finetune(data, runs / "finetune", init=runs / "pretrain", settings=settings, device="cpu")
    return runs / "finetune"


def test_a_model_holds_everything_that_decided_its_weights(model, data):
    record = read_provenance(model)
    assert [stage.kind for stage in record.stages()] == ["pretrain", "finetune"]
    assert record.settings["seed"] == 4 and record.settings["learning_rate"] > 0
    assert record.init.settings["steps"] == 3
    assert tuple(record.plan["crop_size"]) == TINY["crop_size"]
    assert record.versions == versions() and record.machine == machine()
    assert record.code["sha256"] == code_state()["sha256"]
    assert record.data.cases and all(content.label for content in record.data.cases.values())
    assert all(content.label is None for content in record.init.data.cases.values())
    assert str(data) not in json.dumps(record.model_dump(mode="json"))  # a model may be given away


def test_the_digest_of_weights_changes_with_any_bit_of_them():
    weights = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    changed = {**weights, "a": torch.zeros(2, 3).index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(-0.0))}
    reshaped = {**weights, "a": torch.zeros(3, 2)}
    assert len({weights_digest(w) for w in (weights, changed, reshaped, {**weights, "c": torch.ones(1)})}) == 4
    assert weights_digest(dict(reversed(weights.items()))) == weights_digest(weights)


def test_trained_again_a_model_is_the_same_to_the_bit(model, tmp_path):
    result = CliRunner().invoke(app, ["reproduce", str(model), "--output", str(tmp_path / "again")])
    assert result.exit_code == 0, result.output
    assert "The same to the bit." in result.output
    written = json.loads((tmp_path / "again" / "reproduction.json").read_text())
    assert written["identical"] and written["difference"] == 0 and written["environment"] == []
    then, now = written["metrics"]["validation_dice"]
    assert then == now


def test_a_classification_is_trained_again_to_the_bit(data, tmp_path):
    split = json.loads((data / "splits.json").read_text())
    table = tmp_path / "classes.csv"
    names = [*split["train"], *split["val"]]
    table.write_text("".join(f"{name},{'ab'[place % 2]}\n" for place, name in enumerate(names)))
    settings = ClassifySettings(steps=2)
    given = {"task": "classification", "classes": table, "settings": settings, "plan": TINY, "device": "cpu"}
    topomae.finetune(data, tmp_path / "first", init="scratch", **given)
    assert topomae.reproduce(tmp_path / "first", tmp_path / "again", classes=table).identical


def test_a_network_that_would_be_built_otherwise_now_is_refused_before_anything_is_trained(
    model, tmp_path, monkeypatch
):
    other = replace(factory.UNETRPP_SIZES["small"], form="published")
    monkeypatch.setitem(factory.UNETRPP_SIZES, "small", other)
    for network in (model, model.parent / "pretrain"):
        with pytest.raises(RunError, match="earlier version of TopoMAE, whose networks were built otherwise"):
            topomae.reproduce(network, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_copied_model_is_trained_again_from_data_that_lie_elsewhere(model, data, tmp_path):
    shutil.copytree(model / "model", tmp_path / "copied")
    shutil.copytree(data, tmp_path / "elsewhere")
    with pytest.raises(BadSettingError, match="which data"):
        topomae.reproduce(tmp_path / "copied", tmp_path / "again")
    found = topomae.reproduce(tmp_path / "copied", tmp_path / "again", data=tmp_path / "elsewhere")
    assert found.identical


def test_other_data_are_refused_before_anything_is_trained(model, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    name = sorted(read_provenance(model).data.cases)[0]
    write_image(other / "imagesTr" / f"{name}.nii.gz", np.random.default_rng(0).random((36, 36, 24)), np.eye(4))
    with pytest.raises(BadDataError, match="changed") as error:
        topomae.reproduce(model, tmp_path / "again", data=other)
    assert error.value.case == name
    assert not (tmp_path / "again").exists()


def test_a_difference_is_told_with_what_was_not_as_before(model, data, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(model / "model", copied)
    metadata = copied / "configs" / "metadata.json"
    content = json.loads(metadata.read_text())
    record = content["training"]["provenance"]
    record["settings"]["seed"] = 5  # as if the record were not true
    record["versions"]["torch"] = "1.0"
    metadata.write_text(json.dumps(content))
    arguments = ["reproduce", str(copied), "--data", str(data), "--output", str(tmp_path / "again")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 3, result.output
    assert "Not the same" in result.output and "torch" in result.output and "then 1.0" in result.output
    assert CliRunner().invoke(app, [*arguments, "--tolerance", "10"]).exit_code == 0


def test_a_network_without_a_record_is_refused_in_one_sentence(tmp_path):
    result = CliRunner().invoke(app, ["reproduce", str(tmp_path), "--output", str(tmp_path / "again")])
    assert result.exit_code == 1
    assert "does not say how it was trained" in " ".join(result.output.split())
