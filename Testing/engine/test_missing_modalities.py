"""Several modalities: hidden now and then in training, and any of them missing when a model is used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings as within
from hypothesis import strategies as st
from oracle_models import AFFINES, Collector, make_model, make_plan, save_volume
from plans import a_plan
from torch import nn
from typer.testing import CliRunner

import topomae
from topomae.cli import app
from topomae.config import FinetuneSettings
from topomae.data.augmentation import hide_modalities
from topomae.data.loading import FinetuningCrops, PretrainingCrops
from topomae.data.phantoms import make_phantoms
from topomae.data.preprocessing import preprocess
from topomae.data.volume import Volume
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.inference.segmentation import segment
from topomae.inference.sliding_window import predict_scores
from topomae.models.folder import Model, load_model
from topomae.networks.factory import NetworkSpec, build_co_pretrainer, build_segmenter

NAMES = ("FLAIR", "T1", "T2")


class Seen(nn.Module):
    """Says which modalities it was shown: class 1 + 2 + 4 of the first, second and third, in every voxel."""

    def forward(self, image: torch.Tensor, available: torch.Tensor | None = None) -> torch.Tensor:
        shown = torch.ones(image.shape[:2], dtype=torch.bool) if available is None else available
        number = (shown * 2 ** torch.arange(image.shape[1])).sum(1)
        logits = torch.zeros(len(image), 8, *image.shape[2:])
        logits[torch.arange(len(image)), number] = 1
        return logits


def a_model(*, missing_modalities: bool = True) -> Model:
    plan = make_plan(modalities=NAMES, labels={n: f"seen {n}" for n in range(1, 8)})
    model = make_model(Seen(), plan)
    return replace(model, spec=model.spec.model_copy(update={"missing_modalities": missing_modalities}))


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """One scan in three modalities, in files whose names say nothing."""
    found = {name: tmp_path / "in" / f"scan_{number}.nii.gz" for number, name in enumerate(NAMES)}
    (tmp_path / "in").mkdir()
    for seed, path in enumerate(found.values()):
        save_volume(path, AFFINES["axes permuted"], (12, 10, 9), seed=seed)
    return found


def said(path: Path) -> set[str]:
    """The modalities that `Seen` was shown."""
    (value,) = np.unique(np.asarray(nib.load(path).dataobj))
    return {name for place, name in enumerate(NAMES) if int(value) >> place & 1}


# What training shows


@within(max_examples=60, deadline=None)
@drawn(st.lists(st.booleans(), min_size=1, max_size=5).filter(any), st.floats(0, 0.99), st.integers(0, 2**20))
def test_a_hidden_modality_never_leaves_nothing_and_never_shows_what_is_missing(available, chance, seed):
    there = np.array(available)
    kept = hide_modalities(there, chance, np.random.default_rng(seed))
    assert kept.any() and not (kept & ~there).any()
    assert (kept == hide_modalities(there, chance, np.random.default_rng(seed))).all()
    if chance == 0:
        assert (kept == there).all()


def test_modalities_are_hidden_as_often_as_asked():
    """Of two, each with chance p: both kept with (1 - p)²; both hidden with p², and then either stays."""
    random, p = np.random.default_rng(0), 0.3
    cases = np.array([hide_modalities(np.ones(2, bool), p, random) for _ in range(20_000)])
    both, first_hidden = cases.all(1).mean(), (~cases[:, 0]).mean()
    assert both == pytest.approx((1 - p) ** 2, abs=0.015)
    assert first_hidden == pytest.approx(p * (1 - p) + p**2 / 2, abs=0.015)


class Cases(list):
    """Prepared cases in memory."""

    cases = ()


def some_cases(plan, available=None) -> Cases:
    random = np.random.default_rng(1)
    image = Volume(random.normal(size=(plan.channels, 20, 18, 17)).astype(np.float32), np.eye(4), available=available)
    label = Volume(random.integers(0, 3, (1, 20, 18, 17)).astype(np.uint8), np.eye(4))
    return Cases([preprocess(image, label, plan)])


@pytest.mark.parametrize("kind", [FinetuningCrops, PretrainingCrops])
def test_hiding_modalities_changes_nothing_else_of_a_sample(kind):
    plan = a_plan(channels=3)
    options = {"mask_ratio": 0.5} if kind is PretrainingCrops else {"foreground_fraction": 0.5, "augmentation": 1.0}
    plain, hiding, again = (
        kind(some_cases(plan), plan, seed=3, modality_dropout=chance, **options) for chance in (0.0, 0.6, 0.6)
    )
    shown = set()
    for index in range(12):
        one, other = plain[index], hiding[index]
        assert one.pop("available").all() and set(one) == set(other) - {"available"}
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(other["available"], again[index]["available"])
        shown.add(tuple(other["available"].tolist()))
    assert len(shown) > 3


def test_a_single_modality_is_never_spoken_of():
    plan = a_plan()
    crops = FinetuningCrops(some_cases(plan), plan, seed=0, foreground_fraction=0.5, modality_dropout=0.9)
    assert "available" not in crops[0]


def test_a_missing_modality_is_zero_and_has_no_say_in_where_the_scan_ends():
    """Both are as if the other modalities had come alone."""
    plan = a_plan(channels=2)
    scan = np.zeros((1, 14, 12, 10), np.float32)
    scan[:, 3:9, 2:8, 4:9] = np.random.default_rng(0).normal(size=(1, 6, 6, 5))
    alone = preprocess(Volume(scan, np.eye(4)), None, a_plan())
    image = Volume(np.concatenate([np.zeros_like(scan), scan]), np.eye(4), available=(False, True))
    both = preprocess(image, None, plan)
    assert both.available == (False, True) and not both.image[0].any()
    assert both.image.shape[1:] == (6, 6, 5)
    np.testing.assert_array_equal(both.image[1], alone.image[0])


# What networks make of it


@pytest.mark.parametrize("architecture", ["fused", "unetr"])
def test_what_a_missing_modality_would_have_shown_does_not_matter(architecture):
    plan = a_plan(channels=2)
    torch.manual_seed(0)
    network = build_segmenter(NetworkSpec.of(plan, architecture=architecture)).eval()
    image, other = torch.randn(2, 2, 16, 16, 16)
    other[0] = image[0]
    scores = [
        predict_scores(network, one, plan, device="cpu", overlap=0.0, available=available)
        for one, available in ((image, (True, False)), (other, (True, False)), (image, None), (other, None))
    ]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[2], scores[3]) and not torch.equal(scores[0], scores[2])


def test_pre_training_reconstructs_what_it_was_not_shown_from_the_rest():
    network = build_co_pretrainer(NetworkSpec.of(a_plan(channels=2))).eval()
    image, mask = torch.randn(1, 2, 16, 16, 16), torch.rand(1, 4, 4, 4) < 0.5
    changed = image.clone()
    changed[:, 1] += 5
    available = torch.tensor([[True, False]])
    for one, other in zip(
        network(image, mask, available).values(), network(changed, mask, available).values(), strict=True
    ):
        assert one.reconstruction.shape == image.shape and torch.equal(one.reconstruction, other.reconstruction)


# Using a model


def test_any_modalities_may_be_given_by_name_in_any_order_and_case(files, tmp_path):
    for count in (1, 2, 3):
        for names in combinations(NAMES, count):
            given = {name.lower() if count == 2 else name: files[name] for name in reversed(names)}
            seen = Collector()
            (written,) = segment(a_model(), given, tmp_path / "out", device="cpu", events=Events(seen))
            assert said(written) == set(names)
            np.testing.assert_allclose(nib.load(written).affine, nib.load(files["T1"]).affine)
            told = " ".join(event["message"] for event in seen.of("warning") if "not available" in event["message"])
            missing = told.split(" not available")[0]
            assert [name for name in NAMES if name in missing] == [name for name in NAMES if name not in names]
            written.unlink()


def test_several_scans_may_lack_different_modalities(files, tmp_path):
    scans = [{"T1": files["T1"], "T2": None}, {"T2": files["T2"], "FLAIR": files["FLAIR"]}]
    written = segment(a_model(), scans, tmp_path / "out", device="cpu")
    assert [said(path) for path in written] == [{"T1"}, {"T2", "FLAIR"}]


def test_names_that_the_model_does_not_know_are_refused_in_one_sentence(files, tmp_path):
    refusals = {
        r"no 'PD'.* FLAIR, T1, T2": ({"PD": files["T1"]}, BadSettingError),
        r"'t1' is given twice.* FLAIR, T1, T2": ({"T1": files["T1"], "t1": files["T2"]}, BadSettingError),
        "nothing to segment": ({"T1": None}, BadDataError),
        "no such file": ({"T1": tmp_path / "nowhere.nii.gz"}, BadDataError),
    }
    for message, (given_files, kind) in refusals.items():
        with pytest.raises(kind, match=message) as refused:
            segment(a_model(), given_files, tmp_path / "out", device="cpu")
        assert refused.value.hint and not (tmp_path / "out").exists()


def test_a_file_of_several_channels_is_no_single_modality(files, tmp_path):
    four = np.stack([nib.load(path).get_fdata() for path in files.values()], axis=-1).astype(np.float32)
    nib.save(nib.Nifti1Image(four, np.eye(4)), tmp_path / "all.nii.gz")
    with pytest.raises(BadDataError, match="given as T1 holds 3 channels"):
        segment(a_model(), {"T1": tmp_path / "all.nii.gz"}, tmp_path / "out", device="cpu")


def test_a_model_that_needs_all_modalities_says_which_is_missing(files, tmp_path):
    model = a_model(missing_modalities=False)
    with pytest.raises(BadDataError, match=r"3 images \(FLAIR, T1, T2\), but there is no FLAIR and no T2") as refused:
        segment(model, {"T1": files["T1"]}, tmp_path / "out", device="cpu")
    assert "modality_dropout" in refused.value.hint and not (tmp_path / "out").exists()
    (written,) = segment(model, files, tmp_path / "out", device="cpu")
    assert said(written) == set(NAMES)


def test_cases_of_a_folder_may_lack_files(files, tmp_path):
    """Numbered files say which modality is missing; it is told, or refused for that case alone."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for case, places in {"ann": (0, 1, 2), "ben": (1,), "cleo": (0, 2)}.items():
        for place in places:
            shutil.copy(files[NAMES[place]], folder / f"{case}_{place:04d}.nii.gz")
    seen = Collector()
    written = segment(a_model(), folder, tmp_path / "out", device="cpu", events=Events(seen))
    assert [said(path) for path in written] == [set(NAMES), {"T1"}, {"FLAIR", "T2"}]
    told = {event["case"]: event["message"] for event in seen.of("warning") if "not available" in event["message"]}
    assert told.keys() == {"ben", "cleo"} and told["cleo"].startswith("T1 not available")
    with pytest.raises(RunError, match="2 of 3 cases could not be segmented: ben, cleo"):
        segment(a_model(missing_modalities=False), folder, tmp_path / "other", device="cpu")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["ann.nii.gz"]


def test_a_data_set_that_has_only_some_of_the_modalities_is_segmented(files, tmp_path):
    (tmp_path / "set/imagesTr").mkdir(parents=True)
    for place, name in enumerate(("T2", "FLAIR")):
        shutil.copy(files[name], tmp_path / f"set/imagesTr/p_{place:04d}.nii.gz")
    description = {"modality": {"0": "t2", "1": "Flair"}, "labels": {"0": "background"}}
    (tmp_path / "set/dataset.json").write_text(json.dumps(description))
    (written,) = segment(a_model(), tmp_path / "set", tmp_path / "out", device="cpu")
    assert said(written) == {"T2", "FLAIR"}


# The whole way


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Phantoms in two modalities: the second is the first with its contrast turned round."""
    folder = make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=4, labelled=2, shape=(20, 20, 16))
    description = json.loads((folder / "dataset.json").read_text())
    for entry in description["training"]:
        first = folder / entry["image"]
        image = nib.load(first)
        second = first.with_name(f"turned_{first.name}")
        nib.save(nib.Nifti1Image(-image.get_fdata().astype(np.float32), image.affine), second)
        entry["image"] = [entry["image"], str(second.relative_to(folder))]
    description["modality"] = {"0": "T1", "1": "T2"}
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


PLAN = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [4, 4, 4], "batch_size": 2}


def train(data: Path, run: Path, **settings: object) -> Model:
    chosen = FinetuneSettings(**{"steps": 6, "checkpoint_every": 2, "validate_every": 6, "workers": 0} | settings)
    topomae.finetune(data, run, settings=chosen, plan=PLAN, device="cpu")
    return load_model(run)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "usual"
    train(data, run)
    return run


def test_a_model_of_several_modalities_learns_to_do_without_some_and_says_so(data, trained, tmp_path):
    model = load_model(trained)
    assert model.spec.missing_modalities
    assert model.metadata["training"]["settings"]["modality_dropout"] == 0.3
    assert model.network.unetrpp.missing.embedding.abs().sum() > 0  # it took part in training
    stubborn = train(data, tmp_path / "stubborn", modality_dropout=0, steps=2)
    assert not stubborn.spec.missing_modalities
    assert stubborn.network.unetrpp.missing.embedding.abs().sum() == 0


def test_a_stopped_training_hides_the_same_modalities_when_it_goes_on(data, trained, tmp_path):
    run = tmp_path / "run"

    class StopOnce:
        def write(self, event: dict) -> None:
            if event["event"] == "checkpoint" and event["step"] == 2:
                (run / "stop").touch()

        def close(self) -> None:
            pass

    settings = FinetuneSettings(steps=6, checkpoint_every=2, validate_every=6, workers=0)
    topomae.finetune(data, run, settings=settings, plan=PLAN, device="cpu", events=Events(StopOnce()))
    assert not (run / "model").exists()
    topomae.finetune(data, run, settings=settings, plan=PLAN, device="cpu")
    one, other = (load_model(folder).network.state_dict() for folder in (trained, run))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_command_line_takes_images_by_name(data, trained, tmp_path):
    entry = json.loads((data / "dataset.json").read_text())["training"][0]
    first, second = (data / path for path in entry["image"])
    base = ["segment", "--model", str(trained), "--output", str(tmp_path / "out.nii.gz"), "--device", "cpu"]

    def run(*more: str) -> tuple[int, str]:
        answer = CliRunner().invoke(app, [*base, *more, "--events", "json"])
        return answer.exit_code, answer.output

    assert run("--image", f"t2={second}")[0] == 0
    alone = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    (expected,) = segment(trained, {"T2": second}, tmp_path / "python.nii.gz", device="cpu")
    np.testing.assert_array_equal(alone, np.asarray(nib.load(expected).dataobj))
    code, told = run("--image", f"T1={first}", "--image", f"T1={second}")
    assert code == 1 and "twice" in told
    code, told = run("--image", str(first))
    assert code == 1 and "NAME=PATH" in told
    assert run()[0] == 2 and run("--image", f"T1={first}", "--input", str(first))[0] == 2


def test_any_subset_of_real_modalities_is_segmented(ms_lesions_dataset, tmp_path):
    """Four modalities of a real scan, in one file; the model, barely trained, was taught to do without any."""
    run = tmp_path / "run"
    plan = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [8, 8, 8], "batch_size": 1}
    settings = FinetuneSettings(steps=2, workers=0, validate_every=2, seed=1)
    topomae.finetune(ms_lesions_dataset.folder, run, settings=settings, plan=plan, device="cpu")
    model = load_model(run)
    scan = nib.load(ms_lesions_dataset.cases[0].images[0])
    single = {}
    for place, name in enumerate(model.plan.modalities):
        single[name] = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.asarray(scan.dataobj[..., place], np.float32), scan.affine), single[name])
    for names in (model.plan.modalities[:1], model.plan.modalities[1:], model.plan.modalities):
        (written,) = segment(model, {name: single[name] for name in names}, tmp_path / "out", device="cpu")
        labels = nib.load(written)
        assert labels.shape == scan.shape[:3] and np.allclose(labels.affine, scan.affine)
