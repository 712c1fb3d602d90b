"""A model as a MONAI bundle that is complete by MONAI's specification, for people who work with `monai.bundle`."""

from __future__ import annotations

from pathlib import Path

import torch

from topomae.models.folder import Model, save_model

# https://docs.monai.io/en/stable/mb_specification.html asks for the weights under this name. It is a file of
# tensors that torch.load(weights_only=True) reads; TopoMAE itself reads the safetensors beside it.
MONAI_WEIGHTS = "models/model.pt"


def write_bundle(model: Model, folder: Path) -> Path:
    """Write a model as a bundle.

    It is the model folder, written anew so that nothing else is passed on, and the weights once more as MONAI
    wants them.

    Args:
        model: read, and thereby checked, from its folder.
        folder: exists and is empty.
    Returns:
        The folder.
    """
    training = model.metadata.get("training")
    metrics = model.metadata.get("eval_metrics")
    save_model(
        folder,
        model.network,
        model.spec,
        model.plan,
        training=training if isinstance(training, dict) else {},
        metrics=metrics if isinstance(metrics, dict) else {},
        classes=model.classes,
    )
    with open(folder / MONAI_WEIGHTS, "wb") as file:
        torch.save(dict(model.network.state_dict()), file)
    return folder
