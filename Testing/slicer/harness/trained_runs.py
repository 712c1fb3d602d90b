"""A pre-trained and a fine-tuned run for tests, made by the engine in processes of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def trainedRuns(dataFolder: Path, folder: Path, cases: int = 3) -> tuple[Path, Path]:
    """Train for some steps on a few hippocampus volumes; the model finds something, but knows little.

    Args:
        dataFolder: folder of the real data sets.
        folder: where data, runs and model go; what is there from an earlier call is used again.
        cases: number of volumes.

    Returns: the folders of the pre-training and of the fine-tuning run (its model is in `model/`).

    Raises: RuntimeError with the engine's last words if a training fails.
    """
    pretrain, finetune = folder / "pretrain", folder / "finetune"
    if not (finetune / "model").is_dir():
        data = _copyCases(dataFolder / "hippocampus", folder / "data", cases)
        common = ["--device", "cpu", "--events", "json"]
        _run("pretrain", "--data", data, "--run", pretrain, "--set", "steps=2", *common)
        # New heads say that all is background at first, and learn else within these steps.
        steps = ["--set", "steps=24", "--set", "validate_every=24", "--set", "learning_rate=0.004"]
        _run("finetune", "--data", data, "--run", finetune, "--init", pretrain, *steps, *common)
    return pretrain, finetune


def _copyCases(source: Path, target: Path, cases: int) -> Path:
    description = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    description["training"] = sorted(description["training"], key=lambda entry: entry["image"])[:cases]
    description |= {"numTraining": cases, "test": [], "numTest": 0}
    for entry in description["training"]:
        for relative in (entry["image"], entry["label"]):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / relative, target / relative)
    (target / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return target


def _run(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "topomae", *(str(argument) for argument in arguments)]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"topomae {arguments[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
