"""Segments a volume exactly as `topomae segment` does, with a model that stays in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from topomae.data.preprocessing import preprocess
from topomae.inference.segmentation import Segmenter, out_of_memory
from topomae.models.folder import Model, load_model
from topomae.parallel.devices import choose_device
from topomae.worker.arrays import save_arrays
from topomae.worker.modalities import read_modalities
from topomae.worker.model_cache import FolderCache
from topomae.worker.requests import Segment
from topomae.worker.tasks import Task


class SegmentationService:
    """Does `segment`."""

    def __init__(self) -> None:
        self._models = FolderCache(lambda folder: _LoadedModel(load_model(folder)))

    def __call__(self, request: Segment, task: Task) -> dict[str, Any]:
        """Segment a volume and write its label map.

        Raises:
            TopoMAEError: the model or the volume cannot be used.
            Cancelled: nothing was written.
        """
        device = choose_device(request.device).kind
        task.progress("load")
        began = time.monotonic()
        loaded = self._models.get(request.model)
        segmenter = loaded.segmenter(device, request.mirror, task.warning)
        plan = segmenter.plan
        image = read_modalities(request.images, plan, task, may_lack=segmenter.missing_modalities)
        read = time.monotonic()
        task.progress("prepare")
        try:
            prepared = task.apart(partial(preprocess, image, None, plan))
            del image
            advance = task.steps("segment", segmenter.windows(prepared))
            result = segmenter(prepared, probabilities=request.probabilities, on_windows=advance)
        except MemoryError:
            raise out_of_memory("") from None
        done = time.monotonic()
        task.check()
        files = {request.output / "labels.npy": result.labels}
        if request.probabilities:
            files[request.output / "probabilities.npy"] = result.probabilities
        save_arrays(files)
        return {
            "labels": request.output / "labels.npy",
            "probabilities": request.output / "probabilities.npy" if request.probabilities else None,
            "seconds": {"load": round(read - began, 3), "inference": round(done - read, 3)},
            "device": device,
            "model": loaded.folder,
        }


class _LoadedModel:
    """A model, and what moves it over volumes, which learns how much the GPU's memory holds."""

    def __init__(self, model: Model):
        self.folder: Path = model.folder
        self._model = model
        self._made_for: tuple[str, bool] | None = None
        self._segmenter: Segmenter | None = None
        self._tell: Callable[[str], None] = print

    def segmenter(self, device: str, mirror: bool, tell: Callable[[str], None]) -> Segmenter:
        """The model on a device; `tell` gets its warnings until the next call."""
        self._tell = tell
        if self._made_for != (device, mirror):
            self._segmenter = Segmenter(
                self._model, device, mirror=mirror, warn=lambda message, *, case: self._tell(message)
            )
            self._made_for = device, mirror
        return self._segmenter
