"""Run by the Python that has nnU-Net: plan and train within a budget, or predict. Reads a job, writes a report.

    python nnunet_driver.py train job.json report.json
    python nnunet_driver.py predict job.json IMAGES OUTPUT

Everything is nnU-Net's own (planning, preprocessing, augmentation, loss, optimizer, schedule) but the number of
epochs and of iterations in each, and the split, which nnU-Net reads from splits_final.json. Nothing here imports
TopoMAE.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

DATASET = "Dataset900_Accuracy"
NUMBER, CONFIGURATION, FOLD = 900, "3d_fullres", 0
FEWEST_EPOCHS, MOST_EPOCHS, USUAL_ITERATIONS = 10, 1000, 250  # nnU-Net trains 1000 epochs of 250 iterations
_TIMED = 3


def main() -> None:
    """Do the job."""
    what, job, *places = sys.argv[1:]
    job = json.loads(Path(job).read_text(encoding="utf-8"))
    folder = Path(job["folder"])
    environment = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    environment["nnUNet_compile"] = "f"
    if job["device"] == "cpu":
        environment["nnUNet_n_proc_DA"] = "1"  # which the planner takes for torch's threads
    os.environ.update(environment)
    if what == "train":
        Path(places[0]).write_text(json.dumps(train(job, folder)), encoding="utf-8")
    else:
        predict(job, folder, Path(places[0]), Path(places[1]))


def clock(device: str) -> float:
    """Seconds so far: of the processor, or on a GPU of the wall."""
    if device != "cuda":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def train(job: dict, folder: Path) -> dict:
    """Plan, preprocess, and train for as many epochs as fit the budget."""
    import numpy as np
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess_dataset,
    )

    extract_fingerprints([NUMBER], num_processes=1, check_dataset_integrity=True)
    plans = plan_experiments([NUMBER])
    prepared = folder / "preprocessed" / DATASET
    preprocess_dataset(NUMBER, plans, configurations=(CONFIGURATION,), num_processes=(1,))
    shutil.copyfile(folder / "splits_final.json", prepared / "splits_final.json")

    if job["device"] == "cpu":
        os.environ.update({"nnUNet_n_proc_DA": "0"})  # augment in this process, so that its time is counted
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 (nnU-Net draws from it)
    device = torch.device(job["device"])
    iterations, epochs, pace = job["steps"], 1, None
    if job["budget"] is not None:
        step, validation = time_steps(new_trainer(plans, device), job["device"])
        iterations, epochs = share(job["budget"], step, validation)
        pace = {"step": step, "validation_step": validation}
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002
    trainer = new_trainer(plans, device)
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = iterations
    trainer.num_val_iterations_per_epoch = max(1, iterations // 5)  # as 50 to 250
    began = clock(job["device"])
    trainer.run_training()
    seconds = clock(job["device"]) - began
    network = trainer.network
    configuration = trainer.configuration_manager
    return {
        "seconds": round(seconds, 1),
        "steps": iterations * epochs,
        "epochs": epochs,
        "pace": pace,
        "parameters": sum(p.numel() for p in network.parameters()),
        "crop_size": [int(n) for n in configuration.patch_size],
        "batch_size": int(configuration.batch_size),
    }


def share(budget: float, step: float, validation: float) -> tuple[int, int]:
    """Iterations of an epoch, and epochs, that fit seconds; an epoch validates a fifth as many batches."""
    each = step + validation / 5
    total = max(FEWEST_EPOCHS, int(budget / each))
    iterations = max(1, min(USUAL_ITERATIONS, total // FEWEST_EPOCHS))
    if iterations < 5:  # at least one batch is validated in each epoch
        total = max(FEWEST_EPOCHS, int((budget - FEWEST_EPOCHS * validation) / step))
        iterations = max(1, total // FEWEST_EPOCHS)
    return iterations, min(MOST_EPOCHS, total // iterations)


def new_trainer(plans: str, device: object) -> object:
    """nnU-Net's own trainer."""
    from nnunetv2.run.run_training import get_trainer_from_args

    return get_trainer_from_args(str(NUMBER), CONFIGURATION, FOLD, "nnUNetTrainer", plans, device=device)


def time_steps(trainer: object, device: str) -> tuple[float, float]:
    """Seconds of a training and of a validation iteration, on a network that is thrown away."""
    trainer.on_train_start()
    trainer.network.train()
    for _ in range(_TIMED):  # these also fill caches
        trainer.train_step(next(trainer.dataloader_train))
    began = clock(device)
    for _ in range(_TIMED):
        trainer.train_step(next(trainer.dataloader_train))
    between = clock(device)
    import torch

    trainer.network.eval()
    with torch.no_grad():
        trainer.validation_step(next(trainer.dataloader_val))
    ended = clock(device)
    shutil.rmtree(trainer.output_folder)
    return (between - began) / _TIMED, ended - between


def predict(job: dict, folder: Path, images: Path, output: Path) -> None:
    """Segment a folder of images with the last weights."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    device = torch.device(job["device"])
    predictor = nnUNetPredictor(
        tile_step_size=1 - job["overlap"], use_mirroring=job["mirror"], device=device, allow_tqdm=False
    )
    trained = next((folder / "results" / DATASET).glob("nnUNetTrainer__*__" + CONFIGURATION))
    predictor.initialize_from_trained_model_folder(str(trained), (FOLD,), "checkpoint_final.pth")
    output.mkdir(parents=True, exist_ok=True)
    files = sorted(images.glob("*.nii.gz"))
    outputs = [str(output / file.name) for file in files]
    predictor.predict_from_files_sequential([[str(file)] for file in files], outputs)
    for file in output.glob("*.json"):  # nnU-Net's own notes, which are no predictions
        file.unlink()


if __name__ == "__main__":
    main()
