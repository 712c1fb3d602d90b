"""What pre-training across modalities and people is good for, with all modalities and with one missing.

    python Testing/benchmarks/modality_study.py --output results/modality_study

On multi-modal phantoms (100 people, 125 scans; see topomae/data/modality_phantoms.py), for several seeds:
pre-training by source A (topology, key points, co-training), by source B (alignment), by both and by
reconstruction alone; then fine-tuning of each, and from scratch, for segmentation with 8 labelled scans and for
classification. Test scans, of other people, are judged with all modalities and with each one missing: mean Dice on
the scans' own voxels, and AUROC. `no dropout` is trained from scratch without hiding modalities in training.
With --data another data set takes the place of the phantoms, and its own labels that of --labelled; without classes,
add --tasks segmentation.

Stop it at any time: the same command goes on. Several of them may work in one folder, on different seeds.

Written to the output folder: the data, one run folder per training, study.json (every measurement) and study.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import torch

import topomae
from topomae.classification.prediction import class_probabilities
from topomae.classification.scores import auroc
from topomae.config import ClassifySettings, FinetuneSettings, PretrainSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.cases import Case
from topomae.data.dataset import open_dataset
from topomae.data.modality_phantoms import make_modality_phantoms
from topomae.evaluation.segmentation import Evaluation
from topomae.events import Events
from topomae.models.folder import load_model
from topomae.models.pretrained import is_pretrained
from topomae.runs.folder import finished
from topomae.training.classification import finetune_classifier

_ONLY_RECONSTRUCTION = {
    "topology_weight": 0,
    "spatial_weight": 0,
    "spatial_consistency_weight": 0,
    "reconstruction_consistency_weight": 0,
}
_ALIGNED = {"alignment_within_weight": 10, "alignment_across_weight": 10}
PRETRAININGS = {  # by name, what differs from the defaults
    "reconstruction": _ONLY_RECONSTRUCTION,
    "A": {},
    "B": {**_ONLY_RECONSTRUCTION, **_ALIGNED},
    "A+B": _ALIGNED,
}
ARMS = ("no dropout", "scratch", *PRETRAININGS)
TASKS = ("segmentation", "classification")


def main() -> None:
    """Train what is missing, judge it, write the tables after every cell."""
    arguments = parsed_arguments()
    torch.set_num_threads(arguments.threads)
    study = Study(arguments)
    for seed, task, arm in itertools.product(arguments.seeds, arguments.tasks, arguments.arms):
        study.cell(arm, seed, task)


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/modality_study"), help="folder for the results")
    parser.add_argument("--data", type=Path, help="a data set of your own with several modalities and test cases")
    parser.add_argument("--subjects", type=int, default=100, help="people in the phantom set")
    parser.add_argument("--labelled", type=int, default=8, help="labelled training scans for segmentation")
    parser.add_argument("--classified", type=int, default=None, help="training scans with a class; all by default")
    parser.add_argument("--pretrain-steps", type=int, default=300, help="steps of each pre-training")
    parser.add_argument("--finetune-steps", type=int, default=250, help="steps of each segmentation training")
    parser.add_argument("--classify-steps", type=int, default=250, help="steps of each classification training")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of the trainings")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="what to compare")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="what to learn")
    parser.add_argument("--size", choices=("small", "base"), default="small", help="network size")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads on the CPU")
    return parser.parse_args()


class Study:
    """The trainings and measurements under one folder."""

    def __init__(self, arguments: argparse.Namespace):
        self.given = arguments
        self.folder = arguments.output
        self.data = arguments.data or make_modality_phantoms(
            self.folder / "data", subjects=arguments.subjects, labelled=arguments.labelled
        )
        self.dataset = open_dataset(self.data)
        self.test = self.dataset.fixed_split.test
        modalities = self.dataset.modalities
        self.conditions = {"all": modalities}
        self.conditions |= {f"no {one}": tuple(m for m in modalities if m != one) for one in modalities}
        self.common = {"device": arguments.device, "events": Events.to("none")}

    def cell(self, arm: str, seed: int, task: str) -> None:
        """Train and judge one arm, unless that is done; rewrite the tables."""
        result = self.folder / "cells" / f"{arm} {seed} {task}.json"
        if not result.exists():
            init, pretrain_seconds = self._pretrain(arm, seed)
            train, judge = (self._segmenter, self._dice) if task == "segmentation" else (self._classifier, self._auroc)
            run = self.folder / "runs" / f"{task}-{arm}-{seed}"
            seconds = self._timed(run, lambda: train(arm, seed, run, init))
            row = {
                "arm": arm,
                "seed": seed,
                "task": task,
                "pretrain_seconds": pretrain_seconds,
                "seconds": seconds,
                "scores": {condition: judge(run, names) for condition, names in self.conditions.items()},
            }
            shutil.rmtree(run / "preprocessed", ignore_errors=True)
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text(json.dumps(row, indent=1), encoding="utf-8")
            print(json.dumps(row), flush=True)
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(result.parent.glob("*.json"))]
        about = {name: str(value) for name, value in vars(self.given).items() if name != "output"}
        text = json.dumps({"about": about, "rows": rows}, indent=1)
        (self.folder / "study.json").write_text(text, encoding="utf-8")
        (self.folder / "study.md").write_text(tables(rows, list(self.conditions)), encoding="utf-8")

    def _pretrain(self, arm: str, seed: int) -> tuple[str | Path, float | None]:
        if arm not in PRETRAININGS:
            return "scratch", None
        run = self.folder / "runs" / f"pretrain-{arm}-{seed}"
        steps = self.given.pretrain_steps
        settings = PretrainSettings(seed=seed, steps=steps, preview_every=steps, **PRETRAININGS[arm])
        if is_pretrained(run):
            return run, None
        seconds = self._timed(
            run, lambda: topomae.pretrain(self.data, run, size=self.given.size, settings=settings, **self.common)
        )
        return run, seconds

    def _segmenter(self, arm: str, seed: int, run: Path, init: str | Path) -> None:
        settings = FinetuneSettings(
            seed=seed,
            steps=self.given.finetune_steps,
            validate_every=max(1, self.given.finetune_steps // 4),
            modality_dropout=0.0 if arm == "no dropout" else None,
        )
        topomae.finetune(self.data, run, init=init, size=self._size(init), settings=settings, **self.common)

    def _classifier(self, arm: str, seed: int, run: Path, init: str | Path) -> None:
        settings = ClassifySettings(
            seed=seed,
            steps=self.given.classify_steps,
            validate_every=max(1, self.given.classify_steps // 4),
            labelled=self.given.classified,
            modality_dropout=0.0 if arm == "no dropout" else None,
        )
        finetune_classifier(self.data, run, init=init, size=self._size(init), settings=settings, **self.common)

    def _size(self, init: str | Path) -> str | None:
        return self.given.size if init == "scratch" else None

    def _timed(self, run: Path, train: Callable[[], object]) -> float | None:
        """Train, or go on; seconds, if it ran from start to end just now."""
        if finished(run):
            return None
        fresh, began = not run.exists(), time.monotonic()
        train()
        return round(time.monotonic() - began, 1) if fresh else None

    def _dice(self, run: Path, names: tuple[str, ...]) -> dict[str, float]:
        """Mean Dice of each label over the test scans, of `names` only; the mean of all."""
        model = load_model(run)
        if len(names) < len(self.dataset.modalities) and not model.spec.missing_modalities:
            # What such a model refuses by itself: here it is shown what it never saw, a channel of zeros.
            model = replace(model, spec=model.spec.model_copy(update={"missing_modalities": True}))
        predictions = run / "predictions"
        shutil.rmtree(predictions, ignore_errors=True)
        for name in self.test:
            files = self._file_of_each_modality(self.dataset.case(name))
            wanted = {modality: files[modality] for modality in names}
            topomae.segment(model, wanted, predictions / f"{name}.nii.gz", **self.common)
        found = topomae.evaluate(predictions, self.data, run / "evaluation", events=Events.to("none"))
        return _dice_of(found)

    def _file_of_each_modality(self, case: Case) -> dict[str, Path]:
        """The images of a case by modality; those that lie in one file with four axes are written one by one."""
        if len(case.images) > 1:
            return dict(zip(self.dataset.modalities, case.images, strict=True))
        folder = self.folder / "single_modalities"
        folder.mkdir(exist_ok=True)
        files, whole = {}, nibabel.load(case.images[0])
        for place, name in enumerate(self.dataset.modalities):
            files[name] = folder / f"{case.name}_{place:04d}.nii.gz"
            nibabel.save(whole.slicer[..., place], files[name])
        return files

    def _auroc(self, run: Path, names: tuple[str, ...]) -> dict[str, float]:
        """AUROC over the test scans."""
        model = load_model(run, task="classification")
        device = "cuda" if self.given.device != "cpu" and torch.cuda.is_available() else "cpu"
        network = model.network.to(device)
        cases = PreprocessedCases(self.folder / "test_images", self.dataset, self.test, model.plan, with_label=False)
        available = [modality in names for modality in self.dataset.modalities]
        windows = ClassifySettings().windows
        rows = [
            class_probabilities(network, case.image, model.plan, windows=windows, device=device, available=available)
            for case in cases
        ]
        classes = {entry["image"][0]: entry["class"] for entry in self._entries()}
        truth = np.array([classes[f"imagesTr/{name}_0000.nii.gz"] for name in self.test])
        return {"auroc": float(auroc(np.stack(rows), truth))}

    def _entries(self) -> list[dict]:
        return json.loads((self.data / "dataset.json").read_text(encoding="utf-8"))["training"]


def _dice_of(found: Evaluation) -> dict[str, float | None]:
    """Mean Dice by label, None where no scan has it; and of all labels."""
    by_label = {label.name: label.metrics["dice"].mean for label in found.summary.per_label.values()}
    return {**by_label, "mean": float(np.mean([mean for mean in by_label.values() if mean is not None]))}


def tables(rows: list[dict], conditions: list[str]) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    parts = []
    for task, score in (("segmentation", "mean"), ("classification", "auroc")):
        if not any(row["task"] == task for row in rows):
            continue
        title = "Mean Dice" if task == "segmentation" else "AUROC"
        parts += [f"{title} of test scans", "", "| | " + " | ".join(conditions) + " | mean of one missing |"]
        parts.append("|---|" + "---|" * (len(conditions) + 1))
        for arm in ARMS:
            found = [row["scores"] for row in rows if row["arm"] == arm and row["task"] == task]
            if not found:
                continue
            columns = [[scores[condition][score] for scores in found] for condition in conditions]
            columns.append(list(np.mean(columns[1:], axis=0)))
            parts.append(f"| {arm} | " + " | ".join(map(_cell, columns)) + " |")
        parts.append("")
    return "\n".join(parts)


def _cell(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
