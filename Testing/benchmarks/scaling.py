"""The first steps of a training in one and in several gloo processes on the CPU: same losses, and how fast.

    python Testing/benchmarks/scaling.py [--output docs/results/scaling]

Phantoms, crops of 16³ voxels, four samples a step in all, the learning rates of a run of default length. On a
machine with fewer cores than processes the speed says nothing; that losses and gradients agree does not depend on it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from several_processes import compute_in_double, together

PLAN = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [4.0, 4.0, 4.0], "batch_size": 4}


def first_steps(kind: str, bits: int, data: Path, run: Path, steps: int) -> list[dict[str, float]]:
    """Loss, norm of the gradient and seconds of each of the first steps; runs in every process."""
    if bits == 64:
        compute_in_double()
    import torch

    import topomae
    from topomae.config import FinetuneSettings, PretrainSettings
    from topomae.runs.folder import Run
    from topomae.training.loop import TrainingLoop

    seen: list[dict[str, float]] = []
    take_step, work_through = TrainingLoop.take_step, TrainingLoop._work_through

    def watched_work(self: TrainingLoop, step: int, batch: dict) -> object:
        loss, values = work_through(self, step, batch)
        gradients = [p.grad.flatten().double() for p in self.network.parameters() if p.grad is not None]
        seen.append({"loss": float(loss), "gradient": float(torch.cat(gradients).norm())})
        return loss, values

    def watched_step(self: TrainingLoop, step: int, batch: dict) -> None:
        began = time.perf_counter()
        take_step(self, step, batch)
        seen[-1]["seconds"] = time.perf_counter() - began

    TrainingLoop._work_through, TrainingLoop.take_step = watched_work, watched_step
    Run.stop_requested = lambda self: len(seen) >= steps
    settings = PretrainSettings() if kind == "pretrain" else FinetuneSettings()
    start = {} if kind == "pretrain" else {"init": "scratch"}
    getattr(topomae, kind)(data, run, settings=settings, plan=PLAN, device="cpu", **start)
    return seen


def compare(kind: str, bits: int, worlds: list[int], steps: int, folder: Path) -> list[dict[str, float]]:
    """One row per number of processes; the first is what the others are compared with."""
    courses = {}
    for world in worlds:
        run = folder / f"{kind}-{bits}-{world}"
        courses[world] = together(world, first_steps, kind, bits, folder / "phantoms", run, steps)[0]
    rows = []
    for world, course in courses.items():
        row: dict[str, object] = {"training": kind, "bits": bits, "processes": world, "steps": steps}
        for name in ("loss", "gradient"):
            pairs = zip(course, courses[worlds[0]], strict=True)
            differences = [abs(own[name] - one[name]) / abs(one[name]) for own, one in pairs]
            row |= {f"{name}_at_step_1": differences[0], f"largest_{name}": max(differences)}
        seconds = sorted(step["seconds"] for step in course[2:])
        rows.append(row | {"seconds_per_step": seconds[len(seconds) // 2]})
        print(rows[-1], flush=True)
    return rows


def table(rows: list[dict], where: str) -> str:
    """The rows as Markdown."""
    lines = [
        "# Several processes against one",
        "",
        f"`python Testing/benchmarks/scaling.py`, {where}. Largest relative difference of the loss over the steps, "
        "and of loss and gradient at the first step, where no weight has been changed yet.",
        "",
        "| training | bits | processes | loss, all steps | loss, step 1 | gradient, step 1 | seconds per step |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['training']} | {row['bits']} | {row['processes']} | {row['largest_loss']:.1e} | "
            f"{row['loss_at_step_1']:.1e} | {row['gradient_at_step_1']:.1e} | {row['seconds_per_step']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/results/scaling"))
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 64], choices=[32, 64])
    parser.add_argument("--trainings", nargs="+", default=["pretrain", "finetune"])
    arguments = parser.parse_args()
    from topomae.data.phantoms import make_phantoms

    with tempfile.TemporaryDirectory() as folder:
        make_phantoms(Path(folder) / "phantoms", cases=7, labelled=4)
        rows = [
            row
            for kind in arguments.trainings
            for bits in (arguments.bits if kind == "pretrain" else [32])
            for row in compare(kind, bits, arguments.processes, arguments.steps, Path(folder))
        ]
    where = f"{len(os.sched_getaffinity(0))} cores of {platform.machine()}, no GPU"
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "processes.json").write_text(json.dumps({"where": where, "rows": rows}, indent=2) + "\n")
    (arguments.output / "processes.md").write_text(table(rows, where))


if __name__ == "__main__":
    main()
