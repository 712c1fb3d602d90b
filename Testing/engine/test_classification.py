"""Classes of whole volumes: what the network looks at, how it is trained, used and judged."""

from __future__ import annotations

import itertools
import json

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import topomae
from topomae.classification.bags import bags, covering_offsets
from topomae.classification.table import Predictions
from topomae.cli import app
from topomae.config import ClassifySettings, PretrainSettings
from topomae.data.plan import Normalization, Plan
from topomae.errors import BadDataError, BadSettingError, RunError
from topomae.events import Events
from topomae.inference.classification import Classifier
from topomae.models.folder import load_model
from topomae.models.pretrained import load_pretrained
from topomae.networks.factory import NetworkSpec, build_classifier
from topomae.training.classification import class_weights

PLAN = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [1.0, 1.0, 1.0], "batch_size": 4}
SIZE = (16, 16, 16)


def write_scans(folder, count: int = 14, modalities: int = 2):
    """Noise; in half of the scans with a bright ball somewhere, which the first modality alone shows."""
    (folder / "imagesTr").mkdir(parents=True)
    random = np.random.default_rng(0)
    entries = []
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SIZE], indexing="ij"))
    for n in range(count):
        images = random.normal(100, 10, (modalities, *SIZE)).astype(np.float32)
        if n % 2:
            centre = random.integers(4, 12, 3)[:, None, None, None]
            images[0][((grid - centre) ** 2).sum(0) < 16] += 90
        files = [f"imagesTr/scan{n:02d}_{channel:04d}.nii.gz" for channel in range(modalities)]
        for file, image in zip(files, images, strict=True):
            nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / file)
        entries.append({"image": files, "class": n % 2})
    names = {str(channel): name for channel, name in enumerate(("T1", "T2")[:modalities])}
    classes = {"0": "nothing", "1": "ball"}
    description = {"name": "balls", "modality": names, "classes": classes, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp("data") / "scans")


@pytest.fixture(scope="module")
def pretrained(scans, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "pretrain"
    topomae.pretrain(scans, run, settings=PretrainSettings(steps=2, topology_weight=0, preview_every=99), plan=PLAN)
    return run


@pytest.fixture(scope="module")
def trained(scans, tmp_path_factory):
    """A run long enough to learn what can be seen."""
    run = tmp_path_factory.mktemp("runs") / "classes"
    chosen = ClassifySettings(steps=40, validate_every=10, augmentation=0, ema=0.9, modality_dropout=0.3, folds=3)
    topomae.finetune(scans, run, task="classification", settings=chosen, plan=PLAN)
    return run


def a_plan(**changes) -> Plan:
    robust = Normalization(kind="robust")
    fields = {"dataset": "d", "modalities": ("T1", "T2"), "labels": {}, "normalization": (robust, robust)}
    return Plan(**{**fields, **PLAN, "stem_stride": (2, 2, 2), "size": "small", **changes})


@pytest.fixture(scope="module")
def a_network():
    torch.manual_seed(0)
    network = build_classifier(NetworkSpec.of(a_plan(), task="classification", out_channels=3))
    torch.nn.init.normal_(network.head.weight)
    for encoder in (network.unetrpp, network.vit):
        torch.nn.init.normal_(encoder.missing.embedding)
    return network.eval()


shapes = st.tuples(*[st.integers(1, 40)] * 3)


@given(shape=shapes, crop=st.tuples(*[st.integers(4, 16)] * 3))
@settings(max_examples=60, deadline=None)
def test_the_fewest_windows_cover_a_volume(shape, crop):
    offsets = covering_offsets(shape, crop)
    padded = [max(n, c) for n, c in zip(shape, crop, strict=True)]
    seen = np.zeros(padded, bool)
    for offset in offsets:
        part = tuple(slice(o, o + c) for o, c in zip(offset, crop, strict=True))
        assert seen[part].shape == tuple(crop)
        seen[part] = True
    assert seen.all()
    assert len(offsets) == np.prod([-(-n // c) for n, c in zip(padded, crop, strict=True)])


@given(shape=shapes, most=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_a_volume_is_looked_at_in_groups_no_larger_than_in_training(shape, most):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape) + 1
    groups = bags(image, a_plan(), most)
    assert max(map(len, groups)) <= most
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    seen = torch.cat([group.flatten() for group in groups]).unique()
    assert set(seen.tolist()) - {0.0} == set(image.flatten().tolist())


def test_absent_windows_and_missing_modalities_have_no_say(a_network):
    random = torch.Generator().manual_seed(1)
    windows = torch.randn(2, 3, 2, *SIZE, generator=random)
    present = torch.tensor([[True, True, False], [True, False, False]])
    available = torch.tensor([[True, True], [True, False]])
    with torch.no_grad():
        said = a_network(windows, present, available)
        others = windows.clone()
        others[~present] = 7
        others[1, :, 1] = -5
        rounding = {"atol": 1e-3, "rtol": 0}  # batches of other sizes are added up in another order
        torch.testing.assert_close(a_network(others, present, available), said, **rounding)
        torch.testing.assert_close(a_network(windows[:1, :2].flip(1), None, available[:1]), said[:1], **rounding)
        torch.testing.assert_close(a_network(windows[1:, :1], available=available[1:]), said[1:], **rounding)
        assert float((a_network(windows, present, available.roll(1, 0)) - said).abs().min()) > 0.01


def test_standardized_features_have_mean_0_and_deviation_1(a_network):
    windows = torch.randn(8, 1, 2, *SIZE, generator=torch.Generator().manual_seed(2))
    before = a_network.centre.clone(), a_network.spread.clone()
    with torch.no_grad():
        pooled = a_network.pooled(windows)
        a_network.standardize(pooled)
    features = (pooled - a_network.centre) / a_network.spread
    torch.testing.assert_close(features.mean(0), torch.zeros_like(a_network.centre), atol=1e-4, rtol=0)
    assert float(features.std(0, correction=0).max()) <= 1
    a_network.centre.copy_(before[0])
    a_network.spread.copy_(before[1])


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 50), min_size=2, max_size=5), balance=st.floats(0, 1))
def test_class_weights_have_mean_1_over_cases_and_balance_classes(counts, balance):
    weights = class_weights(counts, balance).double()
    cases = torch.tensor(counts, dtype=torch.float64)
    assert float((weights * cases).sum() / cases.sum()) == pytest.approx(1, rel=1e-5)
    say = class_weights(counts, 1.0).double() * cases
    torch.testing.assert_close(say, say[:1].expand_as(say), rtol=1e-5, atol=0)
    assert class_weights(counts, 0.0).tolist() == pytest.approx([1.0] * len(counts))


@pytest.mark.parametrize(
    ("architecture", "initialization", "taken"),
    [
        ("fused", "pretrained", {"vit", "unetrpp"}),
        ("fused", "vit-only", {"vit"}),
        ("fused", "unetrpp-only", {"unetrpp"}),
        ("unetrpp", "pretrained", {"unetrpp"}),
    ],
)
def test_each_start_takes_over_the_encoders_it_says(pretrained, architecture, initialization, taken):
    from topomae.training.classifier_start import initialize_classifier
    from topomae.training.initialization import find_start

    chosen = ClassifySettings(architecture=architecture, initialization=initialization)
    start = find_start(pretrained, chosen)
    spec = NetworkSpec.of(start.weights.plan, task="classification", architecture=architecture, out_channels=2)
    network = build_classifier(spec)
    initialize_classifier(network, start, initialization, ("a", "b"))
    weights = load_pretrained(pretrained).weights
    sources = {"unetrpp": "unetrpp.", "vit": "vit.encoder."}
    for name in ("unetrpp", "vit") if architecture == "fused" else ("unetrpp",):
        own = getattr(network, name).state_dict()
        same = [torch.equal(value, weights[sources[name] + key]) for key, value in own.items() if value.ndim > 1]
        assert all(same) == (name in taken)


def test_encoders_that_are_not_to_learn_stay_as_they_are(scans, pretrained, tmp_path):
    chosen = ClassifySettings(steps=3, folds=3, encoder_learning_rate_scale=0, ema=0)
    topomae.finetune(scans, tmp_path, init=pretrained, task="classification", settings=chosen)
    weights, network = load_pretrained(pretrained), load_model(tmp_path, task="classification").network
    for encoder, source in ((network.unetrpp, "unetrpp"), (network.vit, "vit.encoder")):
        before = weights.part(source)
        assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert float(network.head.weight.detach().abs().max()) > 0


def test_what_can_be_seen_is_learned_and_the_table_says_so(scans, trained, tmp_path):
    table = topomae.classify(trained, scans, tmp_path)
    found = Predictions.load(table)
    assert found.classes == ("nothing", "ball")
    result = topomae.evaluate(table, scans, tmp_path / "evaluation", bootstrap=100)
    assert result.summary.overall["auroc"].value > 0.95
    rows = [line.split(",") for line in (trained / "metrics.csv").read_text().splitlines()]
    areas = [float(value) for _, phase, name, value in rows if (phase, name) == ("validate", "auroc")]
    losses = [float(value) for _, phase, name, value in rows if (phase, name) == ("validate", "loss")]
    best = max(zip(areas, [-loss for loss in losses], strict=True))
    metadata = load_model(trained, task="classification").metadata
    assert metadata["eval_metrics"]["validation_auroc"] == best[0]
    assert metadata["eval_metrics"]["step"] == 10 * (1 + areas.index(best[0], losses.index(-best[1])))


def test_what_is_not_looked_at_changes_nothing(scans, trained, tmp_path):
    alone = Predictions.load(topomae.classify(trained, scans, tmp_path / "t2.csv", only=["t2"]))
    file = scans / "imagesTr" / "scan03_0001.nii.gz"
    single = Predictions.load(topomae.classify(trained, {"T2": file}, tmp_path / "single.csv"))
    assert len(alone.cases) == 14
    assert single.probabilities[0] == pytest.approx(alone.probabilities[3], abs=1e-6)
    with pytest.raises(BadSettingError, match="T1, T2"):
        topomae.classify(trained, scans, tmp_path, only=["PET"])


def test_one_case_by_the_names_of_its_modalities(scans, trained, tmp_path):
    whole = Predictions.load(topomae.classify(trained, scans, tmp_path / "all.csv"))
    files = {"T2": scans / "imagesTr" / "scan03_0001.nii.gz", "T1": scans / "imagesTr" / "scan03_0000.nii.gz"}
    both = Predictions.load(topomae.classify(trained, files, tmp_path / "one.csv"))
    assert both.probabilities[0] == pytest.approx(whole.probabilities[3], abs=1e-6)
    alone = Predictions.load(topomae.classify(trained, {"T1": files["T1"]}, tmp_path / "alone.csv"))
    assert not np.allclose(alone.probabilities[0], both.probabilities[0], atol=1e-6)


def test_a_volume_too_large_for_the_gpu_does_not_cost_the_others_their_rows(scans, trained, tmp_path, monkeypatch):
    from topomae.inference import classification

    look, looks = classification.class_probabilities, itertools.count()

    def look_or_fail(*given, **options):
        if next(looks) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return look(*given, **options)

    monkeypatch.setattr(classification, "class_probabilities", look_or_fail)
    with pytest.raises(RunError, match="scan02"):
        topomae.classify(trained, scans, tmp_path / "table.csv")
    assert len(Predictions.load(tmp_path / "table.csv").cases) == 13


def test_a_model_that_was_trained_with_all_modalities_needs_them_all(scans, trained):
    model = load_model(trained, task="classification")
    needy = type(model)(
        model.network,
        model.spec.model_copy(update={"missing_modalities": False}),
        model.plan,
        model.metadata,
        model.folder,
        model.classes,
    )
    with pytest.raises(BadDataError, match="T2"):
        Classifier(needy, "cpu", only=["T1"])


def test_a_stopped_and_resumed_training_equals_an_undisturbed_one(scans, pretrained, tmp_path):
    chosen = ClassifySettings(steps=9, checkpoint_every=4, validate_every=3, folds=3)
    given = {"init": pretrained, "task": "classification", "settings": chosen}

    class StopAt:
        def write(self, event):
            if event["event"] == "progress" and event["phase"] == "finetune" and event["step"] == 5:
                (tmp_path / "stopped" / "stop").touch()

        def close(self):
            pass

    topomae.finetune(scans, tmp_path / "whole", **given)
    topomae.finetune(scans, tmp_path / "stopped", **given, events=Events(StopAt()))
    assert not (tmp_path / "stopped" / "model").exists()
    topomae.finetune(scans, tmp_path / "stopped", **given)
    one, other = (
        load_model(tmp_path / name, task="classification").network.state_dict() for name in ("whole", "stopped")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "stopped" / "metrics.csv").read_bytes()


def test_a_run_does_not_go_on_with_other_classes(scans, tmp_path):
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    rows = [f"scan{n:02d},{'ball' if n % 2 else 'nothing'}" for n in range(14)]
    first.write_text("\n".join(rows))
    second.write_text("\n".join([*rows[:-1], "scan13,nothing"]))
    given = {"task": "classification", "settings": ClassifySettings(steps=3), "plan": PLAN}

    class StopAtOnce:
        def write(self, event):
            if event["event"] == "plan":
                (tmp_path / "run" / "stop").touch()

        def close(self):
            pass

    topomae.finetune(scans, tmp_path / "run", classes=first, **given, events=Events(StopAtOnce()))
    with pytest.raises(RunError, match="classes"):
        topomae.finetune(scans, tmp_path / "run", classes=second, **given)


def test_models_are_refused_for_what_they_cannot_do(scans, trained, tmp_path):
    with pytest.raises(BadDataError, match="class of whole volumes"):
        topomae.segment(trained, scans, tmp_path / "out")
    labels = np.zeros(SIZE, np.uint8)
    labels[4:9, 4:9, 4:9] = 1
    data = write_scans(tmp_path / "data", 2)
    (data / "labelsTr").mkdir()
    content = json.loads((data / "dataset.json").read_text())
    for n, entry in enumerate(content["training"]):
        entry["label"] = f"labelsTr/scan{n:02d}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), data / entry["label"])
    (data / "dataset.json").write_text(json.dumps({**content, "labels": {"0": "background", "1": "cube"}}))
    with pytest.raises(BadSettingError, match="class of whole volumes"):
        topomae.finetune(data, tmp_path / "run", init=trained)


def test_the_commands_train_classify_evaluate_and_report(scans, pretrained, tmp_path):
    def run(*arguments) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    more = ("--set", "steps=2", "--set", "folds=3")
    common = ("--data", scans, "--init", pretrained, "--run", tmp_path / "run")
    run("finetune", "--task", "classification", *common, *more)
    run("classify", "--model", tmp_path / "run", "--input", scans, "--output", tmp_path / "out")
    told = run("evaluate", "--predictions", tmp_path / "out", "--labels", scans, "--output", tmp_path / "judged")
    assert all(word in told for word in ("AUROC", "Balanced accuracy", "ball", "14 cases"))
    run("report", "--finetune", tmp_path / "run", "--evaluation", tmp_path / "judged", "--output", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert all(word in page for word in ("Reliability diagram", "95 % confidence", "scan05", "predicted ball"))


def test_the_model_folder_says_in_monai_s_words_what_it_does(trained):
    model = load_model(trained, task="classification")
    output = model.metadata["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {"0": "nothing", "1": "ball"}
    assert "topomae classify" in (trained / "model" / "docs" / "README.md").read_text()
    assert [name for name, _ in itertools.groupby(model.classes)] == ["nothing", "ball"]
