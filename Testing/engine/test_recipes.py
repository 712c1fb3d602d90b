"""Recipes: published numbers reach the plan, data sets are read as downloaded, and what does not fit is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from recipe_phantoms import a_case, as_decathlon, as_downloaded
from typer.testing import CliRunner

import topomae
from conftest import REPOSITORY
from topomae.cli import app
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cases import Split
from topomae.data.checks import check_case
from topomae.data.dataset import open_dataset
from topomae.data.plan import Normalization, Plan
from topomae.data.volume_io import write_image
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.networks.factory import NetworkSpec, build_segmenter
from topomae.recipes.arranging import arrange
from topomae.recipes.following import check_volumes, follow
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe, recipe_names
from topomae.runs.provenance import read_provenance

NAMES = ("acdc", "btcv", "hippocampus", "left_atrium", "lung", "spleen", "synapse")
# spacing, crop, patch, stem, batch in our order x, y, z; the first split and the window in HU
PUBLISHED = {
    "synapse": ((0.76, 0.76, 3.0), (128, 128, 64), (16, 16, 16), (4, 4, 2), 2, (18, 0, 12), (-958, 327)),
    "btcv": ((0.76, 0.76, 3.0), (128, 128, 64), (16, 16, 16), (4, 4, 2), 2, (24, 0, 6), (-958, 327)),
    "acdc": ((1.52, 1.52, 6.35), (160, 160, 16), (16, 16, 4), (4, 4, 1), 4, (140, 20, 40), None),
    "spleen": ((0.79, 0.79, 1.6), (128, 128, 64), (16, 16, 16), (4, 4, 2), 2, (32, 0, 9), (-41, 176)),
    "lung": ((0.79, 0.79, 1.24), (192, 192, 32), (16, 16, 8), (4, 4, 1), 2, (50, 0, 13), (-1024, 325)),
}
TINY = {"crop_size": (32, 32, 16), "patch_size": (16, 16, 8), "stem_stride": (4, 4, 2), "batch_size": 1}
SET_TINY = [text for name, value in TINY.items() for text in ("--set", f"{name}={str(value).strip('()')}")]
SET_TINY = [text.replace(" ", "") for text in SET_TINY]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


class Told(Events):
    """Events that are kept: `said("warning")` are the messages of that kind."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def emit(self, kind, /, **fields):
        self.kept.append((kind, fields))

    def said(self, kind):
        return [fields["message"] for name, fields in self.kept if name == kind]


@pytest.fixture(scope="module")
def spleen(tmp_path_factory):
    """MSD Task09 as it is downloaded."""
    return as_decathlon(find_recipe("spleen"), tmp_path_factory.mktemp("spleen"))


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """A function from the name of a recipe to its data set as it is downloaded, made once; not to be changed."""

    @cache
    def folder(name):
        return as_downloaded(find_recipe(name), tmp_path_factory.mktemp(name), whole=name == "btcv")

    return folder


@pytest.fixture(scope="module")
def a_short_recipe(tmp_path_factory):
    """A user's own recipe, of four scans of the spleen and a small network."""
    content = find_recipe("spleen").model_dump(mode="json")
    names = content["split"]["train"]
    content["name"] = "short"
    content["split"] |= {"train": names[1:4], "val": names[:1], "test": [], "source": "the first four"}
    content["size"] = "small"
    ours = {"published": False, "why": "quick"}
    content["plan"] |= {name: {"value": value, **ours} for name, value in TINY.items()}
    content["pretrain"] = {"steps": {"value": 2, **ours}, "topology_weight": {"value": 0.0, **ours}}
    content["finetune"] = {"steps": {"value": 2, **ours}, "learning_rate": {"value": 1e-3, **ours}}
    path = tmp_path_factory.mktemp("own") / "short.json"
    path.write_text(json.dumps(content))
    return path


# What recipes say


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


# Data as they are downloaded


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


# What users say goes before the recipe


def test_options_of_the_user_go_before_the_recipe(spleen):
    plan = topomae.plan(spleen, recipe="spleen", device="cpu", overrides={"spacing": (1, 1, 2), "batch_size": 3})
    assert plan.spacing == (1, 1, 2) and plan.batch_size == 3 and plan.crop_size == (128, 128, 64)
    assert plan.reasons["spacing"] == "set by the user"
    crop = topomae.plan(spleen, recipe="spleen", device="cpu", overrides={"crop_size": (72, 72, 40)})
    assert crop.stem_stride != (4, 4, 2) or crop.patch_size != (16, 16, 16)  # planned to fit
    kept = topomae.plan(spleen, recipe="spleen", device="cpu", overrides={"crop_size": (96, 96, 48)})
    assert (kept.patch_size, kept.stem_stride) == ((16, 16, 16), (4, 4, 2))


def test_another_size_of_network_keeps_what_concerns_the_data_only(spleen):
    told = Told()
    plan = topomae.plan(spleen, recipe="spleen", size="small", device="cpu", events=told)
    assert plan.spacing == (0.79, 0.79, 1.6) and plan.normalization[0].upper == 176
    assert plan.size == "small" and plan.crop_size != (128, 128, 64)
    assert any("for small they are chosen anew" in note for note in told.said("note"))


def test_a_split_beside_the_data_goes_before_that_of_the_recipe(spleen, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(spleen, folder)
    names = [case.name for case in open_dataset(spleen).cases]
    (folder / "splits.json").write_text(json.dumps({"train": names[:3], "val": names[3:4]}))
    dataset = follow(find_recipe("spleen"), open_dataset(folder))
    assert dataset.fixed_split.train == tuple(names[:3])
    assert any("beside the data" in note for note in dataset.prescribed.notes)


# What does not fit


def a_small_task(recipe, folder, **changes):
    """Some cases of a decathlon task whose dataset.json has been changed."""
    inside = as_decathlon(recipe, folder, only=changes.pop("only", None))
    path = inside / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return inside


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"only": 38}, "needs 41 cases, but the data set lacks 3 cases (spleen_63, spleen_8, spleen_9)"),
        ({"labels": {"0": "background", "1": "spleen", "2": "lesion"}}, "is for the labels 1 spleen, the data set"),
        ({"modality": {"0": "MRI"}}, "is for CT, the data set has MRI"),
        ({"modality": {"0": "CT", "1": "PET"}}, "is for 1 image channel (CT), the data set has 2: CT, PET"),
    ],
)
def test_another_data_set_is_refused_in_one_sentence_before_a_volume_is_read(changes, words, tmp_path, is_clear):
    recipe = find_recipe("spleen")
    folder = a_small_task(recipe, tmp_path, **{"only": None, **changes})
    with pytest.raises(BadDataError) as error:
        topomae.pretrain(folder, tmp_path / "run", recipe="spleen")
    assert words in error.value.message and is_clear(error.value)
    assert not (tmp_path / "run").exists()


def test_labels_in_another_order_are_noticed(downloaded, tmp_path):
    recipe = find_recipe("acdc")
    swapped = {1: "Left ventricle", 2: "myocardium", 3: "right ventricle"}
    dataset = open_dataset(arrange(recipe, downloaded("acdc"), tmp_path / "data"))
    with pytest.raises(BadDataError, match="calls label 1 right ventricle, the data set label 3"):
        follow(recipe, replace(dataset, labels=swapped))
    named = {1: "the right ventricular cavity", 2: "myocardium", 3: "the left ventricular cavity"}
    assert follow(recipe, replace(dataset, labels=named)).labels == named


def test_extra_cases_are_told_and_unlabelled_ones_are_refused_for_fine_tuning(spleen, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(spleen, folder)
    image, _, affine = a_case(find_recipe("spleen"), 3)
    write_image(folder / "imagesTr" / "spleen_99.nii.gz", image, affine)
    description = json.loads((folder / "dataset.json").read_text())
    description["training"] = [entry for entry in description["training"] if "spleen_10." not in entry["image"]]
    description["numTraining"] -= 1
    description["unlabelled"] = ["./imagesTr/spleen_99.nii.gz", "./imagesTr/spleen_10.nii.gz"]
    (folder / "dataset.json").write_text(json.dumps(description))
    dataset = open_dataset(folder)
    extra, lacking = follow(find_recipe("spleen"), dataset).prescribed.warnings
    assert extra == "left out, as recipe spleen does not know them: 1 case (spleen_99)"
    assert lacking == "without a label map: 1 case (spleen_10)"
    with pytest.raises(BadDataError, match=r"needs the label maps of 32 cases .* \(spleen_10\)"):
        follow(find_recipe("spleen"), dataset, labels_needed=True)


def test_volumes_of_another_kind_are_refused_once_they_are_read(spleen, tmp_path, is_clear):
    folder = tmp_path / "odd"
    shutil.copytree(spleen, folder)
    recipe = find_recipe("spleen")
    image, _, affine = a_case(recipe, 3)
    scaled = (image.astype(np.float32) + 1000) / 1100  # as other tools preprocess CT
    write_image(folder / "imagesTr" / "spleen_10.nii.gz", scaled, affine)
    with pytest.raises(BadDataError, match="Hounsfield units, but no voxel is below") as error:
        topomae.plan(folder, recipe="spleen")
    assert error.value.case == "spleen_10" and is_clear(error.value)


def test_axes_in_another_order_are_refused_unless_the_user_sets_the_voxel_size(spleen):
    recipe = find_recipe("acdc")
    dataset = follow(find_recipe("spleen"), open_dataset(spleen))
    reports = [check_case(dataset, case, labels_needed=False) for case in dataset.cases[1:4]]
    turned = recipe.model_copy(update={"data": recipe.data.model_copy(update={"modalities": ("MR",)})})
    dataset = replace(dataset, prescribed=replace(dataset.prescribed, recipe=turned.model_dump(mode="json")))
    sideways = [replace(report, spacing=(8.0, 1.5, 1.5)) for report in reports]
    with pytest.raises(BadDataError, match=r"voxels of 0.7–2 × 0.7–2 × 5–10 mm, but 3 of 3 volumes"):
        check_volumes(dataset, sideways, {}, Events())
    check_volumes(dataset, sideways, {"spacing": (8, 1.5, 1.5)}, Events())
    told = Told()
    upright = replace(reports[0], spacing=(1.5, 1.5, 8.0))
    check_volumes(dataset, [upright, upright, sideways[0]], {}, told)
    (warning,) = told.said("warning")
    assert "voxels of 8 × 1.5 × 1.5 mm" in warning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(size="large"), "size"),
        (lambda c: c["plan"]["spacing"].update(value=[1, 0, 1]), "spacing"),
        (lambda c: c["plan"].update(labels={"value": 1, "published": True, "why": "x"}), "plan"),
        (lambda c: c["pretrain"]["steps"].update(value=0), "steps"),
        (lambda c: c["finetune"].update(stepz={"value": 1, "published": True, "why": "x"}), "stepz"),
        (lambda c: c["split"]["val"].append(c["split"]["train"][0]), "stands twice"),
        (lambda c: c["split"]["train"].append("../up"), "train"),
        (lambda c: c["data"].update(evaluated=[7]), "no label 7"),
        (lambda c: c["split"].update(subject_of=dict.fromkeys(["spleen_2", "spleen_56"], "anna")), "anna stands in"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused_by_name_of_the_entry(change, words, tmp_path):
    content = find_recipe("spleen").model_dump(mode="json")
    change(content)
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadDataError, match=words):
        find_recipe(path)
    with pytest.raises(BadSettingError, match="no recipe 'sinapse'"):
        find_recipe("sinapse")
    with pytest.raises(BadSettingError, match="no such file"):
        find_recipe(tmp_path / "none.json")


def test_classes_of_volumes_have_no_recipes(spleen, tmp_path):
    with pytest.raises(BadSettingError, match="for segmentation"):
        topomae.finetune(spleen, tmp_path / "run", task="classification", recipe="spleen")


# The whole course


@pytest.mark.parametrize("name", ["synapse", "acdc"])
def test_a_recipe_runs_from_the_plan_to_scores_of_the_labels_that_count(name, downloaded, tmp_path):
    recipe = find_recipe(name)
    data = arrange(recipe, downloaded(name), tmp_path / "data")
    split = recipe.split.split
    if name == "acdc":  # two hundred volumes would take their time; a split beside the data goes before the recipe
        split = Split(split.train[:6], split.val[:2], split.test[:2])
        lists = {side: list(getattr(split, side)) for side in ("train", "val", "test")}
        (data / "splits.json").write_text(json.dumps(lists))
    tiny = ["--recipe", name, "--size", "small", "--device", "cpu", *SET_TINY, "--set", "workers=0"]
    common = ["--data", data, *tiny, "--set", "steps=2"]
    result = run("pretrain", *common, "--run", tmp_path / "pretrain", "--set", "topology_every=2")
    assert result.exit_code == 0, result.output
    assert "published: λ1 of arXiv:2406.10519" in result.output  # which settings are the recipe's
    result = run("finetune", *common, "--run", tmp_path / "finetune", "--init", tmp_path / "pretrain")
    assert result.exit_code == 0, result.output

    plan = Plan.load(tmp_path / "finetune" / "plan.json")
    assert plan.crop_size == TINY["crop_size"] and plan.spacing == tuple(recipe.plan["spacing"].value)
    record = read_provenance(tmp_path / "finetune")
    assert record.recipe == recipe and record.init.recipe == recipe
    assert record.settings["schedule"] == "poly" and record.settings["steps"] == 2
    assert record.settings["learning_rate"] == FinetuneSettings.BY_SIZE["small"]["learning_rate"]
    assert set(record.data.cases) == {*split.train, *split.val}
    settings = json.loads((tmp_path / "finetune" / "settings.json").read_text())["settings"]
    assert settings["recipe"] == name

    test = [data / "imagesTr" / f"{case}.nii.gz" for case in split.test[:2]]
    scans = [text for path in test for text in ("--input", path)]
    result = run("segment", "--model", tmp_path / "finetune", *scans, "--output", tmp_path / "predictions")
    assert result.exit_code == 0, result.output
    arguments = ["--predictions", tmp_path / "predictions", "--labels", data, "--output", tmp_path / "scores"]
    result = run("evaluate", *arguments, "--recipe", name)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["cases"] == 2
    assert {one["name"] for one in summary["per_label"].values()} == set(recipe.evaluated.values())


def test_a_run_goes_on_only_with_its_recipe(spleen, a_short_recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stop").touch()
    topomae.pretrain(spleen, tmp_path / "run", recipe=a_short_recipe, device="cpu")
    with pytest.raises(RunError, match="recipe = short"):
        topomae.pretrain(spleen, tmp_path / "run", recipe="spleen", size="small", device="cpu")
    with pytest.raises(RunError, match="recipe = short"):
        topomae.pretrain(spleen, tmp_path / "run", device="cpu")
    settings = PretrainSettings(steps=1)
    with pytest.raises(RunError, match="steps = 2"):  # what the user sets goes before the recipe
        topomae.pretrain(spleen, tmp_path / "run", recipe=a_short_recipe, settings=settings, device="cpu")
    topomae.pretrain(spleen, tmp_path / "run", recipe=a_short_recipe, device="cpu")
    assert read_provenance(tmp_path / "run").settings["steps"] == 2


@pytest.fixture(scope="module")
def a_demo(spleen, a_short_recipe, tmp_path_factory):
    """The whole course by a user's own recipe."""
    output = tmp_path_factory.mktemp("demo")
    return output, topomae.demo(output, data=spleen, recipe=a_short_recipe, device="cpu")


def test_the_demo_follows_a_recipe_from_end_to_end(a_demo, a_short_recipe):
    output, result = a_demo
    recipe = find_recipe(a_short_recipe)
    assert {row.case for row in result.evaluation.rows} == set(recipe.split.val)
    assert result.report.is_file()
    record = read_provenance(output / "finetune")
    assert (record.settings["steps"], record.settings["learning_rate"], record.settings["seed"]) == (2, 1e-3, 0)
    assert record.init.settings["topology_weight"] == 0
    assert set(record.data.cases) == {*recipe.split.train, *recipe.split.val}


def test_what_followed_a_recipe_can_be_trained_again_to_the_bit_without_its_file(a_demo, a_short_recipe, tmp_path):
    hidden = a_short_recipe.rename(a_short_recipe.with_name("hidden.json"))
    try:
        found = topomae.reproduce(a_demo[0] / "finetune", tmp_path / "again")
    finally:
        hidden.rename(a_short_recipe)
    assert found.identical and found.environment == ()


# Real data


def test_the_real_hippocampus_set_fits_its_recipe(hippocampus_dataset):
    recipe = find_recipe("hippocampus")
    dataset = follow(recipe, hippocampus_dataset, labels_needed=True)
    assert [note for note in dataset.prescribed.notes if "beside" in note] == []
    assert dataset.prescribed.warnings == ()
    reports = [check_case(dataset, case, labels_needed=True) for case in dataset.cases[::26]]
    check_volumes(dataset, reports, {}, Events())


def test_the_real_left_atrium_set_fits_its_recipe(left_atrium_dataset):
    recipe = find_recipe("left_atrium")
    dataset = follow(recipe, left_atrium_dataset, labels_needed=True)
    assert set(recipe.split.train) == {*dataset.fixed_split.train, *dataset.fixed_split.val}
    assert set(recipe.split.test) == set(dataset.fixed_split.test)
    reports = [check_case(dataset, case, labels_needed=True) for case in dataset.cases[:2]]
    told = Told()
    check_volumes(dataset, reports, {}, told)
    assert told.said("warning") == []


def test_recipes_survive_their_files():
    for name in NAMES:
        recipe = find_recipe(name)
        assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe
