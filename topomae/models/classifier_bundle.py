"""What the MONAI bundle of a model that classifies says otherwise than that of one that segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from topomae.harmless import markdown_text


def of_classifier(
    metadata: dict[str, Any], inference: dict[str, Any], card: str, classes: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Metadata, configuration for MONAI users and model card of a model that classifies.

    Args:
        metadata: as made for a model that segments.
        inference: the same.
        card: the same, in Markdown.
        classes: names of the classes.
    """
    named = ", ".join(classes)
    output = metadata["network_data_format"]["outputs"]["pred"]
    output = {
        **output,
        "format": "classification",
        "num_channels": len(classes),
        "spatial_shape": [1],
        "channel_def": {str(place): name for place, name in enumerate(classes)},
    }
    metadata = {
        **metadata,
        "task": f"Classification of whole 3-D volumes: {named}",
        "label_classes": f"classes of whole volumes: {named}",
        "pred_classes": f"{len(classes)} logits: {named}",
        "network_data_format": {**metadata["network_data_format"], "outputs": {"pred": output}},
    }
    inference = {
        "bundle_root": ".",
        "input": "image.nii.gz",
        "output": "classes.csv",
        "device": "auto",
        "network_def": inference["network_def"],
        "classification": {
            "_target_": "topomae.inference.classification.classify",
            "model": "@bundle_root",
            "inputs": "@input",
            "output": "@output",
            "device": "@device",
        },
        "run": ["@classification"],
    }
    return metadata, inference, _card(card, classes)


def _card(card: str, classes: Sequence[str]) -> str:
    """The model card with other words for what the model does and how it is used."""
    parts = card.split("\n## ")
    head = f"{parts[0].splitlines()[0]}\n\nSays of a whole 3-D volume which of these classes it has. {_PURPOSE}\n"
    table = "\n".join(f"| {markdown_text(name)} |" for name in classes)
    kept = [part for part in parts[1:] if part.startswith(("Model\n", "Results\n", "Reference\n"))]
    return "\n## ".join([head, _USE, f"Classes\n\n| name |\n|---|\n{table}\n", *kept])


_PURPOSE = "Research only. Not for diagnosis or treatment."
_USE = """Use

    topomae classify --model FOLDER --input IMAGE.nii.gz --output classes.csv

The table has a row per case: its name, the probability of every class, and the most probable class.
"""
