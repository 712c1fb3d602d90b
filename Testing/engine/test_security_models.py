"""A model that comes from elsewhere cannot run code, read elsewhere, or take the memory it asks for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from security_traps import Payload, deep, most_memory, sparse, with_links

from topomae.data.plan import Plan
from topomae.data.volume_io import write_image
from topomae.errors import BadDataError, RunError, TopoMAEError
from topomae.inference.segmentation import segment
from topomae.models.bundle import model_card
from topomae.models.folder import load_model, save_model
from topomae.models.pretrained import load_pretrained, save_pretrained
from topomae.networks.factory import NetworkSpec, build_co_pretrainer, build_segmenter
from topomae.networks.outline import outline
from topomae.runs.folder import Run

WEIGHTS = "models/model.safetensors"


@pytest.fixture(scope="module")
def a_plan() -> Plan:
    return Plan(
        dataset="phantoms",
        modalities=("MRI",),
        labels={1: "ring"},
        spacing=(1, 1, 1),
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
    return NetworkSpec(architecture="unetrpp", in_channels=1, out_channels=2, **sizes)


@pytest.fixture(scope="module")
def a_saved_model(a_spec, a_plan, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "phantoms"
    return save_model(folder, build_segmenter(a_spec), a_spec, a_plan, training={}, metrics={})


@pytest.fixture
def a_model(a_saved_model, tmp_path) -> Path:
    return Path(shutil.copytree(a_saved_model, tmp_path / "model"))


@pytest.fixture
def a_pretrained(a_spec, a_plan, tmp_path) -> Path:
    save_pretrained(tmp_path / "pretrained", build_co_pretrainer(a_spec), a_spec, a_plan)
    return tmp_path / "pretrained"


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def change_network(folder: Path, **changes) -> None:
    network = json.loads((folder / "network.json").read_text(encoding="utf-8"))["network"]
    change_json(folder / "network.json", network=network | changes)


def forge_weights(folder: Path, content: bytes) -> None:
    """Other weights, with a checksum that fits."""
    (folder / WEIGHTS).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    change_json(folder / "network.json", weights_sha256=sha256, weights_bytes=len(content))


def header_only(content: dict, data: int = 0) -> bytes:
    """A safetensors file with any header, and so many bytes of data."""
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def tensor(shape: list[int], end: int) -> dict:
    """A tensor as a header declares it."""
    return {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}


def with_types(folder: Path, change) -> None:
    weights = {name: change(weight) for name, weight in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / "forged")
    forge_weights(folder, (folder / "forged").read_bytes())


ATTACKS = {
    "a pickle for weights": (lambda f: forge_weights(f, pickle.dumps(Payload(f / "executed"))), "damaged"),
    "a checkpoint for weights": (
        lambda f: (torch.save(Payload(f / "executed"), f / "x"), forge_weights(f, (f / "x").read_bytes())),
        "damaged",
    ),
    "a tensor larger than its file": (
        lambda f: forge_weights(f, header_only({"a": tensor([10**12], 16)}, 16)),
        "damaged",
    ),
    "offsets beyond the file": (
        lambda f: forge_weights(f, header_only({"a": tensor([4], 2**60)}, 16)),
        "damaged",
    ),
    "a header longer than the file": (lambda f: forge_weights(f, (2**62).to_bytes(8, "little") + b"{}"), "damaged"),
    "a header of many names": (
        lambda f: forge_weights(f, header_only({str(n): tensor([0], 0) for n in range(100_000)})),
        "is missing",
    ),
    "double precision": (lambda f: with_types(f, torch.Tensor.double), "float64 instead of float32"),
    "whole numbers": (lambda f: with_types(f, torch.Tensor.int), "int32 instead of float32"),
    "complex numbers": (lambda f: with_types(f, lambda w: w.to(torch.complex64)), "complex64 instead of"),
    "infinite weights": (lambda f: with_types(f, lambda w: w / 0), "not finite"),
    "enormous weights": (
        lambda f: (sparse(f / WEIGHTS, 1 << 40), change_json(f / "network.json", weights_bytes=1 << 40)),
        "impossibly large",
    ),
    "an enormous crop": (lambda f: change_network(f, crop_size=[1 << 20] * 3), "impossibly large"),
    "enormous patches": (lambda f: change_network(f, architecture="fused", patch_size=[1 << 10] * 3), "do not fit"),
    "an endless list of stages": (lambda f: change_network(f, fused_stages=[3] * 10**5), "impossibly large"),
    "enormous numbers": (lambda f: change_network(f, in_channels=10**4000), "network.json says"),
    "many images": (
        lambda f: (
            change_network(f, in_channels=10**5),
            change_json(f / "plan.json", modalities=["a"] * 10**5, normalization=[{"kind": "robust"}] * 10**5),
        ),
        "do not fit",
    ),
    "code for an architecture": (lambda f: change_network(f, architecture="os.system"), "architecture"),
    "unknown entries": (lambda f: change_network(f, _target_="os.system"), "_target_"),
    "JSON of 1 GB": (lambda f: sparse(f / "plan.json", 1 << 30), "too many"),
    "deep JSON": (lambda f: (f / "network.json").write_text(deep(100_000)), "nested too deeply"),
    "deep metadata": (lambda f: (f / "configs/metadata.json").write_text(deep(100_000)), "nested too deeply"),
    "a number of many digits": (lambda f: (f / "plan.json").write_text('{"version":' + "1" * 10**5 + "}"), "digits"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_malicious_model_is_refused_with_a_sentence_and_without_the_memory_it_asks_for(a_model, attack):
    act, words = ATTACKS[attack]
    act(a_model)
    before = most_memory()
    with pytest.raises(TopoMAEError) as refused:
        load_model(a_model)
    assert words in refused.value.message and refused.value.hint
    assert len(refused.value.message) < 6000
    assert not (a_model / "executed").exists()
    taken = most_memory() - before
    assert taken < 400, f"{taken:.0f} MB"


LINKED = ["plan.json", "network.json", "configs/metadata.json", WEIGHTS]


@with_links
@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("target", ["outside", "/dev/zero", "pipe", "loop", "relative"])
def test_a_file_of_a_model_that_leads_elsewhere_is_not_read(a_model, tmp_path, name, target):
    place = a_model / name
    outside = tmp_path / "outside"
    shutil.copy(place, outside)
    place.unlink()
    if target == "pipe":
        os.mkfifo(place)
    else:
        goals = {"loop": place, "outside": outside, "relative": os.path.relpath(outside, place.parent)}
        place.symlink_to(goals.get(target, target))
    with pytest.raises(BadDataError, match=r"leads out|missing|no such|not a model|cannot be used"):
        load_model(a_model)


@with_links
def test_a_model_may_be_reached_by_a_link_and_have_links_within(a_model, tmp_path):
    (a_model / WEIGHTS).rename(a_model / "models" / "blob")
    (a_model / WEIGHTS).symlink_to("blob")
    (tmp_path / "latest").symlink_to(a_model)
    assert load_model(tmp_path / "latest").plan.dataset == "phantoms"


def test_what_the_configuration_for_monai_says_is_never_run(a_model, tmp_path):
    marker = tmp_path / "executed"
    code = {"_target_": "pathlib.Path.touch", "self": f"$__import__('pathlib').Path({str(marker)!r})"}
    expression = f"$open({str(marker)!r}, 'w')"
    evil = {"network_def": code, "run": [expression], "imports": [expression], "_meta_": code}
    for name in ("configs/inference.json", "configs/train.json", "configs/logging.conf"):
        (a_model / name).write_text(json.dumps(evil))
    metadata = json.loads((a_model / "configs/metadata.json").read_text()) | {"training": code, "network_def": code}
    (a_model / "configs/metadata.json").write_text(json.dumps(metadata))
    (a_model / "scripts").mkdir()
    (a_model / "scripts" / "__init__.py").write_text(f"open({str(marker)!r}, 'w')")
    image = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    write_image(tmp_path / "image.nii.gz", image[None], np.eye(4))
    segment(a_model, tmp_path / "image.nii.gz", tmp_path / "out.nii.gz", device="cpu")
    assert (tmp_path / "out.nii.gz").is_file() and not marker.exists()


def test_a_network_is_outlined_as_it_is_built(a_spec):
    for build in (lambda: build_segmenter(a_spec), lambda: build_co_pretrainer(a_spec)):
        state = {name: (weight.shape, weight.dtype) for name, weight in build().state_dict().items()}
        assert outline(build) == state


def test_a_malicious_pretrained_network_is_refused(a_pretrained, tmp_path):
    file, description = a_pretrained / "pretrained.safetensors", a_pretrained / "network.json"
    weights, spec = load_file(file), description.read_text()
    load_pretrained(a_pretrained).network()
    changes = {
        "impossibly large": {"crop_size": [1 << 20] * 3},
        "do not fit": {"patch_size": [1 << 10] * 3},
        "_target_": {"_target_": "os.system"},
    }
    for words, change in changes.items():
        description.write_text(json.dumps(json.loads(spec) | change))
        with pytest.raises(BadDataError, match=words):
            load_pretrained(a_pretrained)
    description.write_text(spec)
    name = next(iter(weights))
    for bad in (weights[name] * float("nan"), weights[name].double(), torch.zeros(3)):
        save_file(weights | {name: bad}, file)
        with pytest.raises(BadDataError, match="damaged"):
            load_pretrained(a_pretrained)
    file.write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(BadDataError, match="damaged"):
        load_pretrained(a_pretrained)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    file = io.BytesIO()
    torch.save({"state": Payload(tmp_path / "executed")}, file)
    checksum = hashlib.sha256(file.getvalue()).hexdigest()[:16]
    with Run.open(tmp_path / "run", "test", {}) as run:
        run.checkpoints.folder.mkdir()
        (run.checkpoints.folder / f"last-00000001-{checksum}.pt").write_bytes(file.getvalue())
        with pytest.raises(RunError, match="cannot read the checkpoint"):
            run.load_checkpoint()
    assert not (tmp_path / "executed").exists()


def test_a_model_card_takes_no_name_for_markdown_or_html(a_spec, a_plan):
    evil = "x](javascript:alert(1))\n\n# Heading <script>|`"
    plan = a_plan.model_copy(update={"dataset": evil, "labels": {1: evil}, "modalities": (evil,)})
    card = model_card(a_spec, plan, {}, {evil: evil})
    assert not re.search(r"(?<!\\)<script|^# Heading|(?<!\\)\]\(java", card, re.MULTILINE)
