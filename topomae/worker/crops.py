"""Crops of volumes as pre-trained networks see them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from topomae.config import PretrainSettings
from topomae.data.json_files import read_json
from topomae.data.plan import Plan
from topomae.data.preprocessing import Preprocessed, preprocess
from topomae.data.volume import Volume
from topomae.errors import TopoMAEError
from topomae.models.pretrained import load_pretrained
from topomae.networks.co_pretrainer import CoPretrainer
from topomae.parallel.devices import choose_device
from topomae.runs.folder import RunSettings
from topomae.training.previews import Preview, Seen
from topomae.worker.modalities import read_modalities
from topomae.worker.model_cache import FolderCache
from topomae.worker.requests import CropSize, KeyPoints, Reconstruct
from topomae.worker.tasks import Task


@dataclass(frozen=True, eq=False)
class PretrainedNetwork:
    """A pre-trained network in memory.

    Attributes:
        network: in evaluation mode; on the device it was used on last.
        plan: that it was trained with.
        mask_ratio: part of the blocks that was hidden in training.
    """

    network: CoPretrainer
    plan: Plan
    mask_ratio: float

    @classmethod
    def read(cls, folder: Path) -> PretrainedNetwork:
        """Read a pre-training run, or its model folder.

        Raises:
            BadDataError: it holds no finished pre-training, or a damaged one.
        """
        pretrained = load_pretrained(folder)
        return cls(pretrained.network(), pretrained.plan, trained_mask_ratio(pretrained.folder))


class PretrainedCrops:
    """Cuts crops out of volumes and shows them to pre-trained networks; does `crop_size`.

    The last volume stays prepared: moving the crop within it costs no more than the network does.
    """

    def __init__(self) -> None:
        self._networks = FolderCache(PretrainedNetwork.read, most=2)
        self._last: tuple[str, Preprocessed] | None = None

    def size(self, request: CropSize, task: Task) -> dict[str, Any]:
        """Size of the network's crop in mm, and the modalities it needs.

        Raises:
            BadDataError: see `PretrainedNetwork.read`.
        """
        task.progress("load")
        plan = self._networks.get(request.pretrained).plan
        size = [voxels * mm for voxels, mm in zip(plan.crop_size, plan.spacing, strict=True)]
        return {"size_mm": size, "modalities": plan.modalities}

    def look(
        self, request: Reconstruct | KeyPoints, task: Task, mask_ratio: float | None, seed: int
    ) -> tuple[Preview, Seen]:
        """Cut the crop that a request is about, hide blocks of it and show it to the network.

        Args:
            request: which network, volumes and place.
            task: told of the progress.
            mask_ratio: part of the blocks that is hidden; None for as much as in training.
            seed: of the choice of these.
        Raises:
            TopoMAEError: the network or the volumes cannot be used.
            Cancelled: nobody wants it any more.
        """
        device = choose_device(request.device).kind
        task.progress("load")
        pretrained = self._networks.get(request.pretrained)
        plan = pretrained.plan
        image = read_modalities(request.images, plan, task)
        case = self._prepared(image, plan, task)
        task.progress("network")
        ratio = pretrained.mask_ratio if mask_ratio is None else mask_ratio
        preview = Preview.around(request.center, case, plan, ratio, seed)
        seen = preview.show_to(pretrained.network.to(device), device)
        task.check()
        return preview, seen

    def _prepared(self, image: Volume, plan: Plan, task: Task) -> Preprocessed:
        digest = hashlib.blake2b(plan.model_dump_json().encode())
        digest.update(repr(image.shape).encode() + image.affine.tobytes())
        digest.update(np.ascontiguousarray(image.array))
        key = digest.hexdigest()
        if self._last is None or self._last[0] != key:
            task.progress("prepare")
            self._last = None  # before the new one is made, so that both need not fit into memory
            self._last = key, task.apart(partial(preprocess, image, None, plan))
        return self._last[1]


def crop_size_mm(preview: Preview) -> list[float]:
    """(x, y, z) mm of a crop along its axes."""
    size = preview.batch["image"].shape[2:]
    return [float(n * mm) for n, mm in zip(size, np.linalg.norm(preview.affine[:3, :3], axis=0), strict=True)]


def trained_mask_ratio(folder: Path) -> float:
    """Part of the blocks that was hidden in pre-training; the usual one where a model lies without its run."""
    try:
        settings = RunSettings.model_validate(read_json(folder.parent / "settings.json")).settings
        return PretrainSettings(mask_ratio=settings["mask_ratio"]).mask_ratio
    except (TopoMAEError, ValidationError, KeyError):
        return PretrainSettings().mask_ratio
