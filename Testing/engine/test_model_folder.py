"""Model folders: what is written is read back; what was changed is refused; nothing in them is executed."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import pickle
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import topomae.models.folder as model_folder
from topomae.data.plan import Plan
from topomae.errors import BadDataError, RunError
from topomae.files import write_json_atomic
from topomae.models.folder import load_model, save_model
from topomae.models.label_table import LabelTable, colour_of, terminology_of
from topomae.networks.factory import NetworkSpec, build_segmenter

WEIGHTS = "models/model.safetensors"


@pytest.fixture(scope="module")
def a_plan() -> Plan:
    return Plan(
        dataset="phantoms",
        modalities=("MRI",),
        labels={2: "left kidney", 5: "ring"},
        spacing=(1, 1, 2),
        normalization=({"kind": "robust"},),
        crop_size=(16, 16, 16),
        patch_size=(8, 8, 8),
        stem_stride=(2, 2, 2),
        batch_size=1,
        size="small",
    )


@pytest.fixture(scope="module")
def a_spec(a_plan) -> NetworkSpec:
    sizes = a_plan.model_dump(include={"crop_size", "patch_size", "stem_stride", "size"})
    return NetworkSpec(architecture="unetrpp", in_channels=1, out_channels=3, **sizes)


@pytest.fixture(scope="module")
def a_network(a_spec) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_segmenter(a_spec).to(memory_format=torch.channels_last_3d).eval()


@pytest.fixture(scope="module")
def a_saved_model(a_network, a_spec, a_plan, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "phantoms"
    training = {"cases": ["a", "b"], "learning_rate": 1e-3, "loss": float("nan")}
    return save_model(folder, a_network, a_spec, a_plan, training=training, metrics={"dice": 0.91})


@pytest.fixture
def a_copy(a_saved_model, tmp_path) -> Path:
    return Path(shutil.copytree(a_saved_model, tmp_path / "copy"))


def change_json(path: Path, **changes) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def change_network(folder: Path, **changes) -> None:
    network = json.loads((folder / "network.json").read_text(encoding="utf-8"))["network"]
    change_json(folder / "network.json", network=network | changes)


def replace_weights(folder: Path, content: bytes) -> None:
    """Other weights with a checksum that fits."""
    (folder / WEIGHTS).write_bytes(content)
    change_json(
        folder / "network.json",
        weights_sha256=hashlib.sha256(content).hexdigest(),
        weights_bytes=len(content),
    )


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / "changed")
    replace_weights(folder, (folder / "changed").read_bytes())


def test_a_model_comes_back_with_its_answers_plan_and_provenance(a_saved_model, a_network, a_plan, a_spec):
    model = load_model(a_saved_model)
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(model.network(image), a_network(image))
    assert (model.plan, model.spec, model.folder) == (a_plan, a_spec, a_saved_model)
    assert not model.network.training
    assert model.metadata["training"] == {"cases": ["a", "b"], "learning_rate": 1e-3, "loss": None}
    assert model.metadata["eval_metrics"] == {"dice": 0.91}


def test_a_finished_run_stands_for_its_model(a_saved_model, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(a_saved_model, run / "model")
    (run / "settings.json").write_text('{"kind": "finetune", "settings": {}}')
    assert load_model(run).folder == run / "model"


def test_metadata_and_labels_say_what_goes_in_and_comes_out(a_saved_model):
    metadata = json.loads((a_saved_model / "configs/metadata.json").read_text(encoding="utf-8"))
    required = "version monai_version pytorch_version numpy_version task description authors copyright"
    assert all(metadata[name] for name in required.split())
    formats = metadata["network_data_format"]
    assert formats["inputs"]["image"]["channel_def"] == {"0": "MRI"}
    assert formats["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "left kidney", "2": "ring"}
    assert formats["outputs"]["pred"]["num_channels"] == 3
    labels = json.loads((a_saved_model / "labels.json").read_text(encoding="utf-8"))["labels"]
    assert [(one["value"], one["name"]) for one in labels] == [(2, "left kidney"), (5, "ring")]
    kidney = labels[0]["terminology"]
    assert (kidney["type"]["value"], kidney["modifier"]["meaning"]) == ("64033007", "Left")
    assert labels[1]["terminology"] is None
    card = (a_saved_model / "docs/README.md").read_text(encoding="utf-8")
    assert "left kidney" in card and "0.91" in card


def test_a_monai_user_can_run_the_bundle(a_saved_model, tmp_path, monkeypatch):
    from monai.bundle import run  # what `python -m monai.bundle run` calls

    monkeypatch.setattr(sys, "path", list(sys.path))  # MONAI adds the bundle to it
    image = np.random.default_rng(0).integers(0, 100, (12, 14, 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(image, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "image.nii.gz")
    run(
        config_file=str(a_saved_model / "configs/inference.json"),
        bundle_root=str(a_saved_model),
        input=str(tmp_path / "image.nii.gz"),
        output=str(tmp_path / "out"),
        device="cpu",
    )
    assert nib.load(tmp_path / "out/image.nii.gz").shape == (12, 14, 9)


def test_the_configuration_builds_the_network_with_monai(a_saved_model, a_network):
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(a_saved_model / "configs/inference.json"))
    parser["bundle_root"] = str(a_saved_model)
    network, inferer = parser.get_parsed_content("network_def"), parser.get_parsed_content("inferer")
    image = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.allclose(inferer(image, network), a_network(image), atol=1e-5)


def corrupt_a_byte(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def cut_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-7])


def lose_a_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop(sorted(weights)[0]))


def add_a_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update(unheard_of=torch.zeros(2)))


def reshape_a_weight(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({sorted(weights)[0]: torch.zeros(2, 3)}))


def diverge(folder: Path) -> None:
    def put_nan(weights) -> None:
        name = next(name for name in weights if weights[name].is_floating_point())
        weights[name] = torch.full_like(weights[name], float("nan"))

    change_weights(folder, put_nan)


DAMAGES = {
    "checksum differs": corrupt_a_byte,
    "bytes where": cut_weights,
    f"{WEIGHTS} is missing": lambda folder: (folder / WEIGHTS).unlink(),
    "is missing": lose_a_weight,
    "unheard_of is unknown": add_a_weight,
    "is 2×3 instead of": reshape_a_weight,
    "not finite": diverge,
    "plan.json is missing": lambda folder: (folder / "plan.json").unlink(),
    "network.json is missing": lambda folder: (folder / "network.json").unlink(),
    "not valid JSON": lambda folder: (folder / "network.json").write_text('{"format": 1,'),
    "newer version": lambda folder: change_json(folder / "network.json", format=2, surprise=True),
    "made by a newer": lambda folder: change_json(folder / "plan.json", version=7),
    "network > architecture": lambda folder: change_network(folder, architecture="os.system"),
    "2 images": lambda folder: change_network(folder, in_channels=2),
    "impossibly large": lambda folder: change_network(folder, crop_size=[4096, 4096, 4096]),
    "labels": lambda folder: change_json(folder / "plan.json", labels={"-1": "x", "2": "y"}),
    "cannot be built": lambda folder: change_network(folder, architecture="fused", fused_stages=[99]),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_a_damaged_model_is_refused_by_name(a_copy, told):
    DAMAGES[told](a_copy)
    with pytest.raises(BadDataError) as refused:
        load_model(a_copy)
    assert told in refused.value.message
    assert str(refused.value.path).startswith(str(a_copy))
    assert refused.value.hint


def test_a_pickle_in_place_of_weights_is_not_opened(a_copy, tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    replace_weights(a_copy, pickle.dumps(Payload()))
    with pytest.raises(BadDataError, match="damaged"):
        load_model(a_copy)
    assert not (tmp_path / "executed").exists()


def test_folders_that_are_no_model_say_what_they_are(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished/settings.json").write_text('{"kind": "finetune", "settings": {}}')
    (tmp_path / "pretrained/model").mkdir(parents=True)
    (tmp_path / "pretrained/model/pretrained.safetensors").touch()
    (tmp_path / "file").touch()
    told = {
        "nowhere": "no such model folder",
        "file": "is a file",
        "empty": "is not a model folder",
        "unfinished": "has not finished",
        "pretrained": "cannot segment yet",
    }
    for name, words in told.items():
        with pytest.raises(BadDataError, match=words) as refused:
            load_model(tmp_path / name)
        assert refused.value.path == tmp_path / name and refused.value.hint


def test_a_write_that_fails_leaves_the_old_model_and_nothing_else(a_copy, a_network, a_spec, a_plan, monkeypatch):
    def full_disk(path, value) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (a_copy / "network.json").read_bytes()
    monkeypatch.setattr(model_folder, "write_json_atomic", full_disk)
    for folder in (a_copy, a_copy.parent / "new"):
        with pytest.raises(RunError, match="No space left"):
            save_model(folder, a_network, a_spec, a_plan, training={}, metrics={})
    assert (a_copy / "network.json").read_bytes() == before
    assert [path.name for path in a_copy.parent.iterdir()] == ["copy"]
    load_model(a_copy)


def test_a_model_replaces_a_model_but_nothing_else(a_copy, a_network, a_spec, a_plan, tmp_path):
    (a_copy.parent / ".tmp-0123.copy").mkdir()  # of a writer that was killed
    save_model(a_copy, a_network, a_spec, a_plan, training={}, metrics={"dice": 0.5})
    assert load_model(a_copy).metadata["eval_metrics"] == {"dice": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="other things"):
        save_model(mine, a_network, a_spec, a_plan, training={}, metrics={})
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_the_random_state_is_left_alone(a_saved_model):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_model(a_saved_model)
    assert torch.equal(torch.rand(4), expected)


def test_labels_have_distinct_colours_and_only_certain_terms(tmp_path):
    colours = [colour_of(place) for place in range(60)]
    assert len(set(colours)) == 60
    assert all(
        sum(abs(a - b) for a, b in zip(*pair, strict=True)) > 60 for pair in itertools.combinations(colours[:16], 2)
    )
    assert terminology_of("Right_Atrium").type.meaning == "Right atrium"
    assert terminology_of("right atrium").modifier is None
    assert terminology_of("Kidney (R)") is None and terminology_of("label 1") is None
    table = LabelTable.of({1: "Leber", 4: "spleen"})
    write_json_atomic(tmp_path / "labels.json", table.model_dump(mode="json"))
    assert LabelTable.model_validate_json((tmp_path / "labels.json").read_bytes()) == table
