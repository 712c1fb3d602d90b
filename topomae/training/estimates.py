"""How long a training would take and how much memory, told by doing a few steps of it on made-up data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.cases import Dataset
from topomae.data.crops import token_grid
from topomae.data.loading import random_mask
from topomae.data.plan import Plan
from topomae.events import Events
from topomae.parallel.devices import Device, OutOfMemoryError, choose_device
from topomae.recipes.following import settings_by
from topomae.recipes.recipe import Recipe
from topomae.recipes.shelf import find_recipe
from topomae.training.loop import TrainingLoop
from topomae.training.pretraining import Pretraining
from topomae.training.segmentation import SegmentationTraining

Phase = Literal["pretrain", "finetune"]
PHASES: tuple[Phase, ...] = ("pretrain", "finetune")
KINDS = {"pretrain": PretrainSettings, "finetune": FinetuneSettings}
STEPS = 3  # the first one also compiles and fills caches; the faster of the others counts
SLOW = 30.0  # seconds after which no further step is begun
_BACKWARD = 1.6  # of what the forward pass keeps: its gradients and work space, as seen in the memory of processes
_COPIES = 4  # of every weight: itself, its gradient and AdamW's two averages
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate")


@dataclass(frozen=True)
class Estimate:
    """What a training with a plan and the settings of a recipe, else the default ones, takes.

    Attributes:
        phase: `pretrain` or `finetune`.
        device: where, in words.
        seconds_per_step: of the computation; data are loaded meanwhile.
        memory_gb: GB (10⁹ bytes) of a step: on a GPU as measured; on a CPU counted from the weights with
            gradients and optimizer and from what the forward pass keeps. Python and its libraries, about
            0.6 GB, come on top.
        steps: of the recipe, else the default of the plan's network size.
        hours: for these steps, without validation.
    """

    phase: Phase
    device: str
    seconds_per_step: float
    memory_gb: float
    steps: int
    hours: float


def estimate(
    plan: Plan,
    *,
    device: str = "auto",
    phases: tuple[Phase, ...] = PHASES,
    recipe: str | Path | Recipe | None = None,
    events: Events | None = None,
) -> list[Estimate]:
    """Do a few training steps of each phase on random data with the plan's crop and batch.

    Args:
        plan: to be judged.
        device: `auto`, `cpu` or `cuda`.
        phases: which kinds of training.
        recipe: that is going to be followed, if any; its settings are taken in place of the defaults.
        events: told of progress, one `estimate` per phase, and a warning where the memory does not suffice.
    Returns:
        The estimates; none for a phase whose step does not fit into memory.
    Raises:
        BadSettingError: there is no such device.
    """
    events = events or Events()
    where = choose_device(device)
    progress = events.track(STEPS * len(phases), "estimate")
    estimates = []
    recipe = find_recipe(recipe)
    for phase in phases:
        settings = settings_by(recipe, KINDS[phase], None, plan.size)
        try:
            made = _estimate(phase, plan, settings, where, progress.advance)
        except (RuntimeError, MemoryError, OutOfMemoryError) as error:
            if not _is_lack_of_memory(error):
                raise
            events.warning(
                f"there is not enough memory for a step of {phase} on the {where.kind}: "
                "choose a smaller batch_size or crop_size"
            )
            continue
        finally:
            if where.kind == "cuda":
                torch.cuda.empty_cache()
        estimates.append(made)
        events.emit("estimate", **asdict(made))
    return estimates


def _estimate(
    phase: Phase,
    plan: Plan,
    settings: PretrainSettings | FinetuneSettings,
    device: Device,
    stepped: Callable[[int], None],
) -> Estimate:
    if not plan.labels:  # of a data set without labels; a network needs something to tell apart
        plan = plan.model_copy(update={"labels": {1: "label"}})
    if device.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with TemporaryDirectory() as folder:
        loop = _training(plan, settings, device, Path(folder))
        loop.may_halve = False  # the question is whether a whole batch fits
        batch = loop.fabric.to_device(_random_batch(plan))
        with _counted() as kept:
            seconds = [_timed_step(loop, 0, batch, device)]
        stepped(1)
        while len(seconds) < STEPS and sum(seconds) < SLOW:
            seconds.append(_timed_step(loop, len(seconds), batch, device))
            stepped(1)
        if len(seconds) < STEPS:
            stepped(STEPS - len(seconds))
        best = min(seconds[1:] or seconds)
        memory = torch.cuda.max_memory_reserved() if device.kind == "cuda" else _on_cpu(loop, kept.bytes)
    return Estimate(
        phase=phase,
        device=device.reason,
        seconds_per_step=float(f"{best:.3g}"),
        memory_gb=round(memory / 1e9, 2),
        steps=loop.steps,
        hours=float(f"{best * loop.steps / 3600:.3g}"),
    )


class _TimedPretraining(Pretraining):
    """Pre-training whose topological loss sees what a network paints after some steps, not at its first one.

    An untrained network paints noise, which has so many more features that its diagrams take many times as
    long as those of nearly all later steps. The reconstruction is replaced by a blurred image; the gradient
    still goes all the way back.
    """

    def loss(self, batch: dict[str, torch.Tensor], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        outputs = {
            name: output._replace(reconstruction=batch["blurred"] + 0 * output.reconstruction)
            for name, output in self.network(batch["image"], batch["mask"]).items()
        }
        return self.objective(outputs, batch, step)


def _training(plan: Plan, settings: PretrainSettings | FinetuneSettings, device: Device, folder: Path) -> TrainingLoop:
    """The training itself, with neither cases nor a run folder."""
    run = SimpleNamespace(path=lambda name: folder / name, events=Events(), resuming=False)
    dataset = Dataset(plan.dataset, folder, (), plan.modalities, plan.labels)
    if isinstance(settings, PretrainSettings):
        return _TimedPretraining(run, dataset, [], plan, settings, device)
    return SegmentationTraining(run, dataset, [], [], plan, settings, device, None)


def _timed_step(loop: TrainingLoop, step: int, batch: dict[str, torch.Tensor], device: Device) -> float:
    began = time.perf_counter()
    loop.take_step(step, batch)
    if device.kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _random_batch(plan: Plan) -> dict[str, torch.Tensor]:
    """Smooth blobs, as organs are, with what both kinds of training ask for."""
    random = np.random.default_rng(0)
    shape = (plan.batch_size, plan.channels, *plan.crop_size)
    noise = random.standard_normal(shape).astype(np.float32)
    image, blurred = (_normalized(gaussian_filter(noise, (0, 0, s, s, s))) for s in (1.5, 2.5))
    grid = token_grid(plan.crop_size, plan.patch_size)
    masks = [random_mask(grid, PretrainSettings().mask_ratio, random) for _ in range(plan.batch_size)]
    labels = np.floor((np.tanh(image[:, :1]) + 1) / 2 * plan.classes).clip(0, plan.classes - 1)
    return {
        "image": torch.from_numpy(image),
        "blurred": torch.from_numpy(blurred),
        "label": torch.from_numpy(labels.astype(np.int64)),
        "mask": torch.from_numpy(np.stack(masks)),
        "key_points": torch.from_numpy(random.uniform(-1, 1, (plan.batch_size, 9, 3)).astype(np.float32)),
        "informative": torch.ones(plan.batch_size, 3, dtype=torch.bool),
        "case": torch.arange(plan.batch_size),
    }


def _normalized(values: np.ndarray) -> np.ndarray:
    return ((values - values.mean()) / max(float(values.std()), 1e-6)).astype(np.float32)


@contextmanager
def _counted() -> Iterator[SimpleNamespace]:
    """Count the bytes that the forward pass keeps for the backward pass, shared memory once."""
    kept = SimpleNamespace(bytes=0)
    seen: set[int] = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen and not isinstance(tensor, torch.nn.Parameter):
            seen.add(storage.data_ptr())
            kept.bytes += storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def _on_cpu(loop: TrainingLoop, kept: int) -> float:
    """Bytes of a step: the weights, what the optimizer adds to them, and what the forward pass keeps."""
    weights = sum(math.prod(p.shape) * p.element_size() for p in loop.network.parameters())
    return _COPIES * weights + _BACKWARD * kept


def _is_lack_of_memory(error: Exception) -> bool:
    lacking = isinstance(error, (MemoryError, OutOfMemoryError))
    return lacking or any(words in str(error).lower() for words in _NO_MEMORY)
