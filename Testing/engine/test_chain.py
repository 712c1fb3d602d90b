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
