"""Handing a model, or a pre-trained encoder, to other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from topomae.errors import BadSettingError
from topomae.events import Events
from topomae.exporting.new_folder import new_folder

ExportFormat = Literal["bundle", "torchscript", "torch-export", "onnx", "monai-vit", "monai-unetr"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: holds it.
        files: paths in the folder, sorted.
        check: how far it is from the network on random input, see `topomae.exporting.comparison`; None of a bundle,
            which holds the same weights.
    """

    folder: Path
    files: tuple[str, ...]
    check: dict[str, Any] | None = None


def export(
    model: str | Path,
    output: str | Path,
    *,
    format: ExportFormat = "bundle",
    crop_size: Sequence[int] | None = None,
    events: Events | None = None,
) -> Exported:
    """Write a model in a form that other programs read; the whole folder or nothing.

    Args:
        model: a model folder or fine-tuning run; for `monai-vit` and `monai-unetr` also a pre-training run.
        output: folder to be made.
        format: `bundle`, a complete MONAI bundle; `torchscript`, `torch-export` or `onnx`, the network that
            segments crops, with `model.json` saying how to use it; `monai-vit` or `monai-unetr`, the weights of the
            ViT encoder for MONAI's networks, with the arguments of their constructors.
        crop_size: for `monai-vit` and `monai-unetr`, voxels that the network is to see, if not those of the plan.
        events: told what was written; silent by default.
    Raises:
        BadDataError: there is no model, or a damaged one.
        BadSettingError: the model has no such form.
        RunError: it cannot be written, or what was exported says something else than the network.
    """
    if format not in get_args(ExportFormat):
        raise BadSettingError(
            f"there is no format {format!r}", hint=f"Choose one of {', '.join(get_args(ExportFormat))}."
        )
    if crop_size is not None and format not in ("monai-vit", "monai-unetr"):
        raise BadSettingError(
            f"{format} has the crop of the plan and takes no other",
            hint="Leave out --crop-size; it is for monai-vit and monai-unetr.",
        )
    output, check = Path(output), None
    with new_folder(output) as folder:
        if format == "monai-vit" or format == "monai-unetr":
            from topomae.exporting.monai_encoder import load_encoder, write_encoder

            check = write_encoder(load_encoder(Path(model)), folder, format, crop_size).described()
        else:
            check = _export_model(Path(model), folder, format)
    files = tuple(sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()))
    if events is not None:
        events.emit("exported", folder=output.resolve(), format=format, files=files, check=check)
    return Exported(output, files, check)


def _export_model(model: Path, folder: Path, format: ExportFormat) -> dict[str, Any] | None:
    from topomae.exporting.bundle import write_bundle
    from topomae.exporting.network import check_possible, write_network
    from topomae.models.folder import load_model

    loaded = load_model(model, task=None)
    if format == "bundle":
        write_bundle(loaded, folder)
        return None
    check_possible(loaded, format)
    return write_network(loaded, folder, format).described()
