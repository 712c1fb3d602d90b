"""What the shell offers at the tabulator key, beyond commands, options and choices, which it knows by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer

from topomae import config

_MOST_FOLDERS = 1000  # looked at; nobody waits longer
_SETTINGS = {
    "plan": (),
    "pretrain": (config.PretrainSettings,),
    "finetune": (config.FinetuneSettings, config.ClassifySettings),
    "segment": (config.SegmentSettings,),
    "evaluate": (config.EvaluateSettings,),
}


def setting_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Settings of the command, and fields of the plan where it has one, as `name=`."""
    kinds = _SETTINGS.get(ctx.info_name or "", ())
    names = [name for kind in kinds for name in kind.model_fields]
    if ctx.info_name in ("plan", "pretrain", "finetune"):
        from topomae.data.plan import Plan

        names += [name for name in Plan.model_fields if name not in ("reasons", "version")]
    return [f"{name}=" for name in dict.fromkeys(names) if name.startswith(incomplete)]


def run_folders(incomplete: str) -> list[str]:
    """Run folders, and model folders, whose paths begin so, at most two folders down."""
    return [folder for folder in _folders_from(incomplete) if _is_run(Path(folder)) or _is_model(Path(folder))]


def starts(incomplete: str) -> list[str]:
    """What fine-tuning can start from: `scratch`, runs and models."""
    return [*(["scratch"] if "scratch".startswith(incomplete) else []), *run_folders(incomplete)]


def _folders_from(incomplete: str) -> Iterator[str]:
    """Folders whose paths begin so, and those directly in them, as the user would type them."""
    seen = 0
    for first in _subfolders(os.path.dirname(incomplete)):
        if not first.startswith(incomplete):
            continue
        for folder in (first, *_subfolders(first)):
            seen += 1
            if seen > _MOST_FOLDERS:
                return
            yield folder


def _subfolders(parent: str) -> list[str]:
    try:
        with os.scandir(parent or ".") as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return sorted(os.path.join(parent, name) for name in names)


def _is_run(folder: Path) -> bool:
    return (folder / "settings.json").is_file() and (folder / "status.json").is_file()


def _is_model(folder: Path) -> bool:
    return (folder / "configs" / "metadata.json").is_file()
