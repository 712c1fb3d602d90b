"""Training cases that lack a modality: null in dataset.json."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from plans import a_plan

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.checks import check_dataset
from topomae.data.dataset import load_case, open_dataset
from topomae.data.loading import PretrainingCrops
from topomae.data.plan import Normalization
from topomae.data.plan_rules import choose_normalization
from topomae.errors import BadDataError
from topomae.models.folder import load_model
from topomae.networks.co_pretrainer import BranchOutput
from topomae.training.objectives import CoPretrainingLoss

SHAPE = (18, 17, 16)
NAMES = ("T1", "T2")
# Which of the two modalities each case has; "eve" is for validation.
CASES = {"ann": (1, 1), "ben": (1, 0), "cleo": (0, 1), "dan": (1, 1), "eve": (0, 1)}


def write_data(folder: Path, modalities=NAMES, cases=CASES) -> Path:
    """A bright box in noise, inside a border of zeros; T2 shows it dark."""
    random, entries = np.random.default_rng(0), []
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    for name, has in cases.items():
        label = np.zeros(SHAPE, np.uint8)
        label[5:11, 6:12, 5:10] = 1
        images: list[str | None] = []
        for place, there in enumerate(has):
            voxels = np.zeros(SHAPE, np.float32)
            inside = (slice(2, -2),) * 3
            voxels[inside] = 10 + random.normal(size=SHAPE)[inside] + (8.0 - 12.0 * place) * label[inside]
            file = f"imagesTr/{name}_{place:04d}.nii.gz"
            if there:
                nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / file)
            images.append(file if there else None)
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / f"labelsTr/{name}.nii.gz")
        entries.append({"image": images, "label": f"labelsTr/{name}.nii.gz"})
    describe(folder, entries, modalities)
    (folder / "splits.json").write_text(json.dumps({"train": [*cases][:-1], "val": [*cases][-1:]}))
    return folder


def describe(folder: Path, entries: list[dict], modalities=NAMES) -> None:
    names = {str(place): name for place, name in enumerate(modalities)}
    described = {"modality": names, "labels": {"0": "background", "1": "box"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(described))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "set")


def test_null_says_which_modality_a_case_lacks(data):
    dataset = open_dataset(data)
    assert dataset.modalities == NAMES
    assert {case.name: case.missing for case in dataset.cases} == {
        name: tuple(place for place in (0, 1) if not has[place]) for name, has in CASES.items()
    }
    image, _ = load_case(dataset, dataset.case("cleo"), with_label=True)
    assert image.available == (False, True) and not image.array[0].any() and image.array[1].any()
    assert load_case(dataset, dataset.case("ann"), with_label=False)[0].available is None


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([None, None], "every image is null"),
        (["imagesTr/ann_0000.nii.gz", None, None], "3 image files are listed but the data set has 2"),
        ([None, "imagesTr/nowhere.nii.gz"], "does not exist"),
        ([None, 3], "dataset.json|string"),
    ],
)
def test_null_excuses_nothing_else(data, images, message, tmp_path):
    write_data(tmp_path / "set", cases={"ann": (1, 1)})
    describe(tmp_path / "set", [{"image": images, "label": "labelsTr/ann.nii.gz"}])
    with pytest.raises(BadDataError, match=message) as refused:
        open_dataset(tmp_path / "set")
    assert refused.value.path and refused.value.hint


def test_checks_look_at_what_there_is(data):
    dataset = open_dataset(data)
    reports = {report.case.name: report for report in check_dataset(dataset, dataset.cases, labels_needed=True)}
    for name, report in reports.items():
        assert report.ok and not report.warnings
        assert [one is not None for one in report.intensities] == [bool(there) for there in CASES[name]]
        assert report.foreground_shape == (14, 13, 12)  # a missing modality has no say in it


def test_hounsfield_units_are_measured_where_there_is_ct(tmp_path):
    cases = {"ann": (1, 1), "ben": (0, 1), "eve": (1, 1)}
    dataset = open_dataset(write_data(tmp_path / "set", ("CT", "T2"), cases))
    reports = check_dataset(dataset, dataset.cases, labels_needed=False)
    with_ct = [report for report in reports if not report.case.missing]
    assert choose_normalization(dataset.modalities, reports) == choose_normalization(dataset.modalities, with_ct)
    with pytest.raises(BadDataError, match="no case has the modality CT"):
        choose_normalization(dataset.modalities, [report for report in reports if report.case.missing])


def test_a_modality_that_moves_to_another_place_is_prepared_anew(data, tmp_path):
    dataset, plan = open_dataset(data), a_plan(channels=2).model_copy(update={"modalities": NAMES})

    def prepared(case) -> tuple:
        cases = PreprocessedCases(tmp_path / "cache", dataset, [case], plan, with_label=False)
        return cases[0].available, cases[0].image.any(axis=(1, 2, 3)).tolist()

    case = dataset.case("ben")
    assert prepared(case) == prepared(case) == ((True, False), [True, False])
    moved = type(case)(case.name, case.images[::-1], case.label, case.subject)
    assert prepared(moved) == ((False, True), [False, True])


def test_nothing_is_asked_of_a_modality_that_a_case_lacks(data, tmp_path):
    """Neither what a branch paints there, nor what stands there, changes the loss."""
    dataset, plan = open_dataset(data), a_plan(channels=2).model_copy(update={"modalities": NAMES})
    cases = PreprocessedCases(tmp_path / "cache", dataset, [dataset.case("ben")], plan, with_label=False)
    sample = PretrainingCrops(cases, plan, mask_ratio=0.75, seed=0, modality_dropout=0.5)[0]
    batch = {name: value[None] for name, value in sample.items()}
    assert batch["there"].tolist() == [[True, False]] and batch["available"].tolist() == [[True, False]]
    objective = CoPretrainingLoss(PretrainSettings(), plan.patch_size)
    torch.manual_seed(0)

    def outputs(paint: float) -> dict[str, BranchOutput]:
        generator = torch.Generator().manual_seed(1)
        made = {}
        for branch in ("vit", "unetrpp"):
            image = torch.randn(batch["image"].shape, generator=generator)
            image[:, 1] *= paint
            made[branch] = BranchOutput(image.requires_grad_(), torch.zeros(1, 9, 3, requires_grad=True))
        return made

    first, second = outputs(1.0), outputs(7.0)
    one, terms = objective(first, batch, 0)
    other, _ = objective(second, batch, 0)
    assert torch.equal(one, other) and terms["reconstruction/vit"] > 0
    one.backward()
    for output in first.values():
        assert not output.reconstruction.grad[:, 1].any() and output.reconstruction.grad[:, 0].any()
    whole, _ = objective(first, {name: value for name, value in batch.items() if name != "there"}, 0)
    assert not torch.equal(one, whole)


def test_both_trainings_use_cases_that_lack_modalities(data, tmp_path):
    """Even if nothing is hidden on purpose, such a model does without."""
    plan = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [1, 1, 1], "batch_size": 2}
    common = {"workers": 0, "modality_dropout": 0.0}
    topomae.pretrain(data, tmp_path / "pre", settings=PretrainSettings(steps=3, **common), plan=plan, device="cpu")
    topomae.finetune(
        data,
        tmp_path / "fine",
        init=tmp_path / "pre",
        settings=FinetuneSettings(steps=3, validate_every=3, **common),
        device="cpu",
    )
    model = load_model(tmp_path / "fine")
    assert model.spec.missing_modalities and model.network.unetrpp.missing.embedding.any()
    assert model.plan.normalization == (Normalization(kind="robust"),) * 2
    written = topomae.segment(model, data, tmp_path / "out", device="cpu")
    assert [path.name for path in written] == [f"{name}.nii.gz" for name in CASES]
