"""What can be computed with here."""

from __future__ import annotations

from typing import Any

import torch

import topomae
from topomae.parallel.devices import choose_device
from topomae.versions import versions
from topomae.worker.requests import Hello
from topomae.worker.tasks import Task


def hello(request: Hello, task: Task) -> dict[str, Any]:
    """Devices and versions."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return {
        "device": choose_device("auto").kind,
        "devices": devices,
        "versions": versions(),
        "engine": topomae.__version__,
    }
