"""Fuzzed readers of model folders, the engine's: their texts and the header of their weights."""

from __future__ import annotations

from contextlib import ExitStack
from unittest import mock

import torch

from fuzz.scratch import refused_or_done, scratch
from topomae.models.folder import load_model
from topomae.models.pretrained import load_pretrained
from topomae.models.weights import WeightsError, check_unchanged, read_weights

PARTS = ("plan.json", "network.json", "labels.json", "configs/metadata.json")
_EXPECTED = {"a": (torch.Size([2, 3]), torch.float32), "b": (torch.Size([4]), torch.int64)}


class _Checked(Exception):
    """Everything before the building of a network went well."""


def model_texts(texts: list[bytes]) -> None:
    """Read the texts of a model folder, without building its network (which is too slow to be fuzzed)."""
    folder = scratch("model")
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "model.safetensors").write_bytes(b"")
    pretrained = folder / "pretrained.safetensors"
    pretrained.unlink(missing_ok=True)
    for name, text in zip(PARTS, texts + [b"{}"] * len(PARTS), strict=False):
        (folder / name).write_bytes(text)
    with ExitStack() as stack:
        for module in ("folder", "pretrained"):
            stack.enter_context(mock.patch(f"topomae.models.{module}.outline", side_effect=_Checked))
        stack.enter_context(mock.patch("topomae.models.folder.check_unchanged"))
        refused_or_done(lambda: load_model(folder, task=None), _Checked)
        pretrained.write_bytes(b"")
        refused_or_done(lambda: load_pretrained(folder), _Checked)


def weights(data: bytes) -> None:
    """Read the input as a file of weights; after a byte other than 0 it begins with the JSON of the header."""
    path = scratch("weights") / "model.safetensors"
    path.write_bytes(data[1:] if data[:1] == b"\0" else _with_length(data[1:]))
    refused_or_done(lambda: check_unchanged(path, sha256="ab", size=len(data)), WeightsError)
    for others in (False, True):
        read = refused_or_done(lambda others=others: read_weights(path, _EXPECTED, others=others), WeightsError)
        assert read is None or read["a"].shape == (2, 3)


def _with_length(data: bytes) -> bytes:
    header, _, tensors = data.partition(b"\0")
    return len(header).to_bytes(8, "little") + header + tensors
