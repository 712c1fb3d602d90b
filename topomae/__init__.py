"""TopoMAE: self pre-training and few-label segmentation of 3-D medical images.

Each command of `topomae` is a function here, with the same name and the same meaning (only `topomae report`
is `topomae.write_report`, and `topomae phantoms` is `topomae.make_phantoms`):

    import topomae

    topomae.pretrain("data", "runs/pretrain")
    topomae.finetune("data", "runs/finetune", init="runs/pretrain")
    topomae.segment("runs/finetune", "data", "predictions")
    topomae.evaluate("predictions", "data", "evaluation")

The functions load torch and MONAI when they are first used, not when this package is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time see __getattr__
    from topomae.config import ClassifySettings, FinetuneSettings, PretrainSettings, settings_from
    from topomae.course import demo
    from topomae.data.phantoms import make_phantoms
    from topomae.errors import TopoMAEError
    from topomae.evaluation.segmentation import evaluate
    from topomae.events import Events
    from topomae.exporting.exported import export
    from topomae.inference.classification import classify
    from topomae.inference.segmentation import segment
    from topomae.reporting.report import write_report
    from topomae.reproduction import reproduce
    from topomae.training.finetuning import finetune
    from topomae.training.preparation import plan
    from topomae.training.pretraining import pretrain

__version__ = "0.1.0"

# No function may share its name with a module of the package, which would take its place once imported.
_HOMES = {
    "plan": "topomae.training.preparation",
    "pretrain": "topomae.training.pretraining",
    "finetune": "topomae.training.finetuning",
    "segment": "topomae.inference.segmentation",
    "classify": "topomae.inference.classification",
    "evaluate": "topomae.evaluation.segmentation",
    "write_report": "topomae.reporting.report",
    "reproduce": "topomae.reproduction",
    "demo": "topomae.course",
    "export": "topomae.exporting.exported",
    "make_phantoms": "topomae.data.phantoms",
    "PretrainSettings": "topomae.config",
    "FinetuneSettings": "topomae.config",
    "ClassifySettings": "topomae.config",
    "settings_from": "topomae.config",
    "Events": "topomae.events",
    "TopoMAEError": "topomae.errors",
}

__all__ = [
    "ClassifySettings",
    "Events",
    "FinetuneSettings",
    "PretrainSettings",
    "TopoMAEError",
    "classify",
    "demo",
    "evaluate",
    "export",
    "finetune",
    "make_phantoms",
    "plan",
    "pretrain",
    "reproduce",
    "segment",
    "settings_from",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'topomae' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
