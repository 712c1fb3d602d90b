"""Where to compute: on a CPU or a GPU, in which precision, and what is said when its memory is too small."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from topomae.errors import BadSettingError, RunError
from topomae.parallel.distributed import processes
from topomae.parallel.started_processes import started_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Device:
    """Where to compute, and why there, in words for the user."""

    kind: str
    reason: str


def choose_device(device: str) -> Device:
    """Resolve `auto`, `cpu` or `cuda`.

    Raises:
        BadSettingError: an unknown device, or `cuda` where torch finds none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BadSettingError(f"there is no device {device!r}", hint="Use auto, cpu or cuda.")
    count = started_processes().world
    several = "" if count == 1 else f", {count} processes together"
    if device == "cpu":
        return Device("cpu", f"CPU, as asked for{several}")
    if torch.cuda.is_available():
        return Device("cuda", f"GPU {torch.cuda.get_device_name(0)}{several}")
    if device == "cuda":
        raise BadSettingError(
            "torch finds no CUDA device",
            hint="Use --device cpu, or install a torch build that fits the GPU's driver.",
        )
    return Device("cpu", f"CPU, because torch finds no CUDA device{several}")


def make_fabric(device: Device, precision: str) -> Fabric:
    """Lightning Fabric with the precision asked for, on one device or, within `together`, on one for each process."""
    from lightning_fabric import Fabric  # takes seconds, and who only segments needs no more than a device

    precision = chosen_precision(device, precision)
    together = processes()
    if together.world == 1:
        return Fabric(accelerator=device.kind, devices=1, precision=precision)
    # Of weights of a single position, whose strides say nothing.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    fabric = Fabric(
        accelerator=device.kind,
        devices=together.local_world,
        num_nodes=together.world // together.local_world,
        # Which parameters a step uses depends on its samples (a missing modality has weights of its own).
        strategy=DDPStrategy(cluster_environment=TorchElasticEnvironment(), find_unused_parameters=True),
        precision=precision,
    )
    fabric.launch()
    return fabric


def chosen_precision(device: Device, precision: str) -> str:
    """Fabric's name of the precision asked for (`auto`: mixed on a GPU, 32 bit on a CPU).

    Raises:
        BadSettingError: the device cannot do it.
    """
    if precision == "auto":
        half = "bf16-mixed" if device.kind == "cuda" and torch.cuda.is_bf16_supported() else "16-mixed"
        return half if device.kind == "cuda" else "32-true"
    # On a CPU, PyTorch 2.13 gives convolutions on 2×2×2 positions wrong gradients in bfloat16, up to infinite ones.
    if device.kind == "cpu" and precision in ("bf16", "16"):
        raise BadSettingError(f"precision {precision} needs a GPU", hint="Use precision=32, or leave it out.")
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[precision]


class OutOfMemoryError(RunError):
    """A step does not fit into the GPU's memory."""
