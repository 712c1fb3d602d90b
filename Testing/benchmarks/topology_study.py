"""Does the topological loss lower the topological error of held-out reconstructions, and at what cost?

    python Testing/benchmarks/topology_study.py --output results/topology_study

Pre-trains on the training images of a data set with λ1 = 0 and with λ1 = 0.5, equal in everything else, for
several seeds. Then every test image, which no run has seen, is masked in the same way for all runs and
reconstructed by both branches. Measured per image and branch, reconstruction against image: squared
2-Wasserstein distance per dimension, error of the Betti numbers of sublevel sets at the deciles of the
image, and mean squared error of the hidden voxels. Stop it at any time: the same command goes on.

Written to the output folder: one run folder per training, study.json (every measurement), study.md (tables).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

import topomae
from topomae.config import PretrainSettings
from topomae.data.cache import PreprocessedCases
from topomae.data.crops import cut_crop, token_grid
from topomae.data.dataset import open_dataset
from topomae.data.loading import random_mask
from topomae.data.splits import split_dataset
from topomae.events import Events
from topomae.models.pretrained import Pretrained, is_pretrained, load_pretrained
from topomae.networks.co_pretrainer import voxel_mask
from topomae.topology.diagram import DIMENSIONS, Diagram
from topomae.topology.matching import match
from topomae.topology.persistence import persistence
from topomae.training.objectives import composite, masked_mse

BRANCHES = ("vit", "unetrpp")
MEASURES = ("w2_0", "w2_1", "w2_2", "betti_0", "betti_1", "betti_2", "mse")


def main() -> None:
    """Train what is missing, judge everything, write the tables."""
    arguments = parsed_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(arguments.seeds):
        for weight in arguments.weights:
            seconds = train(arguments, weight, seed)
            found = judged(arguments, load_pretrained(folder(arguments, weight, seed)))
            rows += [{"weight": weight, "seed": seed, "train_seconds": seconds, **row} for row in found]
            about = {"data": arguments.data.name, "steps": arguments.steps}
            text = json.dumps({**about, "rows": rows}, indent=1)
            (arguments.output / "study.json").write_text(text, encoding="utf-8")
            (arguments.output / "study.md").write_text(tables(rows), encoding="utf-8")
            print(tables([row for row in rows if row["seed"] == seed]), flush=True)


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    beside = Path(os.environ.get("TOPOMAE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/topology_study"), help="folder for the results")
    parser.add_argument("--data", type=Path, default=beside / "hippocampus", help="data set folder")
    parser.add_argument("--steps", type=int, default=500, help="steps of each training")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5], help="values of λ1")
    parser.add_argument("--size", choices=("small", "base"), default="small", help="network size")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train")
    return parser.parse_args()


def folder(arguments: argparse.Namespace, weight: float, seed: int) -> Path:
    """The run folder of one training."""
    return arguments.output / f"lambda_{weight:g}_seed_{seed}"


def train(arguments: argparse.Namespace, weight: float, seed: int) -> float | None:
    """Pre-train, or go on, unless it is done; wall seconds, if it ran from start to end just now."""
    run = folder(arguments, weight, seed)
    if is_pretrained(run):
        return None
    fresh, began = not run.exists(), time.monotonic()
    settings = PretrainSettings(seed=seed, steps=arguments.steps, topology_weight=weight)
    topomae.pretrain(
        arguments.data,
        run,
        size=arguments.size,
        device=arguments.device,
        settings=settings,
        events=Events.to("none"),
    )
    return round(time.monotonic() - began, 1) if fresh else None


@torch.no_grad()
def judged(arguments: argparse.Namespace, pretrained: Pretrained) -> list[dict]:
    """Measurements of every test image and branch."""
    dataset = open_dataset(arguments.data)
    names = split_dataset(dataset, fold=0, folds=5, seed=0).test
    plan, network = pretrained.plan, pretrained.network()
    cases = PreprocessedCases(arguments.output / "test_images", dataset, names, plan, with_label=False)
    rows = []
    for number, name in enumerate(names):
        shape = cases[number].image.shape[1:]
        start = [max(0, n - c) // 2 for n, c in zip(shape, plan.crop_size, strict=True)]
        image = torch.from_numpy(cut_crop(cases[number].image, None, start, plan.crop_size).image)[None]
        mask = random_mask(token_grid(plan.crop_size, plan.patch_size), 0.75, np.random.default_rng(number))
        mask = torch.from_numpy(mask)[None]
        hidden = voxel_mask(mask, plan.patch_size, image.shape[2:])
        for branch, output in network(image, mask).items():
            shown = composite(output.reconstruction, image, hidden)
            row = {"case": name, "branch": branch, "mse": float(masked_mse(output.reconstruction, image, hidden))}
            rows.append({**row, **topological_errors(image[0, 0].numpy(), shown[0, 0].numpy())})
    return rows


def topological_errors(image: np.ndarray, reconstruction: np.ndarray) -> dict[str, float]:
    """Squared W2 and mean error of sublevel Betti numbers, per dimension."""
    wanted, found = persistence(image), persistence(reconstruction)
    thresholds = np.quantile(image, np.linspace(0.1, 0.9, 9))
    errors = {}
    for dim in DIMENSIONS:
        errors[f"w2_{dim}"] = match(wanted.values[dim], found.values[dim]).squared_distance
        differences = sublevel_betti(found, dim, thresholds) - sublevel_betti(wanted, dim, thresholds)
        errors[f"betti_{dim}"] = float(np.abs(differences).mean())
    return errors


def sublevel_betti(diagram: Diagram, dim: int, thresholds: np.ndarray) -> np.ndarray:
    """Betti number of {voxels <= t} for every threshold t: the features born by then that have not died."""
    births, deaths = diagram.values[dim].T
    alive = (births <= thresholds[:, None]) & (thresholds[:, None] < deaths)
    essential = (dim == 0) & (diagram.essential_value <= thresholds)
    return alive.sum(1) + essential


def tables(rows: list[dict]) -> str:
    """Means over test images, then mean and standard deviation over seeds, as Markdown."""
    lines = [
        "| branch | λ1 | " + " | ".join(MEASURES) + " |",
        "|---|---|" + "---|" * len(MEASURES),
    ]
    for branch in BRANCHES:
        for weight in sorted({row["weight"] for row in rows}):
            cells = [cell(rows, branch, weight, measure) for measure in MEASURES]
            lines.append(f"| {branch} | {weight:g} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def cell(rows: list[dict], branch: str, weight: float, measure: str) -> str:
    """One cell of the table."""
    group = [row for row in rows if row["branch"] == branch and row["weight"] == weight]
    seeds = sorted({row["seed"] for row in group})
    means = [np.mean([row[measure] for row in group if row["seed"] == seed]) for seed in seeds]
    return f"{np.mean(means):.4g}" + (f" ± {np.std(means, ddof=1):.2g}" if len(means) > 1 else "")


if __name__ == "__main__":
    main()
