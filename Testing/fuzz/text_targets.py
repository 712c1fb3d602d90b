"""Fuzzed readers of text: data sets, plans and settings, run folders, requests to the worker."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from fuzz.json_mutator import SEPARATOR
from fuzz.scratch import refused_or_done, scratch
from topomae.commands.assignments import plan_fields, settings_and_plan_fields
from topomae.config import (
    EvaluateSettings,
    FinetuneSettings,
    PretrainSettings,
    SegmentSettings,
    settings_from,
)
from topomae.data.cache_entries import entry_in
from topomae.data.cases import Case, Dataset
from topomae.data.dataset import open_dataset, split_dataset
from topomae.data.plan import Plan
from topomae.data.recalling import recalled
from topomae.data.splits import read_splits
from topomae.files import drop_torn_line
from topomae.runs.curves import Curves
from topomae.runs.folder import finished, run_status
from topomae.runs.locks import Owner, read_owner
from topomae.worker.arrays import read_image, read_labels
from topomae.worker.protocol import parse
from topomae.worker.requests import VolumeFile

NAMES = ("a", "b", "c_0000", "d")


def _data_folder() -> Path:
    """A data set with images and label maps in name only: listing cases opens none."""
    folder = scratch("data")
    if not (folder / "imagesTr").exists():
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir()
            for name in NAMES:
                (folder / part / f"{name}.nii.gz").write_bytes(b"")
    return folder


def data_set(data: bytes) -> None:
    """Read the input as dataset.json and splits.json, parted by a line of `---`."""
    description, _, splits = data.partition(SEPARATOR)
    _splits_json(splits)
    folder = _data_folder()
    (folder / "dataset.json").write_bytes(description)
    (folder / "splits.json").unlink(missing_ok=True)
    if splits:
        (folder / "splits.json").write_bytes(splits)
    dataset = refused_or_done(lambda: open_dataset(folder))
    if dataset is None:
        return
    assert len({case.name for case in dataset.cases}) == len(dataset.cases) > 0
    for path in [path for case in dataset.cases for path in (*case.images, case.label) if path]:
        assert path.resolve().is_relative_to(folder.resolve()), f"{path} lies outside the data set"
    split = refused_or_done(lambda: split_dataset(dataset))
    assert split is None or not set(split.train) & set(split.val)


def _splits_json(data: bytes) -> None:
    path = scratch("splits") / "splits.json"
    path.write_bytes(data)
    read = refused_or_done(lambda: read_splits(path, NAMES))
    if read is not None:
        split, subjects = read
        listed = [*split.train, *split.val, *split.test]
        assert len(set(listed)) == len(listed) and set(listed) <= set(NAMES) == set(subjects)


def plan_and_settings(data: bytes) -> None:
    """Read the input as a plan, and what follows a line of `---` as what follows `--set`."""
    text, _, lines = data.partition(SEPARATOR)
    _plan_json(text)
    _settings(lines)


def _plan_json(data: bytes) -> None:
    """A plan that is accepted must survive being written and read."""
    path = scratch("plan") / "plan.json"
    path.write_bytes(data)
    plan = refused_or_done(lambda: Plan.load(path))
    if plan is not None:
        plan.save(path)
        assert Plan.load(path) == plan


def _settings(data: bytes) -> None:
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:20]
    for kind in (PretrainSettings, FinetuneSettings):
        read = refused_or_done(lambda kind=kind: settings_and_plan_fields(kind, lines, 0))
        if read is not None:
            read[0].resolved("small")
            kind.model_validate_json(read[0].model_dump_json())
    for kind in (SegmentSettings, EvaluateSettings):
        refused_or_done(lambda kind=kind: settings_from(kind, lines))
    fields = refused_or_done(lambda: plan_fields(lines))
    if fields is not None:
        refused_or_done(lambda: Plan.check(_PLAN | fields))


_PLAN = {
    "dataset": "d",
    "modalities": ["MR"],
    "labels": {"1": "a"},
    "spacing": [1, 1, 1],
    "normalization": [{"kind": "robust"}],
    "crop_size": [32, 32, 32],
    "patch_size": [8, 8, 8],
    "stem_stride": [2, 2, 2],
    "batch_size": 2,
    "size": "small",
}


def run_files(data: bytes) -> None:
    """Read one text as each of the small files that a run leaves behind."""
    folder = scratch("run")
    for name in ("status.json", "lock", "metrics.csv", "events.jsonl"):
        (folder / name).write_bytes(data)
    run_status(folder)
    finished(folder)
    owner = read_owner(folder / "lock", patience=0.0)
    assert isinstance(owner, Owner)
    _ = owner.alive
    (folder / "k.image.json").write_bytes(data)
    (folder / "k.npy").write_bytes(data)
    entry_in(folder, "k", None)
    case = Case("a", (folder / "lock",))
    dataset = Dataset("d", folder, (case,), ("MR",), {})
    recalled(_Remembering(data), dataset, case, with_label=False)
    drop_torn_line(folder / "events.jsonl")
    kept = (folder / "events.jsonl").read_bytes()
    assert kept == data[: data.rfind(b"\n") + 1]
    curves = Curves(folder / "metrics.csv")
    curves.rewind(5)
    curves.close()


class _Remembering:
    """Stands in for the database of what was found in files: it has the same for every key."""

    def __init__(self, data: bytes):
        self._data = data

    def sha256(self, path: Path) -> str:
        return path.name

    def report(self, key: str) -> object:
        with suppress(ValueError, RecursionError):
            return json.loads(self._data)
        return None


def worker(data: bytes) -> None:
    """Read the input as lines from Slicer, and what follows a line of `---` as a volume in an .npy file."""
    lines, _, array = data.partition(SEPARATOR)
    _requests(lines)
    if array:
        _array(array)


def _requests(data: bytes) -> None:
    for line in data.split(b"\n")[:5]:
        request = refused_or_done(lambda line=line: parse(line))
        if request is not None:
            json.dumps(request.model_dump(mode="json"))


def _array(data: bytes) -> None:
    path = scratch("array") / "a.npy"
    path.write_bytes(data)
    identity = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    file = VolumeFile(array=path, affine=identity)
    image = refused_or_done(lambda: read_image(file, "volume", lambda _: None))
    assert image is None or (np.isfinite(image.array).all() and image.array.dtype == np.float32)
    labels = refused_or_done(lambda: read_labels(file, "labels"))
    assert labels is None or labels.array.dtype.kind == "u"
