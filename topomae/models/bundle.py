"""What makes a model folder a MONAI bundle: metadata, a configuration for MONAI users, and a model card.

TopoMAE itself reads only `metadata.json` of these, as plain data; it never runs a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from topomae.data.plan import Plan
from topomae.events import to_plain
from topomae.harmless import markdown_text
from topomae.networks.factory import NetworkSpec
from topomae.versions import installed_version

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_PAPER = (
    "Self Pre-training with Topology- and Spatiality-aware Masked Autoencoders for 3D Medical Image "
    "Segmentation. https://arxiv.org/abs/2406.10519"
)
_PURPOSE = "Research only. Not for diagnosis or treatment."


def bundle_metadata(
    spec: NetworkSpec, plan: Plan, training: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """`configs/metadata.json` as the MONAI bundle specification wants it, with the provenance of the weights.

    Args:
        spec: the network.
        plan: what it was trained with.
        training: where the weights come from: data, cases, settings, steps.
        metrics: how good they are.
    """
    labels = ", ".join(plan.labels.values())
    modalities = ", ".join(plan.modalities)
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": "trained by TopoMAE"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch").split("+")[0],
        "numpy_version": _version("numpy"),
        "required_packages_version": {name: _version(name) for name in ("topomae", "einops", "safetensors")},
        "supported_apps": {},
        "name": f"TopoMAE {plan.dataset}",
        "task": f"Segmentation of {labels} in 3-D {modalities} images",
        "description": f"A {spec.architecture} network ({spec.size}) trained by TopoMAE on {plan.dataset}.",
        "authors": "the owner of the training data",
        "copyright": "the owner of the training data",
        "data_source": plan.dataset,
        "data_type": "nibabel",
        "image_classes": f"{modalities}, normalised as in plan.json",
        "label_classes": f"label values as in labels.json: {labels}",
        "pred_classes": f"{plan.classes} channels of logits: background, {labels}",
        "eval_metrics": to_plain(dict(metrics)),
        "intended_use": _PURPOSE,
        "references": [_PAPER],
        "network_data_format": {
            "inputs": {"image": _input_format(plan)},
            "outputs": {"pred": _output_format(plan)},
        },
        "training": to_plain(dict(training)),
    }


def inference_config(plan: Plan) -> dict[str, Any]:
    """`configs/inference.json`: segments files with `python -m monai.bundle run`."""
    return {
        "bundle_root": ".",
        "input": "image.nii.gz",
        "output": "segmentation",
        "device": "auto",
        "network_def": {"_target_": "topomae.models.folder.load_network", "folder": "@bundle_root"},
        "inferer": {
            "_target_": "monai.inferers.SlidingWindowInferer",
            "roi_size": list(plan.crop_size),
            "sw_batch_size": 1,
            "overlap": 0.5,
            "mode": "gaussian",
        },
        "segmentation": {
            "_target_": "topomae.inference.segmentation.segment",
            "model": "@bundle_root",
            "inputs": "@input",
            "output": "@output",
            "device": "@device",
        },
        "run": ["@segmentation"],
    }


def model_card(spec: NetworkSpec, plan: Plan, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """`docs/README.md`: what the model is, in words."""
    dataset, structures, modalities = (
        _cell(text) for text in (plan.dataset, ", ".join(plan.labels.values()), ", ".join(plan.modalities))
    )
    labels = "\n".join(f"| {value} | {_cell(name)} |" for value, name in plan.labels.items())
    spacing = " × ".join(f"{mm:g}" for mm in plan.spacing)
    crop = " × ".join(str(n) for n in plan.crop_size)
    results = "\n".join(f"- {_cell(name)}: {_cell(value)}" for name, value in to_plain(dict(metrics)).items())
    cases = training.get("cases")
    number = f" ({len(cases)} labelled cases)" if isinstance(cases, (list, tuple)) else ""
    lacking = " Some of them may be missing: `--image NAME=FILE` for each there is." if spec.missing_modalities else ""
    return f"""# TopoMAE {dataset}

Segments {structures} in 3-D images ({modalities}).{lacking} {_PURPOSE}

## Use

    topomae segment --model FOLDER --input IMAGE.nii.gz --output SEGMENTATION.nii.gz

or, in this folder, with MONAI and fire installed beside TopoMAE:

    python -m monai.bundle run --config_file configs/inference.json --input IMAGE.nii.gz --output FOLDER

MONAI executes what such a file says: do this only with a model whose source you trust. TopoMAE itself never reads it.

Images may have any size, spacing and orientation; the segmentation lies on the image's own voxels.

## Labels

| value | name |
|---|---|
{labels}

## Model

- Network: {spec.architecture}, size {spec.size}; sees {crop} voxels of {spacing} mm (RAS) at once.
- Training data: {dataset}{number}. Everything else is in `plan.json` and `configs/metadata.json`.

## Results

{results or "Not validated."}

## Reference

{_PAPER}
"""


def _input_format(plan: Plan) -> dict[str, Any]:
    ct = all(how.kind == "ct" for how in plan.normalization)
    return {
        "type": "image",
        "format": "hounsfield" if ct else "magnitude",
        "modality": "CT" if ct else ", ".join(plan.modalities),
        "num_channels": plan.channels,
        "spatial_shape": list(plan.crop_size),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(place): name for place, name in enumerate(plan.modalities)},
    }


def _output_format(plan: Plan) -> dict[str, Any]:
    return {
        "type": "image",
        "format": "segmentation",
        "num_channels": plan.classes,
        "spatial_shape": list(plan.crop_size),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(c): name for c, name in enumerate(("background", *plan.labels.values()))},
    }


def _version(package: str) -> str:
    return installed_version(package) or "0"


def _cell(value: object) -> str:
    """Text for one cell of a Markdown table, or one line of a list; nothing in it is taken for Markdown or HTML."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return markdown_text(text)
