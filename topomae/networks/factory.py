"""From a specification to a network: the sizes by name, and every architecture that can be fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from monai.networks.nets import UNETR, SwinUNETR
from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import nn

from topomae.data.plan import Plan
from topomae.networks.classifier import VolumeClassifier
from topomae.networks.co_pretrainer import CoPretrainer
from topomae.networks.fused_segmenter import FusedSegmenter
from topomae.networks.masked_vit import MaskedVit, VitEncoder, VitSize
from topomae.networks.modalities import hide_missing
from topomae.networks.unetrpp import GROUPS, Form, Unetrpp, UnetrppSegmenter, UnetrppSize

Architecture = Literal["fused", "unetrpp", "unetr", "swinunetr"]
Size = Literal["small", "base"]
Task = Literal["segmentation", "classification"]
BlockNorm = Literal["batch", "group", "instance"]
Grid = tuple[PositiveInt, PositiveInt, PositiveInt]

UNETRPP_SIZES: dict[Size, UnetrppSize] = {
    "base": UnetrppSize(),  # as published
    "small": UnetrppSize(
        blocks=(1, 1, 1, 1),
        projected_decoder=32,
        dropout=0.0,
        norm="instance",  # batches of two to four are too small for batch statistics
        form="joined",
    ),
}
BLOCK_NORMS = {"batch": "batch", "group": GROUPS, "instance": "instance"}  # as MONAI names them
_EARLIER_BLOCK_NORM = {"base": "batch", "small": "group"}  # of networks that do not say which
VIT_SIZES: dict[Size, VitSize] = {
    "base": VitSize(),
    "small": VitSize(hidden=192, layers=6, heads=6, decoder_hidden=96, decoder_layers=2, decoder_heads=6),
}
# MONAI's UNETR at both sizes, as its own arguments.
UNETR_SIZES: dict[Size, dict[str, int]] = {
    "base": {},  # as published
    "small": {"feature_size": 8, "hidden_size": 192, "mlp_dim": 768, "num_heads": 6},
}


class NetworkSpec(BaseModel):
    """Everything needed to build a network again: written beside its weights.

    Attributes:
        task: what the network says: a class of each voxel, or of the whole volume.
        architecture: `fused` is TopoMAE; `unetrpp`, `unetr` and `swinunetr` are baselines.
        size: `small` for CPUs and laptops, `base` as published.
        in_channels: image channels (modalities).
        out_channels: classes; of segmentation, background included.
        crop_size: (i, j, k) voxels of the crops it is trained on.
        patch_size: (i, j, k) voxels of one ViT token.
        stem_stride: (i, j, k) voxels of one token of UNETR++'s first stage.
        fused_stages: encoder stages that ViT features are added to.
        missing_modalities: whether it was trained to do without some of its modalities.
        block_norm: normalization inside UNETR++'s blocks; None in files of earlier versions.
        form: how UNETR++'s stages are connected; None in files of earlier versions, which had the published form.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task = "segmentation"
    architecture: Architecture = "fused"
    size: Size = "small"
    in_channels: PositiveInt
    out_channels: PositiveInt
    crop_size: Grid
    patch_size: Grid
    stem_stride: Grid
    fused_stages: tuple[int, ...] = (3,)
    missing_modalities: bool = False
    block_norm: BlockNorm | None = None
    form: Form | None = None

    @classmethod
    def of(cls, plan: Plan, **choices: object) -> NetworkSpec:
        """The specification that a plan calls for; `choices` are fields that the plan does not decide, or not so."""
        planned = {
            "size": plan.size,
            "in_channels": plan.channels,
            "out_channels": plan.classes,
            "crop_size": plan.crop_size,
            "patch_size": plan.patch_size,
            "stem_stride": plan.stem_stride,
            "block_norm": UNETRPP_SIZES[plan.size].norm,
            "form": UNETRPP_SIZES[plan.size].form,
        }
        return cls(**planned | choices)

    @property
    def unetrpp_size(self) -> UnetrppSize:
        """How UNETR++ is built, also in networks of earlier versions."""
        norm = BLOCK_NORMS[self.block_norm or _EARLIER_BLOCK_NORM[self.size]]
        return replace(UNETRPP_SIZES[self.size], norm=norm, form=self.form or "published")


def build_segmenter(spec: NetworkSpec) -> nn.Module:
    """Build the segmentation network of a specification, randomly initialized.

    In training mode it returns a list of logits, finest first; in evaluation mode one tensor
    (B, out_channels, D, H, W) for an image (B, in_channels, D, H, W) and, where modalities are missing,
    `available`, (B, in_channels) bool.
    """
    if spec.architecture == "fused":
        return FusedSegmenter(_unetrpp(spec), _vit_encoder(spec), spec.out_channels, spec.fused_stages)
    if spec.architecture == "unetrpp":
        return UnetrppSegmenter(_unetrpp(spec), spec.out_channels)
    if spec.architecture == "unetr":
        return PaddedSegmenter(_unetr(spec), multiple=16)
    return PaddedSegmenter(_swin_unetr(spec), multiple=32, least=64)


def build_classifier(spec: NetworkSpec) -> VolumeClassifier:
    """Build the classification network of a specification, randomly initialized.

    Raises:
        ValueError: an architecture that classification does not have.
    """
    if spec.architecture not in ("fused", "unetrpp"):
        raise ValueError(f"{spec.architecture} cannot classify")
    vit = _vit_encoder(spec) if spec.architecture == "fused" else None
    return VolumeClassifier(_unetrpp(spec), vit, spec.out_channels)


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build the network of a specification, whatever its task."""
    return build_classifier(spec) if spec.task == "classification" else build_segmenter(spec)


def build_co_pretrainer(spec: NetworkSpec) -> CoPretrainer:
    """Build the pre-training network whose parts `build_segmenter(spec)` takes over."""
    vit = MaskedVit(spec.in_channels, spec.patch_size, VIT_SIZES[spec.size])
    return CoPretrainer(vit, _unetrpp(spec))


class PaddedSegmenter(nn.Module):
    """A MONAI network behind the same calls: pads what it cannot divide and cuts the answer again."""

    def __init__(self, network: nn.Module, multiple: int, least: int = 0):
        super().__init__()
        self.network = network
        self.multiple = multiple
        self.least = least  # below that, nothing is left to normalize over at the bottleneck

    def padded(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Voxels along each axis of what the network is given for an image of a shape."""
        return tuple(max(self.least, -(-n // self.multiple) * self.multiple) for n in shape)

    def forward(self, image: torch.Tensor, available: torch.Tensor | None = None) -> list[torch.Tensor] | torch.Tensor:
        image = hide_missing(image, available)
        d, h, w = image.shape[2:]
        missing = [wide - n for wide, n in zip(self.padded((d, h, w)), (d, h, w), strict=True)]
        padded = F.pad(image, [end for n in reversed(missing) for end in (0, n)])
        logits = self.network(padded)[:, :, :d, :h, :w]
        return [logits] if self.training else logits


def _unetrpp(spec: NetworkSpec) -> Unetrpp:
    return Unetrpp(spec.in_channels, spec.crop_size, spec.stem_stride, spec.unetrpp_size)


def _vit_encoder(spec: NetworkSpec) -> VitEncoder:
    return VitEncoder(spec.in_channels, spec.patch_size, VIT_SIZES[spec.size])


def _unetr(spec: NetworkSpec) -> UNETR:
    img_size = [-(-n // 16) * 16 for n in spec.crop_size]
    return UNETR(spec.in_channels, spec.out_channels, img_size, **UNETR_SIZES[spec.size])


def _swin_unetr(spec: NetworkSpec) -> SwinUNETR:
    return SwinUNETR(spec.in_channels, spec.out_channels, feature_size=12 if spec.size == "small" else 48)
