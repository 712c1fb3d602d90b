"""Weights of other programs' transformers: what fits is taken, what does not is said, and nothing is executed."""

from __future__ import annotations

import json
import re

import pytest
import torch
from monai.networks.nets import MaskedAutoEncoderViT, ViT
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import topomae
from topomae.cli import app
from topomae.config import PretrainSettings
from topomae.data.phantoms import make_phantoms
from topomae.errors import BadDataError, BadSettingError
from topomae.models.state_files import read_state
from topomae.models.vit_import import fitted_patches, import_vit
from topomae.networks.factory import VIT_SIZES
from topomae.networks.masked_vit import MaskedVit, VitSize

SIZE = VitSize(hidden=48, layers=3, heads=4, decoder_hidden=24, decoder_layers=2, decoder_heads=4)
COMMON = {"hidden_size": 48, "mlp_dim": 192, "num_layers": 3, "num_heads": 4}
TIMM = {"patch_embedding.patch_embeddings": "patch_embed.proj", "attn.out_proj": "attn.proj", "mlp.linear1": "mlp.fc1",
        "mlp.linear2": "mlp.fc2", "patch_embedding.position_embeddings": "pos_embed"}  # fmt: skip


def our_vit(channels=1, patch=(8, 8, 8)) -> MaskedVit:
    torch.manual_seed(1)
    return MaskedVit(channels, patch, SIZE).eval()


def monai_vit(**changes) -> ViT:
    torch.manual_seed(2)
    arguments = {"in_channels": 1, "img_size": (16, 24, 16), "patch_size": 8, "pos_embed_type": "sincos"}
    return ViT(**arguments | COMMON | {"qkv_bias": True} | changes).eval()


def with_timm_names(network: ViT) -> dict[str, torch.Tensor]:
    """A 2-D ViT of MONAI, which is the same network, by the names that timm and facebookresearch/mae have."""
    state = {}
    for name, weight in network.state_dict().items():
        for ours, theirs in TIMM.items():
            name = name.replace(ours, theirs)
        if "norm_cross_attn" not in name:
            state[name] = weight
    return state | {"cls_token": torch.zeros(1, 1, 48), "head.weight": torch.zeros(1000, 48)}


def table(rows) -> str:
    return "\n".join(map(str, rows))


@pytest.mark.parametrize("bias", [True, False])
def test_a_vit_of_monai_says_the_same_here(bias):
    theirs, ours, image = monai_vit(qkv_bias=bias), our_vit(), torch.randn(2, 1, 16, 24, 16)
    import_vit(theirs.state_dict(), ours, "weights")
    with torch.no_grad():
        torch.testing.assert_close(ours.encoder(image), theirs(image)[0], rtol=1e-5, atol=1e-5)


def test_everything_of_a_masked_autoencoder_of_monai_that_has_a_place_is_taken():
    decoder = {"decoder_hidden_size": 24, "decoder_mlp_dim": 96, "decoder_num_layers": 2, "decoder_num_heads": 4}
    theirs = MaskedAutoEncoderViT(1, 16, 8, qkv_bias=True, **COMMON, **decoder).state_dict()
    theirs["blocks.3.weight"].add_(1), theirs["decoder_blocks.2.weight"].add_(1)
    ours = our_vit()
    told = table(import_vit(theirs, ours, "weights"))
    state = ours.state_dict()
    pairs = {
        "encoder.norm.weight": "blocks.3.weight",
        "encoder.blocks.2.attn.out_proj.weight": "blocks.2.attn.out_proj.weight",
        "decoder.1.mlp.linear2.bias": "decoder_blocks.1.mlp.linear2.bias",
        "decoder_norm.weight": "decoder_blocks.2.weight",
        "to_decoder.weight": "decoder_embed.weight",
    }
    assert all(torch.equal(state[mine], theirs[yours]) for mine, yours in pairs.items())
    assert torch.equal(state["mask_token"], theirs["mask_tokens"].flatten())
    assert "cls_token -> (left out): there is no class token here" in told
    assert "decoder_pred.weight -> (left out)" in told
    assert "blocks.N.attn.qkv.weight -> encoder.blocks.N.attn.qkv.weight: taken (3 layers)" in told


def test_a_decoder_of_another_size_is_left_out_whole():
    decoder = {"decoder_hidden_size": 36, "decoder_mlp_dim": 96, "decoder_num_layers": 2, "decoder_num_heads": 4}
    theirs = MaskedAutoEncoderViT(1, 16, 8, qkv_bias=True, **COMMON, **decoder).state_dict()
    ours = our_vit()
    before = {name: weight.clone() for name, weight in ours.state_dict().items() if not name.startswith("encoder.")}
    told = table(import_vit(theirs, ours, "weights"))
    assert all(torch.equal(ours.state_dict()[name], weight) for name, weight in before.items())
    assert "decoder_embed.weight -> (left out): the decoder is of another size" in told


def test_patches_of_colour_pictures_see_grey_volumes_as_they_saw_grey_pictures():
    flat = monai_vit(spatial_dims=2, img_size=(16, 16), in_channels=3, patch_size=16)
    ours = our_vit(patch=(16, 16, 4))
    rows = table(import_vit({"model." + n: w for n, w in with_timm_names(flat).items()} | {"epoch": torch.ones(1)},
                            ours, "weights"))  # fmt: skip
    picture = torch.randn(16, 16)  # rows along j, columns along i
    volume = picture.T[None, None, :, :, None].expand(-1, -1, -1, -1, 4)
    with torch.no_grad():
        here = ours.encoder.patch_embedding(volume).flatten()
        there = flat.patch_embedding.patch_embeddings(picture.expand(1, 3, -1, -1)).flatten()
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)
    wanted = "patch_embed.proj.weight -> encoder.patch_embedding.weight: inflated to 3-D, channels shared out (3×16×16"
    assert wanted in rows
    assert "epoch -> (left out): no part of the transformer" in rows and "head.weight -> (left out)" in rows
    for ours_name, theirs in (("attn.out_proj", "attn.proj"), ("mlp.linear1", "mlp.fc1")):
        expected = with_timm_names(flat)[f"blocks.1.{theirs}.weight"]
        assert torch.equal(ours.state_dict()[f"encoder.blocks.1.{ours_name}.weight"], expected)


@pytest.mark.parametrize("patch", [(8, 8, 8), (16, 16, 4), (12, 10, 3)])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_patch_embedding_of_another_size_keeps_the_embedding_of_constant_images(patch, channels):
    for shape in [(6, 3, 16, 16), (6, 1, 16, 16, 16), (6, channels, *patch)]:
        weight = torch.randn(shape)
        fitted = fitted_patches(weight, channels, patch)
        assert fitted.shape == (6, channels, *patch)
        torch.testing.assert_close(fitted.flatten(1).sum(1), weight.flatten(1).sum(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fitted, weight)


def changed(change) -> dict[str, torch.Tensor]:
    state = with_timm_names(monai_vit(spatial_dims=2, img_size=(16, 16), in_channels=3, patch_size=16))
    return change(state) or state


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {n: w for n, w in s.items() if "patch_embed" not in n}, "no vision transformer"),
        (lambda s: {n: w for n, w in s.items() if not n.startswith("blocks.2.")}, "it has 2 layers, .* 3"),
        (lambda s: {n: w for n, w in s.items() if n != "blocks.1.mlp.fc1.bias"}, "lacks blocks.1.mlp.linear1.bias"),
        (lambda s: s.update({"norm_pre.weight": torch.ones(48)}), r"do not have \(norm_pre.weight\)"),
        (lambda s: s.update({"blocks.0.ls1.gamma": torch.ones(48)}), r"do not have \(blocks.0.ls1.gamma\)"),
        (lambda s: s.update({"blocks.0.mlp.fc1.weight": torch.ones(64, 48)}), "is 64×48, here it is 192×48"),
        (lambda s: s.update({"norm.weight": torch.full((48,), torch.nan)}), "not finite"),
        (lambda s: s.update({"patch_embed.proj.weight": torch.ones(96, 3, 16, 16)}), "96 channels, .* have 48"),
        (lambda s: s.update({"patch_embed.proj.weight": torch.tensor(1.0)}), "another number of channels"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_and_nothing_is_changed(change, told):
    ours = our_vit()
    before = {name: weight.clone() for name, weight in ours.state_dict().items()}
    with pytest.raises(BadDataError, match=told) as error:
        import_vit(changed(change), ours, "weights.pth")
    assert "\n" not in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in ours.state_dict().items())


class Trap:
    """What an attacker would put into a file."""

    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_are_not_weights_alone_are_refused_and_never_executed(tmp_path, capsys):
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save({"model": {}, "epoch": 3}, tmp_path / "empty.pth")
    torch.save({"patch_embed.proj.weight": torch.ones(2), "args": Trap()}, tmp_path / "trap.pth")
    torch.save({"cls_token": torch.eye(3).to_sparse()}, tmp_path / "sparse.pth")
    torch.save({"cls_token": torch.ones(3, device="meta")}, tmp_path / "meta.pth")
    for name in ("text.pth", "text.safetensors", "empty.pth", "trap.pth", "sparse.pth", "meta.pth", "nowhere.pth"):
        with pytest.raises(BadDataError) as error:
            read_state(tmp_path / name)
        assert "\n" not in str(error.value) and error.value.hint
    assert "executed" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=4, labelled=1)


@pytest.fixture(scope="module")
def a_file(tmp_path_factory):
    """Weights of a 2-D network as wide and deep as the small one, as facebookresearch/mae has them."""
    small = VIT_SIZES["small"]
    size = {"hidden_size": small.hidden, "mlp_dim": 4 * small.hidden, "num_layers": small.layers, "num_heads": 6}
    state = with_timm_names(monai_vit(spatial_dims=2, img_size=(32, 32), in_channels=3, patch_size=16, **size))
    path = tmp_path_factory.mktemp("weights") / "mae.pth"
    torch.save({"model": state}, path)
    return path


def test_a_pre_training_begins_with_the_weights_and_writes_down_what_became_of_them(phantoms, a_file, tmp_path):
    settings = PretrainSettings(steps=1, learning_rate=1e-12, weight_decay=0, topology_weight=0)
    model = topomae.pretrain(phantoms, tmp_path / "run", init=a_file, settings=settings, device="cpu")
    weights, theirs = load_file(model / "pretrained.safetensors"), torch.load(a_file, weights_only=True)["model"]
    for number in range(6):
        found = weights[f"vit.encoder.blocks.{number}.attn.qkv.weight"]
        torch.testing.assert_close(found, theirs[f"blocks.{number}.attn.qkv.weight"], rtol=1e-4, atol=1e-6)
    written = json.loads((tmp_path / "run" / "imported.json").read_text(encoding="utf-8"))
    assert {"theirs": "cls_token", "ours": "", "what": "there is no class token here"} in written["weights"]
    told = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert "begins with weights of mae.pth" in told
    assert json.loads((model / "training.json").read_text())["imported"] == written["sha256"]
    with pytest.raises(BadSettingError, match="weights of another program"):
        topomae.reproduce(tmp_path / "run", tmp_path / "again", data=phantoms)


def test_the_command_refuses_a_wrong_file_before_anything_is_written(phantoms, tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    for file in (tmp_path / "nowhere.pth", tmp_path):
        arguments = ["pretrain", "--data", phantoms, "--run", tmp_path / "run", "--init", file]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 1 and not (tmp_path / "run").exists()
        assert re.search("no such file of weights|this is a folder", " ".join(result.output.split()))
