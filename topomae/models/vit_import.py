"""Weights of vision transformers and masked autoencoders of other programs, for the ViT of a pre-training.

Known are the names of timm and of facebookresearch/mae (`patch_embed.proj`, `blocks.0.attn.proj` …) and those of
MONAI's ViT, UNETR and MaskedAutoEncoderViT (`patch_embedding.patch_embeddings`, `blocks.0.attn.out_proj` …).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from topomae.errors import BadDataError
from topomae.networks.masked_vit import MaskedVit

# Where a transformer begins in a file, and whose names it has.
_ANCHORS = {"patch_embed.proj.weight": "timm", "patch_embedding.patch_embeddings.weight": "MONAI"}
_LINEAR = "patch_embedding.patch_embeddings.1.weight"
_PATCH = re.compile(r"(?:patch_embed\.proj|patch_embedding\.patch_embeddings)\.(weight|bias)")
_BLOCK = re.compile(r"(blocks|decoder_blocks)\.(\d{1,4})\.(.+)")
_IN_BLOCK = {"attn.proj": "attn.out_proj", "mlp.fc1": "mlp.linear1", "mlp.fc2": "mlp.linear2"}  # timm's to ours
_PARTS_OF_BLOCK = {"norm1", "norm2", "attn.qkv", "attn.out_proj", "mlp.linear1", "mlp.linear2", "norm_cross_attn"}
_OUTSIDE = {
    "norm": "encoder.norm",
    "decoder_embed": "to_decoder",
    "decoder_norm": "decoder_norm",
    "mask_token": "mask_token",
    "mask_tokens": "mask_token",
}
_WHY_NOT = {
    "cls_token": "there is no class token here",
    "pos_embed": "positions are computed here",
    "patch_embedding.position_embeddings": "positions are computed here",
    "decoder_pos_embed": "positions are computed here",
    "decoder_pos_embedding": "positions are computed here",
    "decoder_pred": "the order of voxels in a block is another",
}
_BEFORE_BLOCKS = ("norm_pre", "patch_embed.norm")  # what the first block would be given is normalized by them
_HINT = "Known are ViT and masked autoencoders of timm, facebookresearch/mae and MONAI."
_DECODER = ("to_decoder", "mask_token", "decoder.", "decoder_norm")


@dataclass(frozen=True)
class Row:
    """What became of some tensors of a file; N stands for the number of each layer.

    Attributes:
        theirs: name in the file; empty if it has none.
        ours: name in the ViT; empty for what was left out.
        what: what was done.
    """

    theirs: str
    ours: str
    what: str

    def __str__(self) -> str:
        return f"{self.theirs or '(nothing)'} -> {self.ours or '(left out)'}: {self.what}"


def import_vit(state: Mapping[str, torch.Tensor], vit: MaskedVit, path: Path) -> tuple[Row, ...]:
    """Put the weights of another program's transformer into a ViT.

    The patch embedding is fitted, see `fitted_patches`. The decoder is taken if it is as wide and deep as ours.
    Everything else stays as it was.

    Args:
        state: from `read_state`.
        vit: gets the weights; unchanged if they do not fit.
        path: of the file, for messages.
    Returns:
        What became of each tensor of the file, as the rows of a table.
    Raises:
        BadDataError: no such transformer, or one of another size.
    """
    theirs, rows = _of_transformer(state, path)
    found, names = {}, {}
    for name, tensor in theirs.items():
        ours = _our_name(name, theirs)
        if ours is None:
            rows.append(Row(name, "", _reason(name, path)))
        else:
            found[ours], names[ours] = tensor.detach().float(), name
    expected = vit.state_dict()
    for name in ("weight", "bias"):
        _check_width(found.get(f"encoder.patch_embedding.{name}"), vit, path)
    if (weight := found.get("encoder.patch_embedding.weight")) is not None:
        found["encoder.patch_embedding.weight"] = fitted_patches(weight, vit.in_channels, vit.encoder.patch_size)
        rows.append(_patch_row(names["encoder.patch_embedding.weight"], weight, vit))
    _complete_biases(found, expected, rows)
    if "mask_token" in found:
        found["mask_token"] = found["mask_token"].flatten()
    _check_encoder(found, expected, path)
    rows += _without_other_decoder(found, names, expected)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in found.values()):
        raise BadDataError("some of the weights are not finite numbers", hint="Get the file again.", path=path)
    told = {row.theirs for row in rows}
    rows += [Row(names[ours], ours, "taken") for ours in found if ours in names and names[ours] not in told]
    vit.load_state_dict({**expected, **found})
    return _joined(rows)


def fitted_patches(weight: torch.Tensor, channels: int, patch: Sequence[int]) -> torch.Tensor:
    """A patch embedding for other images, in which constant grey images keep their embedding.

    A 2-D kernel is taken for one of axial slices (its columns run along i, its rows along j) and spread evenly over
    k (inflation, Carreira & Zisserman, CVPR 2017). In another size, each weight is dealt to the voxels that it comes
    to lie on, by their share of it. Of another number of channels, the sum is dealt evenly.

    Args:
        weight: (hidden, C, p, q) or (hidden, C, p, q, r) float.
        channels: image channels here.
        patch: (i, j, k) voxels of a patch here.
    Returns:
        (hidden, channels, i, j, k).
    """
    if weight.ndim == 4:
        weight = weight.transpose(2, 3)[..., None]
    shares = [_shares(before, now) for before, now in zip(weight.shape[2:], patch, strict=True)]
    fitted = torch.einsum("hcabd,ia,jb,kd->hcijk", weight, *(share.to(weight) for share in shares))
    if fitted.shape[1] != channels:
        fitted = fitted.sum(1, keepdim=True).expand(-1, channels, -1, -1, -1) / channels
    return fitted.contiguous()


def _shares(before: int, now: int) -> torch.Tensor:
    """(now, before): the part of each old voxel that lies in each new one, over the same length; columns sum to 1."""
    old, new = torch.arange(before + 1) / before, torch.arange(now + 1) / now
    begin = torch.maximum(old[None, :-1], new[:-1, None])
    end = torch.minimum(old[None, 1:], new[1:, None])
    return (end - begin).clamp(min=0) * before


def _of_transformer(state: Mapping[str, torch.Tensor], path: Path) -> tuple[dict[str, torch.Tensor], list[Row]]:
    """The tensors of the transformer, by their names in it, and rows for all others."""
    starts = [name[: -len(anchor)] for anchor in _ANCHORS for name in state if _ends(name, anchor)]
    if not starts:
        linear = any(_ends(name, _LINEAR) for name in state)
        told = "its patches go through a linear layer (proj_type perceptron)" if linear else "nothing in it is one"
        raise BadDataError(f"holds no vision transformer that can be taken over: {told}", hint=_HINT, path=path)
    start = min(starts, key=len)
    theirs = {name[len(start) :]: tensor for name, tensor in state.items() if name.startswith(start)}
    return theirs, [Row(name, "", "no part of the transformer") for name in state if not name.startswith(start)]


def _ends(name: str, anchor: str) -> bool:
    return name == anchor or name.endswith("." + anchor)


def _our_name(name: str, theirs: Mapping[str, torch.Tensor]) -> str | None:
    """Name in a `MaskedVit`; None for what has no place there."""
    if match := _PATCH.fullmatch(name):
        return f"encoder.patch_embedding.{match[1]}"
    if match := _BLOCK.fullmatch(name):
        blocks, number, rest = match.groups()
        encoder = blocks == "blocks"
        if rest in ("weight", "bias"):  # MONAI's masked autoencoder has the normalization behind the blocks
            return f"encoder.norm.{rest}" if encoder else f"decoder_norm.{rest}"
        part, _, kind = rest.rpartition(".")
        part = _IN_BLOCK.get(part, part)
        if part in _PARTS_OF_BLOCK and kind in ("weight", "bias"):
            return f"{'encoder.blocks' if encoder else 'decoder'}.{int(number)}.{part}.{kind}"
        return None
    if name in ("mask_token", "mask_tokens"):
        return "mask_token"
    part, _, kind = name.rpartition(".")
    return f"{_OUTSIDE[part]}.{kind}" if part in _OUTSIDE and kind in ("weight", "bias") else None


def _reason(name: str, path: Path) -> str:
    """Why a tensor is left out.

    Raises:
        BadDataError: without it, the layers would compute something else.
    """
    match = _BLOCK.fullmatch(name)
    of_block = match and match[1] == "blocks" and not match[3].startswith("cross_attn.")  # which MONAI did not use
    if of_block or name.rpartition(".")[0] in _BEFORE_BLOCKS:
        raise BadDataError(f"its layers have something that those here do not have ({name})", hint=_HINT, path=path)
    return _WHY_NOT.get(name) or _WHY_NOT.get(name.rpartition(".")[0]) or "has no place here"


def _check_width(tensor: torch.Tensor | None, vit: MaskedVit, path: Path) -> None:
    if tensor is None or tensor.ndim not in (1, 4, 5) or len(tensor) != vit.encoder.hidden:
        width = "another number of" if tensor is None or not tensor.ndim else len(tensor)
        raise BadDataError(
            f"its tokens have {width} channels, those of the network here have {vit.encoder.hidden}",
            hint="ViT-B (768 channels, 12 layers) fits --size base.",
            path=path,
        )


def _patch_row(name: str, weight: torch.Tensor, vit: MaskedVit) -> Row:
    ours, done = (vit.in_channels, *vit.encoder.patch_size), []
    if weight.ndim == 4:
        done.append("inflated to 3-D")
    if weight.shape[1] != vit.in_channels:
        done.append("channels shared out")
    if tuple(weight.shape[2:]) != tuple(ours[1 : weight.ndim - 1]):
        done.append("resized")
    shapes = f" ({_by(weight.shape[1:])} to {_by(ours)})"
    return Row(name, "encoder.patch_embedding.weight", ", ".join(done) + shapes if done else "taken")


def _complete_biases(found: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor], rows: list[Row]) -> None:
    """Layers without a bias of their own say the same with one that is zero."""
    for name in expected:
        if name.endswith("attn.qkv.bias") and name not in found and name.replace("bias", "weight") in found:
            found[name] = torch.zeros_like(expected[name])
            rows.append(Row("", name, "zero, as the file has none"))


def _check_encoder(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], path: Path) -> None:
    layers = {name.split(".")[2] for name in expected if name.startswith("encoder.blocks.")}
    there = {name.split(".")[2] for name in found if name.startswith("encoder.blocks.")}
    if layers != there:
        raise BadDataError(
            f"it has {len(there)} layers, the network here has {len(layers)}",
            hint="ViT-B (768 channels, 12 layers) fits --size base.",
            path=path,
        )
    optional = (".norm_cross_attn.", "encoder.missing.", "encoder.norm.")
    for name, tensor in expected.items():
        if not name.startswith("encoder.") or (name not in found and any(part in name for part in optional)):
            continue
        if name not in found:
            raise BadDataError(f"lacks {name.removeprefix('encoder.')}", hint="Get the file again.", path=path)
        if found[name].shape != tensor.shape:
            raise BadDataError(
                f"its {name.removeprefix('encoder.')} is {_by(found[name].shape)}, here it is {_by(tensor.shape)}",
                hint="ViT-B (768 channels, 12 layers) fits --size base.",
                path=path,
            )


def _without_other_decoder(
    found: dict[str, torch.Tensor], names: Mapping[str, str], expected: Mapping[str, torch.Tensor]
) -> list[Row]:
    """Take the decoder out of `found` unless it fits as a whole; rows that say so."""
    needed = [n for n in expected if n.startswith(_DECODER) and ".norm_cross_attn." not in n]
    there = [name for name in found if name.startswith(_DECODER)]
    fits = all(name in found for name in needed) and all(
        name in expected and found[name].shape == expected[name].shape for name in there
    )
    if fits:
        return []
    for name in there:
        del found[name]
    return [Row(names[name], "", "the decoder is of another size") for name in there if name in names]


def _joined(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The table with one row for what happened alike in all layers."""
    counted: dict[Row, int] = {}
    for row in rows:
        one = Row(*(re.sub(r"(blocks|decoder)\.\d+\.", r"\1.N.", part) for part in (row.theirs, row.ours)), row.what)
        counted[one] = counted.get(one, 0) + 1
    return tuple(
        row if count == 1 else Row(row.theirs, row.ours, f"{row.what} ({count} layers)")
        for row, count in counted.items()
    )


def _by(shape: Sequence[int]) -> str:
    return "×".join(str(n) for n in shape)
