"""Handing models to other programs."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, get_args

import typer

import topomae
from topomae.commands.options import EventsOption, EventsTo
from topomae.commands.telling import told
from topomae.errors import BadSettingError
from topomae.exporting.exported import Exported, ExportFormat

Format = Enum("Format", {name: name for name in get_args(ExportFormat)}, type=str)


def export(
    model: Annotated[
        Path,
        typer.Argument(help="Model folder or fine-tuning run; for monai-… also a pre-training.", show_default=False),
    ],
    output: Annotated[Path, typer.Argument(help="Folder to be made.", show_default=False)],
    format: Annotated[Format, typer.Option(help="What to write.")] = Format.bundle,
    crop_size: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="Voxels that MONAI's network is to see, for monai-….")
    ] = None,
    events: EventsOption = EventsTo.auto,
) -> None:
    """Write a model for other programs: as a MONAI bundle, or the network alone.

    bundle: for `python -m monai.bundle`. torchscript, torch-export, onnx: the network that segments crops, and
    model.json that says how to use it. monai-vit, monai-unetr: the pre-trained encoder for MONAI's own networks.

        topomae export runs/finetune bundle

        topomae export runs/finetune network --format onnx

        topomae export runs/pretrain encoder --format monai-vit --crop-size 96,96,96
    """
    with told(events) as to:
        crop = None if crop_size is None else _three_numbers(crop_size)
        written = topomae.export(model, output, format=format.value, crop_size=crop, events=to)
        if events is EventsTo.auto:
            print(_in_words(written))


def _three_numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise BadSettingError(
            f"--crop-size {text!r} is not three whole numbers", hint="Example: --crop-size 96,96,96."
        )
    return tuple(int(part) for part in parts)


def _in_words(written: Exported) -> str:
    lines = [f"Written: {written.folder}", *(f"  {name}" for name in written.files)]
    if written.check is not None:
        difference, largest = written.check["difference"], written.check["largest"]
        lines.append(
            f"On random input it differs from the network by at most {difference:.2g} (values to {largest:.2g})."
        )
    return "\n".join(lines)
