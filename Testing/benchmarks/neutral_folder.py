"""Runs and data under short paths that tell nothing of the machine, for pictures."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_NAMES = {
    "model": "finetune",
    "pretrained": "pretrain",
    "key_point_run": "pretrain-crops",
    "train_run": "pretrain-2",
}
_NOT_COPIED = ("checkpoints", "preprocessed", "tensorboard", ".tmp-*")


@contextmanager
def neutralFolder(runs: Mapping[str, Path], data: Path) -> Iterator[dict[str, Path]]:
    """Copy runs (without checkpoints), and link a data set, into a folder TopoMAE among the temporary files.

    Args:
        runs: run folders by what they are for, see `_NAMES`; the same one may serve twice.
        data: data set folder.

    Yields: where they are: "data", the runs by the names given, and "runs", which holds them all. All is removed
        afterwards.

    Raises: FileExistsError if the folder is there already: what is in it is not ours to remove.
    """
    root = Path(tempfile.gettempdir()) / "TopoMAE"
    root.mkdir()
    try:
        data = data.resolve()
        places = {"runs": root / "runs", "data": root / data.name}
        os.symlink(data, places["data"], target_is_directory=True)
        moved = {}
        for use, run in runs.items():
            run = run.resolve()
            if run not in moved:
                moved[run] = places["runs"] / _NAMES[use]
                shutil.copytree(run, moved[run], ignore=shutil.ignore_patterns(*_NOT_COPIED))
            places[use] = moved[run]
        moved[data] = places["data"]
        for file in places["runs"].rglob("*.json*"):
            _renamePaths(file, moved)
        yield places
    finally:
        shutil.rmtree(root)


def _renamePaths(file: Path, moved: Mapping[Path, Path]) -> None:
    """Let a copied run name the copies of the others: a model names the run it started from."""
    before = after = file.read_text(encoding="utf-8")
    for source, target in moved.items():
        after = after.replace(json.dumps(str(source))[1:-1], json.dumps(str(target))[1:-1])
    if after != before:
        file.write_text(after, encoding="utf-8")
