"""Exports: other programs get the same answers, or nothing at all is written."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import load_net_with_metadata
from typer.testing import CliRunner

import topomae
from topomae.cli import app
from topomae.data.plan import Plan
from topomae.errors import BadSettingError, RunError, TopoMAEError
from topomae.exporting import network as exporting_network
from topomae.models.folder import load_model, save_model
from topomae.networks.factory import VIT_SIZES, NetworkSpec, build_network
from topomae.networks.masked_vit import MaskedVit

CROP = (16, 24, 16)


def a_plan(modalities=("MRI",)) -> Plan:
    return Plan(
        dataset="phantoms",
        modalities=modalities,
        labels={2: "left kidney", 5: "ring"},
        spacing=(1, 1, 2),
        normalization=({"kind": "robust"},) * len(modalities),
        crop_size=CROP,
        patch_size=(8, 8, 8),
        stem_stride=(2, 2, 2),
        batch_size=1,
        size="small",
    )


def saved(folder: Path, plan: Plan, classes=(), **choices) -> Path:
    spec = NetworkSpec.of(plan, **choices)
    torch.manual_seed(0)
    network = build_network(spec).eval()
    training = {"cases": ["patient one"]}
    return save_model(folder, network, spec, plan, training=training, metrics={"dice": 0.5}, classes=classes)


@pytest.fixture(scope="module")
def a_model(tmp_path_factory) -> Path:
    """A fused network of one modality."""
    return saved(tmp_path_factory.mktemp("models") / "one", a_plan())


@pytest.fixture(scope="module")
def a_model_of_two(tmp_path_factory) -> Path:
    """A network that does without one of its two modalities."""
    plan = a_plan(("T1", "FLAIR"))
    return saved(tmp_path_factory.mktemp("models") / "two", plan, architecture="unetrpp", missing_modalities=True)


@pytest.fixture(scope="module")
def a_classifier(tmp_path_factory) -> Path:
    choices = {"task": "classification", "architecture": "unetrpp", "out_channels": 2}
    return saved(tmp_path_factory.mktemp("models") / "classes", a_plan(), classes=("ill", "well"), **choices)


def logits(model: Path, *given: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return load_model(model).network(*given)


def described(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


# --- bundle -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_bundle(a_model, tmp_path_factory) -> Path:
    return topomae.export(a_model, tmp_path_factory.mktemp("exports") / "a bundle").folder


def monai_bundle(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    """`python -m monai.bundle`, in the folder of a bundle."""
    if importlib.util.find_spec("fire") is None:
        pytest.skip("MONAI's command line needs the package fire")
    command = [sys.executable, "-m", "monai.bundle", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_a_bundle_has_what_the_specification_asks_for(a_bundle, a_model):
    # https://docs.monai.io/en/stable/mb_specification.html: files, mandatory keys, and keys of tensors
    weights = torch.load(a_bundle / "models" / "model.pt", weights_only=True)
    expected = load_model(a_model).network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())
    metadata = json.loads((a_bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    made_with = [f"{name}_version" for name in ("monai", "pytorch", "numpy")]
    texts = ["schema", "version", *made_with, "task", "description", "authors", "copyright"]
    assert all(isinstance(metadata[key], str) and metadata[key] for key in texts)
    assert isinstance(metadata["required_packages_version"], dict) and metadata["schema"].startswith("https://")
    tensors = metadata["network_data_format"]
    for tensor in (tensors["inputs"]["image"], tensors["outputs"]["pred"]):
        assert tensor.keys() >= {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"}
        assert (tensor["spatial_shape"], tensor["dtype"], tensor["type"]) == ([*CROP], "float32", "image")
    assert load_model(a_bundle).plan == a_plan()


def test_monai_accepts_the_metadata(a_bundle, tmp_path):
    schema = os.environ.get("TOPOMAE_MONAI_SCHEMA")  # meta_schema_20240725.json, where there is no network
    if schema:
        shutil.copy(schema, tmp_path / "schema.json")
    done = monai_bundle(
        a_bundle, "verify_metadata", "--meta_file", "configs/metadata.json", "--filepath", tmp_path / "schema.json"
    )
    if not (tmp_path / "schema.json").exists():
        pytest.skip("MONAI downloads the schema of metadata, and cannot here")
    assert done.returncode == 0 and "verified with no error" in done.stdout + done.stderr


def test_monai_finds_the_network_to_take_and_give_what_the_metadata_say(a_bundle):
    files = ("--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json")
    done = monai_bundle(a_bundle, "verify_net_in_out", "network_def", *files)
    assert done.returncode == 0, done.stderr
    assert "data shape of network is verified with no error" in done.stdout + done.stderr


def test_monai_runs_the_bundle(a_bundle, tmp_path):
    image = np.random.default_rng(0).integers(0, 100, (12, 14, 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(image, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "image.nii.gz")
    where = ("--input", tmp_path / "image.nii.gz", "--output", tmp_path / "out", "--device", "cpu")
    done = monai_bundle(a_bundle, "run", "--config_file", "configs/inference.json", *where)
    assert done.returncode == 0, done.stderr
    expected = topomae.segment(a_bundle, tmp_path / "image.nii.gz", tmp_path / "expected.nii.gz", device="cpu")
    found = nib.load(tmp_path / "out" / "image.nii.gz")
    np.testing.assert_array_equal(found.get_fdata(), nib.load(expected[0]).get_fdata())


# --- the network alone ------------------------------------------------------------------------------


def test_torchscript_says_the_same_and_holds_what_monai_reads(a_model, tmp_path):
    folder = topomae.export(a_model, tmp_path / "out", format="torchscript").folder
    network, metadata, _ = load_net_with_metadata(str(folder / "model.ts"))
    image = torch.randn(3, 1, *CROP)
    torch.testing.assert_close(network(image), logits(a_model, image), rtol=1e-4, atol=1e-5)
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == 1
    assert "patient one" not in json.dumps(metadata)


def test_an_exported_program_says_the_same_where_a_modality_is_missing(a_model_of_two, tmp_path):
    exported = topomae.export(a_model_of_two, tmp_path / "out", format="torch-export")
    network = torch.export.load(exported.folder / "model.pt2").module()
    image, available = torch.randn(3, 2, *CROP), torch.tensor([[True, True], [True, False], [False, True]])
    expected = logits(a_model_of_two, image, available)
    torch.testing.assert_close(network(image, available), expected, rtol=1e-4, atol=1e-5)
    assert exported.check["difference"] <= exported.check["tolerance"] * exported.check["largest"]


def test_onnx_says_the_same_and_names_what_goes_in_and_comes_out(a_model_of_two, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = topomae.export(a_model_of_two, tmp_path / "out", format="onnx").folder
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = {one.name: one.shape for one in session.get_inputs()}
    assert {name: shape[1:] for name, shape in inputs.items()} == {"image": [2, *CROP], "available": [2]}
    image, available = torch.randn(3, 2, *CROP), torch.tensor([[True, True], [True, False], [False, True]])
    (found,) = session.run(["pred"], {"image": image.numpy(), "available": available.numpy()})
    expected = logits(a_model_of_two, image, available)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-4)


def test_the_description_says_how_to_use_the_file(a_model, tmp_path):
    told = described(topomae.export(a_model, tmp_path / "out", format="torchscript").folder)
    assert told["inputs"]["image"]["shape"] == ["batch", 1, *CROP] and "available" not in told["inputs"]
    assert told["inputs"]["image"]["normalization"] == [{"kind": "robust"}]
    assert told["outputs"]["pred"]["label_values"] == [0, 2, 5]
    assert told["outputs"]["pred"]["channels"] == ["background", "left kidney", "ring"]
    assert [label["name"] for label in told["labels"]] == ["left kidney", "ring"]
    assert Plan.check(told["plan"]) == a_plan()


# --- refusals ---------------------------------------------------------------------------------------


def test_a_network_that_classifies_is_a_bundle_or_nothing(a_classifier, tmp_path):
    with pytest.raises(BadSettingError, match="whole volumes") as error:
        topomae.export(a_classifier, tmp_path / "out", format="onnx")
    assert "--format bundle" in error.value.hint and not (tmp_path / "out").exists()
    topomae.export(a_classifier, tmp_path / "out")
    assert load_model(tmp_path / "out", task="classification").classes == ("ill", "well")


def test_what_says_something_else_than_the_network_is_not_written(a_model, tmp_path, monkeypatch):
    wrong = lambda image: torch.zeros(len(image), 3, *CROP)  # noqa: E731
    monkeypatch.setattr(exporting_network, "_torchscript", lambda *_: wrong)
    with pytest.raises(RunError, match="differs from the network"):
        topomae.export(a_model, tmp_path / "out", format="torchscript")
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_that_fails_is_told_in_one_sentence(a_model, tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("operator aten::odd is not known\nand more\nlines")

    monkeypatch.setattr(exporting_network, "_torch_export", fails)
    with pytest.raises(
        RunError, match="cannot export this fused network as torch-export: operator aten::odd"
    ) as error:
        topomae.export(a_model, tmp_path / "out", format="torch-export")
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_onnx_without_its_packages_names_the_command_that_installs_them(a_model, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(BadSettingError, match=r"not installed here \(onnxscript\)") as error:
        topomae.export(a_model, tmp_path / "out", format="onnx")
    assert 'pip install "topomae[onnx]"' in error.value.hint and list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(a_model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="something already"):
        topomae.export(a_model, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    (tmp_path / "out" / "thesis.txt").unlink()
    topomae.export(a_model, tmp_path / "out")  # an empty folder is no obstacle


def test_a_damaged_model_is_not_passed_on(a_model, tmp_path):
    copy = shutil.copytree(a_model, tmp_path / "copy")
    (copy / "models" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(TopoMAEError):
        topomae.export(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_wrote_and_how_exact_it_is(a_model, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "160"})

    result = run(a_model, tmp_path / "out", "--format", "torchscript")
    assert result.exit_code == 0 and "model.ts" in result.output and "at most" in result.output
    assert "three whole numbers" in run(a_model, tmp_path / "b", "--format", "monai-vit", "--crop-size", "9").output
    assert "takes no other" in run(a_model, tmp_path / "b", "--crop-size", "32,32,32").output
    assert run(a_model, tmp_path / "b", "--format", "tflite").exit_code == 2
    assert "topomae export" in run("--help").output


def test_a_trace_of_an_encoder_that_misses_nothing_takes_any_batch_and_follows_any_device():
    encoder = MaskedVit(2, (8, 8, 8), VIT_SIZES["small"]).encoder.eval()
    image = torch.randn(2, 2, 16, 16, 16)
    with torch.no_grad():
        encoder(image)  # the codes of places are made once
        traced = torch.jit.trace(encoder, image, check_trace=False)
        torch.testing.assert_close(traced(image[:1]), encoder(image[:1]))
        assert 'torch.device("cpu")' not in traced.code
        program = torch.export.export(encoder, (image,))
        assert program.module().to("meta")(image.to("meta")).device.type == "meta"
