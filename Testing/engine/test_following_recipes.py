"""Following a recipe: what goes before it, what does not fit and is told, and runs from end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from recipe_phantoms import SET_TINY, TINY, Told, a_case, as_decathlon, run

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cases import Split
from topomae.data.checks import check_case
from topomae.data.dataset import open_dataset
from topomae.data.plan import Plan
from topomae.data.volume_io import write_image
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.recipes.arranging import arrange
from topomae.recipes.following import check_volumes, follow
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe, recipe_names
from topomae.runs.provenance import read_provenance

pytest_plugins = ("recipe_fixtures",)


def test_options_of_the_user_go_before_the_recipe(spleen):
    plan = topomae.plan(spleen, recipe="spleen", device="cpu", overrides={"spacing": (1, 1, 2), "batch_size": 3})
    assert plan.spacing == (1, 1, 2) and plan.batch_size == 3 and plan.crop_size == (128, 128, 64)
    assert plan.reasons["spacing"] == "set by the user"
    crop = topomae.plan(spleen, recipe="spleen", device="cpu", overrides={"crop_size": (72, 72, 40)})
    assert crop.stem_stride != (4, 4, 2) or crop.patch_size != (16, 16, 16)  # planned to fit
    kept = topomae.plan(spleen, recipe="spleen", device="cpu", overrides={"crop_size": (96, 96, 48)})
    assert (kept.patch_size, kept.stem_stride) == ((16, 16, 16), (4, 4, 2))


@pytest.mark.parametrize("given", [{"size": "small"}, {"overrides": {"size": "small"}}])
def test_another_size_of_network_keeps_what_concerns_the_data_only(spleen, given):
    told = Told()
    plan = topomae.plan(spleen, recipe="spleen", device="cpu", events=told, **given)
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


def test_folds_beside_the_data_do_not_vanish_without_a_word(spleen):
    opened = open_dataset(spleen)
    fold = Split(tuple(case.name for case in opened.cases[1:]), (opened.cases[0].name,))
    notes = follow(find_recipe("spleen"), replace(opened, fixed_split=None, folds=(fold,))).prescribed.notes
    assert any("nnU-Net's folds" in note for note in notes)


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
    for name in recipe_names():
        recipe = find_recipe(name)
        assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe
