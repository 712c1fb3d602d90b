"""Whether a disturbed command left the same behind as an undisturbed one, and on its way nothing broken."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from topomae.models.folder import WEIGHTS as MODEL_WEIGHTS
from topomae.models.pretrained import WEIGHTS as PRETRAINED_WEIGHTS
from topomae.runs.checkpoints import Checkpoints

_WEIGHTS = {"pretrain": PRETRAINED_WEIGHTS, "finetune": MODEL_WEIGHTS}


def difference(kind: str, expected: Path, found: Path) -> str:
    """The first difference between what two commands of a kind left behind; empty if there is none.

    Of a run: curves, weights, previews, and the state of network, optimizer and torch's random numbers after the
    last step. Of a segmentation: the label maps.
    """
    if kind == "segment":
        return _different_files(expected, found, "*.nii.gz")
    for name in ("metrics.csv", f"model/{_WEIGHTS[kind]}"):
        if (expected / name).read_bytes() != (found / name).read_bytes():
            return f"{name} is another one"
    states = [Checkpoints(run / "checkpoints").load("last", print) for run in (expected, found)]
    if any(state is None for state in states):
        return "there is no last checkpoint"
    where = _different_values(*(_comparable(state[0]) for state in states), "state")
    return f"the last checkpoint has another {where}" if where else _different_files(expected, found, "previews/*")


def finished(kind: str, target: Path) -> str:
    """What shows that a command has not come to its end; empty if it has."""
    if kind == "segment":
        return ""
    status = json.loads((target / "status.json").read_text(encoding="utf-8"))["status"]
    if status != "ok":
        return f"the run is {status}"
    return "the lock is still there" if (target / "lock").exists() else ""


def leftovers(target: Path) -> str:
    """Temporary files that nobody removes any more; empty if there are none."""
    found = sorted(str(path.relative_to(target)) for path in target.rglob(".tmp-*"))
    return f"left behind: {', '.join(found[:3])}" if found else ""


def integrity(kind: str, target: Path) -> str:
    """What is broken in a folder whose writer was disturbed; empty if a reader would meet only whole things."""
    if kind == "segment":
        return next((f"{p.name} is half a file" for p in target.glob("*.nii.gz") if not _is_whole_gzip(p)), "")
    for name in ("status.json", "settings.json", "plan.json"):
        if (target / name).exists() and not _is_json((target / name).read_bytes()):
            return f"{name} is half a file"
    for name in ("events.jsonl",):
        lines = (target / name).read_bytes().split(b"\n")[:-1] if (target / name).exists() else []
        if not all(_is_json(line) for line in lines):
            return f"{name} has a broken line"
    for path in (target / "checkpoints").glob("*.pt"):
        if not path.name.startswith(".") and _sha256(path)[:16] != path.stem.rpartition("-")[2]:
            return f"{path.name} is not whole"
    described = target / "model" / "network.json"
    if kind == "finetune" and described.exists():
        network = json.loads(described.read_text(encoding="utf-8"))
        if _sha256(target / "model" / MODEL_WEIGHTS) != network["weights_sha256"]:
            return "the model is half a model"
    return ""


def last_step(run: Path) -> int:
    """The step of the newest checkpoint; -1 if there is none."""
    steps = [checkpoint.step for checkpoint in Checkpoints(run / "checkpoints").of("last")]
    return max(steps, default=-1)


def _comparable(state: dict[str, Any]) -> dict[str, Any]:
    """Without the generators of Python and NumPy, which nobody seeds and nobody uses."""
    return {**state, "random": state["random"]["torch"]}


def _different_values(one: Any, other: Any, where: str) -> str:
    if type(one) is not type(other):
        return where
    if isinstance(one, torch.Tensor):
        return "" if one.dtype == other.dtype and torch.equal(one, other) else where
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return where
        return next((w for key in one if (w := _different_values(one[key], other[key], f"{where}[{key!r}]"))), "")
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return where
        pairs = enumerate(zip(one, other, strict=True))
        return next((w for n, pair in pairs if (w := _different_values(*pair, f"{where}[{n}]"))), "")
    return "" if one == other else where


def _different_files(expected: Path, found: Path, pattern: str) -> str:
    one, other = ({str(p.relative_to(folder)): p for p in folder.glob(pattern)} for folder in (expected, found))
    for name in sorted(one.keys() ^ other.keys()):
        return f"{name} is there only {'without' if name in one else 'after'} the disturbance"
    return next((f"{name} is another one" for name in one if _content(one[name]) != _content(other[name])), "")


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _is_whole_gzip(path: Path) -> bool:
    if path.name.startswith("."):
        return True
    try:
        return bool(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError):
        return False


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
