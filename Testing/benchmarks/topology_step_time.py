"""How much longer a pre-training step takes with the topological loss than without it.

    python Testing/benchmarks/topology_step_time.py --output results/topology_step_time
    python Testing/benchmarks/topology_step_time.py --data left_atrium --size base --set crop_size=96,96,96 \
        --set batch_size=2 --device cuda --output results/topology_step_time_gpu

Trains for a while, so that the networks paint images and not noise, then takes steps with and without the loss in
turn: same network, same crops, one run. Written to the output folder: step_time.json (every step), step_time.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

import topomae
from topomae.config import PretrainSettings, split_assignments
from topomae.data.cache import PreprocessedCases
from topomae.data.dataset import open_dataset
from topomae.data.loading import PretrainingCrops, batches
from topomae.data.splits import split_dataset
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.parallel.devices import choose_device, make_fabric
from topomae.training.objectives import CoPretrainingLoss
from topomae.training.optimization import make_optimizer


def main() -> None:
    """Measure, and write the results."""
    arguments = parsed_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    stepper = Stepper(arguments)
    for step in range(arguments.settle):
        stepper.step(step, "with")
    rows = []
    for turn in range(arguments.turns):
        for route in ("with", "without"):
            seconds, waited = stepper.step(arguments.settle + turn, route)
            rows.append({"turn": turn, "route": route, "seconds": seconds, "waited": waited})
    about = {
        "device": stepper.device.reason,
        "cores": os.cpu_count(),
        "machine": platform.platform(),
        "data": arguments.data.name,
        "size": arguments.size,
        "crop": stepper.plan.crop_size,
        "batch": stepper.plan.batch_size,
        "settled": arguments.settle,
    }
    (arguments.output / "step_time.json").write_text(json.dumps({**about, "steps": rows}, indent=1), encoding="utf-8")
    (arguments.output / "step_time.md").write_text(table(about, rows), encoding="utf-8")
    print(table(about, rows))


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    beside = Path(os.environ.get("TOPOMAE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/topology_step_time"), help="folder for results")
    parser.add_argument("--data", type=Path, default=Path("hippocampus"), help="data set folder, or its name")
    parser.add_argument("--size", choices=("small", "base"), default="small", help="network size")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train")
    parser.add_argument(
        "--set", dest="plan", action="append", default=[], metavar="KEY=VALUE", help="field of the plan"
    )
    parser.add_argument("--settle", type=int, default=100, help="training steps before measuring")
    parser.add_argument("--turns", type=int, default=20, help="steps measured of either kind")
    arguments = parser.parse_args()
    if not arguments.data.exists():
        arguments.data = beside / arguments.data
    return arguments


class Stepper:
    """Takes pre-training steps as `topomae pretrain` does."""

    def __init__(self, arguments: argparse.Namespace):
        self.device = choose_device(arguments.device)
        fields = {
            name: value.split(",") if "," in value else value
            for name, value in split_assignments(arguments.plan).items()
        }
        dataset = open_dataset(arguments.data)
        names = split_dataset(dataset, fold=0, folds=5, seed=0).train[:8]
        self.plan = topomae.plan(arguments.data, size=arguments.size, device=arguments.device, overrides=fields)
        cases = PreprocessedCases(arguments.output / "preprocessed", dataset, names, self.plan, with_label=False)
        cases.prepare()
        self.settings = PretrainSettings(steps=arguments.settle + arguments.turns).resolved(arguments.size)
        without = self.settings.model_copy(update={"topology_weight": 0.0})
        self.objectives = {
            "with": CoPretrainingLoss(self.settings, self.plan.patch_size),
            "without": CoPretrainingLoss(without, self.plan.patch_size),
        }
        self.fabric = make_fabric(self.device, self.settings.precision)
        torch.manual_seed(0)
        network = build_co_pretrainer(NetworkSpec.of(self.plan)).to(memory_format=torch.channels_last_3d)
        optimizer = make_optimizer([(network, 1.0)], self.settings, betas=(0.9, 0.95))
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        crops = PretrainingCrops(cases, self.plan, mask_ratio=self.settings.mask_ratio, seed=0)
        count = arguments.settle + arguments.turns
        loaded = batches(
            crops, batch_size=self.plan.batch_size, first_step=0, last_step=count, workers=0, pin_memory=False
        )
        self.batches = [self.fabric.to_device(batch) for batch in loaded]

    def step(self, number: int, route: str) -> tuple[float, float]:
        """Take one step; its seconds, and how many of them it stood still for the topological loss."""
        self._finish()
        began = time.perf_counter()
        objective, batch = self.objectives[route], self.batches[number]
        diagrams = objective.begin(batch, number)
        total, _ = objective(self.network(batch["image"], batch["mask"]), batch, number, diagrams)
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.network, self.optimizer, max_norm=self.settings.gradient_clip)
        self.optimizer.step()
        self._finish()
        return time.perf_counter() - began, objective.waited or 0.0

    def _finish(self) -> None:
        if self.device.kind == "cuda":
            torch.cuda.synchronize()


def table(about: dict, rows: list[dict]) -> str:
    """The results as Markdown."""
    seconds = {
        route: np.array([row["seconds"] for row in rows if row["route"] == route]) for route in ("with", "without")
    }
    waited = np.median([row["waited"] for row in rows if row["route"] == "with"])
    crop = "×".join(str(n) for n in about["crop"])
    turns = len(seconds["with"])
    return "\n".join(
        [
            f"{about['data']}, `{about['size']}`, crops of {crop}, batch {about['batch']}, {about['device']}, "
            f"{about['cores']} cores, after {about['settled']} steps; medians of {turns} steps in turn.",
            "",
            "| without the loss s | with it s | ratio | waited for it s |",
            "|---|---|---|---|",
            f"| {np.median(seconds['without']):.3g} | {np.median(seconds['with']):.3g} "
            f"| {np.median(seconds['with'] / seconds['without']):.3f} | {waited:.3g} |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
