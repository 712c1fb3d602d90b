"""TopoMAE: self pre-training and few-label segmentation of 3-D medical images.

Each command of `topomae` is a function here, with the same name and the same meaning:

    import topomae

    topomae.pretrain("data", "runs/pretrain")
    topomae.finetune("data", "runs/finetune", init="runs/pretrain")
    topomae.segment("runs/finetune", "data/imagesTs", "predictions")
    topomae.evaluate("predictions", "data", "evaluation")

The functions load torch and MONAI when they are first used, not when this package is imported.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "plan": "topomae.preparation",
    "pretrain": "topomae.pretraining",
    "finetune": "topomae.finetuning",
    "segment": "topomae.inference",
    "evaluate": "topomae.evaluation",
    "write_report": "topomae.report",
    "demo": "topomae.demo",
    "PretrainSettings": "topomae.config",
    "FinetuneSettings": "topomae.config",
    "settings_from": "topomae.config",
    "Events": "topomae.events",
    "TopoMAEError": "topomae.errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'topomae' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
