"""A pre-trained ViT encoder as weights of MONAI's own ViT or UNETR."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from monai.networks.nets import UNETR, ViT
from monai.networks.utils import copy_model_state
from safetensors.torch import save_file
from torch import nn

from topomae.data.crops import token_grid
from topomae.data.plan import Plan
from topomae.errors import BadSettingError
from topomae.exporting.comparison import Comparison, answers, compare, random_images
from topomae.files import write_json_atomic
from topomae.models.folder import load_model
from topomae.models.pretrained import is_pretrained, load_pretrained
from topomae.networks.factory import NetworkSpec
from topomae.networks.masked_vit import VitEncoder, positions
from topomae.versions import versions

EncoderFormat = Literal["monai-vit", "monai-unetr"]
WEIGHTS, DESCRIPTION = "encoder.safetensors", "encoder.json"
_UNETR_PATCH, _UNETR_LAYERS = (16, 16, 16), 12  # MONAI's UNETR has these and no others


@dataclass(frozen=True)
class Encoder:
    """A ViT encoder and where it comes from.

    Attributes:
        network: in evaluation mode.
        spec: of the network that it is a part of.
        plan: how images are prepared for it.
    """

    network: VitEncoder
    spec: NetworkSpec
    plan: Plan


def load_encoder(folder: Path) -> Encoder:
    """The ViT encoder of a pre-training run, or of a model that has one.

    Raises:
        BadDataError: the folder holds neither, or a damaged one.
        BadSettingError: the model has no ViT.
    """
    if is_pretrained(folder):
        pretrained = load_pretrained(folder)
        return Encoder(pretrained.network().vit.encoder, pretrained.spec, pretrained.plan)
    model = load_model(folder, task=None)
    encoder = getattr(model.network, "vit", None)
    if not isinstance(encoder, VitEncoder):
        raise BadSettingError(
            f"the model ({model.spec.architecture}) has no ViT encoder of TopoMAE",
            hint="Export the encoder of a pre-training run, or of a model with architecture fused.",
            path=model.folder,
        )
    return Encoder(encoder, model.spec, model.plan)


def write_encoder(encoder: Encoder, folder: Path, kind: EncoderFormat, crop_size: Sequence[int] | None) -> Comparison:
    """Write weights that `monai.networks.utils.copy_model_state` takes over, and the arguments of the constructor.

    Position codes are those of the crop: TopoMAE computes them from the grid of tokens, for any crop alike.

    Args:
        encoder: what to write.
        folder: exists and is empty.
        kind: for which of MONAI's networks.
        crop_size: (i, j, k) voxels that MONAI's network is to see; None takes those of the plan.
    Raises:
        BadSettingError: the encoder does not fit, or not with this crop.
        RunError: MONAI's network says something else than the encoder.
    """
    crop = tuple(crop_size or encoder.plan.crop_size)
    _check_crop(crop, encoder.spec.patch_size)
    if kind == "monai-unetr":
        _check_unetr(encoder)
    arguments = _arguments(encoder, kind, crop)
    weights = _weights(encoder.network, crop)
    if kind == "monai-unetr":
        weights = {f"vit.{name}": weight for name, weight in _deepened(weights, len(encoder.network.blocks)).items()}
    comparison = _try_in_monai(encoder, kind, arguments, weights, crop)
    save_file(weights, folder / WEIGHTS)
    told = "embedding of missing modalities: MONAI's network has none; where none is missing it adds nothing"
    layers = len(encoder.network.blocks)
    write_json_atomic(
        folder / DESCRIPTION,
        {
            "format": 1,
            "file": WEIGHTS,
            "class": f"monai.networks.nets.{'UNETR' if kind == 'monai-unetr' else 'ViT'}",
            "arguments": arguments,
            "left_out": [told] if encoder.network.missing.embedding is not None else [],
            "layers": {"pretrained": layers, "of": _UNETR_LAYERS if kind == "monai-unetr" else layers},
            "plan": encoder.plan.model_dump(mode="json"),
            "check": comparison.described(),
            "versions": versions(),
        },
    )
    return comparison


def _check_crop(crop: Sequence[int], patch: Sequence[int]) -> None:
    if len(crop) != 3 or any(n < p or n % p for n, p in zip(crop, patch, strict=True)):
        raise BadSettingError(
            f"a crop of {_by(crop)} voxels is no multiple of the patch of {_by(patch)} voxels",
            hint="Give three multiples of the patch by --crop-size.",
        )


def _check_unetr(encoder: Encoder) -> None:
    patch, layers = encoder.network.patch_size, len(encoder.network.blocks)
    if patch != _UNETR_PATCH or layers > _UNETR_LAYERS:
        raise BadSettingError(
            f"MONAI's UNETR has patches of {_by(_UNETR_PATCH)} voxels and {_UNETR_LAYERS} layers, this encoder "
            f"patches of {_by(patch)} voxels and {layers} layers",
            hint="Use --format monai-vit, or pre-train with --set patch_size=16,16,16.",
        )


def _arguments(encoder: Encoder, kind: EncoderFormat, crop: Sequence[int]) -> dict[str, Any]:
    block = encoder.network.blocks[0]
    common = {
        "in_channels": encoder.spec.in_channels,
        "img_size": list(crop),
        "hidden_size": encoder.network.hidden,
        "mlp_dim": block.mlp.linear1.out_features,
        "num_heads": block.attn.num_heads,
        "proj_type": "conv",
        "qkv_bias": True,
    }
    if kind == "monai-unetr":
        return {**common, "out_channels": max(2, encoder.plan.classes)}
    layers = len(encoder.network.blocks)
    return {**common, "patch_size": list(encoder.network.patch_size), "num_layers": layers, "pos_embed_type": "sincos"}


def _weights(network: VitEncoder, crop: Sequence[int]) -> dict[str, torch.Tensor]:
    """The weights by the names that MONAI's ViT has for them."""
    renamed = {f"patch_embedding.patch_embeddings.{name}": network.patch_embedding.get_parameter(name) for name in
               ("weight", "bias")}  # fmt: skip
    rest = {n: weight for n, weight in network.state_dict().items() if n.startswith(("blocks.", "norm."))}
    grid = token_grid(tuple(crop), network.patch_size)
    codes = positions(grid, network.hidden, torch.device("cpu"))
    weights = {**renamed, "patch_embedding.position_embeddings": codes, **rest}
    return {name: weight.detach().cpu().clone().contiguous() for name, weight in weights.items()}


def _deepened(weights: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """The same encoder with as many layers as UNETR has, which says the same.

    The layers are spread over those of UNETR, so that its skip connections start where they would in an encoder as
    deep. In between are copies of the layer before whose last projections are zero: they pass on what they get, and
    learn when UNETR is trained.
    """
    deep = {name: weight for name, weight in weights.items() if not name.startswith("blocks.")}
    starts = [number * _UNETR_LAYERS // layers for number in range(layers)]
    source = -1
    for place in range(_UNETR_LAYERS):
        added = place not in starts
        source += not added
        for part in [
            name.partition(f"blocks.{source}.")[2] for name in weights if name.startswith(f"blocks.{source}.")
        ]:
            weight = weights[f"blocks.{source}.{part}"]
            silent = added and part.startswith(("attn.out_proj.", "mlp.linear2."))
            deep[f"blocks.{place}.{part}"] = torch.zeros_like(weight) if silent else weight.clone()
    return deep


def _try_in_monai(
    encoder: Encoder,
    kind: EncoderFormat,
    arguments: dict[str, Any],
    weights: dict[str, torch.Tensor],
    crop: Sequence[int],
) -> Comparison:
    """Build MONAI's network as a user would, and compare its ViT with the encoder."""
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = UNETR(**arguments) if kind == "monai-unetr" else ViT(**arguments)
    with _without_logging():
        _, taken, _ = copy_model_state(network, weights)
    assert set(taken) == set(weights), "MONAI has other names for the weights of a ViT than it had"
    vit = (network.vit if kind == "monai-unetr" else network).eval()
    images = [(random_images(1, encoder.spec.in_channels, crop),)]
    found = answers(lambda image: vit(image)[0], images)
    return compare(answers(encoder.network.eval(), images), found, f"MONAI's {type(network).__name__}")


@contextmanager
def _without_logging() -> Iterator[None]:
    """Without MONAI's line on how many weights were taken."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _by(numbers: Sequence[int]) -> str:
    return " × ".join(str(n) for n in numbers)
