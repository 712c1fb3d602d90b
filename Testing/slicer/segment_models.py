"""Makes model folders with the engine, in a process of its own: `python segment_models.py FOLDER CHANGES`.

The networks are not trained: their labels mean nothing, but two ways to them must agree in every voxel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PLAN = {
    "dataset": "Untrained",
    "modalities": ["MRI"],
    "labels": {"1": "Anterior", "2": "Left kidney"},
    "spacing": [1.0, 1.0, 1.0],
    "normalization": [{"kind": "robust"}],
    "crop_size": [32, 32, 32],
    "patch_size": [8, 8, 8],
    "stem_stride": [4, 4, 4],
    "batch_size": 1,
    "size": "small",
}


def makeModel(folder: Path, **changes: object) -> Path:
    """Make a model folder in a child process.

    Args:
        folder: to be made.
        changes: entries of the plan other than those of `PLAN`. With several modalities it does without some.
    """
    runEngine([str(Path(__file__).resolve()), str(folder), json.dumps(PLAN | changes)])
    return folder


def runEngine(arguments: list[str]) -> None:
    """Run the engine's Python with arguments, and show what it said if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [enginePython(), *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the engine ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"


def enginePython() -> str:
    """A Python that has the engine's packages: TOPOMAE_PYTHON, else this one."""
    return os.environ.get("TOPOMAE_PYTHON") or sys.executable


def _main(folder: str, changes: str) -> None:
    import torch

    from topomae.data.plan import Plan
    from topomae.models.folder import save_model
    from topomae.networks.factory import NetworkSpec, build_segmenter

    plan = Plan.model_validate(json.loads(changes))
    sizes = plan.model_dump(include={"crop_size", "patch_size", "stem_stride", "size"})
    spec = NetworkSpec(
        architecture="unetrpp",
        in_channels=plan.channels,
        out_channels=plan.classes,
        missing_modalities=plan.channels > 1,
        **sizes,
    )
    torch.manual_seed(0)
    metrics = {"validation_dice": 0.8765, "step": 0}
    save_model(folder, build_segmenter(spec), spec, plan, training={"cases": ["a", "b"], "steps": 0}, metrics=metrics)


if __name__ == "__main__":
    _main(*sys.argv[1:])
