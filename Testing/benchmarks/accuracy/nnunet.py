"""nnU-Net v2 as a method of the study: its own planning and training in its own Python, on the same cases."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine_methods import Conditions
from nnunet_driver import DATASET
from protocol import Cell

from topomae.data.dataset import open_dataset

_DRIVER = Path(__file__).with_name("nnunet_driver.py")
_REQUIREMENTS = Path(__file__).with_name("requirements-nnunet.txt")


class NnUnet:
    """nnU-Net with as many epochs as fit the budget.

    Args:
        given: the conditions.
        python: of an environment that has nnunetv2.
    """

    def __init__(self, given: Conditions, python: str):
        self.given, self.python = given, python

    def __call__(self, cell: Cell, data: Path, run: Path) -> tuple[Callable[[Path, Path], None], dict[str, Any]]:
        """Train a cell; see `protocol.Train`.

        Raises:
            SystemExit: that Python has no nnunetv2, or nnU-Net failed.
        """
        self._check()
        shutil.rmtree(run, ignore_errors=True)
        convert(data, run, channels=len(open_dataset(data).modalities))
        given = self.given
        job = {
            "folder": str(run.absolute()),
            "device": given.device,
            "budget": given.budget,
            "steps": given.steps,
            "seed": cell.seed,
            "mirror": given.mirror,
            "overlap": given.overlap,
        }
        (run / "job.json").write_text(json.dumps(job), encoding="utf-8")
        told = run / "report.json"
        self._work("train", run, told)
        found = json.loads(told.read_text(encoding="utf-8"))
        training = {name: found.pop(name) for name in ("seconds", "steps", "epochs", "pace")}
        report = {
            "pretraining": {"seconds": 0.0, "steps": 0},
            "training": training,
            "seconds": training["seconds"],
            "validation_dice": None,
            **found,
        }
        return lambda images, output: self._work("predict", run, images.absolute(), output.absolute()), report

    def _work(self, what: str, run: Path, *places: Path) -> None:
        command = [self.python, str(_DRIVER), what, str(run / "job.json"), *map(str, places)]
        with (run / f"{what}.txt").open("w", encoding="utf-8") as log:
            failed = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        if failed:
            sys.exit(f"nnU-Net failed; its output is in {run / f'{what}.txt'}.")

    def _check(self) -> None:
        try:
            asked = [self.python, "-c", "import nnunetv2"]
            missing = subprocess.run(asked, capture_output=True, check=False).returncode != 0
        except OSError:
            missing = True
        if missing:
            sys.exit(
                f"The Python {self.python} has no nnunetv2: install it into an environment of its own with "
                f"`pip install -r {_REQUIREMENTS.name}`, and name that Python with --nnunet-python."
            )


def convert(data: Path, run: Path, channels: int) -> None:
    """Lay out the labelled cases as nnU-Net's raw data, and its only split as the protocol wants it.

    Args:
        data: folder that training may see.
        run: receives `raw` and `splits_final.json`.
        channels: image channels; only one file each is supported, so 1.
    Raises:
        ValueError: there are several channels.
    """
    if channels != 1:
        raise ValueError("only data with one modality are converted for nnU-Net")
    dataset = open_dataset(data)
    split = dataset.fixed_split
    train = [name for name in split.train if dataset.case(name).label is not None]
    val = list(split.val)
    raw = run / "raw" / DATASET
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    for name in (*train, *val):
        case = dataset.case(name)
        shutil.copyfile(case.files[0], raw / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copyfile(case.label, raw / "labelsTr" / f"{name}.nii.gz")
    labels = {"background": 0} | {name.replace(" ", "_"): value for value, name in dataset.labels.items()}
    description = {
        "channel_names": {"0": dataset.modalities[0]},
        "labels": labels,
        "numTraining": len(train) + len(val),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    # Without validation cases nnU-Net's curves, which choose nothing here, are those of training cases.
    splits = [{"train": train, "val": val or train}]
    (run / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
