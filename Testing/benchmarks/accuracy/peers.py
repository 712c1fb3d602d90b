"""MONAI's networks, trained from scratch in one loop on what TopoMAE's fine-tuning sees.

They get the same preprocessed volumes, crops, augmentation, foreground sampling, schedule, averaging of weights and
choice by validation as the engine's fine-tuning; Dice and cross-entropy are MONAI's `DiceCELoss`, the optimizer is
AdamW. `mae-unetr` is the usual masked autoencoder before that: MONAI's `MaskedAutoEncoderViT` learns to rebuild
hidden patches of the training images, and its encoder starts MONAI's UNETR (He et al., arXiv:2111.06377; Zhou et
al., "Self pre-training with masked autoencoders for medical image classification and segmentation",
arXiv:2203.05573). `topomae-unetr` is the same with the encoder that `topomae pretrain` trains and `topomae export`
hands over: what TopoMAE has learned, in another architecture.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from budget import Pace, clock, synchronize, timed
from engine_methods import Conditions, EngineMethod
from monai.losses import DiceCELoss
from monai.networks.nets import UNETR, DynUNet, MaskedAutoEncoderViT
from monai.networks.utils import copy_model_state
from protocol import Cell
from safetensors.torch import load_file
from torch import nn

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.dataset import open_dataset
from topomae.data.loading import FinetuningCrops, PretrainingCrops, batches
from topomae.data.plan import Plan
from topomae.data.volume_io import write_labels
from topomae.inference.segmentation import Segmenter
from topomae.inference.sliding_window import predict_scores
from topomae.networks.factory import UNETR_SIZES, NetworkSpec, PaddedSegmenter, build_segmenter
from topomae.training.averaging import averaged_model
from topomae.training.optimization import make_optimizer, set_learning_rate
from topomae.training.segmentation import dice_per_class

LEARNING_RATES = {"small": 1e-3, "base": 3e-4}  # of AdamW at its peak; not tuned for any of them
PRETRAINING_RATES = {"small": 1e-3, "base": 1.5e-4}
_FILTERS = {"small": (16, 32, 64, 128), "base": (32, 64, 128, 256, 320)}
_PATCH = 16  # of MONAI's UNETR
_TIMED = 6


def build_peer(method: str, plan: Plan) -> nn.Module:
    """The network of a method, with the same calls as the engine's: logits in a list in training, alone otherwise."""
    if method == "dynunet":
        filters = _FILTERS[plan.size]
        strides = [1, *[2] * (len(filters) - 1)]
        network = DynUNet(3, plan.channels, plan.classes, [3] * len(filters), strides, strides[1:], filters=filters)
        return PaddedSegmenter(network, multiple=2 ** (len(filters) - 1))
    if method == "topomae-unetr":  # the encoder has a bias that MONAI leaves out by default
        unetr = UNETR(plan.channels, plan.classes, padded_crop(plan), **UNETR_SIZES[plan.size], qkv_bias=True)
        return PaddedSegmenter(unetr, multiple=_PATCH)
    architecture = {"swinunetr": "swinunetr", "unetr": "unetr", "mae-unetr": "unetr"}[method]
    return build_segmenter(NetworkSpec.of(plan, architecture=architecture))


def padded_crop(plan: Plan) -> list[int]:
    """The crop that UNETR sees: a multiple of its patch along each axis."""
    return [-(-n // _PATCH) * _PATCH for n in plan.crop_size]


@dataclass
class Recipe:
    """How a network is optimized.

    Attributes:
        settings: resolved; learning rate, decay, warm-up, clipping, averaging and seed of the engine.
        plan: crop and batch.
        device: `cpu` or `cuda`.
    """

    settings: Any
    plan: Plan
    device: str

    def optimize(
        self,
        network: nn.Module,
        crops: torch.utils.data.Dataset,
        loss: Callable[[dict[str, torch.Tensor]], torch.Tensor],
        steps: int,
        after_step: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Take `steps` steps of AdamW with a cosine schedule; `loss` maps a batch on the device to a scalar."""
        workers = 0 if self.device == "cpu" else 8
        stream = batches(
            crops,
            batch_size=self.plan.batch_size,
            first_step=0,
            last_step=steps,
            workers=workers,
            pin_memory=self.device == "cuda",
        )
        optimizer = make_optimizer([(network, 1.0)], self.settings)
        for step, batch in enumerate(stream):
            network.train()
            set_learning_rate(optimizer, step, steps, self.settings.warmup, "cosine")
            optimizer.zero_grad()
            on_device = {name: value.to(self.device) for name, value in batch.items()}
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device == "cuda"):
                value = loss(on_device)
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), self.settings.gradient_clip)
            optimizer.step()
            after_step(step + 1)

    def pace(self, network: nn.Module, crops: torch.utils.data.Dataset, loss_of: Callable) -> float:
        """Seconds of a step, on a copy that is thrown away; the first half also fills caches."""
        trial = copy.deepcopy(network)
        marks: list[float] = []

        def mark(done: int) -> None:
            if done % _TIMED == 0:
                synchronize(self.device)
                marks.append(clock(self.device))

        self.optimize(trial, crops, loss_of(trial), 2 * _TIMED, mark)
        return min(then - before for before, then in pairwise(marks)) / _TIMED


class Peer:
    """A MONAI network as a method of the study."""

    def __init__(self, given: Conditions):
        self.given = given

    def __call__(self, cell: Cell, data: Path, run: Path) -> tuple[Callable[[Path, Path], None], dict[str, Any]]:
        """Train a cell; see `protocol.Train`."""
        given = self.given
        plan = topomae.plan(
            data, size=given.size, device=given.device, overrides=given.plan, check_labels=True, cache=given.cache
        )
        dataset = open_dataset(data)
        split = dataset.fixed_split
        labelled = [name for name in split.train if dataset.case(name).label is not None]
        torch.manual_seed(cell.seed)
        network = build_peer(cell.method, plan).to(given.device)
        before = {"seconds": 0.0, "steps": 0}
        if cell.method == "mae-unetr":
            images = PreprocessedCases(given.cache / "peers", dataset, split.train, plan, with_label=False)
            before = self._pretrain(network, images, plan, cell.seed)
        if cell.method == "topomae-unetr":
            before = self._take_encoder(network, plan, cell, data)
        cases = PreprocessedCases(given.cache / "peers", dataset, labelled, plan, with_label=True)
        val = PreprocessedCases(given.cache / "peers", dataset, split.val, plan, with_label=True)
        for group in (cases, val):
            group.prepare()
        training = self._train(network, cases, val, plan, cell.seed, before["seconds"])
        report = {
            "pretraining": before,
            "training": training,
            "seconds": round(before["seconds"] + training["seconds"], 1),
            "parameters": sum(p.numel() for p in network.parameters()),
            "validation_dice": training.pop("validation_dice"),
            "crop_size": list(plan.crop_size),
            "batch_size": plan.batch_size,
        }
        run.mkdir(parents=True, exist_ok=True)
        (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
        return lambda images, output: self._segment(network, plan, images, output), report

    def _train(
        self, network: nn.Module, cases: PreprocessedCases, val: PreprocessedCases, plan: Plan, seed: int, spent: float
    ) -> dict[str, Any]:
        """Fine-tune with labels; leaves the chosen weights in the network."""
        given = self.given
        settings = FinetuneSettings(seed=seed, learning_rate=LEARNING_RATES[plan.size]).resolved(plan.size)
        crops = FinetuningCrops(
            cases,
            plan,
            seed=seed,
            foreground_fraction=settings.foreground_fraction,
            augmentation=settings.augmentation,
        )
        recipe = Recipe(settings, plan, given.device)
        objective = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)

        def loss_of(trained: nn.Module) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
            return lambda batch: objective(trained(batch["image"])[0].float(), batch["label"])

        steps, pace = given.steps, None
        if given.budget is not None:
            some = range(min(3, len(val)))
            seconds = timed(lambda: [self._dice(network, val, place, plan) for place in some], given.device)
            validation = seconds / max(1, len(some)) * len(val)
            pace = Pace(recipe.pace(network, crops, loss_of), validation)
            steps = pace.steps_within(given.budget - spent, given.validations)
        average = averaged_model(network, settings.ema)
        best: dict[str, Any] = {"dice": -1.0, "weights": None, "step": steps}
        every = -(-steps // given.validations)

        def after_step(done: int) -> None:
            average.update_parameters(network)
            if len(val) and (done % every == 0 or done == steps):
                kept = average.module.eval()
                scores = np.array([self._dice(kept, val, place, plan) for place in range(len(val))])
                dice = float(np.nanmean(np.nanmean(scores, axis=0)))
                if dice > best["dice"]:
                    best.update(dice=dice, weights=copy.deepcopy(kept.state_dict()), step=done)

        began = clock(given.device)
        recipe.optimize(network, crops, loss_of(network), steps, after_step)
        synchronize(given.device)
        seconds = clock(given.device) - began
        network.load_state_dict(best["weights"] or average.module.state_dict())
        network.eval()
        return {
            "seconds": round(seconds, 1),
            "steps": steps,
            "pace": pace and pace.__dict__,
            "step_chosen": best["step"],
            "validation_dice": best["dice"] if best["weights"] else None,
        }

    def _dice(self, network: nn.Module, cases: PreprocessedCases, place: int, plan: Plan) -> list[float]:
        """Dice of every class of a validation case, on the preprocessed grid."""
        case = cases[place]
        logits = predict_scores(network, torch.from_numpy(np.array(case.image)), plan, device=self.given.device)
        return dice_per_class(logits.argmax(0).numpy(), case.label, plan.classes)

    def _pretrain(self, network: nn.Module, images: PreprocessedCases, plan: Plan, seed: int) -> dict[str, Any]:
        """Train a masked autoencoder on images without labels, and put its encoder into the UNETR."""
        given = self.given
        images.prepare()
        settings = PretrainSettings(seed=seed, learning_rate=PRETRAINING_RATES[plan.size]).resolved(plan.size)
        crops = PretrainingCrops(images, plan, mask_ratio=settings.mask_ratio, seed=seed)
        torch.manual_seed(seed)
        autoencoder = build_autoencoder(plan, settings.mask_ratio).to(given.device)
        recipe = Recipe(settings, plan, given.device)

        def loss_of(trained: nn.Module) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
            return lambda batch: reconstruction_error(trained, padded(batch["image"]))

        steps, pace = given.pretraining_steps, None
        if given.budget is not None:
            pace = Pace(recipe.pace(autoencoder, crops, loss_of))
            steps = pace.steps_within(given.pretraining_share * given.budget)
        losses: list[float] = []
        began = clock(given.device)
        recipe.optimize(autoencoder, crops, lambda batch: _kept(losses, loss_of(autoencoder)(batch)), steps)
        synchronize(given.device)
        seconds = clock(given.device) - began
        tenth = max(1, steps // 10)
        return {
            "seconds": round(seconds, 1),
            "steps": steps,
            "pace": pace and pace.__dict__,
            "weights_taken": hand_over(autoencoder, network.network),
            "reconstruction_error": [float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))],
        }

    def _take_encoder(self, network: nn.Module, plan: Plan, cell: Cell, data: Path) -> dict[str, Any]:
        """Pre-train by the engine with UNETR's patches, and put the ViT's encoder into the UNETR."""
        crop = padded_crop(plan)
        given = replace(self.given, plan={**(self.given.plan or {}), "crop_size": crop, "patch_size": [_PATCH] * 3})
        run, before = EngineMethod(given, {}, shared_pretraining="unetr-patches").pretrained(cell, data)
        exported = run.with_name(f"encoder-{cell.name}")
        shutil.rmtree(exported, ignore_errors=True)
        topomae.export(run, exported, format="monai-unetr", crop_size=crop)
        weights = load_file(exported / "encoder.safetensors")
        _, taken, _ = copy_model_state(network.network, weights)
        if left := set(weights) - set(taken):
            raise RuntimeError(f"UNETR has no place for {sorted(left)[0]} of the encoder")
        return {**before, "weights_taken": len(taken)}

    def _segment(self, network: nn.Module, plan: Plan, images: Path, output: Path) -> None:
        """Segment a folder of images on their own voxels, with the engine's windows and way back."""
        given = self.given
        dataset = open_dataset(images.parent)
        names = [case.name for case in dataset.cases]
        cases = PreprocessedCases(given.cache / "tested", dataset, names, plan, with_label=False)
        model = SimpleNamespace(plan=plan, network=network, spec=SimpleNamespace(missing_modalities=False))
        segmenter = Segmenter(model, given.device, mirror=given.mirror, overlap=given.overlap)
        for name, case in zip(names, cases, strict=True):
            labels = segmenter(replace(case, image=np.array(case.image)), case=name).labels
            write_labels(output / f"{name}.nii.gz", labels, case.geometry.affine)


def build_autoencoder(plan: Plan, mask_ratio: float) -> MaskedAutoEncoderViT:
    """MONAI's masked autoencoder with the encoder of the UNETR of the same plan."""
    size = padded_crop(plan)
    widths = {
        "small": {"hidden_size": 192, "mlp_dim": 768, "num_heads": 6, "decoder_hidden_size": 96},
        "base": {"hidden_size": 768, "mlp_dim": 3072, "num_heads": 12, "decoder_hidden_size": 384},
    }[plan.size]
    return MaskedAutoEncoderViT(
        plan.channels,
        size,
        _PATCH,
        num_layers=12,
        masking_ratio=mask_ratio,
        decoder_mlp_dim=4 * widths["decoder_hidden_size"],
        decoder_num_layers=2 if plan.size == "small" else 8,
        decoder_num_heads=widths["num_heads"],
        **widths,
    )


def padded(image: torch.Tensor) -> torch.Tensor:
    """Zeros at the end of every axis up to a multiple of the patch, as UNETR gets them; (B, C, D, H, W)."""
    missing = [-n % _PATCH for n in reversed(image.shape[2:])]
    return F.pad(image, [end for n in missing for end in (0, n)])


def patches_of(image: torch.Tensor) -> torch.Tensor:
    """(B, C, D, H, W) to (B, tokens, 16³ C), tokens in the order of MONAI's convolutional patch embedding."""
    b, c, d, h, w = image.shape
    grid = image.reshape(b, c, d // _PATCH, _PATCH, h // _PATCH, _PATCH, w // _PATCH, _PATCH)
    return grid.permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(b, -1, _PATCH**3 * c)


def reconstruction_error(autoencoder: MaskedAutoEncoderViT, image: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the hidden patches."""
    rebuilt, mask = autoencoder(image)
    error = (rebuilt.float() - patches_of(image)).square().mean(-1)
    return (error * mask).sum() / mask.sum()


def hand_over(autoencoder: MaskedAutoEncoderViT, unetr: nn.Module) -> int:
    """Copy the encoder of an autoencoder into a UNETR; the number of weights taken, all of its ViT.

    Raises:
        RuntimeError: a weight of the ViT was not taken.
    """
    last = len(autoencoder.blocks) - 1  # the closing normalization, which UNETR keeps apart
    mapping = {f"blocks.{last}.{name}": f"norm.{name}" for name in ("weight", "bias")}
    skipped = ("cls_token", "mask_tokens", "decoder_")
    source = {name: value for name, value in autoencoder.state_dict().items() if not name.startswith(skipped)}
    _, changed, _ = copy_model_state(unetr, source, dst_prefix="vit.", mapping=mapping)
    needed = {name for name in unetr.state_dict() if name.startswith("vit.") and ".cross_attn" not in name}
    if left := {name for name in needed - set(changed) if "norm_cross_attn" not in name}:
        raise RuntimeError(f"the autoencoder lacks {sorted(left)[0]} of UNETR's encoder")
    return len(changed)


def _kept(losses: list[float], loss: torch.Tensor) -> torch.Tensor:
    losses.append(float(loss.detach()))
    return loss
