"""Pre-trained encoders in MONAI's own networks: every weight finds its place and means the same there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNETR, ViT
from monai.networks.utils import copy_model_state
from safetensors.torch import load_file

import topomae
from topomae.data.plan import Plan
from topomae.errors import BadSettingError
from topomae.models.folder import save_model
from topomae.models.pretrained import load_pretrained, save_pretrained
from topomae.networks import factory
from topomae.networks.factory import NetworkSpec, build_co_pretrainer, build_network
from topomae.networks.masked_vit import VitSize

EXAMPLE = Path(topomae.__file__).parents[1] / "docs" / "examples" / "pretrained_encoder_in_monai.py"


def a_plan(size="small", patch=(8, 8, 8), modalities=("T1", "FLAIR")) -> Plan:
    return Plan(
        dataset="phantoms",
        modalities=modalities,
        labels={},
        spacing=(1, 1, 1),
        normalization=({"kind": "robust"},) * len(modalities),
        crop_size=(16, 32, 16),
        patch_size=patch,
        stem_stride=(4, 4, 4),
        batch_size=1,
        size=size,
    )


def a_pretraining(folder: Path, plan: Plan) -> Path:
    spec = NetworkSpec.of(plan, missing_modalities=plan.channels > 1)
    torch.manual_seed(0)
    save_pretrained(folder, build_co_pretrainer(spec), spec, plan)
    return folder


def the_export(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    description = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    return description, load_file(folder / description["file"])


@pytest.mark.parametrize("crop", [None, (24, 16, 40)])
def test_an_encoder_in_monais_vit_says_the_same(tmp_path, crop):
    run = a_pretraining(tmp_path / "run", a_plan())
    topomae.export(run, tmp_path / "out", format="monai-vit", crop_size=crop)
    description, weights = the_export(tmp_path / "out")
    vit = ViT(**description["arguments"]).eval()
    _, taken, left = copy_model_state(vit, weights)
    assert not left and set(taken) == set(weights)
    image = torch.randn(2, 2, *(crop or (16, 32, 16)))
    encoder = load_pretrained(run).network().vit.encoder
    with torch.no_grad():
        torch.testing.assert_close(vit(image)[0], encoder(image), rtol=1e-5, atol=1e-5)
    assert "missing modalities" in description["left_out"][0]


def test_the_encoder_of_a_fused_model_can_be_had_too(tmp_path):
    plan = a_plan(modalities=("MRI",)).model_copy(update={"labels": {1: "liver"}})
    spec = NetworkSpec.of(plan)
    network = build_network(spec)
    model = save_model(tmp_path / "model", network, spec, plan, training={}, metrics={})
    topomae.export(model, tmp_path / "out", format="monai-vit")
    _, weights = the_export(tmp_path / "out")
    assert torch.equal(weights["blocks.5.mlp.linear2.weight"], network.vit.blocks[5].mlp.linear2.weight)


@pytest.mark.parametrize("layers", [6, 12, 5])
def test_an_encoder_says_the_same_in_monais_unetr_which_may_be_deeper(tmp_path, monkeypatch, layers):
    narrow = VitSize(hidden=48, layers=layers, heads=4, decoder_hidden=24, decoder_layers=1, decoder_heads=4)
    monkeypatch.setitem(factory.VIT_SIZES, "small", narrow)
    run = a_pretraining(tmp_path / "run", a_plan(patch=(16, 16, 16)))
    topomae.export(run, tmp_path / "out", format="monai-unetr", crop_size=(32, 48, 32))
    description, weights = the_export(tmp_path / "out")
    unetr = UNETR(**description["arguments"]).eval()
    _, taken, left = copy_model_state(unetr, weights)
    assert set(taken) == set(weights) and not [name for name in left if name.startswith("vit.")]
    image = torch.randn(1, 2, 32, 48, 32)
    encoder = load_pretrained(run).network().vit.encoder
    with torch.no_grad():
        torch.testing.assert_close(unetr.vit(image)[0], encoder(image), rtol=1e-5, atol=1e-5)
        assert unetr(image).shape == (1, 2, 32, 48, 32)
    unetr(image).sum().backward()  # layers that were added learn as well
    assert all(block.attn.out_proj.weight.grad.abs().max() > 0 for block in unetr.vit.blocks)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"format": "monai-unetr"}, "UNETR has patches of 16 × 16 × 16 voxels and 12 layers"),
        ({"format": "monai-vit", "crop_size": (20, 32, 16)}, "no multiple of the patch"),
        ({"format": "monai-vit", "crop_size": (16, 32)}, "no multiple of the patch"),
        ({"format": "onnx", "crop_size": (16, 32, 16)}, "takes no other"),
        ({"format": "tflite"}, "no format 'tflite'"),
    ],
)
def test_what_cannot_fit_is_said_in_one_sentence_and_nothing_is_written(tmp_path, given, told):
    run = a_pretraining(tmp_path / "run", a_plan())
    with pytest.raises(BadSettingError, match=told) as error:
        topomae.export(run, tmp_path / "out", **given)
    assert "\n" not in str(error.value) and [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_network_without_our_vit_is_refused(tmp_path):
    plan = a_plan(modalities=("MRI",)).model_copy(update={"labels": {1: "liver"}})
    spec = NetworkSpec.of(plan, architecture="unetr")
    model = save_model(tmp_path / "model", build_network(spec), spec, plan, training={}, metrics={})
    with pytest.raises(BadSettingError, match=r"\(unetr\) has no ViT encoder of TopoMAE"):
        topomae.export(model, tmp_path / "out", format="monai-vit")


def test_the_example_runs_as_a_reader_would_run_it(tmp_path):
    command = [sys.executable, str(EXAMPLE), "--output", str(tmp_path / "out"), "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ViT: 89 weights taken over, 0 left; tokens (1, 64, 192)" in done.stdout
    assert "UNETR: 173 weights of the encoder taken over" in done.stdout
    assert "logits of a larger volume (1, 5, 80, 64, 64)" in done.stdout


def test_the_pages_examples_in_python_run(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    plan = a_plan(modalities=("MRI",)).model_copy(update={"labels": {3: "liver"}})
    spec = NetworkSpec.of(plan)
    save_model(tmp_path / "model", build_network(spec), spec, plan, training={}, metrics={})
    topomae.export("model", "network", format="onnx")
    topomae.export("model", "encoder", format="monai-vit", crop_size=(96, 96, 96))
    page = (EXAMPLE.parents[1] / "ecosystem.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict = {}
    for code in blocks:
        exec(compile(code, "docs/ecosystem.md", "exec"), names)
    assert len(blocks) == 2 and set(names["labels"].flatten()) <= {0, 3} and names["labels"].shape == (1, 16, 32, 16)
    assert names["network"](torch.zeros(1, 1, 96, 96, 96))[0].shape == (1, 1728, 192)
