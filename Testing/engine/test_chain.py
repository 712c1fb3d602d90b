"""The whole course on real data sets of every kind, with few steps: nothing is special, everything overlays."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.dataset import open_dataset

SMALL_CROPS = {"crop_size": [32, 32, 32], "patch_size": [8, 8, 8], "batch_size": 2}
DATA_SETS = ("hippocampus", "left_atrium", "brats15_2mod", "ms_lesions_4mod", "ct_smoke")


@pytest.fixture
def a_small_copy(data_folder, tmp_path):
    """A copy of a real data set with one training, one validation and one test case."""

    def copy(name: str):
        if not (data_folder / name).is_dir():
            pytest.skip(f"no folder '{name}' in {data_folder}")
        dataset = open_dataset(data_folder / name)
        split = dataset.fixed_split
        held_out = (split.test or split.val)[0]
        chosen = {"train": [split.train[0]], "val": [(split.val or split.train)[0]], "test": [held_out]}
        if chosen["val"] == chosen["test"] or chosen["val"] == chosen["train"]:
            chosen["val"] = []
        description = json.loads((data_folder / name / "dataset.json").read_text(encoding="utf-8"))
        names = {case for part in chosen.values() for case in part}
        target = tmp_path / name
        entries = []
        for case in (dataset.case(one) for one in sorted(names)):
            images = [f"imagesTr/{path.name}" for path in case.images]
            for path, place in [(p, "imagesTr") for p in case.images] + [(case.label, "labelsTr")]:
                (target / place).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / place / path.name)
            entries.append({"image": images if len(images) > 1 else images[0], "label": f"labelsTr/{case.label.name}"})
        description |= {"training": entries, "numTraining": len(entries), "test": [], "numTest": 0}
        (target / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
        (target / "splits.json").write_text(json.dumps(chosen), encoding="utf-8")
        return target

    return copy


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_chain_runs_and_predictions_overlay_the_input_exactly(a_small_copy, tmp_path, name):
    data = a_small_copy(name)
    topomae.pretrain(data, tmp_path / "pretrain", settings=PretrainSettings(steps=1))
    settings = FinetuneSettings(steps=1, validate_every=5)
    topomae.finetune(data, tmp_path / "finetune", init=tmp_path / "pretrain", settings=settings)
    dataset = open_dataset(data)
    case = dataset.case(dataset.fixed_split.test[0])
    (prediction,) = topomae.segment(tmp_path / "finetune", [case], tmp_path / "predictions", overlap=0.0)
    written, image = nib.load(prediction), nib.load(case.images[0])
    assert written.shape == image.shape[:3]
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-4)
    assert written.get_data_dtype() == np.uint8
    assert set(np.unique(np.asarray(written.dataobj))) <= {0, *dataset.labels}
    result = topomae.evaluate(tmp_path / "predictions", data, tmp_path / "evaluation")
    assert {row.case for row in result.rows} == {case.name}
    report = topomae.write_report(
        tmp_path, pretrain=tmp_path / "pretrain", finetune=tmp_path / "finetune", evaluation=result
    )
    assert case.name in report.read_text(encoding="utf-8")


@pytest.fixture(params=["brats15_2mod", "ms_lesions_4mod"])
def lesions(request, data_folder, tmp_path):
    """The middle of the lesions of three people, with an image file for each modality."""
    if not (data_folder / request.param).is_dir():
        pytest.skip(f"no folder '{request.param}' in {data_folder}")
    dataset = open_dataset(data_folder / request.param)
    entries, cases = [], dataset.cases[:3]
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for case in cases:
        labels = nib.load(case.label)
        centre = np.median(np.argwhere(np.asarray(labels.dataobj)), axis=0).astype(int)
        box = tuple(slice(max(0, c - 20), c + 20) for c in centre)
        entry = {"image": [], "label": f"labelsTr/{case.name}.nii.gz"}
        nib.save(labels.slicer[box], tmp_path / "data" / entry["label"])
        for place in range(len(dataset.modalities)):
            entry["image"].append(f"imagesTr/{case.name}_{place:04d}.nii.gz")
            alone = len(case.images) > 1
            image = (
                nib.load(case.images[place]).slicer[box] if alone else nib.load(case.images[0]).slicer[(*box, place)]
            )
            nib.save(image, tmp_path / "data" / entry["image"][-1])
        entries.append(entry)
    names = [case.name for case in cases]
    labels = {"0": "background"} | {str(value): name for value, name in dataset.labels.items()}
    modality = dict(zip("0123", dataset.modalities, strict=False))
    description = {"name": dataset.name, "modality": modality, "labels": labels, "training": entries}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    split = {"train": names[:2], "val": [], "test": names[2:]}
    (tmp_path / "data" / "splits.json").write_text(json.dumps(split), encoding="utf-8")
    return tmp_path / "data"


def test_real_scans_are_aligned_and_segmented_from_any_one_modality(lesions, tmp_path):
    aligned = PretrainSettings(
        steps=10, topology_weight=0, preview_every=99, alignment_within_weight=10, alignment_across_weight=10
    )
    topomae.pretrain(lesions, tmp_path / "pretrain", settings=aligned, plan=SMALL_CROPS)
    curves = (tmp_path / "pretrain" / "metrics.csv").read_text()
    assert all(f"alignment/{where}," in curves for where in ("within", "across"))
    topomae.finetune(lesions, tmp_path / "finetune", init=tmp_path / "pretrain", settings=FinetuneSettings(steps=3))
    dataset = open_dataset(lesions)
    case = dataset.case(dataset.fixed_split.test[0])
    found = []
    for modality, image in zip(dataset.modalities, case.images, strict=True):
        outcome = topomae.segment(
            tmp_path / "finetune", {modality: image}, tmp_path / modality, overlap=0.0, probabilities=True
        )
        assert nib.load(outcome[0]).shape == nib.load(image).shape
        np.testing.assert_allclose(nib.load(outcome[0]).affine, nib.load(image).affine, atol=1e-4)
        found.append(next((tmp_path / modality).glob("*prob*")).read_bytes())
    assert len(set(found)) == len(dataset.modalities)  # each is looked at, and by its name
