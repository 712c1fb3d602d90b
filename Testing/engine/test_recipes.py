"""Recipes: published numbers reach the plan, and data sets are read as downloaded."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from recipe_phantoms import Told, as_downloaded, run

import topomae
from conftest import REPOSITORY
from topomae.data.dataset import open_dataset
from topomae.data.plan import Normalization, Plan
from topomae.errors import BadDataError
from topomae.networks.factory import NetworkSpec, build_segmenter
from topomae.recipes.arranging import arrange
from topomae.recipes.following import follow
from topomae.recipes.shelf import find_recipe, recipe_names

pytest_plugins = ("recipe_fixtures",)

NAMES = ("acdc", "btcv", "hippocampus", "left_atrium", "lung", "spleen", "synapse")


# spacing, crop, patch, stem, batch in our order x, y, z; the first split and the window in HU
PUBLISHED = {
    "synapse": ((0.76, 0.76, 3.0), (128, 128, 64), (16, 16, 16), (4, 4, 2), 2, (18, 0, 12), (-958, 327)),
    "btcv": ((0.76, 0.76, 3.0), (128, 128, 64), (16, 16, 16), (4, 4, 2), 2, (24, 0, 6), (-958, 327)),
    "acdc": ((1.52, 1.52, 6.35), (160, 160, 16), (16, 16, 4), (4, 4, 1), 4, (140, 20, 40), None),
    "spleen": ((0.79, 0.79, 1.6), (128, 128, 64), (16, 16, 16), (4, 4, 2), 2, (32, 0, 9), (-41, 176)),
    "lung": ((0.79, 0.79, 1.24), (192, 192, 32), (16, 16, 8), (4, 4, 1), 2, (50, 0, 13), (-1024, 325)),
}


def test_every_recipe_says_where_data_and_numbers_come_from():
    assert recipe_names() == NAMES
    for name in NAMES:
        recipe = find_recipe(name)
        assert recipe.name == name and "\n" not in recipe.description
        assert recipe.data.where.startswith("http") and recipe.data.licence and recipe.data.cite
        assert set(recipe.plan) >= {"spacing", "normalization", "crop_size", "patch_size", "stem_stride", "batch_size"}
        assert {"steps", "learning_rate"} <= set(recipe.pretrain) & set(recipe.finetune)
        assert len(set(recipe.split.cases)) == len(recipe.split.cases)


def test_published_splits_are_these():
    acdc, synapse, btcv = (find_recipe(name).split for name in ("acdc", "synapse", "btcv"))
    patients = [len({case.split("_")[0] for case in side}) for side in (acdc.train, acdc.val, acdc.test)]
    assert patients == [70, 10, 20] and len(set(acdc.subject_of.values())) == 100
    assert sorted(synapse.cases) == sorted(btcv.cases)  # the same thirty scans
    assert "img0001" in synapse.test and "img0040" in synapse.train and "img0040" in btcv.test
    assert find_recipe("spleen").split.test[0] == "spleen_56"
    assert len(find_recipe("synapse").evaluated) == 8 and len(find_recipe("btcv").evaluated) == 13


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_plan_of_a_phantom_data_set_has_the_recipes_numbers(name, downloaded, tmp_path):
    spacing, crop, patch, stem, batch, cases, window = PUBLISHED[name]
    recipe = find_recipe(name)
    folder = arrange(recipe, downloaded(name), tmp_path / "data")
    told = Told()
    plan = topomae.plan(folder, recipe=name, device="cpu", check_labels=True, events=told)
    assert (plan.spacing, plan.crop_size, plan.patch_size, plan.stem_stride) == (spacing, crop, patch, stem)
    assert (plan.batch_size, plan.size) == (batch, "base")
    assert plan.labels == recipe.data.labels and plan.modalities == recipe.data.modalities
    if window is None:
        assert plan.normalization == (Normalization(kind="robust"),)
    else:
        assert (plan.normalization[0].lower, plan.normalization[0].upper) == window
    assert plan.reasons["spacing"].startswith(f"recipe {name}, published: ")
    assert [warning for warning in told.said("warning") if "recipe" in warning] == []
    split = open_dataset(folder).fixed_split
    assert (len(split.train), len(split.val), len(split.test)) == cases


@pytest.mark.parametrize("name", ["synapse", "acdc", "lung"])
def test_the_network_of_a_recipe_takes_its_crop(name):
    recipe = find_recipe(name)
    about = {"dataset": name, "modalities": recipe.data.modalities, "labels": recipe.data.labels, "size": recipe.size}
    plan = Plan.check({**about, **recipe.values("plan")})
    network = build_segmenter(NetworkSpec.of(plan)).eval().to("meta")  # shapes alone, nothing is computed
    scores = network(torch.zeros(plan.batch_size, 1, *plan.crop_size, device="meta"))
    assert scores.shape == (plan.batch_size, plan.classes, *plan.crop_size)
    if name == "synapse":  # 42.95 M are published
        assert 42e6 < sum(weight.numel() for weight in network.unetrpp.parameters()) < 44e6


def test_recipes_are_listed_and_shown():
    listed, shown = run("recipes"), run("recipes", "show", "synapse")
    assert all(name in listed.output for name in NAMES)
    for words in ("img", "128×128×64 (published: UNETR++", "our choice", "13 labels", "HD95", "18 train"):
        assert (words in shown.output) == (words != "img")
    for command in ("plan", "pretrain", "finetune", "demo"):  # needs no data
        result = run(command, "--recipe", "list")
        assert result.exit_code == 0 and "left_atrium" in result.output
    events = [json.loads(line) for line in run("recipes", "--events", "json").stdout.splitlines()]
    assert [event["name"] for event in events] == list(NAMES)


@pytest.mark.parametrize("name", ["synapse", "acdc"])
def test_a_downloaded_folder_is_arranged_by_one_command_that_messages_name(name, downloaded, tmp_path):
    recipe, raw = find_recipe(name), downloaded(name)
    before = sorted(path for path in raw.rglob("*"))
    with pytest.raises(BadDataError, match=f"topomae recipes prepare {name}"):
        topomae.plan(raw, recipe=name)
    result = run("recipes", "prepare", name, raw, tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert f"{len(recipe.split.cases)} cases" in result.output
    assert sorted(path for path in raw.rglob("*")) == before
    dataset = open_dataset(tmp_path / "data")
    assert dataset.labels == recipe.data.labels and dataset.modalities == recipe.data.modalities
    assert dataset.fixed_split == recipe.split.split
    assert {case.name: case.subject for case in dataset.cases} == recipe.subject_of
    assert all(case.label.name == case.files[0].name for case in dataset.cases)
    again = run("recipes", "prepare", name, raw, tmp_path / "data")
    assert again.exit_code == 1 and "already" in again.output
    itself = run("recipes", "prepare", name, raw, raw)
    assert itself.exit_code == 1 and "stay as it is" in itself.output


def test_arranging_anew_replaces_a_file_of_the_same_size_that_is_another(downloaded, tmp_path):
    recipe, raw = find_recipe("synapse"), downloaded("synapse")
    arrange(recipe, raw, tmp_path / "data")
    (tmp_path / "data" / "dataset.json").unlink()
    image = next((tmp_path / "data" / "imagesTr").iterdir())
    right = image.read_bytes()
    image.unlink()
    image.write_bytes(bytes(len(right)))
    arrange(recipe, raw, tmp_path / "data")
    assert image.read_bytes() == right


def test_arranging_goes_on_after_a_stop_and_copies_where_links_are_impossible(downloaded, tmp_path, monkeypatch):
    recipe, raw = find_recipe("synapse"), downloaded("synapse")

    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refused)
    copy, copies = shutil.copyfile, iter(range(7))

    def stopped(source, target):
        if next(copies, None) is None:
            raise KeyboardInterrupt
        return copy(source, target)

    monkeypatch.setattr("shutil.copyfile", stopped)
    with pytest.raises(KeyboardInterrupt):
        arrange(recipe, raw, tmp_path / "data")
    assert not (tmp_path / "data" / "dataset.json").exists()
    monkeypatch.setattr("shutil.copyfile", copy)
    arrange(recipe, raw, tmp_path / "data")
    assert len(open_dataset(tmp_path / "data").labelled) == 30


def test_missing_files_and_paths_that_lead_outside_are_refused(tmp_path, is_clear):
    recipe = find_recipe("synapse")
    raw = as_downloaded(recipe, tmp_path / "raw")
    (raw / recipe.data.layout.inside[-1] / "label" / "label0007.nii.gz").unlink()
    with pytest.raises(BadDataError, match=r"1 of 60 files .* label/label0007") as error:
        arrange(recipe, raw, tmp_path / "data")
    assert is_clear(error.value) and not (tmp_path / "data").exists()
    with pytest.raises(BadDataError, match=r"such as img/img0006.nii.gz"):
        arrange(recipe, tmp_path, tmp_path / "data")
    outside = recipe.model_copy(
        update={
            "data": recipe.data.model_copy(
                update={"layout": recipe.data.layout.model_copy(update={"inside": ("..",)})}
            )
        }
    )
    with pytest.raises(BadDataError, match="outside"):
        arrange(outside, raw, tmp_path / "data")


def test_a_header_is_not_parted_from_its_voxels(tmp_path, is_clear):
    recipe = find_recipe("synapse")
    raw = as_downloaded(recipe, tmp_path / "raw")
    image = raw / recipe.data.layout.inside[-1] / "img" / "img0007.nii.gz"
    image.rename(image.with_name("img0007.nhdr"))
    with pytest.raises(BadDataError, match=r"voxels lie in a file of their own") as error:
        arrange(recipe, raw, tmp_path / "data")
    assert is_clear(error.value) and not (tmp_path / "data").exists()


def test_a_decathlon_task_is_read_as_it_is_and_gets_the_recipes_split(spleen):
    dataset = follow(find_recipe("spleen"), open_dataset(spleen))
    split = find_recipe("spleen").split
    assert dataset.fixed_split == split.split
    plan = topomae.plan(spleen, recipe="spleen", device="cpu")
    assert plan.crop_size == (128, 128, 64)


def test_the_folder_of_nnformer_and_unetr_plus_plus_is_read_as_it_is(downloaded, tmp_path):
    recipe, folder = find_recipe("synapse"), tmp_path / "Task002_Synapse"
    raw = downloaded("synapse") / recipe.data.layout.inside[-1]
    shutil.copytree(raw / "img", folder / "imagesTr")
    shutil.copytree(raw / "label", folder / "labelsTr")
    entries = [
        {"image": f"./imagesTr/img{number}.nii.gz", "label": f"./labelsTr/label{number}.nii.gz"}
        for number in (name[3:] for name in sorted(recipe.split.cases))
    ]
    labels = {"0": "background", **{str(value): name for value, name in recipe.data.labels.items()}}
    description = {"modality": {"0": "CT"}, "labels": labels, "numTraining": 30, "numTest": 12, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(description | {"test": ["./imagesTs/img0001.nii.gz"]}))
    dataset = follow(recipe, open_dataset(folder), labels_needed=True)
    assert dataset.fixed_split == recipe.split.split and dataset.prescribed.warnings == ()


def test_the_recipe_in_the_documentation_is_one(tmp_path):
    text = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    path = tmp_path / "liver.json"
    path.write_text(text.partition("```json\n")[2].partition("```")[0])
    assert find_recipe(path).evaluated == {1: "liver"}
