"""Data sets as nnU-Net keeps them: read where they lie, with their folds, by every command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cases import Split
from topomae.data.dataset import open_dataset, split_dataset
from topomae.data.phantoms import make_phantoms
from topomae.data.run_data import FILE_NAME, RunData
from topomae.errors import BadDataError, BadSettingError

VERSION_2 = {
    "channel_names": {"0": "T1", "1": "FLAIR"},
    "labels": {"background": 0, "edema": 1, "core": 2},
    "numTraining": 4,
    "file_ending": ".nii.gz",
}
FOLDS = [{"train": ["c", "d", "b"], "val": ["a"]}, {"train": ["a", "c", "d"], "val": ["b"]}]


def an_nnunet_folder(root: Path, description: dict, cases="abcd", channels=2, name="Dataset017_Tumour") -> Path:
    folder = root / "nnUNet_raw" / name
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    for case in cases:
        (folder / "labelsTr" / f"{case}.nii.gz").touch()
        for channel in range(channels):
            (folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz").touch()
    (folder / "imagesTs" / "z_0000.nii.gz").touch()
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def write_folds(place: Path, folds: object) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "splits_final.json").write_text(json.dumps(folds), encoding="utf-8")


def test_version_2_is_read_with_its_names_channels_and_labels(tmp_path):
    dataset = open_dataset(an_nnunet_folder(tmp_path, VERSION_2))
    assert (dataset.name, dataset.modalities) == ("Dataset017_Tumour", ("T1", "FLAIR"))
    assert dataset.labels == {1: "edema", 2: "core"}
    assert [case.name for case in dataset.labelled] == [*"abcd"]  # and not z, which is for testing
    assert [file.name for file in dataset.case("b").files] == ["b_0000.nii.gz", "b_0001.nii.gz"]


def test_version_1_is_read_which_lists_files_without_their_channel_numbers(tmp_path):
    listed = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in "abcd"]
    labels = {"0": "background", "1": "edema"}
    description = {"name": "Tumour", "modality": {"0": "T1", "1": "FLAIR"}, "labels": labels, "training": listed}
    dataset = open_dataset(an_nnunet_folder(tmp_path, {**description, "numTraining": 4}, name="Task501_Tumour"))
    assert dataset.labels == {1: "edema"} and len(dataset.labelled) == 4
    assert [file.name for file in dataset.case("a").files] == ["a_0000.nii.gz", "a_0001.nii.gz"]


def test_a_list_of_cases_gives_them_their_names(tmp_path):
    files = {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], "label": "labelsTr/a.nii.gz"}
    folder = an_nnunet_folder(tmp_path, {**VERSION_2, "numTraining": 1, "dataset": {"patient one": files}})
    assert [case.name for case in open_dataset(folder).cases] == ["patient one"]
    for name in ("../up", "", "nul\0"):
        (folder / "dataset.json").write_text(json.dumps({**VERSION_2, "numTraining": 1, "dataset": {name: files}}))
        with pytest.raises(BadDataError, match="name of the case"):
            open_dataset(folder)


@pytest.mark.parametrize("place", ["beside dataset.json", "beside nnUNet_raw", "where the variable says"])
def test_the_folds_of_nnunet_are_used_wherever_they_lie(tmp_path, monkeypatch, place):
    folder = an_nnunet_folder(tmp_path, VERSION_2)
    if place == "where the variable says":
        monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "elsewhere"))
        write_folds(tmp_path / "elsewhere" / folder.name, FOLDS)
    else:
        write_folds(folder if "json" in place else tmp_path / "nnUNet_preprocessed" / folder.name, FOLDS)
    dataset = open_dataset(folder)
    assert split_dataset(dataset, fold=0) == Split(("c", "d", "b"), ("a",))
    assert split_dataset(dataset, fold=1, seed=5) == Split(("a", "c", "d"), ("b",))
    with pytest.raises(BadSettingError, match=r"no fold 2: .*has 2"):
        split_dataset(dataset, fold=2)
    (folder / "imagesTr" / "e_0000.nii.gz").touch()  # an image without a label, which nnU-Net would not take
    (folder / "imagesTr" / "e_0001.nii.gz").touch()
    assert split_dataset(open_dataset(folder), fold=0) == Split(("c", "d", "b", "e"), ("a",))


def test_a_split_of_ones_own_goes_before_the_folds(tmp_path):
    folder = an_nnunet_folder(tmp_path, VERSION_2)
    write_folds(folder, FOLDS)
    (folder / "splits.json").write_text('{"train": ["a"], "val": ["b"], "test": ["c", "d"]}')
    assert split_dataset(open_dataset(folder)) == Split(("a",), ("b",), ("c", "d"))


@pytest.mark.parametrize(
    ("folds", "told"),
    [
        ([{"train": ["a", "b"], "val": ["b"]}], "both trains and validates in fold 0"),
        ([{"train": ["a"], "val": ["x"]}], "no case named x, which fold 0 lists"),
        ([], "no folds"),
        ({"train": ["a"], "val": ["b"]}, "not a list"),
        ([{"train": ["a"]}], "val"),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path, folds, told):
    folder = an_nnunet_folder(tmp_path, VERSION_2)
    write_folds(folder, folds)
    with pytest.raises(BadDataError, match=told) as error:
        open_dataset(folder)
    assert error.value.path.name == "splits_final.json" and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, r"'whole' is a region of several values \(1, 2\)"),
        ({"labels": {"background": 0, "core": 1, "ignore": 2}}, "voxels to ignore are not supported"),
        ({"file_ending": ".mha"}, "files ending in .mha are not read; convert them to NIfTI"),
    ],
)
def test_what_is_not_supported_is_said_in_one_sentence(tmp_path, changes, told):
    with pytest.raises(BadDataError, match=told) as error:
        open_dataset(an_nnunet_folder(tmp_path, VERSION_2 | changes))
    assert "\n" not in str(error.value)


def test_the_folder_of_all_data_sets_is_told_from_one(tmp_path):
    an_nnunet_folder(tmp_path, VERSION_2)
    an_nnunet_folder(tmp_path, VERSION_2, name="Dataset018_Other")
    with pytest.raises(BadDataError, match="several data sets: Dataset017_Tumour, Dataset018_Other"):
        open_dataset(tmp_path / "nnUNet_raw")


@pytest.fixture(scope="module")
def phantoms_of_nnunet(tmp_path_factory) -> Path:
    """Phantoms as nnU-Net keeps data sets, the last one for testing."""
    root = tmp_path_factory.mktemp("nnunet")
    made = make_phantoms(root / "phantoms", cases=6, labelled=4)
    described = json.loads((made / "dataset.json").read_text())
    folder = an_nnunet_folder(root, {}, cases="", name="Dataset999_Phantoms")
    (folder / "imagesTs" / "z_0000.nii.gz").unlink()
    images = sorted((made / "imagesTr").iterdir())
    labels = {path.name: path for path in (made / "labelsTr").iterdir()}
    names = [path.name.removesuffix(".nii.gz") for path in images if path.name in labels]
    for name in names:
        shutil.copy(made / "imagesTr" / f"{name}.nii.gz", folder / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(labels[f"{name}.nii.gz"], folder / "labelsTr")
    shutil.copy(folder / "imagesTr" / f"{names[0]}_0000.nii.gz", folder / "imagesTs" / f"{names[0]}_0000.nii.gz")
    turned = {name: int(value) for value, name in described["labels"].items()}
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0} | turned, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**description, "numTraining": len(names)}))
    folds = [{"train": [n for n in names if n != one], "val": [one]} for one in names]
    write_folds(root / "nnUNet_preprocessed" / folder.name, folds)
    return folder


def test_every_command_takes_such_a_data_set(phantoms_of_nnunet, tmp_path):
    folder, plan = phantoms_of_nnunet, {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "stem_stride": [2, 2, 2]}
    name = open_dataset(folder).folds[1].val[0]
    assert topomae.plan(folder, device="cpu").modalities == ("MRI",)
    settings = PretrainSettings(steps=1, topology_weight=0, fold=1)
    topomae.pretrain(folder, tmp_path / "pre", settings=settings, plan=plan, device="cpu")
    prepared = RunData.load(tmp_path / "pre" / FILE_NAME)
    assert name not in prepared.fingerprint.cases and prepared.folds[1].val == (name,)
    settings = FinetuneSettings(steps=1, fold=1)
    model = topomae.finetune(folder, tmp_path / "fine", init=tmp_path / "pre", settings=settings, device="cpu")
    written = topomae.segment(model, folder / "imagesTs", tmp_path / "predictions", device="cpu")
    case = next((folder / "imagesTs").iterdir()).name.removesuffix("_0000.nii.gz")
    assert [path.name for path in written] == [f"{case}.nii.gz"]
    assert [row["case"] for row in _judged(tmp_path, folder)] == [case]


def _judged(tmp_path: Path, folder: Path) -> list[dict]:
    import csv

    topomae.evaluate(tmp_path / "predictions", folder, tmp_path / "evaluation")
    with open(tmp_path / "evaluation" / "metrics.csv", encoding="utf-8", newline="") as file:
        return list({row["case"]: row for row in csv.DictReader(file)}.values())
