"""Alignment in pre-training: which views are compared, what they reach, and runs that resume to the same bits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import alignment_share
import numpy as np
import pytest
import torch
from recorder import Recorder

import topomae
from topomae.alignment.tokens import tokens_of
from topomae.alignment.within import within_subject
from topomae.config import PretrainSettings, settings_from
from topomae.data.cases import Case
from topomae.data.intensity_views import changed_intensities, two_views
from topomae.data.loading import PretrainingCrops
from topomae.data.modality_phantoms import make_modality_phantoms
from topomae.data.phantoms import make_phantoms
from topomae.errors import BadSettingError
from topomae.events import Events
from topomae.models.pretrained import load_pretrained
from topomae.networks.co_pretrainer import Views
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.training.aligning import Aligning
from topomae.training.objectives import CoPretrainingLoss

CROP, PATCH = (16, 16, 16), (8, 8, 8)
PLAN = {"crop_size": CROP, "patch_size": PATCH, "stem_stride": (2, 2, 2), "batch_size": 3}
OTHERS = ("topology_weight", "spatial_weight", "spatial_consistency_weight", "reconstruction_consistency_weight")
ALIGNED = {"alignment_within_weight": 10.0, "alignment_across_weight": 10.0}


@pytest.fixture
def network():
    torch.manual_seed(0)
    spec = NetworkSpec(in_channels=2, out_channels=2, crop_size=CROP, patch_size=PATCH, stem_stride=(2, 2, 2))
    return build_co_pretrainer(spec).eval()


@pytest.fixture
def batch():
    random = np.random.default_rng(1)
    image = torch.from_numpy(random.normal(size=(3, 2, *CROP)).astype(np.float32))
    mask = torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    mask[:, 0] = True
    return {
        "image": image,
        "view": image,
        "seen": torch.tensor([[[True, False], [False, True]]]).expand(3, -1, -1),
        "mask": mask,
        "subject": torch.tensor([4, 8, 4]),
        "sample": torch.arange(3),
    }


def settings_of(**values) -> PretrainSettings:
    return PretrainSettings(**{**dict.fromkeys(OTHERS, 0.0), **values})


def objective_of(settings: PretrainSettings) -> CoPretrainingLoss:
    plan = SimpleNamespace(crop_size=CROP, stem_stride=(2, 2, 2))
    return CoPretrainingLoss(settings, PATCH, Aligning(settings, plan))


def stand_in_cases(images: list[np.ndarray], subjects: list[str], available=None):
    """What `PretrainingCrops` needs of preprocessed cases."""

    class Cases(list):
        cases = tuple(Case(f"scan {n}", (), subject=subject) for n, subject in enumerate(subjects))

    return Cases(SimpleNamespace(image=image, available=available) for image in images)


def crops_of(cases, **options) -> PretrainingCrops:
    plan = SimpleNamespace(crop_size=CROP, patch_size=PATCH)
    return PretrainingCrops(cases, plan, mask_ratio=0.75, seed=3, **options)


def volumes(channels: int, count: int = 2) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(channels, 20, 22, 18)).astype(np.float32) for _ in range(count)]


def test_views_of_several_modalities_show_one_each_and_never_the_same():
    crops = crops_of(stand_in_cases(volumes(4), ["a", "b"]), views=True)
    shown = set()
    for index in range(40):
        sample = crops[index]
        assert torch.equal(sample["view"], sample["image"])
        assert sample["seen"].sum(1).tolist() == [1, 1]
        first, second = sample["seen"].int().argmax(1).tolist()
        assert first != second
        shown.add((first, second))
    assert len(shown) == 12  # every ordered pair of four


def test_views_of_one_modality_show_the_same_voxels_in_other_intensities():
    crops = crops_of(stand_in_cases(volumes(1), ["a", "b"]), views=True)
    correlations = []
    for index in range(20):
        sample = crops[index]
        image, view = sample["image"], sample["view"]
        assert sample["seen"].all()
        assert float(view.mean()) == pytest.approx(float(image.mean()), abs=1e-3)
        assert float(view.std()) == pytest.approx(float(image.std()), rel=1e-2)
        correlations.append(correlation(image, view))
        assert abs(correlation(image[..., 1:], view[..., :-1])) < 0.1  # one voxel aside, noise is not alike
    assert min(np.abs(correlations)) > 0.3
    assert max(np.abs(correlations)) < 0.999
    assert {round(np.sign(c)) for c in correlations} == {-1, 1}  # bright and dark exchanged, or not


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_a_case_that_lacks_all_modalities_but_one_gets_two_views_of_that_one():
    image, random = volumes(3)[0], np.random.default_rng(0)
    view, seen = two_views(image, np.array([False, True, False]), random)
    assert seen.tolist() == [[False, True, False]] * 2
    assert not np.array_equal(view[1], image[1])
    assert np.array_equal(view[[0, 2]], image[[0, 2]])
    _, seen = two_views(image, np.array([True, True, False]), random)
    assert not seen[:, 2].any()


def test_a_crop_without_any_contrast_stays_as_it_is():
    flat = np.full((8, 8, 8), 0.25, np.float32)
    assert np.allclose(changed_intensities(flat, np.random.default_rng(0)), flat)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_depend_on_the_sample_alone_and_leave_the_rest_of_it_untouched(channels):
    cases = stand_in_cases(volumes(channels, 3), ["a", "b", "a"])
    with_views, without = crops_of(cases, views=True), crops_of(cases)
    for index in (0, 1, 2, 7):
        once, again, plain = with_views[index], crops_of(cases, views=True)[index], without[index]
        assert all(torch.equal(once[name], again[name]) for name in once)
        assert all(torch.equal(once[name], plain[name]) for name in plain)
        assert set(once) - set(plain) == {"view", "seen", "subject", "sample"}


def test_subjects_are_told_by_the_ids_of_the_data_set_and_not_by_names_of_scans():
    crops = crops_of(stand_in_cases(volumes(1, 3), ["kim", "lee", "kim"]), views=True)
    subject_of = {int(crops[index]["case"]): int(crops[index]["subject"]) for index in range(3)}
    assert subject_of[0] == subject_of[2] != subject_of[1]


@pytest.mark.parametrize("stage", ["vit", 0, 2, 3])
def test_the_features_of_a_view_are_those_of_its_modality_alone(network, batch, stage):
    seen = batch["seen"]
    _, (first, second) = network(batch["image"], None, None, Views(batch["image"], batch["view"], seen, stage))
    for view, features in enumerate((first, second)):
        if stage == "vit":
            expected = network.vit.encoder.feature_map(batch["image"], seen[:, view])
        else:
            expected = network.unetrpp.encode(batch["image"], seen[:, view]).stages[stage]
        torch.testing.assert_close(features, expected)
    altered = batch["image"].clone()
    altered[:, 1] = 7.0  # hidden from the first view
    _, (same, other) = network(altered, None, None, Views(altered, altered, seen, stage))
    assert torch.equal(same, first)
    assert not torch.equal(other, second)


def test_alignment_enters_the_total_with_its_weights_beside_what_there_was(network, batch):
    objective = objective_of(settings_of(alignment_within_weight=3.0, alignment_across_weight=5.0, alignment_grid=4))
    outputs, features = network(batch["image"], batch["mask"], None, objective.aligning.views(batch))
    total, terms = objective(outputs, batch, 9, features=features)
    reconstruction = terms["reconstruction/vit"] + terms["reconstruction/unetrpp"]
    torch.testing.assert_close(total, reconstruction + 3 * terms["alignment/within"] + 5 * terms["alignment/across"])
    plain, _ = CoPretrainingLoss(settings_of(), PATCH)(outputs, batch, 9)
    torch.testing.assert_close(plain, reconstruction)
    assert 1 < float(terms["effective_rank/unetrpp"]) <= features[0].shape[1]


def test_the_objectives_see_tokens_of_places_and_not_of_channels(network, batch):
    """Exchanging two places in the features of both views changes nothing; exchanging them in one does."""
    settings = settings_of(alignment_within_weight=1.0, alignment_negatives="hardest", alignment_grid=2)
    aligning = Aligning(settings, SimpleNamespace(crop_size=CROP, stem_stride=(2, 2, 2)))
    _, features = network(batch["image"], None, None, aligning.views(batch))
    turned = [view.flip(2, 3, 4) for view in features]
    value, _ = aligning.terms(features, batch, 0)
    both, _ = aligning.terms(turned, batch, 0)
    torch.testing.assert_close(both["alignment/within"], value["alignment/within"])
    expected = within_subject(*(tokens_of(view, 2) for view in features), negatives="hardest")
    torch.testing.assert_close(value["alignment/within"], expected)


@pytest.mark.parametrize("stage", ["vit", 1])
def test_alignment_alone_does_no_masked_work_and_reaches_its_stage(network, batch, stage, monkeypatch):
    monkeypatch.setattr(type(network.vit), "forward", None)
    objective = objective_of(settings_of(reconstruction_weight=0, alignment_stage=stage, alignment_grid=2, **ALIGNED))
    assert not objective.masks
    outputs, features = network(batch["image"], None, None, objective.aligning.views(batch))
    total, terms = objective(outputs, batch, 0, features=features)
    assert set(terms) == {"alignment/within", "alignment/across"}
    total.backward()
    reached = {name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert {name.split(".")[0] for name in reached} == {"vit" if stage == "vit" else "unetrpp"}
    if stage == 1:
        assert any(name.startswith("unetrpp.encoder.1") for name in reached)
        assert not any(name.startswith(("unetrpp.encoder.2", "unetrpp.decoder")) for name in reached)
        assert "unetrpp.missing.embedding" in reached


def test_settings_are_checked():
    assert settings_from(PretrainSettings, ["alignment_stage=2"]).alignment_stage == 2
    assert settings_from(PretrainSettings, ["alignment_stage=vit"]).alignment_stage == "vit"
    with pytest.raises(BadSettingError, match="alignment_stage"):
        settings_from(PretrainSettings, ["alignment_stage=4"])
    with pytest.raises(BadSettingError, match="every weight"):
        settings_of(reconstruction_weight=0)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """People with three modalities, some scanned twice."""
    folder = tmp_path_factory.mktemp("data") / "heads"
    return make_modality_phantoms(folder, subjects=10, labelled=1, shape=(18, 18, 18), spacing=(4.0, 4.0, 4.0))


def names_logged(run) -> set[str]:
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    return {name for _, phase, name, _ in rows if phase == "pretrain"}


def test_a_stopped_and_resumed_aligned_pre_training_equals_an_undisturbed_one(heads, tmp_path):
    settings = settings_of(steps=10, checkpoint_every=4, preview_every=100, alignment_grid=4, **ALIGNED)
    topomae.pretrain(heads, tmp_path / "whole", settings=settings, plan=PLAN)

    def stop(event):
        if event["event"] == "progress" and event["phase"] == "pretrain" and event["step"] == 5:
            (tmp_path / "parts" / "stop").touch()

    topomae.pretrain(heads, tmp_path / "parts", settings=settings, plan=PLAN, events=Events(Recorder(stop)))
    assert not (tmp_path / "parts" / "model").exists()
    topomae.pretrain(heads, tmp_path / "parts", settings=settings, plan=PLAN)
    one, other = (load_pretrained(tmp_path / name).weights for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()
    logged = names_logged(tmp_path / "whole")
    assert {"alignment/within", "alignment/across", "effective_rank/unetrpp", "reconstruction/vit"} <= logged


def test_batches_of_one_crop_are_aligned_within_subjects_and_the_rest_is_told_once(heads, tmp_path):
    recorder, run = Recorder(), tmp_path / "run"
    settings = settings_of(steps=10, preview_every=100, alignment_grid=4, reconstruction_weight=0, **ALIGNED)
    topomae.pretrain(heads, run, settings=settings, plan={**PLAN, "batch_size": 1}, events=Events(recorder))
    told = recorder.messages()
    assert sum("across subjects" in message for message in told) == 1
    logged = names_logged(run)
    assert "alignment/within" in logged
    assert not {"alignment/across", "reconstruction/vit"} & logged
    only_across = settings_of(steps=10, reconstruction_weight=0, alignment_across_weight=1.0)
    with pytest.raises(BadSettingError, match="a single crop"):
        topomae.pretrain(heads, tmp_path / "nothing", settings=only_across, plan={**PLAN, "batch_size": 1})


def test_data_of_one_modality_are_aligned_within_and_across_subjects(tmp_path):
    data = make_phantoms(tmp_path / "data", cases=6, labelled=1, shape=(24, 24, 16), spacing=(3.2, 3.2, 4.8))
    settings = settings_of(steps=10, preview_every=100, alignment_stage="vit", alignment_grid=2, **ALIGNED)
    topomae.pretrain(data, tmp_path / "run", settings=settings, plan={**PLAN, "spacing": (3.2, 3.2, 4.8)})
    assert {"alignment/within", "alignment/across", "effective_rank/vit"} <= names_logged(tmp_path / "run")


def test_features_that_all_become_alike_are_told(network, batch):
    aligning = Aligning(settings_of(**ALIGNED), SimpleNamespace(crop_size=CROP, stem_stride=(2, 2, 2)))
    features = network(batch["image"], None, None, aligning.views(batch))[1]
    _, ranks = aligning.terms(features, batch, 9)
    assert float(ranks["effective_rank/unetrpp"]) > 2
    assert aligning.news is None
    _, ranks = aligning.terms([view[:, :, :1, :1, :1].expand_as(view) * 0 + 1 for view in features], batch, 19)
    assert float(ranks["effective_rank/unetrpp"]) == pytest.approx(1, abs=1e-3)
    assert "collapsed" in aligning.news
    assert aligning.terms(features, batch, 20)[1] == {}  # looked at now and then only
    json.dumps(aligning.state())


def test_several_processes_align_the_whole_batch_as_one_does(tmp_path):
    generator = torch.Generator().manual_seed(0)
    batch = {name: torch.randn(5, 8, 6, 6, 6, generator=generator) for name in ("first", "second")}
    batch |= {"subject": torch.tensor([1, 2, 1, 3, 2]), "sample": torch.arange(45, 50)}
    torch.save(batch, tmp_path / "batch.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    program = [sys.executable, alignment_share.__file__, str(tmp_path)]
    started = []
    for rank in range(2):
        which = {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(program, env={**os.environ, **meeting, **which}))
    terms, ranks, gradients = alignment_share.align(tmp_path, slice(0, 5))
    assert [process.wait(timeout=300) for process in started] == [0, 0]
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for share_terms, share_ranks, _ in shares:
        torch.testing.assert_close(share_terms, terms)
        torch.testing.assert_close(share_ranks, ranks)
    for which in (0, 1):
        torch.testing.assert_close(torch.cat([share[2][which] for share in shares]), gradients[which])
        assert gradients[which].abs().max() > 0
