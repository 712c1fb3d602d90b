"""How the cost of the topological loss grows with the size of the crop and with the noise of the reconstruction.

    python Testing/benchmarks/topology_growth.py --output results/topology_growth

The open question 2 of "Self Pre-training with Topology- and Spatiality-aware Masked Autoencoders" (arXiv 2406.10519).
A crop of a left atrium MR volume is compared with itself plus Gaussian noise of 0 to 1 standard deviations: small
noise is the end of a training, large noise its first steps. Measured: CPU seconds of loss and gradient, exact and
with the work budget that pre-training uses, and the gap that the budget leaves. Written to the output folder:
growth.json, growth.md, growth.png.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from topology import real_crops, shown, warm_up
from topomae.config import PretrainSettings
from topomae.topology.loss import TopologicalLoss
from topomae.topology.persistence import persistence

NOISE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BUDGET = PretrainSettings().topology_budget


def main() -> None:
    """Measure, and write the results."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/topology_growth"), help="folder for the results")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TOPOMAE_DATA", beside)), help="data sets")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 48, 64, 96, 128], help="crop sizes in voxels")
    parser.add_argument("--exact-up-to", type=int, default=96, help="largest size without a budget")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    warm_up()
    rows = []
    for size in arguments.sizes:
        crop = real_crops(arguments.data, size, 1)[0]
        for noise in NOISE:
            rows.append({"size": size, "noise": noise, **measured(crop, noise, exact=size <= arguments.exact_up_to)})
            print(json.dumps(rows[-1]), flush=True)
    (arguments.output / "growth.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (arguments.output / "growth.md").write_text(table(rows), encoding="utf-8")
    plot(rows, arguments.output / "growth.png")


def measured(crop: np.ndarray, noise: float, exact: bool) -> dict:
    """Points of the noisy crop's diagrams, and what its loss costs."""
    random = np.random.default_rng(0)
    noisy = (crop + noise * random.standard_normal(crop.shape)).astype(np.float32)
    row = {"points": len(persistence(noisy))}
    for name, budget in (("budget", BUDGET), ("exact", None)):
        if budget is None and not exact:
            continue
        loss = TopologicalLoss(budget=budget, threads=1)
        x_hat = torch.from_numpy(noisy)[None, None].requires_grad_()
        began = time.process_time()
        loss(x_hat, torch.from_numpy(crop)[None, None]).backward()
        row[f"{name}_cpu"] = time.process_time() - began
        row[f"{name}_gap"] = loss.last.gap / max(sum(loss.last.squared.values()), 1e-12)
        row[f"{name}_incomplete"] = loss.last.incomplete
    return row


def table(rows: list[dict]) -> str:
    """CPU seconds with the budget (exact in brackets where it differs), sizes down, noise across."""
    sizes = sorted({row["size"] for row in rows})
    lines = [
        "CPU seconds of loss and gradient of one pair; in brackets without the work budget, where it ended one.",
        "",
        "| size | " + " | ".join(f"noise {noise:g}" for noise in NOISE) + " |",
        "|---|" + "---|" * len(NOISE),
    ]
    for size in sizes:
        cells = []
        for row in (row for row in rows if row["size"] == size):
            text = shown(row["budget_cpu"])
            if row["budget_incomplete"]:
                text += f" ({shown(row.get('exact_cpu'))}; gap {100 * row['budget_gap']:.2g} %)"
            cells.append(text)
        lines.append(f"| {size}^3 | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def plot(rows: list[dict], path: Path) -> None:
    """CPU seconds against noise, one line per size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    for color, size in enumerate(sorted({row["size"] for row in rows})):
        group = [row for row in rows if row["size"] == size]
        places = [max(row["noise"], 0.005) for row in group]
        axes.plot(places, [row["budget_cpu"] for row in group], "o-", color=f"C{color}", label=f"{size}³")
        if all("exact_cpu" in row for row in group):
            axes.plot(places, [row["exact_cpu"] for row in group], ":", color=f"C{color}")
    axes.set(xscale="log", yscale="log", xlabel="noise (standard deviations of the image; leftmost: none)")
    axes.set_ylabel("CPU seconds per pair (dotted: without budget)")
    axes.legend(title="crop", loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
