"""What the protocols share: who may see which cases, cells that are computed once, and how the test is scored.

Training sees a folder of its own that holds the training and validation cases only, with the labels that the
protocol grants. The test cases lie elsewhere; `Study.cell` shows them to a method once, when its training is over.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import topomae
from topomae.data.cases import Dataset
from topomae.data.dataset import open_dataset
from topomae.files import write_json_atomic

REPOSITORY = Path(__file__).resolve().parents[3]
_LIBRARIES = ("torch", "monai", "numpy")


@dataclass(frozen=True)
class Protocol:
    """Which cases train, validate and test.

    Attributes:
        name: for file names.
        data: folder of the data set.
        train: images for pre-training, in an order in which the first n are the n labelled ones.
        val: labelled cases that weights are chosen by; may be empty.
        test: judged once.
    """

    name: str
    data: Path
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self):
        if shared := set(self.test) & {*self.train, *self.val}:
            raise ValueError(f"{sorted(shared)[0]} is a test case and cannot train or validate")

    def training_folder(self, folder: Path, labelled: int) -> Path:
        """A data set of the training and validation cases, with labels for the first `labelled` and for validation.

        Args:
            folder: where it is to lie; what is there already is taken for whole.
            labelled: number of labelled training cases.
        """
        done = folder / "splits.json"
        if done.exists():
            return folder
        dataset = open_dataset(self.data)
        known = {*self.train[:labelled], *self.val}
        for name in (*self.train, *self.val):
            _copy_case(dataset, name, folder, label=name in known)
        (folder / "dataset.json").write_text(_description(self.data), encoding="utf-8")
        subjects = {name: dataset.case(name).subject or name for name in (*self.train, *self.val)}
        split = {"train": self.train, "val": self.val, "test": [], "subject_of": subjects}
        write_json_atomic(done, split)
        return folder

    def test_folder(self, folder: Path) -> Path:
        """The test cases as `imagesTr` and `labelsTr` of a data set of their own."""
        done = folder / "splits.json"
        if not done.exists():
            dataset = open_dataset(self.data)
            for name in self.test:
                _copy_case(dataset, name, folder, label=True)
            (folder / "dataset.json").write_text(_description(self.data), encoding="utf-8")
            write_json_atomic(done, {"train": [], "val": [], "test": self.test})
        return folder


@dataclass(frozen=True)
class Cell:
    """One training and its test.

    Attributes:
        method: see `methods.METHODS`.
        labelled: number of labelled training cases.
        seed: of everything random.
    """

    method: str
    labelled: int
    seed: int

    @property
    def name(self) -> str:
        """For files and folders."""
        return f"{self.method}-{self.labelled}-{self.seed}"


# Trains on the folder given and returns how to segment a folder of images into another, with a report for the cell.
Train = Callable[[Cell, Path, Path], tuple[Callable[[Path, Path], None], dict[str, Any]]]
Score = Callable[[Path, Path, Path], dict[str, Any]]


class Study:
    """The cells of a protocol under one folder.

    Args:
        protocol: which cases do what.
        folder: holds everything that is written.
        about: settings that every cell of the folder shares, written into each.
        score: predictions, labels and a folder for the evaluation to scores.

    Raises:
        SystemExit: the folder holds cells of other settings, which must not stand in one table.
    """

    def __init__(self, protocol: Protocol, folder: Path, about: dict[str, Any], score: Score | None = None):
        self.protocol, self.folder, self.about = protocol, folder, about
        self.score = score or scores_in_mm
        for row in self.rows():
            for name, value in about.items():
                if row["about"].get(name) != value:
                    was = row["about"].get(name)
                    sys.exit(f"{folder} holds cells with {name} {was}, not {value}: name another --output.")

    def path(self, cell: Cell) -> Path:
        """Where the result of a cell lies."""
        return self.folder / "cells" / f"{cell.name}.json"

    def cell(self, cell: Cell, train: Train) -> dict[str, Any]:
        """Train and test, unless that is done; the row of results."""
        path = self.path(cell)
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        data = self.protocol.training_folder(self.folder / "data" / str(cell.labelled), cell.labelled)
        run = self.folder / "runs" / cell.name
        segment, report = train(cell, data, run)
        test = self.protocol.test_folder(self.folder / "test")
        predictions = self.folder / "predictions" / cell.name
        shutil.rmtree(predictions, ignore_errors=True)
        segment(test / "imagesTr", predictions)
        found = self.score(predictions, test / "labelsTr", self.folder / "evaluation" / cell.name)
        if found["cases"] != len(self.protocol.test):
            raise RuntimeError(f"{cell.name} segmented {found['cases']} of {len(self.protocol.test)} test cases")
        row = {
            "protocol": self.protocol.name,
            "method": cell.method,
            "labelled": cell.labelled,
            "seed": cell.seed,
            **report,
            "scores": found,
            "about": {**self.about, **circumstances()},
        }
        write_json_atomic(path, row)
        return row

    def rows(self) -> list[dict[str, Any]]:
        """All results so far."""
        files = sorted((self.folder / "cells").glob("*.json"))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def scores_in_mm(predictions: Path, labels: Path, output: Path) -> dict[str, Any]:
    """Mean over the cases of every metric of `topomae.evaluate`, for each label and for the mean of the labels."""
    names = {int(value): name for value, name in _labels(labels.parent).items()}
    found = topomae.evaluate(predictions, labels, output, label_names=names)
    wanted = ("dice", "hd95_mm", "asd_mm", "surface_dice")
    overall = {name: found.summary.overall[name].mean for name in wanted}
    by_label = {
        one.name: {name: one.metrics[name].mean for name in wanted} for one in found.summary.per_label.values()
    }
    undefined = sum(1 for row in found.rows if row.hd95_mm != row.hd95_mm)
    return {"cases": found.summary.cases, **overall, "labels": by_label, "structures_without_distance": undefined}


def run_in_own_process(script: str, arguments: Sequence[str], cell: Cell) -> None:
    """Compute a cell in a process of its own, so that its processor time and memory are its own.

    Raises:
        subprocess.CalledProcessError: it failed; what it printed says why.
    """
    one = ["--cell", cell.method, str(cell.labelled), str(cell.seed)]
    subprocess.run([sys.executable, script, *arguments, *one], check=True)


def circumstances() -> dict[str, Any]:
    """On what code and machine a cell was computed, and when."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changes_since_commit": bool(_git("status", "--porcelain", "--untracked-files=no", "topomae")),
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _LIBRARIES},
    }


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _copy_case(dataset: Dataset, name: str, folder: Path, *, label: bool) -> None:
    """Copied and not linked: a data set's files have to lie in its folder."""
    case = dataset.case(name)
    files = [(path, "imagesTr") for path in case.files] + ([(case.label, "labelsTr")] if label else [])
    for path, part in files:
        target = folder / part / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _description(data: Path) -> str:
    """dataset.json without its lists of files, which would name cases that are not there."""
    content = json.loads((data / "dataset.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in content.items() if key not in ("training", "test", "numTraining", "numTest")}
    return json.dumps(kept, indent=2)


def _labels(folder: Path) -> dict[int, str]:
    return dict(open_dataset(folder).labels)
